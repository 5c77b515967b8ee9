"""A copy of a script's state: taken in the training thread in one go, hashed and written by another thread.

    training thread   settle, StatePickler ── sources: tensors, buffers ──> gather ── one Arena ──> Snapshot
    writer's thread   Snapshot ── SnapshotWriter ──> large parts, manifest with the small ones ──> S

An arena is used again and again: memory that is touched for the first time costs ten times the copy itself. CUDA
tensors go to pinned memory on a side stream; the training stream waits for that copy before it changes them, the host
does not.

torch is looked up in `sys.modules`: a script that does not use it never pays for its import.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import blake3
import numpy as np
import numpy.typing as npt

from flor_ray.store import codecs, manifests
from flor_ray.store.manifests import Manifest, Part
from flor_ray.store.objects import Objects, key_of

Bytes = npt.NDArray[np.uint8]

_ALIGNMENT = 64  # a cache line, and a multiple of every item size
_LARGE_BYTES = 128 << 10  # parts from here on are objects of their own: shared with all other versions
_SPARE_ARENAS = 2  # kept for the next snapshots: one epoch's two points
_ROOMY = 2  # an arena up to this many times too large is used rather than a new one made


# --- memory ---------------------------------------------------------------------------------------------------------


class Arena:
    """A block of memory with copies in it. It goes back to its pool when nothing refers to it any more."""

    def __init__(self, memory: Bytes, pinned: bool, spare: list[tuple[Bytes, bool]]) -> None:
        self.memory = memory
        self.copied: list[tuple[Any, Any]] = []  # CUDA events, when copies began and when they are there
        self._pinned, self._spare = pinned, spare

    def __del__(self) -> None:
        self._wait()  # a snapshot that is given up before it was written: a GPU may still be writing here
        self._spare.append((self.memory, self._pinned))  # atomic

    def bytes_at(self, offset: int, size: int) -> memoryview:
        """The bytes of a copy, once it has been made: waits for copies from a GPU."""
        self._wait()
        return memoryview(self.memory[offset : offset + size])  # type: ignore[arg-type]  # numpy's own, until 3.12

    def device_seconds(self) -> float:
        """For which GPUs have copied, and the training has waited; told once, when the copies are there."""
        self._wait()
        milliseconds = sum(began.elapsed_time(copied) for began, copied in self.copied)
        self.copied.clear()
        return float(milliseconds) / 1000

    def _wait(self) -> None:
        for _, copied in self.copied:
            copied.synchronize()


class Arenas:
    """The arenas of one run."""

    def __init__(self) -> None:
        self._spare: list[tuple[Bytes, bool]] = []
        self._choosing = threading.Lock()

    def get(self, size: int, pinned: bool) -> Arena:
        """An arena of at least `size` bytes, a spare one where one fits. `pinned`: GPUs can copy into it by
        themselves."""
        with self._choosing:
            fitting = [
                item for item in self._spare if item[1] is pinned and size <= len(item[0]) <= _ROOMY * size + (1 << 20)
            ]
            if fitting:
                best = min(fitting, key=lambda item: len(item[0]))
                self._spare[:] = [item for item in self._spare if item is not best]
                return Arena(best[0], pinned, self._spare)
            self._spare.sort(key=lambda item: len(item[0]))
            del self._spare[: max(0, len(self._spare) - _SPARE_ARENAS + 1)]
        try:
            return Arena(_memory(size, pinned), pinned, self._spare)
        except RuntimeError:
            if not pinned:
                raise
        self._spare[:] = [item for item in self._spare if not item[1]]
        return Arena(_memory(size, False), True, self._spare)  # none can be pinned: ordinary memory only takes longer


def _memory(size: int, pinned: bool) -> Bytes:
    torch = sys.modules.get("torch")
    if torch is None:
        return np.empty(size, np.uint8)
    with torch.inference_mode(False):  # else the next snapshot, outside of it, could not write into it
        memory: Bytes = torch.empty(size, dtype=torch.uint8, device="cpu", pin_memory=pinned).numpy()
    return memory


# --- copies ---------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class ArenaSlot:
    """The copy of one tensor or buffer."""

    arena: Arena
    offset: int
    size: int  # bytes
    itemsize: int
    identity: object  # of a tensor on the CPU: where its memory is, and how often it was changed
    digest: bytes = b""  # blake3 of its bytes, once the writer has looked

    @property
    def data(self) -> memoryview:
        return self.arena.bytes_at(self.offset, self.size)


@dataclass(slots=True)
class Snapshot:
    """The state at one moment, not yet written."""

    skeleton: bytes
    slots: list[ArenaSlot]
    buffers: tuple[int, ...]
    captured: frozenset[str]
    uncaptured: frozenset[str]
    opaque: frozenset[str]  # libraries' objects that cannot be pickled: environments, open files, progress bars
    seconds: float  # for which taking it held up the script
    beyond_frame: bool  # something is missing that is not a variable of the main loop's frame

    @property
    def bytes(self) -> int:
        return len(self.skeleton) + sum(slot.size for slot in self.slots)

    def device_seconds(self) -> float:
        """For which copying has held up GPUs. Waits until it has been done, and tells it once."""
        return sum(arena.device_seconds() for arena in {id(slot.arena): slot.arena for slot in self.slots}.values())


def gather(sources: Sequence[Any], arenas: Arenas, earlier: Sequence[ArenaSlot]) -> list[ArenaSlot]:
    """Copies of the sources (tensors, and memoryviews of other buffers). Those that are bit for bit what a slot of
    `earlier` holds are not copied again, but share it."""
    known = {slot.identity: slot for slot in earlier if slot.identity is not None}
    slots: list[ArenaSlot | None] = []
    missing: list[tuple[int, Any]] = []
    for index, source in enumerate(sources):
        slot = known.get(_identity(source))
        slot = slot if slot is not None and _holds(slot, source) else None
        slots.append(slot)
        if slot is None:
            missing.append((index, source))
    if missing:
        for (index, _), slot in zip(missing, _copies([source for _, source in missing], arenas), strict=True):
            slots[index] = slot
    return [slot for slot in slots if slot is not None]


def settle() -> None:
    """Wait for the GPUs that this process uses. What a script has queued on a stream of its own (a prefetched batch, a
    graph) is state too, and no stream waits for another by itself. It would have to be waited for anyway."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_initialized():
        return
    for index in range(torch.cuda.device_count()):
        if torch._C._cuda_hasPrimaryContext(index):  # to wait for another one would take memory of it
            torch.cuda.synchronize(index)


