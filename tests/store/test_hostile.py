"""Hostile files in a store: nothing of them is executed, nothing is written elsewhere, and all else is answered."""

from __future__ import annotations

import contextlib
import io
import json
import os
import pickle
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

import flor_ray as flor
from flor_ray.cli.commands import cli
from flor_ray.environment.surroundings import Here, requirements
from flor_ray.errors import FlorError, FlorWarning
from flor_ray.records import (
    Checkpoint,
    EpochTimes,
    Experiment,
    Level,
    LogRecord,
    Operator,
    Point,
    Profile,
    Segment,
    SegmentReport,
    SourceFile,
    Status,
    Value,
)
from flor_ray.replaying.job import VersionJob
from flor_ray.replaying.version_folder import VersionFolder
from flor_ray.store import bounds, checks, codecs, columns, fragments, manifests
from flor_ray.store.data_frames import dataframe
from flor_ray.store.store import Store

GOOD, EVIL = "a" * 40, "e" * 40
SCRIPT = """import flor_ray as flor
for epoch in flor.loop("epoch", range(2)):
    flor.log("loss", 1.0 / (epoch + 1))
"""
MORE = SCRIPT + '    flor.log("twice", 2 * epoch)\n'
Do = Callable[[Path], None]


def experiment(version: str, **more: Any) -> Experiment:
    given: dict[str, Any] = {"main_loop": "epoch", "epochs": 2} | more
    return Experiment("digits", version, None, "train.py", "", 1e9, 1e9 + 5, Status.FINISHED, **given)


def add(store: Store, version: str, *values: Value, **more: Any) -> None:
    run = experiment(version, **more)
    store.begin_run(replace(run, ended=None, status=Status.RUNNING))
    losses = [LogRecord(Level.OUTER, epoch, None, "loss", 0, Value("float", 0.5), 5.0) for epoch in (1, 2)]
    others = [LogRecord(Level.OUTER, 1, None, "value", index, value, 5.0) for index, value in enumerate(values)]
    store.append_logs("digits", version, "recorded", 0, [*losses, *others])
    checkpoint = Checkpoint(version, "train.py", 2, 1, Point.EPOCH_END, "f" * 64, 1, 0.1)
    store.append_checkpoint("digits", checkpoint, EpochTimes(1, 1.0, 0.0, 0.0))
    store.write_sources("digits", version, None, {"train.py": SourceFile(SCRIPT.encode(), "100644", "1" * 40)})
    if run.status is not Status.CRASHED:
        store.end_run(run)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository, and beside it a store with a good version and another one."""
    folder = tmp_path_factory.mktemp("hostile")
    (folder / "digits").mkdir()
    (folder / "digits" / "train.py").write_text(MORE)
    subprocess.run(["git", "init", "-q", str(folder / "digits")], check=True)
    store = Store(str(folder / "store"))
    add(store, GOOD)
    add(store, EVIL)
    return folder


@pytest.fixture
def place(template: Path, tmp_path: Path) -> Path:
    shutil.copytree(template, tmp_path, dirs_exist_ok=True)
    return tmp_path


# --- files ----------------------------------------------------------------------------------------------------------


def row(change: Mapping[str, object], end: str = "end") -> Do:
    """A run's JSON with something in it."""

    def do(place: Path) -> None:
        path = place / f"store/experiments/digits/{EVIL}.{end}.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | change))

    return do


def text(where: str, data: bytes) -> Do:
    def do(place: Path) -> None:
        path = place / "store" / where.format(evil=EVIL)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)

    return do


def linked(where: str, target: str) -> Do:
    def do(place: Path) -> None:
        path = place / "store" / where.format(evil=EVIL)
        path.unlink(missing_ok=True)
        path.symlink_to(target)

    return do


def piped(where: str) -> Do:
    def do(place: Path) -> None:
        path = place / "store" / where.format(evil=EVIL)
        path.unlink()
        os.mkfifo(path)

    return do


