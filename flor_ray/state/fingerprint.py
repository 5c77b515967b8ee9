"""Whether a value that was handed to functions has been changed by them, without keeping a copy of it.

A fingerprint covers all of a value, or there is none: "". What has none may have changed.

    walk      numbers, texts, containers, attributes, generators: what it holds, and which objects these are
    arrays    all their bytes, on the device where they are
    pickle    all of what the walk cannot look into (a deque, a picture), or of long containers: that is quicker

What cannot be looked into at all, such as an open file or a pipe, counts as itself only, and the fingerprint says that
there is such a thing (`hides`). torch and numpy are looked up in `sys.modules`.
"""

from __future__ import annotations

import ctypes
import pickle
import sys
import threading
import types
from collections.abc import Iterable
from typing import Any

import blake3

from flor_ray.state import memory, random_states, shards
from flor_ray.state.reachable import attributes, is_python

_NODES = 200_000  # of a graph of objects, without long containers that can be pickled: 0.2 s
_LONG_ITEMS = 1000
_SHOWN = 200  # characters of a text that are looked at besides its hash
_THREADED_BYTES = 1 << 20  # from here on several threads hash faster than one
_COPIED_BYTES = 1 << 14  # of a tensor: up to here a copy is faster than a view
_CHUNK_WORDS = 1 << 20  # of a GPU's memory that are summed up at a time, 8 bytes each

_ATOMS = (int, float, complex, type(None), range, slice)
_CODE = (type, types.ModuleType, types.FunctionType, types.BuiltinFunctionType, types.MethodType)
_UNNAMED = (types.ModuleType, types.FunctionType, types.MethodType)  # pickle may not find them by their names
_SEEN_INTO = (object, list, dict, set, tuple, frozenset, types.SimpleNamespace)


_HIDES = "~"  # ends the fingerprint of what holds something that nobody can look into
_LOCKS = (type(threading.Lock()), type(threading.RLock()))
_FUNCTIONS = frozenset(
    {"tokenizers", "sentencepiece", "onnxruntime", "pyarrow"}
)  # libraries whose objects do not change


class _Unseen(Exception):
    """Part of a value could not be looked at."""


def fingerprint(value: Any) -> str:
    """Differs if the value has changed since; "" if nobody can tell."""
    digest = blake3.blake3()
    seen: set[int] = set()
    pending = [value]
    nodes = 0
    hidden: list[Any] = []
    try:
        while pending:
            item = pending.pop()
            nodes += 1
            if nodes > _NODES:
                return ""
            if isinstance(item, str | bytes):
                _text(item, digest)
                continue
            if isinstance(item, _ATOMS):
                digest.update(f"{type(item).__name__}{item!r}".encode())
                continue
            digest.update(str(id(item)).encode())
            if id(item) in seen or isinstance(item, _CODE):
                continue
            seen.add(id(item))
            pending += _parts(item, digest, hidden)
    except _Unseen:
        return ""
    return digest.hexdigest() + _HIDES * bool(hidden)


def fingerprint_of_all(values: Iterable[Any]) -> str:
    """That of several values, whoever holds them."""
    prints = sorted(map(fingerprint, values), key=hides)  # if one hides something, the last one does
    return " ".join(prints) if all(prints) else ""


def hides(print_of_it: str) -> bool:
    """Whether what has this fingerprint holds something that nobody can look into, and that may have changed."""
    return print_of_it.endswith(_HIDES)


def unchanged(value: Any, was: str) -> bool:
    """Whether a value is surely as it was when this was its fingerprint, but for what this `hides`."""
    return bool(was) and fingerprint(value) == was


def _text(item: str | bytes, digest: Any) -> None:
    """Its hash, which Python remembers, stands for what is long."""
    digest.update(f"{type(item).__name__}{item[:_SHOWN]!r}{len(item)}".encode("utf-8", "surrogatepass"))
    if len(item) > _SHOWN:
        digest.update(str(hash(item)).encode())


def _parts(item: Any, digest: Any, hidden: list[Any]) -> list[Any]:
    """What is in a value and has to be looked at too; the rest goes into the digest here. What cannot be looked into is
    added to `hidden`."""
    if memory.is_plain_array(item):
        _array(item, digest)
        return []
    if shards.is_shared_out(item):
        digest.update(f"{item.placements} {tuple(item.shape)} {item.requires_grad}".encode())
        return [shards.part_of(item)]
    if isinstance(item, types.GeneratorType):
        frame = item.gi_frame
        return [] if frame is None else [frame.f_lasti, *frame.f_locals.values()]
    if isinstance(item, bytearray):
        digest.update(item)
        return []
    if random_states.is_generator(item):
        return [pickle.dumps(random_states.state_of(item))]
    found: list[Any] = []
    if isinstance(item, dict):
        found = [part for pair in dict.items(item) for part in pair]
    elif isinstance(item, list | tuple | set | frozenset):
        found = list(item)
    elif not _is_seen_into(type(item)) or _is_loaded_picture(item):
        text = _pickled(item)
        digest.update((text or str(id(item))).encode())
        hidden += [] if text or _stays_as_it_is(item) else [item]
        return []
    if len(found) > _LONG_ITEMS and (text := _pickled(item)):
        digest.update(text.encode())
        return []
    digest.update(str(len(found)).encode())
    if type(item) in _SEEN_INTO:
        return found
    try:
        held = attributes(item)
    except Exception as error:  # a property of the user's class may raise anything
        raise _Unseen from error
    return found + [part for pair in held.items() for part in pair]