def _copies(sources: Sequence[Any], arenas: Arenas) -> list[ArenaSlot]:
    cuda = {source.device for source in sources if not isinstance(source, memoryview) and source.is_cuda}
    sizes = [source.nbytes for source in sources]
    offsets = np.cumsum([0] + [-(-size // _ALIGNMENT) * _ALIGNMENT for size in sizes]).tolist()
    arena = arenas.get(offsets[-1], pinned=bool(cuda))
    slots = [
        ArenaSlot(arena, offset, size, 1 if isinstance(s, memoryview) else s.element_size(), _identity(s))
        for s, size, offset in zip(sources, sizes, offsets, strict=False)
    ]
    host = [(source, slot) for source, slot in zip(sources, slots, strict=True) if source.nbytes]
    for source, slot in host:
        if isinstance(source, memoryview):
            arena.memory[slot.offset : slot.offset + slot.size] = np.frombuffer(source, np.uint8)
    tensors = [(source, slot) for source, slot in host if not isinstance(source, memoryview)]
    _copy([pair for pair in tensors if not pair[0].is_cuda])
    for device in cuda:
        arena.copied.append(_copy_aside(device, [pair for pair in tensors if pair[0].device == device]))
    return slots


def _copy(tensors: Sequence[tuple[Any, ArenaSlot]]) -> None:
    for tensor, slot in tensors:
        _view(slot, tensor).copy_(tensor, non_blocking=tensor.is_cuda)


def _copy_aside(device: Any, tensors: Sequence[tuple[Any, ArenaSlot]]) -> tuple[Any, Any]:
    """Copy from a CUDA device on a stream of its own. Returns the events of its beginning and of its end."""
    torch = sys.modules["torch"]
    with torch.cuda.device(device):
        training, aside = torch.cuda.current_stream(), _side_stream(device)
        aside.wait_stream(training)  # what the script has queued belongs to the state
        with torch.cuda.stream(aside):
            began = aside.record_event(torch.cuda.Event(enable_timing=True))
            _copy(tensors)
            for tensor, _ in tensors:
                tensor.record_stream(aside)  # its memory must not be given away while it is read
            copied = aside.record_event(torch.cuda.Event(enable_timing=True))
        training.wait_event(copied)
    return began, copied


_side_streams: dict[Any, Any] = {}


def _side_stream(device: Any) -> Any:
    if device not in _side_streams:
        _side_streams[device] = sys.modules["torch"].cuda.Stream(device)
    return _side_streams[device]


def _view(slot: ArenaSlot, tensor: Any) -> Any:
    """The slot's memory as a contiguous tensor like this one."""
    torch = sys.modules["torch"]
    with torch.inference_mode(False):
        flat = torch.from_numpy(slot.arena.memory)[slot.offset : slot.offset + slot.size]
        return flat.view(tensor.dtype).view(tensor.shape)


def _identity(source: Any) -> object:
    if isinstance(source, memoryview) or source.device.type != "cpu":
        return None
    if source.is_inference() or not source.is_contiguous():
        return None
    return source.data_ptr(), source._version, source.dtype, tuple(source.shape)


def _holds(slot: ArenaSlot, tensor: Any) -> bool:
    """Whether a slot holds these bits: writes through `.data` are not counted in a tensor's version, so look."""
    torch = sys.modules["torch"]
    if not slot.size:
        return True
    word = next(kind for kind in (torch.int64, torch.int32, torch.int16, torch.uint8) if slot.size % kind.itemsize == 0)
    kept = torch.from_numpy(slot.arena.memory)[slot.offset : slot.offset + slot.size]
    now = tensor.reshape(-1).view(torch.uint8)
    if now.data_ptr() % word.itemsize:
        word = torch.uint8
    return bool(torch.equal(kept.view(word), now.view(word)))  # as integers: NaN is what it was, -0.0 is not 0.0


# --- writing --------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class SnapshotWriter:
    """Writes the snapshots of one run, one after another."""

    objects: Objects
    _known: dict[bytes, Part] = field(default_factory=dict)  # by digest; of the last snapshot: memory stays bounded
    _last: tuple[bytes, list[bytes], str] = (b"", [], "")  # its pickle, its digests, and its key

    def write(self, snapshot: Snapshot, compress: bool | None = None) -> str:
        """Put what S does not have, the manifest last. Returns its key. `compress`: see `codecs.choose`.

        Raises:
            StoreError: the store refuses, or cannot be reached. The same snapshot can be written again.
        """
        new = self._new(snapshot)
        digests = [slot.digest for slot in snapshot.slots]
        if not new and self._last[:2] == (snapshot.skeleton, digests):
            return self._last[2]
        kept = {digest: _encoded(slot, compress) for digest, slot in new.items()}
        large = {digest: kept[digest] for digest, slot in new.items() if slot.size >= _LARGE_BYTES}
        keys = {d: key_of(data) if codec != codecs.RAW else d.hex() for d, (codec, data) in large.items()}
        self.objects.put_known({keys[digest]: data for digest, (_, data) in large.items()})
        parts, pack = dict(self._known), bytearray()
        for digest, (codec, data) in kept.items():
            offset = 0 if digest in keys else len(pack)
            parts[digest] = Part(keys.get(digest, ""), offset, len(data), codec, new[digest].size)
            if digest not in keys:
                pack += data
        manifest = Manifest(snapshot.skeleton, tuple(parts[digest] for digest in digests), snapshot.buffers)
        content, start = manifests.to_bytes(manifest, pack)
        key = self.objects.put(content)
        self._known = {digest: parts[digest].placed(key, start) for digest in digests}
        self._last = snapshot.skeleton, digests, key
        return key

    def _new(self, snapshot: Snapshot) -> dict[bytes, ArenaSlot]:
        """Slots with what this run has not written, by digest."""
        new: dict[bytes, ArenaSlot] = {}
        for slot in snapshot.slots:
            if not slot.digest:
                slot.digest = blake3.blake3(slot.data).digest()
            if slot.digest not in self._known:
                new[slot.digest] = slot
        return new


def _encoded(slot: ArenaSlot, compress: bool | None) -> tuple[str, memoryview | bytes]:
    codec = codecs.choose(slot.data, slot.itemsize, compress)
    return codec, codecs.encode(slot.data, codec)


# --- reading --------------------------------------------------------------------------------------------------------


def read(objects: Objects, key: str) -> tuple[Manifest, list[bytes | memoryview]]:
    """A manifest and the bytes of its parts.

    Raises:
        ObjectMissing, ObjectCorrupt, StoreError: it cannot be read whole.
    """
    manifest = manifests.from_bytes(objects.get(key), key)
    found: Mapping[str, bytes] = objects.get_many(part.key for part in manifest.parts)
    parts = []
    for part in manifest.parts:
        kept = memoryview(found[part.key])[part.offset : part.offset + part.length]
        parts.append(codecs.decode(kept, part.codec, part.size))
    return manifest, parts
