"""Data that versions have read and that are elsewhere, or nowhere, when they are replayed: found by the data map or in
the store, under the paths of then, before anything runs."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from flor_ray.records import Fidelity, Outcome
from flor_ray.reports import replays
from flor_ray.store import collecting
from tests.conftest import Lab

SCRIPT = """
import glob, os
from pathlib import Path
import flor_ray as flor

rates = [float(line) for line in open("data/deep/rates.txt")]
table = Path("data/table.csv").read_text()
offset = float(open("../outside/offset.txt").read())
for epoch in flor.loop("epoch", range(3)):
    flor.log("loss", rates[epoch] + offset)
"""
SEEN = """    flor.log("seen", [
        rates, table, offset, os.path.getsize("data/table.csv"), os.path.islink("data/deep"),
        open(os.path.abspath("../outside/offset.txt")).read(), Path("data/deep/rates.txt").stat().st_size])
"""
LISTED = """    flor.log("listed", [
        sorted(os.listdir("data")), sorted(e.name for e in os.scandir("data") if e.is_file()),
        [[os.path.basename(f), d, sorted(n)] for f, d, n in os.walk("data")],
        sorted(glob.glob("**/*.txt", recursive=True)), sorted(p.name for p in Path("../outside").iterdir())])
"""
RATES, TABLE, OFFSET = "1.0\n2.0\n3.0\n", "a,b\n1,2\n", "0.5"
VALUE = [[1.0, 2.0, 3.0], TABLE, 0.5, len(TABLE), False, OFFSET, len(RATES)]
LISTING = [
    ["deep", "table.csv"],
    ["table.csv"],
    [["data", ["deep"], ["table.csv"]], ["deep", [], ["rates.txt"]]],
    ["data/deep/rates.txt"],
    ["offset.txt"],
]


@pytest.fixture
def lab(lab: Lab) -> Lab:
    """With one recorded version, whose data are as they were."""
    lab.write(".gitignore", "data/\n")
    lab.write("data/deep/rates.txt", RATES)
    lab.write("data/table.csv", TABLE)
    lab.write("../outside/offset.txt", OFFSET)
    lab.record_forked(SCRIPT)
    lab.write("train.py", SCRIPT + SEEN + LISTED)
    return lab


def moved(lab: Lab) -> tuple[Path, Path]:
    """Where the data are from now on."""
    places = lab.root.parent / "mnt/images", lab.root.parent / "mnt/other"
    places[0].parent.mkdir()
    shutil.move(lab.root / "data", places[0])
    shutil.move(lab.root.parent / "outside", places[1])
    return places


def replayed(lab: Lab, *names: str) -> tuple[list[str], Outcome]:
    """Notes of the plan, and what became of it."""
    prepared, outcome = lab.replay(names or ["seen", "listed"], again=True)
    return [note for note in prepared.notes if "read" in note or "changed" in note], outcome


def values(lab: Lab, name: str) -> list[Any]:
    return [value for *_, value in lab.values(name)]


def is_fine(outcome: Outcome) -> bool:
    assert outcome.failures == []
    assert [warning for report in outcome.reports for warning in report.warnings] == []
    return {report.verdict for report in outcome.reports} == {Fidelity.EXACT}


def written(folder: Path) -> dict[str, tuple[int, int]]:
    found = {}
    for path in folder.rglob("*"):
        status = path.lstat()
        found[str(path)] = status.st_ino, status.st_mtime_ns
    return found


def test_data_at_the_same_paths_need_nothing(lab: Lab) -> None:
    notes, outcome = replayed(lab)
    assert (notes, is_fine(outcome)) == ([], True)
    assert (values(lab, "seen"), values(lab, "listed")) == ([VALUE] * 3, [LISTING] * 3)


@pytest.mark.parametrize("kind", ["folders", "above", "file URLs", "files"])
def test_data_that_have_moved_are_found_through_the_data_map(
    lab: Lab, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    images, other = moved(lab)
    above = str(lab.root.parent)
    data = {
        "folders": {"data": str(images), "../outside": str(other)},
        "above": {above: "/nowhere", f"{lab.root}/data": str(images), f"{above}/outside/": f"{other}/"},
        "file URLs": {"data": f"file://{images}", "../outside": f"file://{other}"},
        "files": {
            "data/table.csv": str(images / "table.csv"),
            "data/deep/rates.txt": str(images / "deep/rates.txt"),
            "../outside/offset.txt": str(other / "offset.txt"),
        },
    }[kind]
    monkeypatch.setenv("FLOR_RAY_DATA", ",".join(f"{path}={place}" for path, place in data.items()))
    before = written(images.parent)
    notes, outcome = replayed(lab, "seen")
    assert (notes, is_fine(outcome), values(lab, "seen")) == ([], True, [VALUE] * 3)
    notes, outcome = replayed(lab, "listed")
    assert values(lab, "listed") == [LISTING] * 3
    told = [warning for report in outcome.reports for warning in report.warnings]
    if kind in ("folders", "above"):
        assert told == []  # the folders are there
    else:
        places = {sentence.partition(" was listed")[0] for sentence in told}
        assert places == {"data", "data/deep", str(lab.root.parent / "outside")}
    assert written(images.parent) == before


CHANGING = """
if os.path.exists(FLAG):
    open("data/table.csv", "a").write("more")
    os.remove("data/deep/rates.txt")
    os.rename("../outside/offset.txt", "../outside/renamed.txt")
