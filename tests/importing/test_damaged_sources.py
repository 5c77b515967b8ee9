"""Sources that were cut off, damaged, or made to harm: no exception, no wrong value, and what is lost is told."""

from __future__ import annotations

import json
import math
import random
import sqlite3
import struct
import tempfile
import time
import tracemalloc
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flor_ray.errors import UsageError
from flor_ray.importing import arriving, leveldb_log, tfrecords, wire
from flor_ray.importing.arriving import ImportDone, ImportFate
from flor_ray.importing.found_runs import from_text, parsed
from flor_ray.importing.leveldb_log import LogDamage
from flor_ray.importing.tfrecords import Damage
from flor_ray.store.store import Store
from tests.imported_sources import EVENTS, KINDS, Row, imported, lay_out, rows, same

# --- what the formats say, written slowly ---------------------------------------------------------------------------


def crc32c(data: bytes) -> int:
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def masked(data: bytes) -> bytes:
    crc = crc32c(data)
    return struct.pack("<I", (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF)


def framed(record: bytes) -> bytes:
    length = struct.pack("<Q", len(record))
    return length + masked(length) + record + masked(record)


def varint(number: int) -> bytes:
    number &= (1 << 64) - 1
    found = bytearray()
    while number >= 0x80:
        found.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*found, number])


def message(number: int, data: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(data)) + data


def scalar(name: str, value: float, step: int, timestamp: float) -> bytes:
    said = message(1, name.encode()) + b"\x15" + struct.pack("<f", value)
    event = b"\x09" + struct.pack("<d", timestamp)
    return event + (b"\x10" + varint(step) if step else b"") + message(5, message(1, said))


VERSION = b"\x09" + struct.pack("<d", 1.7e9) + message(3, b"brain.Event:2")


def fragments(records: list[bytes]) -> bytes:
    """A .wandb file."""
    found = bytearray(leveldb_log.HEADER)

    def add(kind: int, data: bytes) -> None:
        crc = zlib.crc32(bytes([kind]) + data)
        found.extend(struct.pack("<IHB", crc, len(data), kind) + data)

    for record in records:
        begun = False
        while True:
            room = 32768 - len(found) % 32768
            if room < 7:
                found.extend(bytes(room))
                continue
            part, record = record[: room - 7], record[room - 7 :]
            add(({True: 4, False: 3} if begun else {True: 1, False: 2})[not record], part)
            begun = True
            if not record:
                break
    return bytes(found)


def history(step: int, values: dict[str, object]) -> bytes:
    items = list(values.items())
    items += [("_step", step), ("_timestamp", 1.7e9 + step)]
    said = b"".join(message(1, message(2, name.encode()) + message(16, json.dumps(v).encode())) for name, v in items)
    return message(2, said)


RUN = message(17, message(1, b"r1") + message(3, b"digits") + message(8, b"made"))
EXIT = message(18, b"\x10\x01")


def read_events(data: bytes, folder: Path) -> tuple[list[Row], ImportDone]:
    return _read(data, folder, EVENTS)


def read_wandb(data: bytes, folder: Path) -> tuple[list[Row], ImportDone]:
    return _read(data, folder, "run-r1.wandb")


def _read(data: bytes, folder: Path, name: str) -> tuple[list[Row], ImportDone]:
    place = Path(tempfile.mkdtemp(dir=folder))
    (place / name).write_bytes(data)
    store = Store("memory://" + place.name)
    done = imported(store, place / name)
    return [row for run in store.experiments("digits") for row in rows(store, run.version)], done


# --- framing --------------------------------------------------------------------------------------------------------


@given(st.lists(st.binary(max_size=3000), max_size=20), st.integers(0, 2**32))
@settings(max_examples=25)
def test_records_of_tensorboard_come_back_up_to_where_a_file_was_cut_off(records: list[bytes], seed: int) -> None:
    data = b"".join(map(framed, records))
    cut = random.Random(seed).randint(0, len(data))
    for size in (len(data), cut):
        damage = Damage()
        with tempfile.TemporaryFile() as file:
            file.write(data[:size])
            found = list(tfrecords.records(file, size, damage))
        assert found == records[: len(found)]
        assert damage.unread == size - sum(len(record) + 16 for record in found)
        assert not damage.records
    assert size == cut or found == records