def begins(data: bytes) -> Do:
    def do(place: Path) -> None:
        (place / f"store/experiments/digits/{EVIL}.end.json").unlink()
        text(f"{OF_RUN}.begin.json", data)(place)

    return do


def logged(*values: Value) -> Do:
    """Values in the log of the hostile version."""

    def do(place: Path) -> None:
        shutil.rmtree(place / f"store/log_records/digits/{EVIL}")
        records = [LogRecord(Level.OUTER, 1, None, "value", n, value, 5.0) for n, value in enumerate(values)]
        Store(str(place / "store")).append_logs("digits", EVIL, "recorded", 0, records)

    return do


def canary(kind: str) -> Do:
    return lambda place: logged(Value(kind, blob=pickle.dumps(Canary(place / "canary"))))(place)


def crashed(place: Path) -> None:
    """A run that never ended: its arguments are looked for among the values that it logged."""
    (place / f"store/experiments/digits/{EVIL}.end.json").unlink()
    value = Value("pickle", blob=pickle.dumps(Canary(place / "canary")))
    record = LogRecord(Level.DATA_PREP, None, None, "value", 0, value, 5.0)
    Store(str(place / "store")).append_logs("digits", EVIL, "recorded", 9, [record])


class Canary:
    """Touches a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def columns_of(table: str, metadata: Mapping[bytes, bytes] | None = None, **changed: Sequence[object]) -> Do:
    """A Parquet file of the hostile version, with other columns or other metadata."""

    def do(place: Path) -> None:
        (path, *_) = sorted((place / "store" / table / "digits").rglob("*.parquet"), key=lambda p: EVIL not in str(p))
        found = pq.read_table(path)
        for name, values in changed.items():
            field = found.schema.field(name)
            plain = columns.table({name: list(values)}, pa.schema([field]))
            found = found.slice(0, len(values)).set_column(found.schema.get_field_index(name), field, plain[name])
        pq.write_table(found.replace_schema_metadata(metadata) if metadata else found, path)

    return do


def replayed(report: bytes) -> Do:
    def do(place: Path) -> None:
        store = Store(str(place / "store"))
        record = LogRecord(Level.OUTER, 1, None, "loss", 0, Value("float", 0.1), 5.0)
        segment = Segment(EVIL, 1, 2, Operator.DP_I, names=("loss",))
        store.write_replay("digits", EVIL, "r-1", "s", [record], SegmentReport(segment, 1, 0.5, 1.5))
        (path,) = (place / "store/log_records/digits" / EVIL).glob("r-1*")
        table = pq.read_table(path)
        pq.write_table(table.replace_schema_metadata(table.schema.metadata | {b"flor_report": report}), path)

    return do


def source(*files: tuple[str, str, bytes]) -> Do:
    """A version's files: path, mode, data."""

    def do(place: Path) -> None:
        path = place / f"store/source_code/digits/{EVIL}.parquet"
        rows = pq.read_table(path).to_pylist()
        store = Store(str(place / "store"))
        keys = store.objects.put_many([data for *_, data in files])
        more = [
            rows[0] | {"filename": name.encode(), "mode": mode, "oid": f"{n:040}", "key": key}
            for n, ((name, mode, _), key) in enumerate(zip(files, keys, strict=True))
        ]
        path.write_bytes(fragments.to_bytes(columns.table_of_rows(rows + more, fragments.SOURCE_FILE_SCHEMA)))

    return do


def npy_head(shape: str) -> bytes:
    head = f"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY\x01\x00" + len(head).to_bytes(2, "little") + head


def npy_of_objects(place: Path) -> None:
    file = io.BytesIO()
    np.save(file, np.array([Canary(place / "canary")], object), allow_pickle=True)
    logged(Value("array", blob=file.getvalue()))(place)


def laughs() -> bytes:
    found: list[object] = ["ha"] * 10
    for _ in range(12):
        found = [found] * 10
    return pickle.dumps(found)