after = [open("data/table.csv").read(), os.listdir("data/deep"), os.listdir("../outside")]
for epoch"""


@pytest.mark.parametrize("way", ["map", "store"])
def test_data_from_elsewhere_are_not_changed_by_a_script_that_writes_there(
    lab: Lab, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    flag = lab.root.parent / "flag"
    text = SCRIPT.replace("for epoch", CHANGING.replace("FLAG", repr(str(flag))))
    version = lab.record_forked(text).version
    lab.cli("data", "push")
    images, other = moved(lab)
    if way == "map":
        monkeypatch.setenv("FLOR_RAY_DATA", f"data={images},../outside={other}")
    before = written(images.parent), written(lab.root / ".flor/objects")
    flag.write_text("")
    lab.write("train.py", text + '    flor.log("after", after)\n')
    _, outcome = lab.replay(["after"])
    assert outcome.failures == []
    assert [value for *_, value in lab.values("after", version)] == [[TABLE + "more", [], ["renamed.txt"]]] * 3
    assert before[0] == written(images.parent)
    assert before[1].items() <= written(lab.root / ".flor/objects").items()


def test_data_that_were_pushed_come_from_the_store_once_and_gc_keeps_them(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = lab.cli("data", COLUMNS="300").stdout
    assert [line.split() for line in table.splitlines()[2:]][1:] == [
        ["data/deep/rates.txt", "12", "B", "1", "yes", "no"],
        ["data/table.csv", "8", "B", "1", "yes", "no"],
    ]
    pushed = lab.cli("data", "push", "data")
    assert pushed.stdout.splitlines() == [
        "data/deep/rates.txt: 12 B, of which 12 B were not in the store yet",
        "data/table.csv: 8 B, of which 8 B were not in the store yet",
        "The store has 2 files for every machine.",
    ]
    (lab.root / "copy.csv").write_text(TABLE)
    assert "data/table.csv: it is in the store already" in lab.cli("data", "push").stdout
    shutil.rmtree(lab.root / "data")
    shutil.rmtree(lab.root.parent / "outside")
    store = lab.project.store
    planned = collecting.plan(collecting.survey(store), lab.project.name, (), 0.0)
    assert not planned.sweep.keys
    notes, outcome = replayed(lab, "seen")
    assert (notes, is_fine(outcome), values(lab, "seen")) == ([], True, [VALUE] * 3)
    _, outcome = replayed(lab, "listed")
    assert (values(lab, "listed"), outcome.failures) == ([LISTING] * 3, [])
    told = [warning for report in outcome.reports for warning in report.warnings]
    assert len(told) == 3
    assert all("was listed: this machine has of it what the recorded run read" in sentence for sentence in told)
    assert not (lab.root / "data").exists()


def test_a_folder_from_the_store_whose_names_the_run_has_seen_is_not_in_doubt(lab: Lab) -> None:
    """As an ImageFolder: it lists a folder, and reads all that is in it."""
    text = SCRIPT.replace("table =", 'files = sorted(glob.glob("images/**/*.txt", recursive=True))\ntable =')
    text = text.replace("offset =", "content = [open(path).read() for path in files]\noffset =")
    lab.write(".gitignore", "data/\nimages/\n")
    for name in ("cat/1.txt", "cat/2.txt", "dog/1.txt"):
        lab.write(f"images/{name}", name)
    version = lab.record_forked(text).version
    lab.write("images/unread.bin", "came later")
    lab.cli("data", "push")
    shutil.rmtree(lab.root / "images")
    lab.write("train.py", text + '    flor.log("listed", [files, content, sorted(os.listdir("images"))])\n')
    _, outcome = lab.replay(["listed"])
    assert is_fine(outcome)
    names = ["cat/1.txt", "cat/2.txt", "dog/1.txt"]
    value = [[f"images/{name}" for name in names], names, ["cat", "dog"]]
    assert [each for *_, each in lab.values("listed", version)] == [value] * 3


@pytest.mark.parametrize("with_data", [True, False])
def test_another_copy_of_the_project_has_its_own_data_or_those_of_then(
    lab: Lab, with_data: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without data, as the folder of a job on the machine on which it was recorded."""
    copy = Lab(tmp_path / "elsewhere/deep/copy")
    copy.write("train.py", SCRIPT + SEEN + LISTED)
    monkeypatch.setenv("FLOR_RAY_STORE", str(lab.root / ".flor"))
    monkeypatch.setenv("FLOR_RAY_PROJECT", "project")
    if with_data:
        copy.write(".gitignore", "data/\n")
        shutil.copytree(lab.root / "data", copy.root / "data")
        shutil.copytree(lab.root.parent / "outside", copy.root.parent / "outside")
        shutil.rmtree(lab.root / "data")
        shutil.rmtree(lab.root.parent / "outside")
    notes, outcome = replayed(copy)
    assert (notes, is_fine(outcome)) == ([], True)
    assert (values(copy, "seen"), values(copy, "listed")) == ([VALUE] * 3, [LISTING] * 3)


