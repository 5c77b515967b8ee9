"""TensorBoard's event files: scalars, texts and hyperparameters. Every folder with event files is a run.

A value's step is the step that it was written with. Files of one folder follow one another by name, which begins with
the second in which each was begun: where a run was restarted, the newest value of a step is taken. What else there is
(images, histograms, graphs) is counted.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Sequence

from flor_ray.errors import SourceUnreadable
from flor_ray.importing import tfrecords, wire
from flor_ray.importing.found_runs import LARGEST_RECORD, FoundRun, RunContents
from flor_ray.importing.tfrecords import Damage
from flor_ray.importing.wire import EIGHT, FOUR, LENGTH, VARINT, Field
from flor_ray.records import Status
from flor_ray.wording import counted, printable, size

MARK = "tfevents"
_SESSION_START = 1
_HPARAMS, _HPARAMS_END = "_hparams_/session_start_info", "_hparams_/session_end_info"
_HPARAMS_PLUGIN = "hparams"
_SCALARS, _TEXTS = "scalars", "text"
_KINDS = {"histograms": "histograms", "images": "images", "audio": "audio clips", "pr_curves": "PR curves"}

# Numbers of tensorflow.DataType -> how tensor_content has an element, and the field that has it otherwise
_CONTENT = {
    1: ("<f", 5),
    2: ("<d", 6),
    3: ("<i", 7),
    4: ("<B", 7),
    5: ("<h", 7),
    6: ("<b", 7),
    9: ("<q", 10),
    10: ("<?", 11),
    14: ("bfloat16", 13),
    17: ("<H", 7),
    19: ("<e", 13),
    22: ("<I", 16),
    23: ("<Q", 17),
}
_STRING = 7


def run_of(folder: str, name: str, files: Sequence[str]) -> FoundRun:
    """The run of a folder, whose event files these are. Raises SourceUnreadable if none of them can be read."""
    ordered = sorted(files, key=_age)
    first = next(((path, record) for path in ordered if (record := _first_record(path))), None)
    if first is None and any(map(os.path.getsize, ordered)):
        raise SourceUnreadable(
            f"{ordered[0]} is no event file of TensorBoard that can be read: it does not begin with a record."
        )
    path, record = first or (ordered[0], b"")
    key = (os.path.basename(path), record.hex())
    return FoundRun("tensorboard", folder, key, lambda: _read(name, ordered), tuple(ordered))


def _age(path: str) -> tuple[int, str]:
    """events.out.tfevents.<second>.<host>...: by second; two may have begun in the same one."""
    parts = os.path.basename(path).partition(f"{MARK}.")[2].split(".")
    return (int(parts[0]) if parts[0].isdigit() and len(parts[0]) < 16 else 0, os.path.basename(path))


def _first_record(path: str) -> bytes:
    """The beginning of a file's first record; nothing if it has none."""
    with open(path, "rb") as file:
        return next(tfrecords.records(file, os.path.getsize(path), Damage()), b"")[:1024]


def _read(name: str, paths: Sequence[str]) -> RunContents:
    found = RunContents(name=printable(name), is_going_on=True)  # no file says that it has ended
    tags: dict[bytes, _ScalarTag] = {}
    shells: dict[bytes, str] = {}
    for number, path in enumerate(paths):
        found.log.part = number
        damage, unreadable = Damage(), 0
        with open(path, "rb") as file:
            for record in tfrecords.records(file, os.path.getsize(path), damage):
                if _is_like_another(record, found, shells):
                    continue
                try:
                    _event(wire.fields(record), found, tags)
                    _learn(record, tags, shells)
                except (ValueError, TypeError):
                    unreadable += 1
        _tell(found, path, damage, unreadable)
    return found


def _tell(found: RunContents, path: str, damage: Damage, unreadable: int) -> None:
    if damage.records or unreadable:
        count = counted(damage.records + unreadable, "record")
        found.notes.append(f"{path}: {count} damaged, and left out.")
    if damage.large:
        many = counted(damage.large, "record")
        found.notes.append(f"{path}: {many} larger than {size(LARGEST_RECORD)}, and left out.")
    if damage.unread:
        found.notes.append(f"{path}: the last {size(damage.unread)} are torn or damaged, and left out.")


class _ScalarTag:
    """What is known of a tag: which plugin shows it."""

    __slots__ = ("name", "plugin")

    def __init__(self, name: str) -> None:
        self.name, self.plugin = name, ""


# --- events that differ from one that was read in nothing but time, step and number ----------------------------------


_TIME, _STEP, _SUMMARY, _NUMBER = 0x09, 0x10, 0x2A, 0x15  # keys: field and wire type
_times, _numbers = struct.Struct("<xd"), struct.Struct("<f")