def without_object(data: bytes | None) -> Do:
    def do(place: Path) -> None:
        store = Store(str(place / "store"))
        logged(Value("bytes", blob=b"evil bytes"))(place)
        key = store.objects.put(b"evil bytes")
        path = place / f"store/objects/{key[:2]}/{key[2:]}"
        if data is None:
            path.unlink()
        else:
            path.write_bytes(data)

    return do


DEEP = b"[" * 200_000 + b"]" * 200_000
RED = "\x1b[31m\x1b]0;owned\x07"
OF_RUN = "experiments/digits/{evil}"
HOSTILE: dict[str, Do] = {
    "E nests too deep": text(f"{OF_RUN}.end.json", b'{"args": ' + DEEP + b"}"),
    "E begins too deep": begins(DEEP),
    "E is garbage": text(f"{OF_RUN}.end.json", b"\xff\x00"),
    "E is empty": text(f"{OF_RUN}.end.json", b""),
    "E is a list": text(f"{OF_RUN}.end.json", b"[]"),
    "E has a trillion epochs": row({"epochs": 10**12}),
    "E has fewer than no epochs": row({"epochs": -1}),
    "E has a number of 10000 digits": text(f"{OF_RUN}.end.json", b'{"epochs": ' + b"9" * 10_000 + b"}"),
    "E began in no year": row({"started": 1e300}),
    "E began at NaN": row({"started": float("nan")}),
    "E ended at infinity": row({"ended": float("inf")}),
    "E is of another version": row({"version": GOOD}),
    "E is of another project": row({"project": "../../digits"}),
    "E's script is elsewhere": row({"script": "/etc/passwd"}),
    "E's script climbs": row({"script": "../../evil.py"}),
    "E's script is git's": row({"script": ".git/hooks/post-checkout"}),
    "E's variables are a list": row({"environment": {"variables": ["LD_PRELOAD"]}}),
    "E's packages are numbers": row({"environment": {"distributions": {"numpy": 1}}}),
    "E's sys.path is a number": row({"environment": {"sys_path": 7}}),
    "E's inputs are texts": row({"environment": {"inputs": ["x"]}}),
    "E's times are too deep": row({"profile": {"epochs": [[[[1]]]]}}),
    "E speaks to the terminal": row({"run": RED, "error": RED, "args": {RED: RED}, "status": "failed"}),
    "E is called like an option": text("experiments/digits/--output=x.begin.json", b"{}"),
    "a heartbeat nests too deep": text(f"{OF_RUN}.beat.json", DEEP),
    "E is a device": linked(f"{OF_RUN}.end.json", "/dev/zero"),
    "E is a pipe": piped(f"{OF_RUN}.end.json"),
    "F is a device": linked("log_records/digits/{evil}/recorded.000000000009-000000000009.parquet", "/dev/zero"),
    "files.json is a device": linked(f"{OF_RUN}.files.json", "/dev/zero"),
    "files.json climbs": text(f"{OF_RUN}.files.json", b'[{"path": "../../x", "states": []}]'),
    "files.json nests too deep": text(f"{OF_RUN}.files.json", DEEP),
    "a pickle runs code": canary("pickle"),
    "a DataFrame runs code": canary("dataframe"),
    "a crashed run's value runs code": crashed,
    "an array of objects runs code": npy_of_objects,
    "a pickle laughs": logged(Value("pickle", blob=laughs())),
    "a pickle is garbage": logged(Value("pickle", blob=b"\x80\x05\x8e" + b"\xff" * 8)),
    "an array says it is huge": logged(Value("array", blob=npy_head("(1000000000000,)"))),
    "an array has a negative size": logged(Value("array", blob=npy_head("(-1, -8)"))),
    "an array's head is garbage": logged(Value("array", blob=b"\x93NUMPY\x09\x09")),
    "a tensor says it is huge": logged(Value("tensor", blob=b"torch.bfloat16\n" + npy_head("(1000000000000,)"))),
    "a DataFrame is cut": logged(Value("dataframe", blob=b"PAR1\x00PAR1")),
    "a JSON value nests too deep": logged(Value("json", text=DEEP.decode())),
    "a number is no number": logged(Value("bigint", text="zz")),
    "a value is of no type": logged(Value("hologram", text="x")),
    "a value speaks to the terminal": logged(Value("str", text=RED)),
    "an object's key climbs": logged(Value("pickle", text="../../../../../../etc/passwd")),
    "an object's key is a device": logged(Value("bytes", text="../../../../../../../../../../dev/zero")),
    "an object is gone": without_object(None),
    "an object is another one": without_object(b"other"),
    "F is garbage": text("log_records/digits/{evil}/recorded.000000000000-000000000001.parquet", b"PAR1garbagePAR1"),
    "F's footer is cut": text(
        "log_records/digits/{evil}/recorded.000000000000-000000000001.parquet", b"PAR1\xff\xff\xff\x7fPAR1"
    ),
    "F's names nest too deep": columns_of("log_records", {b"flor_names": DEEP}),
    "F's names are a list": columns_of("log_records", {b"flor_names": b"[1]"}),
    "F has an epoch of the far future": columns_of("log_records", epoch=[2**62, 2**62 + 1]),
    "F has a negative epoch": columns_of("log_records", epoch=[-5, -6]),
    "F has no names": columns_of("log_records", name=[None, None]),
    "F has no levels": columns_of("log_records", level=[None, None]),
    "a report is garbage": replayed(b"\xff"),
    "a report nests too deep": replayed(DEEP),
    "a report is of no kind": replayed(b'{"operator": "rm -rf"}'),
    "C is garbage": text("checkpoints/digits/{evil}/000001-epoch_end.parquet", b"PAR1"),
    "C is of no epoch": columns_of("checkpoints", epoch=[None]),
    "C is of no point": columns_of("checkpoints", point=["rm"]),
    "C has no size": columns_of("checkpoints", bytes=[None]),
    "G is garbage": text("source_code/digits/{evil}.parquet", b"PAR1"),
    "G climbs": source(("../../evil.py", "100644", b"x")),
    "G is absolute": source(("/tmp/flor-evil.py", "100644", b"x")),
    "G writes into git": source((".git/hooks/post-checkout", "100755", b"x")),
    "G writes into git, on a Mac": source((".GIT/config", "100644", b"x")),
    "G writes through a link": source(("out", "120000", b"/tmp"), ("out/evil.py", "100644", b"x")),
    "G has a file below a file": source(("train.py/evil.py", "100644", b"x")),
    "G has a device": source(("evil", "060000", b"x")),
    "G has no name": source(("", "100644", b"x")),
}


