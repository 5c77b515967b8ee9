"""Names, values and stores that mean harm: the server answers in words, and nothing of them is obeyed."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from flor_ray.records import Status
from flor_ray.ui import cells
from tests import page
from tests.ui import worlds

MARKUP = "<img src=x onerror=alert(1)><script>alert(2)</script>"
ESCAPES = "\x1b[2Jred\x07\x9b31m"
BIDI = "safe\u202eexe.txt\u2066"
LINK = "javascript:alert(3)"
FORMULA = '=HYPERLINK("x")'
QUOTES = "\"'`;--\\${alert(4)}"
SURROGATE = "caf\udce9"
NAMES = (
    MARKUP,
    ESCAPES,
    BIDI,
    LINK,
    FORMULA,
    QUOTES,
    SURROGATE,
    "a\0b",
    "__proto__",
    "constructor",
    "",
    " ",
    "x" * 5000,
)
SECRET = "ghp_" + "a1B2" * 9


def hostile(root: Path) -> list[str]:
    """Runs in which everything that a user can name is one of these."""
    versions = []
    for number, name in enumerate(NAMES):
        args = {name: name, "lr": number, "password": SECRET, "text": SECRET}
        values: list[object] = [name, math.nan, math.inf, 2**70, b"\xff\0", {"a": [MARKUP]}]
        logged: dict[str, Sequence[object]] = {name or "nameless": values, "loss": [number]}
        status = Status.FAILED if number % 2 else Status.FINISHED
        versions.append(worlds.record(root, number, name, args, logged, status, error=name, script=f"{number}.py"))
    return versions


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = worlds.folder(tmp_path_factory.mktemp("hostile") / "project")
    hostile(root)
    (root / "train.py").write_text(f"import flor_ray as flor\nflor.log({MARKUP!r}, 1)\nflor.log({BIDI!r}, 2)\n")
    return root


def test_every_name_comes_as_a_text_in_which_nothing_is_obeyed(root: Path) -> None:
    client = page.client(str(root))
    names = [column["name"] for column in client.get("/api/runs/columns").json()["columns"]]
    assert len(names) > 2 * len(NAMES)
    for name in names:
        answer = client.get("/api/runs", params={"columns": ["run", "error", name], "sort": [name]})
        assert answer.status_code == 200, (name, answer.text)
        shown = [answer.json()["columns"], [row["cells"] for row in answer.json()["rows"]]]
        said = json.dumps([[column["shown"] for column in shown[0]], shown[1]], ensure_ascii=False)
        assert not set(said) & {"\x1b", "\x07", "\x9b", "\u202e", "\u2066", "\0"}, name
    rows = client.get("/api/runs", params={"columns": ["run"], "sort": "started"}).json()["rows"]
    assert [row["cells"][0] for row in rows][:4] == [
        MARKUP,
        "\\x1b[2Jred\\x07\\x9b31m",
        "safe\\u202eexe.txt\\u2066",
        LINK,
    ]
    assert rows[-1]["cells"][0] == {"text": "x" * 400, "cut": 5000}


def test_answers_are_json_and_never_a_page(root: Path) -> None:
    client = page.client(str(root))
    for path in ("/api/runs", "/api/runs/columns", f"/api/runs?where={MARKUP}", f"/api/runs?columns={MARKUP}x"):
        assert client.get(path).headers["content-type"] == "application/json"
        assert client.get(path).headers["x-content-type-options"] == "nosniff"
    assert MARKUP not in client.get(f"/{MARKUP}").text


def test_secrets_are_not_shown(root: Path) -> None:
    found = page.client(str(root)).get("/api/runs", params={"columns": ["text", "password"]}).text
    assert SECRET not in found


def test_a_filter_by_any_of_these_names_finds_its_run(root: Path) -> None:
    client = page.client(str(root))
    for name in (MARKUP, BIDI, LINK, FORMULA, QUOTES):
        where = "run = '" + name.replace("'", "''") + "'"
        assert client.get("/api/runs", params={"where": where, "columns": "run"}).json()["total"] == 1, name


def test_versions_with_such_names_are_compared(root: Path) -> None:
    versions = [worlds.version_of(number) for number in range(12)]
    found = page.client(str(root)).get("/api/compare", params={"versions": versions})
    assert found.status_code == 200, found.text
    assert "\x1b" not in found.text
    landing = page.client(str(root)).get("/api/compare/landing", params={"versions": versions[:2], "name": MARKUP})
    assert landing.status_code == 200, landing.text


@pytest.mark.parametrize("text", [*NAMES, "\x00", "\ud800", "a\u2028b"])
def test_a_text_is_readable_whatever_is_in_it(text: str) -> None:
    found = cells.readable(text)
    found.encode("utf-8")
    assert not set(found) & {"\x1b", "\x07", "\x9b", "\u202e", "\u2066", "\0"}


def test_values_that_json_cannot_hold_are_told_for_what_they_are() -> None:
    values = [math.nan, math.inf, -math.inf, 2**60, -(2**60), b"\0\xff", True, None, 1.5, {"a": math.nan}]
    assert [cells.cell(value) for value in values] == [
        *({"number": "NaN"}, {"number": "Infinity"}, {"number": "-Infinity"}),
        *({"number": str(2**60)}, {"number": str(-(2**60))}, {"other": "<2 bytes>"}, True, None, 1.5, '{"a": NaN}'),
    ]


DAMAGE: list[tuple[str, bytes]] = [
    ("experiments/project/*.end.json", b"{not json"),
    ("experiments/project/*.end.json", b'{"started": "<script>", "args": 7}'),
    ("experiments/project/*.end.json", b""),
    ("log_records/project/*/*.parquet", b"PAR1"),
    ("log_records/project/*/*.parquet", b"\0" * 5000),
]


@pytest.mark.parametrize(("pattern", "data"), DAMAGE)
def test_a_damaged_file_is_named_in_words_and_the_rest_is_shown(tmp_path: Path, pattern: str, data: bytes) -> None:
    root = worlds.folder(tmp_path / "project")
    versions = [worlds.record(root, number, f"run{number}", {"lr": 1}, {"loss": [1.0, 2.0]}) for number in range(3)]
    broken = sorted((root / ".flor").glob(pattern))[0]
    broken.write_bytes(data)
    client = page.client(str(root))
    found = client.get("/api/runs", params={"columns": ["run", "loss"]})
    assert found.status_code == 200, found.text
    assert found.json()["every"] == (2 if "experiments" in pattern else 3)
    assert any(broken.name in notice for notice in found.json()["notices"]), found.json()["notices"]
    whole = [version for version in versions if version not in str(broken)]
    assert client.get("/api/compare", params={"versions": whole}).status_code == 200
    for answer in (client.get("/api/compare", params={"versions": versions}), client.get("/api/runs/columns")):
        assert "Traceback" not in answer.text


def test_a_store_that_is_gone_or_of_another_program_is_said_in_words(tmp_path: Path) -> None:
    root = worlds.folder(tmp_path / "project")
    version = worlds.record(root, 0, "run", {}, {"loss": [1.0]})
    client = page.client(str(root))
    assert client.get("/api/runs").json()["every"] == 1
    shutil.rmtree(root / ".flor")
    answer: Any = client.get("/api/compare", params={"versions": [version]})
    assert answer.status_code == 400
    assert answer.json()["kind"] in ("NothingRecorded", "UnknownVersion")