def _is_like_another(record: bytes, found: RunContents, shells: dict[bytes, str]) -> bool:
    """Add the value of an event that is, but for its time, its step and its last four bytes, one of `shells`."""
    position = _after_step(record)
    name = shells.get(record[position:-4])
    if name is None:
        return False
    step = shift = 0
    for byte in record[10:position]:
        step |= (byte & 0x7F) << shift
        shift += 7
    timestamp = _times.unpack_from(record)[0]
    found.seen(timestamp)
    found.log.add(name, _numbers.unpack(record[-4:])[0], timestamp, 1, step)
    return True


def _after_step(record: bytes) -> int:
    """Where the rest begins of an event that has a time, and a step or none."""
    position = 9
    if len(record) > 20 and record[0] == _TIME and record[9] == _STEP:
        position = next(
            (at + 1 for at in range(10, 18) if record[at] < 0x80), len(record)
        )  # longer ones are read whole
    return position


def _learn(record: bytes, tags: dict[bytes, _ScalarTag], shells: dict[bytes, str]) -> None:
    """Keep what an event has around its number, if it has one, at its end, and nothing but time and step beside it."""
    rest = record[_after_step(record) :]
    if len(rest) < 7 or len(shells) >= _MOST_SHELLS:
        return
    if record[0] != _TIME or rest[0] != _SUMMARY or rest[-5] != _NUMBER:
        return
    summaries = wire.fields(rest)
    values = wire.fields(summaries[0][2]) if len(summaries) == 1 else []  # type: ignore[arg-type]
    value = wire.fields(values[0][2]) if len(values) == 1 and values[0][:2] == (1, LENGTH) else []  # type: ignore[arg-type]
    if [field[:2] for field in value] == [(1, LENGTH), (2, FOUR)]:
        tag = tags[value[0][2]]  # type: ignore[index]
        if not tag.plugin.startswith(_HPARAMS_PLUGIN):
            shells[rest[:-4]] = tag.name


_MOST_SHELLS = 10_000


def _event(event: list[Field], found: RunContents, tags: dict[bytes, _ScalarTag]) -> None:
    timestamp, step, summary, session = 0.0, 0, None, None
    for number, kind, value in event:
        if number == 1 and kind == EIGHT:
            timestamp = wire.double(value)  # type: ignore[arg-type]
        elif number == 2 and kind == VARINT:
            step = wire.signed(value)  # type: ignore[arg-type]
        elif number == 5 and kind == LENGTH:
            summary = value
        elif number == 7 and kind == LENGTH:
            session = value
        elif number in (4, 9) and kind == LENGTH:
            found.left_out["graphs"] += 1
    found.seen(timestamp)
    if session is not None and wire.only(wire.fields(session), 1, VARINT) == _SESSION_START:  # type: ignore[arg-type]
        found.log.purge(step)
    if summary is None:
        return
    for number, kind, value in wire.fields(summary):  # type: ignore[arg-type]
        if number == 1 and kind == LENGTH:
            _value(wire.fields(value), timestamp, step, found, tags)  # type: ignore[arg-type]


def _value(value: list[Field], timestamp: float, step: int, found: RunContents, tags: dict[bytes, _ScalarTag]) -> None:
    name, simple, tensor, metadata, other = b"", None, None, None, ""
    for number, kind, of in value:
        if number == 1 and kind == LENGTH:
            name = of  # type: ignore[assignment]
        elif number == 2 and kind == FOUR:
            simple = of
        elif number == 8 and kind == LENGTH:
            tensor = of
        elif number == 9 and kind == LENGTH:
            metadata = of
        elif number in _OTHERS:
            other = _OTHERS[number]
    tag = tags.get(name)
    if tag is None:
        tag = tags[name] = _ScalarTag(printable(name.decode("utf-8", "backslashreplace")))
    if metadata is not None:
        _metadata(wire.fields(metadata), tag, found)  # type: ignore[arg-type]
    if simple is not None and not tag.plugin.startswith(_HPARAMS_PLUGIN):
        found.log.add(tag.name, wire.single(simple), timestamp, 1, step)  # type: ignore[arg-type]
    elif tensor is not None:
        _add_tensor(wire.fields(tensor), tag, timestamp, step, found)  # type: ignore[arg-type]
    elif other:
        found.left_out[other] += 1


_OTHERS = {3: "values of an older TensorBoard", 4: "images", 5: "histograms", 6: "audio clips"}


def _add_tensor(tensor: list[Field], tag: _ScalarTag, timestamp: float, step: int, found: RunContents) -> None:
    if tag.plugin == _HPARAMS_PLUGIN:
        return
    values = _elements(tensor) if tag.plugin in (_SCALARS, _TEXTS, "") else None
    if values is None or len(values) != 1:
        found.left_out[_KINDS.get(tag.plugin, f"tensors{f' of {tag.plugin}' if tag.plugin else ''}")] += 1
        return
    found.log.add(tag.name, values[0], timestamp, 1, step)