# --- what becomes of them -------------------------------------------------------------------------------------------


def outside(place: Path) -> set[str]:
    """All files but those of the store, the repository and what pytest has here."""
    return {path.name for path in place.iterdir()} | {path.name for path in place.parent.glob("*evil*")}


@pytest.mark.filterwarnings("ignore::flor_ray.errors.FlorWarning")
@pytest.mark.parametrize("name", HOSTILE)
def test_nothing_is_executed_nothing_is_written_elsewhere_and_all_else_is_answered(place: Path, name: str) -> None:
    HOSTILE[name](place)
    before, url = outside(place), str(place / "store")
    store = Store(url)
    runs_found = store.experiments("digits", now=2e9)
    assert GOOD in [run.version for run in runs_found]
    frame = dataframe(store, "digits", (), runs_found)
    assert frame.loc[frame["version"] == GOOD, "loss"].tolist() == [0.5, 0.5]
    explained = str(flor.explain("twice", path=str(place / "digits"), store_url=url))
    assert GOOD[:8] in explained
    assert "\x1b" not in explained
    for version in (GOOD, EVIL):
        job = VersionJob(url, "r-2", experiment(version), ())
        refused = contextlib.suppress(FlorError) if version == EVIL else contextlib.nullcontext()
        with refused, VersionFolder(job, store) as folder:
            folder.preload(without_gpu=True)
    assert outside(place) == before
    assert not (place / "canary").exists()


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