def _is_loaded_picture(item: Any) -> bool:
    """Whether it is a picture of PIL whose pixels are in memory: a class in Python, around pixels in C that only its
    pickle shows, all of them. One that is read from its file when it is first used is not to be read by looking."""
    pictures = sys.modules.get("PIL.Image")
    if pictures is None or not isinstance(item, pictures.Image):
        return False
    return getattr(item, "_im", None) is not None and getattr(item, "fp", None) is None


def _is_seen_into(kind: type) -> bool:
    """Whether all that an object of this class holds is in its items and attributes."""
    return all(base in _SEEN_INTO or is_python(base) for base in kind.__mro__)


class _Hashing(pickle.Pickler):
    """A pickler whose file only hashes."""

    def __init__(self, digest: Any) -> None:
        super().__init__(_Sink(digest), protocol=5)
        self._digest = digest
        self._alive: list[Any] = []

    def reducer_override(self, obj: Any) -> Any:
        """Arrays are hashed where they are, code counts as itself."""
        if isinstance(obj, _UNNAMED) or (isinstance(obj, type) and "<locals>" in obj.__qualname__):
            self._digest.update(str(id(obj)).encode())
            return str, ()
        if memory.is_plain_array(obj):
            self._alive.append(obj)
            _array(obj, self._digest)
            return str, ()
        return NotImplemented


class _Sink:
    def __init__(self, digest: Any) -> None:
        self._digest = digest

    def write(self, data: Any) -> int:
        self._digest.update(data)
        return memoryview(data).nbytes


def _stays_as_it_is(item: Any) -> bool:
    """Whether an object that nobody can look into is known to hold no state, or to be read by key only."""
    library = type(item).__module__.partition(".")[0]
    if library == "h5py":
        return getattr(getattr(item, "file", None), "mode", "") == "r"
    if library == "lmdb":
        return type(item).__name__ == "Environment" and bool(item.flags().get("readonly"))
    return isinstance(item, _LOCKS) or library in _FUNCTIONS


def _pickled(value: Any) -> str:
    """The fingerprint of a value's pickle; "" if it has none."""
    digest = blake3.blake3()
    try:
        _Hashing(digest).dump(value)
    except Exception:  # noqa: BLE001 - pickling runs the user's code, which may raise anything
        return ""
    return digest.hexdigest()


def _array(value: Any, digest: Any) -> None:
    if not memory.is_torch(value):
        digest.update(f"{value.dtype} {value.shape} {value.flags.writeable}".encode())
        numpy = sys.modules["numpy"]
        if value.size and value.itemsize:
            _bytes(numpy.ascontiguousarray(value).reshape(-1).view("u1"), digest)
        return
    torch = sys.modules["torch"]
    digest.update(f"{value.dtype} {tuple(value.shape)} {value.device} {value.requires_grad}".encode())
    if not value.numel():
        return
    if value.nbytes <= _COPIED_BYTES and value.device.type == "cpu" and _is_plainly_there(value):
        digest.update(ctypes.string_at(value.data_ptr(), value.nbytes))
        return
    flat = value.detach().resolve_conj().resolve_neg().contiguous().reshape(-1).view(torch.uint8)
    if value.device.type == "cpu":
        _bytes(memory.as_numpy(flat), digest)
        return
    whole = flat.numel() // 8 * 8 if flat.data_ptr() % 8 == 0 else 0
    digest.update(str(checksum(flat[:whole].view(torch.int64)) if whole else 0).encode())
    if whole < flat.numel():
        digest.update(memory.as_numpy(flat[whole:].cpu()))


def _is_plainly_there(tensor: Any) -> bool:
    """Whether the bytes of a tensor's values lie one after the other, as they are, in memory that it still has."""
    if not tensor.is_contiguous() or tensor.is_conj() or tensor.is_neg():
        return False
    end = tensor.storage_offset() * tensor.itemsize + tensor.nbytes
    return bool(tensor.data_ptr()) and end <= tensor.untyped_storage().nbytes()


def _bytes(flat: Any, digest: Any) -> None:
    if flat.nbytes > _THREADED_BYTES:
        digest.update(blake3.blake3(flat, max_threads=blake3.blake3.AUTO).digest())
    else:
        digest.update(flat)


def checksum(words: Any) -> int:
    """Of a flat int64 tensor, on its device: the sum of its words, each times what stands for its place."""
    torch = sys.modules["torch"]
    place = torch.arange(1, min(_CHUNK_WORDS, len(words)) + 1, device=words.device)
    weights = (place * -7046029254386353131) | 1  # odd: no bit of a word gets lost
    total = 0
    for number, begin in enumerate(range(0, len(words), _CHUNK_WORDS)):
        chunk = words[begin : begin + _CHUNK_WORDS]
        mixed = (chunk ^ (chunk >> 29)) * weights[: len(chunk)]
        total = (total * 31 + int(mixed.sum()) + number) % (1 << 64)
    return total
