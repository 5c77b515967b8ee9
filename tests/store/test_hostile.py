"""Hostile files in a store: nothing of them is executed, nothing is written elsewhere, and all else is answered."""

from __future__ import annotations

import contextlib
import io
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from flor_ray.cli.commands import cli
from flor_ray.environment.surroundings import Here, requirements
from flor_ray.errors import FlorError, FlorWarning
from flor_ray.records import EpochTimes, Profile
from flor_ray.replaying.job import VersionJob
from flor_ray.replaying.version_folder import VersionFolder
from flor_ray.store import bounds, checks, codecs, columns, fragments, manifests
from flor_ray.store.store import Store
from tests.bench_modules import bench_module
from tests.conftest import warm_servers

hostile: Any = bench_module("ways.hostile")
GOOD, EVIL, DEEP, HOSTILE = hostile.GOOD, hostile.EVIL, hostile.DEEP, hostile.HOSTILE
experiment = hostile.experiment


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository, and beside it a store with a good version and another one."""
    folder = tmp_path_factory.mktemp("hostile")
    hostile.template(folder)
    return folder


@pytest.fixture
def place(template: Path, tmp_path: Path) -> Path:
    shutil.copytree(template, tmp_path, dirs_exist_ok=True)
    return tmp_path


# --- what becomes of them -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", HOSTILE)
def test_nothing_is_executed_nothing_is_written_elsewhere_and_all_else_is_answered(place: Path, name: str) -> None:
    verdict = hostile.judge(place, name, warm_servers())
    assert (verdict.executed, verdict.written) == (False, frozenset())
    assert verdict.answered == frozenset(hostile.QUESTIONS)
    assert "\x1b" not in verdict.told


@pytest.mark.filterwarnings("ignore::flor_ray.errors.FlorWarning")
@pytest.mark.parametrize("name", HOSTILE)
def test_a_worker_that_is_sent_to_the_version_all_the_same_writes_nothing_elsewhere(place: Path, name: str) -> None:
    HOSTILE[name](place)
    before, url = hostile.outside(place), str(place / "store")
    for version in (GOOD, EVIL):
        job = VersionJob(url, "r-2", experiment(version), ())
        refused = contextlib.suppress(FlorError) if version == EVIL else contextlib.nullcontext()
        with refused, VersionFolder(job, Store(url)) as folder:
            folder.preload(without_gpu=True)
    assert hostile.outside(place) == before


def test_who_lists_versions_is_told_of_each_file_that_is_left_out(place: Path) -> None:
    HOSTILE["E has a trillion epochs"](place)
    with pytest.warns(FlorWarning, match=rf"{EVIL}\.end\.json does not hold .* 1000000000000 epochs.* left out"):
        assert len(Store(str(place / "store")).experiments("digits")) == 1


def test_the_terminal_obeys_nothing_that_the_store_says(place: Path) -> None:
    HOSTILE["E speaks to the terminal"](place)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place / "digits")
        shown = CliRunner().invoke(cli, ["versions", "--store", str(place / "store")])
    assert shown.exit_code == 0, shown.output
    assert EVIL[:8] in shown.output
    assert "\\x1b" in shown.output
    assert "\x1b" not in shown.output
    assert "\x07" not in shown.output


# --- sizes that are declared ----------------------------------------------------------------------------------------


def test_a_table_of_equal_rows_is_no_larger_than_a_run_could_have_made_it(monkeypatch: pytest.MonkeyPatch) -> None:
    table = columns.table({"bytes": [1] * 100_000}, pa.schema([("bytes", pa.int64())]))
    data = fragments.to_bytes(table)
    assert bounds.parquet(data).metadata.num_rows == 100_000
    monkeypatch.setattr(bounds, "_CELLS", 1000)
    with pytest.raises(ValueError, match="are said to be 100000 rows"):
        bounds.parquet(data)


def test_a_text_that_all_rows_share_is_counted_for_each(monkeypatch: pytest.MonkeyPatch) -> None:
    schema = pa.schema([("text", pa.string())])
    file = io.BytesIO()
    pq.write_table(columns.table({"text": ["x" * 10_000] * 10_000}, schema), file, use_dictionary=True)
    assert bounds.parquet(file.getvalue()).metadata.num_rows == 10_000
    monkeypatch.setattr(bounds, "_TEXT_BYTES", 1 << 20)
    with pytest.raises(ValueError, match="bytes of text"):
        bounds.parquet(file.getvalue())


@pytest.mark.parametrize("size", [10**12, -1])
def test_zstd_is_not_believed_what_it_cannot_hold(size: int) -> None:
    with pytest.raises(Exception, match="cannot be decompressed"):
        codecs.decode(codecs.encode(bytes(1000), "zstd1"), "zstd1", size)


HEADS = [
    b'{"keys": ["a"], "parts": [[7, 0, 1, "", 1]], "buffers": []}',
    b'{"keys": ["a"], "parts": [[0, -1, 1, "", 1]], "buffers": []}',
    b'{"keys": ["a"], "parts": [[0, 0, 1, "", 1]], "buffers": [3]}',
    b'{"keys": [1], "parts": [], "buffers": []}',
    b'{"keys": []}',
    b"[]",
    DEEP,
]


@pytest.mark.parametrize("head", HEADS, ids=range(len(HEADS)))
def test_a_checkpoints_manifest_is_looked_at_before_it_is_used(head: bytes) -> None:
    packed = bytes(codecs.encode(head + b"\npickle", "zstd1"))
    data = b"flor2 " + f"{len(packed)} {len(head) + 7}\n".encode() + packed
    with pytest.raises(FlorError, match="is not the manifest of a checkpoint"):
        manifests.from_bytes(data, "k")


# --- packages -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "version"),
    [
        ("--extra-index-url", "http://evil"),
        ("numpy", "1.0 --extra-index-url=http://evil"),
        ("numpy @ http://evil/x.whl", "1"),
        ("-r", "1"),
        ("../evil", "1"),
        ("numpy", "1.0; print()"),
        ("numpy", "-e ."),
    ],
)
def test_only_names_and_versions_are_told_to_pip(name: str, version: str) -> None:
    found = requirements({"distributions": {name: version, "toolz": "0.11.0"}}, {}, Here("3.12", "", (), {}))
    assert found.packages == ("toolz==0.11.0",)
    assert len(found.left_out) == 1


def test_a_run_that_has_as_many_epochs_as_its_file_has_times_is_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "_MOST_EPOCHS", 10)
    many = tuple(EpochTimes(epoch, 0.0, 0.0, 0.0) for epoch in range(1, 12))
    checks.expect_epochs(experiment(EVIL, epochs=11, profile=Profile(epochs=many)))
    with pytest.raises(ValueError, match="has had 11 epochs"):
        checks.expect_epochs(experiment(EVIL, epochs=11))