def test_where_another_file_lies_the_recorded_one_comes_from_the_store(lab: Lab) -> None:
    lab.cli("data", "push", "data/table.csv")
    lab.write("data/table.csv", "a,b\n9,9\n")
    refused = lab.cli("data", "push", "data/table.csv")
    assert refused.returncode == 2
    assert "what is there now is not what any version has read" not in refused.stderr  # it is in the store
    notes, outcome = replayed(lab, "seen")
    assert (notes, is_fine(outcome), values(lab, "seen")) == ([], True, [VALUE] * 3)
    assert (lab.root / "data/table.csv").read_text() == "a,b\n9,9\n"


def test_a_version_without_its_data_does_not_run_and_each_file_is_named_once(lab: Lab) -> None:
    lab.record_forked(SCRIPT.replace("rates[epoch] + offset", "rates[epoch]").replace("offset = float", "offset = str"))
    lab.record_forked("import flor_ray as flor\nfor epoch in flor.loop('epoch', range(2)):\n    flor.log('loss', 1)\n")
    lab.write("train.py", SCRIPT + '    flor.log("twice", epoch * 2 if table else 0)\n')
    shutil.rmtree(lab.root / "data")
    first, second, third = (run.version for run in lab.experiments())
    lab.write("train.py", SCRIPT + '    flor.log("twice", len(dir()) * 0 + epoch * 2)\n')
    prepared, outcome = lab.replay(["twice"])
    assert {segment.version for segment, _ in outcome.failures} == {first, second}
    assert {report.segment.version for report in outcome.reports} == {third}
    assert {stint.segment.version for stint in outcome.stints} == {third}
    said = replays.problems(prepared, outcome)
    found = [sentence for sentence in said if "is on no machine" in sentence]
    assert [sentence.partition(", for ")[2].partition(" is on no")[0] for sentence in found] == [
        "data/deep/rates.txt",
        "data/table.csv",
    ]
    assert all(first[:8] in sentence and second[:8] in sentence for sentence in found)
    assert len(said) == len(found)
    (note,) = (note for note in prepared.notes if "not here" in note)
    assert "data/deep/rates.txt, data/table.csv" in note
