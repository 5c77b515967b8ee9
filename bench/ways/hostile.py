"""Stores in which somebody has put what should not be there, beside a version that is as it should be.

Each is asked all that a store is asked: nothing of it may be executed, nothing written elsewhere, and the good version
is answered as if it were alone.
"""

from __future__ import annotations

import io
import json
import os
import pickle
import shutil
import subprocess
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

import flor_ray as flor
from flor_ray import pipeline
from flor_ray.cluster.executors import ThreadExecutor
from flor_ray.errors import FlorWarning
from flor_ray.planning.terms import Terms
from flor_ray.records import (
    Checkpoint,
    EpochTimes,
    Experiment,
    Level,
    LogRecord,
    Operator,
    Point,
    Segment,
    SegmentReport,
    SourceFile,
    Status,
    Value,
)
from flor_ray.replaying.version_process import WarmServers
from flor_ray.store import columns, fragments
from flor_ray.store.pivoting.data_frames import dataframe
from flor_ray.store.project import Project
from flor_ray.store.store import Store
from tests.conftest import keep_usual_calibration

QUESTIONS = ("versions", "dataframe", "explain", "replay")
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


def template(folder: Path) -> None:
    """A repository, and beside it a store with a good version and another one."""
    (folder / "digits").mkdir(parents=True)
    (folder / "digits" / "train.py").write_text(MORE)
    subprocess.run(["git", "init", "-q", str(folder / "digits")], check=True)
    store = Store(str(folder / "store"))
    add(store, GOOD)
    add(store, EVIL)
    keep_usual_calibration(Project.open(str(folder / "digits"), store.url))


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


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a hostile file did, and which questions the good version was answered in spite of it."""

    executed: bool
    written: frozenset[str]  # outside of the store and the repository
    answered: frozenset[str]
    told: str  # all that a user was shown


def judge(place: Path, name: str, servers: Sequence[WarmServers]) -> Verdict:
    """Put a hostile file into a copy of the template, and ask everything."""
    HOSTILE[name](place)
    before, url, root = outside(place), str(place / "store"), str(place / "digits")
    answered: set[str] = set()
    told: list[str] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", FlorWarning)
        store = Store(url)
        runs_found = store.experiments("digits", now=2e9)
        if GOOD in [run.version for run in runs_found]:
            answered.add("versions")
        frame = dataframe(store, "digits", (), runs_found)
        if frame.loc[frame["version"] == GOOD, "loss"].tolist() == [0.5, 0.5]:
            answered.add("dataframe")
        explained = str(flor.explain("twice", path=root, store_url=url, workers=1))
        told.append(explained)
        if GOOD[:8] in explained:
            answered.add("explain")
        prepared = pipeline.prepare(Project.open(root, url), ["twice"], None, Terms(1))
        outcome = pipeline.run(prepared, ThreadExecutor(servers))
        told += [why for _, why in outcome.failures]
        frame = flor.dataframe("twice", path=root, store_url=url)
        if frame.loc[frame["version"] == GOOD, "twice"].tolist() == [0, 2]:
            answered.add("replay")
    told += [str(one.message) for one in caught]
    executed = (place / "canary").exists()
    return Verdict(executed, frozenset(outside(place) - before - {"canary"}), frozenset(answered), "\n".join(told))
