"""What is told of propagation: said once for all versions of which it is true, and diffs that `git apply` takes."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from flor_ray.patching.donors import find_donors
from flor_ray.patching.patching import Fate, Finding, Patched, patch
from flor_ray.patching.statements import Propagated
from flor_ray.records import Experiment, Status
from flor_ray.reports import placements as told

OLD = "import flor_ray as flor\nx = 1\ny = 2\nz = 3\n"
NEW = OLD + 'flor.log("x", x)\n'
DONORS = find_donors(["x"], [("the working tree", {"train.py": NEW})], frozenset({"train.py"}))
PLACED = patch(["x"], DONORS, "train.py", {"train.py": OLD})
GUESS = Finding("x", Fate.REFUSED, "train.py", None, 0.25, "who knows", best_guess=3, donor="train.py:5 (version ab)")
REFUSED = Patched({}, {}, {"x": "who knows"}, None, (GUESS,), {"train.py": OLD})
DOUBTFUL = Patched({}, {}, {}, None, (Finding("x", Fate.PLACED, "train.py", 4, 0.5, "after line 3"),))


def propagated(*patched: Patched) -> Propagated:
    versions = {f"{n}" * 40: each for n, each in enumerate(patched, start=1)}
    runs = {v: Experiment("p", v, None, "train.py", "run", 0.0, None, Status.FINISHED) for v in versions}
    return Propagated(("x",), runs, versions)


def test_versions_of_which_the_same_is_to_be_said_share_a_row() -> None:
    table = told.table(propagated(PLACED, PLACED, REFUSED, PLACED, PLACED, DOUBTFUL), 200).splitlines()
    assert table[2].split("   ")[0] == "4 versions: 11111111, 22222222, 44444444, ..."
    assert table[2].split()[6:9] == ["placed", "train.py:5", f"{PLACED.findings[0].confidence:.2f}"]
    assert " ".join(table[3].split()) == (
        "33333333 refused after train.py:3? 0.25 who knows; from train.py:5 (version ab)"
    )
    assert table[-1] == "x in 6 versions: 4 placed, 1 placed with a confidence below 0.9, 1 refused."


def test_advice_names_a_version_and_the_line_that_is_the_best_guess() -> None:
    assert told.advice(propagated(PLACED)) == []
    (sentence,) = told.advice(propagated(DOUBTFUL, REFUSED))
    assert "See flor-ray propagate x --versions 22222222 --diff, or pin the place with " in sentence
    assert "flor-ray propagate x --version 22222222 --line 3 (it goes after that line" in sentence


def test_advice_names_the_line_of_what_is_placed_and_no_line_where_nobody_knows_one() -> None:
    placed = Patched(findings=(Finding("x", Fate.PLACED, "train.py", 5, 0.5, "after line 4", after=4),))
    assert "--line 4 (it goes" in told.advice(propagated(placed))[0]
    unknown = Patched(refused={"x": "why"}, findings=(Finding("x", Fate.REFUSED, "train.py", why="why"),))
    (sentence,) = told.advice(propagated(unknown))
    assert sentence.endswith("--version 11111111 and --line: the line of the version's file that it goes after.")


def test_a_diff_is_printed_once_for_all_versions_that_have_it() -> None:
    assert told.diffs(propagated(PLACED, REFUSED, PLACED)) == (
        "# 2 versions: 11111111, 33333333\n"
        f"# x: placed at train.py:5, confidence {PLACED.findings[0].confidence:.2f}: {PLACED.findings[0].why}\n"
        "--- a/train.py\n+++ b/train.py\n@@ -2,3 +2,4 @@\n x = 1\n y = 2\n z = 3\n"
        '+flor.log("x", x)\n'
        "\n"
        "# version 22222222\n"
        "# x: refused after train.py:3?, confidence 0.25: who knows; from train.py:5 (version ab)\n"
        "#         1  import flor_ray as flor\n"
        "#         2  x = 1\n"
        "#   >     3  y = 2\n"
        "#         4  z = 3\n"
    )


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("a\nb\n", "a\nx\nb\n"),
        ("a\r\nb\r\n", "a\r\nx\r\nb\r\n"),
        ("a\nb", "a\nb\nx"),
        ("a\nb", "a\nx\nb"),
        ("a\x0cb\n\x1c\n\udcff\n", "a\x0cb\nx\n\x1c\n\udcff\n"),
        ("", "x\n"),
    ],
)
def test_git_applies_what_is_printed_and_gets_the_patched_bytes(tmp_path: Path, before: str, after: str) -> None:
    path = tmp_path / "sub dir" / "train.py"
    path.parent.mkdir()
    path.write_bytes(before.encode("utf-8", "surrogateescape"))
    comment = "# version 11111111\n"
    diff = (comment + told.unified("sub dir/train.py", before, after)).encode("utf-8", "surrogateescape")
    subprocess.run(["git", "apply", "--whitespace=nowarn"], cwd=tmp_path, input=diff, check=True)
    assert path.read_bytes() == after.encode("utf-8", "surrogateescape")


def test_json_has_an_object_for_each_version_and_statement() -> None:
    first, second = told.as_json(propagated(PLACED, REFUSED), with_diff=True)
    assert first | {"confidence": 0, "why": "", "diff": ""} == {
        "version": "1" * 40,
        "run": "run",
        "name": "x",
        "outcome": "placed",
        "file": "train.py",
        "line": 5,
        "confidence": 0,
        "why": "",
        "renames": {},
        "best_guess": None,
        "from": "train.py:5 (the working tree)",
        "diff": "",
    }
    assert str(first["diff"]).endswith('+flor.log("x", x)\n')
    assert (second["outcome"], second["line"], second["best_guess"], second["diff"]) == ("refused", None, 3, "")