def _elements(tensor: list[Field]) -> list[object] | None:
    """The only element of a tensor, in a list; None if it has others, or is of a type that is not read."""
    dtype = wire.only(tensor, 1, VARINT)
    shape = wire.only(tensor, 2, LENGTH)
    for number, kind, dimension in wire.fields(shape) if isinstance(shape, bytes) else ():
        if number == 2 and kind == LENGTH and wire.only(wire.fields(dimension), 1, VARINT) != 1:  # type: ignore[arg-type]
            return None
    if dtype == _STRING:
        return [wire.text(value) for number, kind, value in tensor if number == 8 and kind == LENGTH]  # type: ignore[arg-type]
    if dtype not in _CONTENT:
        return None
    how, number = _CONTENT[dtype]
    content = wire.only(tensor, 4, LENGTH)
    if isinstance(content, bytes) and content:
        return [_bfloat16(content) if how == "bfloat16" else _unpacked(how, content)]
    packed = [value for n, _, value in tensor if n == number]
    return [_element(how, value) for value in packed] or [_unpacked(_plain(how), bytes(8))]


def _element(how: str, value: int | bytes) -> object:
    """An element of a repeated field: packed, or alone."""
    if how in ("<f", "<d"):
        return _unpacked(how, value)
    if isinstance(value, bytes):
        found = wire.fields(b"\x08" + value)  # a packed field of one number
        if len(found) != 1:
            raise ValueError("there are several numbers")
        value = found[0][2]
    if not isinstance(value, int):
        raise ValueError("there is no number")
    if how in ("bfloat16", "<e"):
        bits = value.to_bytes(2, "little") if value < 1 << 16 else b""
        return _bfloat16(bits) if how == "bfloat16" else _unpacked(how, bits)
    if how == "<?":
        return bool(value)
    return value if how in ("<I", "<Q") else wire.signed(value)


def _plain(how: str) -> str:
    return "<d" if how in ("<f", "<e", "bfloat16") else "<?" if how == "<?" else "<q"


def _bfloat16(data: bytes) -> float:
    if len(data) != 2:
        raise ValueError("there is not one number")
    return wire.single(b"\0\0" + data)


def _unpacked(how: str, data: int | bytes) -> object:
    if not isinstance(data, bytes) or struct.calcsize(how) != len(data):
        raise ValueError("there is not one number")
    return struct.unpack(how, data)[0]


# --- hyperparameters ------------------------------------------------------------------------------------------------


def _metadata(metadata: list[Field], tag: _ScalarTag, found: RunContents) -> None:
    plugin = wire.only(metadata, 1, LENGTH)
    if not isinstance(plugin, bytes):
        return
    said = wire.fields(plugin)
    name, content = wire.only(said, 1, LENGTH), wire.only(said, 2, LENGTH)
    tag.plugin = wire.text(name) if isinstance(name, bytes) else ""
    if tag.plugin == _HPARAMS_PLUGIN and isinstance(content, bytes):
        if tag.name == _HPARAMS:
            _session_start(wire.only(wire.fields(content), 3, LENGTH), found)
        elif tag.name == _HPARAMS_END:
            _session_end(wire.only(wire.fields(content), 4, LENGTH), found)


def _session_start(info: int | bytes | None, found: RunContents) -> None:
    for number, kind, value in wire.fields(info) if isinstance(info, bytes) else ():
        if number == 1 and kind == LENGTH:
            entry = wire.fields(value)  # type: ignore[arg-type]
            key, of = wire.only(entry, 1, LENGTH), wire.only(entry, 2, LENGTH)
            if isinstance(key, bytes) and isinstance(of, bytes):
                found.args[printable(wire.text(key))] = _plain_value(wire.fields(of))


_READ: dict[int, Callable[[bytes], object]] = {2: wire.double, 3: wire.text}


def _plain_value(value: list[Field]) -> object:
    """A google.protobuf.Value that is no list and no struct."""
    for number, _, of in value:
        if number in _READ and isinstance(of, bytes):
            return _READ[number](of)
        if number == 4:
            return bool(of)
    return None


_ENDINGS = {1: Status.FINISHED, 2: Status.FAILED}


def _session_end(info: int | bytes | None, found: RunContents) -> None:
    for number, kind, value in wire.fields(info) if isinstance(info, bytes) else ():
        if number == 1 and kind == VARINT and value in _ENDINGS:
            found.status = _ENDINGS[value]
            found.error = "it is said to have failed" if found.status is Status.FAILED else None