@given(st.lists(st.binary(max_size=70_000), max_size=6), st.integers(0, 2**32))
@settings(max_examples=25)
def test_records_of_wandb_come_back_up_to_where_a_file_was_cut_off(records: list[bytes], seed: int) -> None:
    data = fragments(records)
    for size in (len(data), random.Random(seed).randint(7, len(data))):
        damage = LogDamage()
        with tempfile.TemporaryFile() as file:
            file.write(data[:size])
            found = list(leveldb_log.log_records(file, damage))
        assert found == records[: len(found)]
        assert len(found) == len(records) or size < len(data)


@given(st.binary(max_size=200))
def test_any_bytes_are_fields_or_refused(data: bytes) -> None:
    try:
        found = wire.fields(data)
    except ValueError:
        return
    assert sum(len(value) if isinstance(value, bytes) else 1 for _, _, value in found) <= len(data)


# --- runs -----------------------------------------------------------------------------------------------------------

NAMES = st.sampled_from(["loss", "train/loss", "a.b", "it's", 'quo"ted', "ü", "", "select", "Loss", " sp ace "])
SINGLES = st.floats(width=32, allow_nan=True, allow_infinity=True)


@given(st.lists(st.tuples(NAMES, SINGLES, st.integers(0, 2**47)), min_size=1, max_size=30))
@settings(max_examples=40)
def test_scalars_of_any_name_and_value_come_back(values: list[tuple[str, float, int]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        data = b"".join(map(framed, [VERSION, *(scalar(n, v, s, 1.7e9) for n, v, s in values)]))
        found, _ = read_events(data, Path(folder))
    wanted = sorted(values, key=lambda value: value[2])
    got = [(name, value, step) for name, _, step, _, value in found]
    assert [(n, s) for n, _, s in got] == [(n, s) for n, _, s in wanted]
    assert all(same(a[1], b[1]) for a, b in zip(got, wanted, strict=True))


def flipped(data: bytes, seed: int) -> Iterator[bytes]:
    chance = random.Random(seed)
    for _ in range(3):
        changed = bytearray(data)
        for _ in range(chance.choice([1, 1, 2, 8])):
            changed[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        yield bytes(changed)


def expect_none_invented(found: list[Row], of: list[Row]) -> None:
    known = {(name, epoch, step, repr(value)) for name, epoch, step, _, value in of}
    assert [row for row in found if (row[0], row[1], row[2], repr(row[4])) not in known] == []


@given(st.integers(0, 2**32))
@settings(max_examples=25)
def test_flipped_bits_never_make_another_value_of_tensorboards(seed: int) -> None:
    data = b"".join(map(framed, [VERSION, *(scalar(n, s / 3, s, 1.7e9) for s in range(20) for n in ("a", "b"))]))
    with tempfile.TemporaryDirectory() as folder:
        whole, _ = read_events(data, Path(folder))
        assert len(whole) == 40
        for damaged in flipped(data, seed):
            found, done = read_events(damaged, Path(folder))
            expect_none_invented(found, whole)
            assert len(found) == 40 or done.damaged or [note for a in done.arrivals for note in a.notes]


@given(st.integers(0, 2**32))
@settings(max_examples=25)
def test_flipped_bits_never_make_another_value_of_wandbs(seed: int) -> None:
    data = fragments([RUN, *(history(s, {"a": s / 3, "b": f"text {s}" * 300}) for s in range(20)), EXIT])
    with tempfile.TemporaryDirectory() as folder:
        whole, _ = read_wandb(data, Path(folder))
        assert len(whole) == 40
        for damaged in flipped(data, seed):
            found, done = read_wandb(damaged, Path(folder))
            expect_none_invented(found, whole)
            assert len(found) == 40 or done.damaged or [note for a in done.arrivals for note in a.notes]


@pytest.mark.parametrize("kind", KINDS)
def test_no_cut_and_no_flip_of_a_real_file_raises(kind: str, tmp_path: Path) -> None:
    """Formats without checksums may say something else then; all of them must stay readable."""
    chance = random.Random(kind)
    for number in range(12):
        source = lay_out(kind, tmp_path / str(number))
        for path in sorted(path for path in source.rglob("*") if path.is_file()):
            data = bytearray(path.read_bytes())
            if number % 2:
                del data[chance.randrange(len(data)) :]
            else:
                for _ in range(20):
                    data[chance.randrange(len(data))] = chance.randrange(256)
            path.write_bytes(data)
        done = ImportDone()
        store = Store(f"memory://{kind.replace(' ', '-')}-{number}")
        try:
            arriving.import_runs(store, arriving.ImportTerms(str(source), "digits"), done, lambda *_: None, 4e9)
        except UsageError:  # nothing is left of what it was
            continue
        assert {arrival.run.version for arrival in done.arrivals if arrival.fate is ImportFate.NEW} == {
            run.version for run in store.experiments("digits", whole=True)
        }
        store.logs("digits")


def test_a_torn_line_of_a_metric_of_mlflow_is_no_value(tmp_path: Path) -> None:
    run = tmp_path / "mlruns" / "1" / "r1"
    (run / "metrics").mkdir(parents=True)
    (run / "params").mkdir()
    (run / "meta.yaml").write_text("run_id: r1\nstatus: 3\nstart_time: 1700000000000\nlifecycle_stage: active\n")
    (run / "metrics" / "loss").write_text("1700000000000 0.5 0\n1700000000000 nan 1\nwhat\n1700000000001 0.12")
    store = Store(str(tmp_path / "store"))
    (arrival,) = imported(store, tmp_path / "mlruns").arrivals
    found = rows(store, arrival.run.version)
    assert [(row[2], repr(row[4])) for row in found] == [(0, "0.5"), (1, "nan")]
    assert f"{run}/metrics/loss: 2 lines torn or damaged, and left out." in arrival.notes


# --- made to harm ---------------------------------------------------------------------------------------------------


def test_records_that_hold_nothing_are_passed_over(tmp_path: Path) -> None:
    records = [VERSION, b"", b"\x09", scalar("a", 1.0, 1, 1.7e9), message(5, b""), message(5, message(1, b""))]
    found, _ = read_events(b"".join(map(framed, records)), tmp_path)
    assert [row[4] for row in found] == [1.0]


def test_a_length_that_no_memory_holds_costs_the_rest_of_its_file(tmp_path: Path) -> None:
    length = struct.pack("<Q", 2**62)
    data = framed(VERSION) + framed(scalar("a", 1.0, 1, 1.7e9)) + length + masked(length) + b"rest"
    found, done = read_events(data, tmp_path)
    assert [row[4] for row in found] == [1.0]
    assert "the last 16 B are torn or damaged" in done.arrivals[0].notes[0]


def test_records_larger_than_are_read_are_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tfrecords, "LARGEST_RECORD", 1 << 19)
    monkeypatch.setattr(leveldb_log, "LARGEST_RECORD", 1 << 19)
    big = bytes(1 << 20)
    found, done = read_events(b"".join(map(framed_fast, [VERSION, big, scalar("a", 1.0, 1, 1.7e9)])), tmp_path)
    assert [row[4] for row in found] == [1.0]
    assert "1 record larger than" in done.arrivals[0].notes[0]
    found, done = read_wandb(fragments([RUN, message(13, big), history(1, {"a": 1.5}), EXIT]), tmp_path)
    assert [row[4] for row in found] == [1.5]
    assert "1 record larger than" in done.arrivals[0].notes[0]


def framed_fast(record: bytes) -> bytes:
    """`framed`, for records of a megabyte."""
    length = struct.pack("<Q", len(record))
    (crc,) = tfrecords._checksums(record, [(0, len(record))]).tolist()
    return length + masked(length) + record + struct.pack("<I", crc)


@given(st.binary(max_size=3000))
@settings(max_examples=40)
def test_checksums_of_any_length_are_those_of_the_slow_way(data: bytes) -> None:
    spans = [(0, len(data)), (len(data) // 2, len(data)), (0, 0)]
    found = [struct.pack("<I", crc) for crc in tfrecords._checksums(data, spans).tolist()]
    assert found == [masked(data[begin:end]) for begin, end in spans]


def test_the_checksum_is_that_of_the_standard() -> None:
    assert crc32c(b"123456789") == 0xE3069283


HOSTILE = [
    '{"a": ' * 5000 + "1" + "}" * 5000,
    "9" * 100_000,
    "[" * 90 + "]" * 90,
    '{"_type": "image-file"}',
    '"\\ud800"',
    "1e999",
    "-1e-999",
]


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_json_made_to_harm_costs_itself(text: str, tmp_path: Path) -> None:
    row = message(2, message(1, message(2, b"bad") + message(16, text.encode())) + message(2, b"\x08\x03"))
    found, done = read_wandb(fragments([RUN, row, history(4, {"good": 1}), EXIT]), tmp_path)
    assert [row[4] for row in found if row[0] == "good"] == [1]
    assert [row for row in found if row[0] == "bad"] or "without" in done.arrivals[0].notes[-1]
    line = {"projid": "p", "tstamp": "2026-01-01T00:00:00", "filename": "f", "ctx": None, "name": "bad", "type": 1}
    lines = [json.dumps(line)[:-1] + f', "value": {text}}}\n', json.dumps(line | {"name": "good", "value": 2}) + "\n"]
    (tmp_path / "run.jsonl").write_text("".join(lines))
    store = Store(str(tmp_path / "store"))
    (arrival,) = imported(store, tmp_path / "run.jsonl").arrivals
    assert [row[4] for row in rows(store, arrival.run.version) if row[0] == "good"] == [2]


def test_impossible_steps_and_times_cost_themselves(tmp_path: Path) -> None:
    rows_ = [
        message(2, message(1, message(2, name) + message(16, value)) + message(1, message(2, b"x") + message(16, b"1")))
        for name, value in (
            (b"_step", b"1e300"),
            (b"_step", b"99999999999999999999999"),
            (b"_step", b"true"),
            (b"_timestamp", b"9" * 400),
            (b"_timestamp", b"NaN"),
            (b"_timestamp", b"1e300"),
        )
    ]
    found, done = read_wandb(fragments([RUN, *rows_, history(4, {"good": 1}), EXIT]), tmp_path)
    assert [row[4] for row in found if row[0] == "good"] == [1]
    assert done.arrivals[0].experiment is not None
    assert 0 <= done.arrivals[0].experiment.started < 2e9


def test_a_database_whose_tables_are_views_is_none(tmp_path: Path) -> None:
    """A view may be a program; only plain tables are read."""
    endless = "WITH RECURSIVE t(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM t) SELECT"
    with sqlite3.connect(tmp_path / "mlflow.db") as connection:
        connection.execute("CREATE TABLE params (key, value, run_uuid)")
        connection.execute(
            f"CREATE VIEW metrics AS {endless} n key, 1.0 value, 1 timestamp, 'r' run_uuid, 1 step, 0 is_nan FROM t"
        )
        connection.execute("CREATE TABLE runs (run_uuid, status, start_time, end_time, lifecycle_stage, experiment_id)")
    with pytest.raises(UsageError, match="No run of"):
        imported(Store("memory://views"), tmp_path)


def test_yaml_made_to_harm_is_refused(tmp_path: Path) -> None:
    run = tmp_path / "r1"
    (run / "metrics").mkdir(parents=True)
    for text in ("run_id: !!python/object/apply:os.system ['true']", "a: &a [x]\nb: [*a, *a]", "- " * 3000, "\0", ""):
        (run / "meta.yaml").write_text(text)
        done = imported(Store("memory://yaml"), run)
        assert done.damaged
        assert str(run) in done.notes[0]


def test_links_in_a_folder_of_runs_lead_nowhere(tmp_path: Path) -> None:
    source = lay_out("tensorboard", tmp_path / "source")
    (source / "around").symlink_to(source, target_is_directory=True)
    assert len(imported(Store("memory://links"), source).arrivals) == 4


def test_a_hundred_thousand_scalars_take_half_a_second_and_little_memory(tmp_path: Path) -> None:
    """Processor time, with room for a slow machine; tbparse takes 5.5 s and 266 MB."""
    records = [VERSION, *(scalar(n, s / 3, s, 1.7e9 + s) for s in range(500) for n in ("loss", "acc"))]
    block = b"".join(map(framed, records))
    (tmp_path / EVENTS).write_bytes(block + block[len(framed(VERSION)) :] * 99)
    best = math.inf
    for number in range(3):
        began = time.process_time()
        done = imported(Store(f"memory://many-{number}"), tmp_path)
        best = min(best, time.process_time() - began)
    assert done.arrivals[0].values == 100_000
    assert best < 2.0
    tracemalloc.start()
    imported(Store("memory://many"), tmp_path)
    assert tracemalloc.get_traced_memory()[1] < 60e6
    tracemalloc.stop()


# --- texts ----------------------------------------------------------------------------------------------------------


@given(
    st.one_of(
        st.integers(-(10**30), 10**30),
        st.floats(),
        st.booleans(),
        st.none(),
        st.lists(st.integers() | st.floats(allow_nan=False, allow_infinity=False)),
    )
)
def test_what_python_prints_is_read_back(value: object) -> None:
    assert same(from_text(str(value)), value)


@pytest.mark.parametrize(
    "text", ["007", "1.10", "1e3", "+1", " 1", "1_000", "0x1", "١", "true", "none", "", "['a']", "-", "--1"]
)
def test_other_texts_stay_texts(text: str) -> None:
    assert from_text(text) == text


def test_json_of_any_depth_is_read_or_refused() -> None:
    assert parsed("[" * 100 + "]" * 100)
    with pytest.raises(ValueError, match="too deep"):
        parsed("[" * 102 + "]" * 102)


# --- databases made to harm -----------------------------------------------------------------------------------------

_ANY: list[object] = [
    None,
    0,
    -1,
    2**62,
    -(2**63),
    1.5,
    math.inf,
    "",
    "x",
    "nan",
    b"\xff\x00",
    "[[[[",
    "{}",
    "[1]",
    "5",
]
_ANY += ['[{"name": "a", "iteration": 0}]', '[{"name": 1, "iteration": "x"}]', "9999-12-31T23:59:59", "RUNNING", "r"]
_TABLES = {
    "mlflow": {
        "runs": "run_uuid, name, status, start_time, end_time, lifecycle_stage, experiment_id",
        "metrics": "key, value, timestamp, run_uuid, step, is_nan",
        "params": "key, value, run_uuid",
        "tags": "key, value, run_uuid",
        "experiments": "experiment_id, name",
    },
    "flordb 4": {"logs": "projid, tstamp, filename, ctx, value_name, value, value_type, source"},
    "flordb 3": {
        "logs": "projid, tstamp, filename, ctx_id, value_name, value, value_type",
        "loops": "ctx_id, p_ctx_id, l_name, iteration, l_value",
    },
}
_SANE = {"run_uuid": "r", "lifecycle_stage": "active", "projid": "p", "tstamp": "2026-01-01", "filename": "f"}
_SANE_TYPES: dict[str, object] = {"value_type": 1, "source": "forward"}


@pytest.mark.parametrize("kind", list(_TABLES))
def test_cells_of_any_type_raise_nothing(kind: str, tmp_path: Path) -> None:
    chance = random.Random(kind)
    for number in range(30):
        path = tmp_path / f"{number}.db"
        connection = sqlite3.connect(path)
        for table, names in _TABLES[kind].items():
            columns = names.split(", ")
            connection.execute(f"CREATE TABLE {table} ({names})")
            for row in range(12):
                cells = [chance.choice(_ANY) for _ in columns]
                if row % 2:
                    cells = [(_SANE | _SANE_TYPES).get(n, cell) for n, cell in zip(columns, cells, strict=True)]
                connection.execute(f"INSERT INTO {table} VALUES ({', '.join('?' * len(columns))})", cells)
        connection.commit()
        connection.close()
        store = Store(f"memory://cells-{kind.replace(' ', '-')}-{number}")
        imported(store, path)
        store.logs("digits")
        store.experiments("digits", whole=True)


def test_a_value_whose_loops_cannot_be_read_is_not_outside_of_them(tmp_path: Path) -> None:
    line = {"projid": "p", "tstamp": "2026-01-01T00:00:00", "filename": "f", "name": "a", "value": 1, "type": 1}
    lines = [
        json.dumps(line | {"ctx": context}) for context in (None, 5, "x", {"name": "e", "iteration": 1, "p_ctx": 5})
    ]
    (tmp_path / "run.jsonl").write_text("\n".join(lines) + "\n")
    store = Store(str(tmp_path / "store"))
    (arrival,) = imported(store, tmp_path / "run.jsonl").arrivals
    assert rows(store, arrival.run.version) == [("a", None, None, 0, 1)]
    assert "3 records of no place that there can be" in " ".join(arrival.notes)
