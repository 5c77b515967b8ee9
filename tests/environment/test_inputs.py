"""Which files a script read, and whether they are still the same."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import blake3
import pytest

from flor_ray.environment import inputs, opened
from flor_ray.environment.inputs import Change, Comparer, InputFile

NONE: frozenset[str] = frozenset()


def opened_by(code: str, folder: Path, tracked: frozenset[str] = NONE) -> dict[str, object]:
    """What a process of its own that runs `code` in `folder` says of its input files."""
    program = (
        "import json, os, pathlib, sys, tempfile\nimport flor_ray\nfrom flor_ray.environment import opened\n"
        "from flor_ray.environment.inputs import InputFiles\n"
        f"files = InputFiles({str(folder)!r}, [{str(folder / 'ours')!r}])\n"
        f"{code}\nprint(json.dumps(files.described({tracked!r})))"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=folder, capture_output=True, text=True, check=True)
    found: dict[str, object] = json.loads(done.stdout.splitlines()[-1])
    return found


def paths(found: dict[str, object]) -> list[str]:
    return [file.path for file in inputs.recorded(found)]


def test_a_file_that_is_read_is_described_and_what_is_code_ours_or_the_versions_own_is_not(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "ours").mkdir()
    for name in ("data/train.csv", "own.txt", "helper.py", "ours/object"):
        (tmp_path / name).write_text("1,2\n")
    code = (
        'open("data/train.csv").read(); open(b"own.txt"); open("helper.py"); pathlib.Path("ours/object").read_bytes()\n'
        'open("out.txt", "w"); open("/proc/self/stat"); open(json.__file__); os.open("data", os.O_RDONLY)\n'
        "import shelve; tempfile.TemporaryFile().read()"
    )
    (file,) = inputs.recorded(opened_by(code, tmp_path, frozenset({"own.txt"})))
    path = tmp_path / "data/train.csv"
    assert file == InputFile("data/train.csv", 4, path.stat().st_mtime_ns, blake3.blake3(b"1,2\n").hexdigest())


def test_libraries_of_another_installation_on_the_path_are_programs_not_data(tmp_path: Path) -> None:
    library = tmp_path / "elsewhere/lib/site-packages/lib-1.0.dist-info"
    library.mkdir(parents=True)
    (library / "METADATA").write_text("Name: lib")
    (tmp_path / "data.csv").write_text("1")
    os.utime(tmp_path / "data.csv", ns=(0, 0))
    code = (
        f"sys.path.append({str(library.parent)!r})\nfiles = InputFiles({str(tmp_path)!r})\n"
        f"open({str(library / 'METADATA')!r}).read(); open('data.csv').read()"
    )
    assert paths(opened_by(code, tmp_path)) == ["data.csv"]


def test_a_file_that_is_written_and_read_is_no_input(tmp_path: Path) -> None:
    code = 'open("state.txt", "w").write("1"); open("state.txt").read(); open("log.txt", "a").write("x")'
    assert opened_by(code, tmp_path) == {"inputs": []}  # it is followed: see test_written_files


def test_a_file_that_was_written_past_python_is_state_too(tmp_path: Path) -> None:
    code = 'os.system("echo 1 > best.pt"); open("best.pt").read()'
    assert opened_by(code, tmp_path) == {"inputs": [{"path": "best.pt", "rewritten": True}]}


def test_a_file_outside_of_the_repository_keeps_its_absolute_path_and_a_missing_one_is_none(tmp_path: Path) -> None:
    root, outside = tmp_path / "root", tmp_path / "rates.txt"
    root.mkdir()
    outside.write_text("1")
    os.utime(outside, ns=(0, 0))
    code = f"open({str(outside)!r}).read()\ntry:\n    open('nowhere.txt')\nexcept OSError:\n    pass"
    assert paths(opened_by(code, root)) == [str(outside)]


def test_what_is_opened_while_paused_is_not_the_scripts(tmp_path: Path) -> None:
    (tmp_path / "data.bin").write_bytes(b"1")
    assert paths(opened_by('with opened.paused(): open("data.bin").read()', tmp_path)) == []


def test_of_very_many_files_the_first_are_kept_and_the_others_counted(tmp_path: Path) -> None:
    for n in range(1200):
        (tmp_path / f"{n:04}.txt").write_text("x")
    found = opened_by("for n in range(1200): open(f'{n:04}.txt').close()", tmp_path)
    assert (paths(found)[0], paths(found)[-1], len(paths(found))) == ("0000.txt", "0999.txt", 1000)
    assert found["inputs_left_out"] == 200


def test_a_change_is_found_by_size_or_by_content_and_a_touch_is_none(tmp_path: Path) -> None:
    path = tmp_path / "data.txt"
    path.write_text("1234")
    recorded = opened_by("open('data.txt').read()", tmp_path)

    def changes() -> tuple[Change, ...]:
        return Comparer(str(tmp_path)).changes(recorded)

    assert changes() == ()
    os.utime(path, ns=(1, 1))
    assert changes() == ()
    path.write_text("1239")
    assert changes() == (Change("data.txt"),)
    path.write_text("12345")
    assert list(map(str, changes())) == ["data.txt has changed"]
    path.unlink()
    assert list(map(str, changes())) == ["data.txt is missing"]
    shutil.rmtree(tmp_path)
    assert changes() == (Change("data.txt", missing=True),)


def test_a_large_file_is_sampled_and_one_that_was_written_since_is_not_sure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inputs, "_SAMPLE_BYTES", 10)
    path = tmp_path / "data.bin"
    path.write_bytes(bytes(10_000))
    small = "from flor_ray.environment import inputs; inputs._WHOLE_BYTES, inputs._SAMPLE_BYTES = 1000, 10"
    recorded = opened_by(f"{small}\nopen('data.bin').read()", tmp_path)
    (row,) = inputs.recorded(recorded)
    assert row.sampled
    os.utime(path, ns=(1, 1))
    (change,) = Comparer(str(tmp_path)).changes(recorded)
    assert (change.surely, str(change)) == (False, "data.bin was written again, though it looks unchanged,")
    path.write_bytes(bytes(9_999) + b"1")
    assert Comparer(str(tmp_path)).changes(recorded) == (Change("data.bin"),)


def test_an_environment_without_inputs_has_none() -> None:
    assert (inputs.recorded({}), inputs.rewritten({}), Comparer("/nowhere").changes({})) == ((), (), ())


def test_noting_a_file_costs_little_beside_opening_it(tmp_path: Path) -> None:
    opened.watch()
    path = str(tmp_path / "data.txt")
    Path(path).write_text("x")
    open(path).close()
    began = time.process_time()
    for _ in range(10_000):
        opened._note(path, "r", 0)
    assert (time.process_time() - began) / 10_000 < 20e-6
