"""Which memory the arrays and tensors of a state are in: it is kept once; `laying` rebuilds views on it.

    living    X ─────────────┐  storage     buf[0] = X[17], row = table[1], flat ─> every parameter
    kept      Block(bytes, known=((X, 0),))     ArrayForm(block 0, offset 272, shape, strides)
    restored  the bytes go where X is now; buf[0] is a new view on that memory

Arrays whose memory overlaps share a `Block`. A block that lies in the memory of something that a replay will find by
itself (an object that was there when the loop began, a parameter) says so: its bytes are put there, for everyone who
sees that memory. All other blocks get memory of their own: what was not surely the same is never written into.

torch and numpy are looked up in `sys.modules`: a script that does not use them never pays for their import.
"""

from __future__ import annotations

import bisect
import ctypes
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

_INLINE_BYTES = 1024  # smaller blocks stay in the pickle: a reference would not be smaller
_GAPS = 2  # what has up to so many times the bytes of its items is kept with what is between them

Known = tuple[Any, ...]  # what a replay finds by itself: a `Reference` of pickling, or a key of `identities`


class ArrayForm(NamedTuple):
    """How an array lies in its block. Part of the store's format."""

    kind: str  # "torch" or "numpy"
    dtype: Any  # torch: its name; numpy: itself
    shape: tuple[int, ...]
    strides: tuple[int, ...]  # torch: in items; numpy: in bytes
    block: int  # -1: it has no items
    offset: int  # bytes from the block's begin to its first item
    device: str
    more: tuple[Any, ...]  # torch: leaf that needs gradients, is a Parameter, its gradient (an index); numpy: writeable


class Block(NamedTuple):
    """A range of memory. Part of the store's format."""

    place: int | bytes  # an index of the checkpoint's parts, or the bytes themselves
    size: int
    packed: bool  # the bytes are those of the items of its only array, without what is between them
    known: tuple[tuple[Known, int, Any], ...]  # what else lies here, how many bytes after the begin, and how: an index
    # of a form, or shape, strides and dtype
    group: tuple[int, int, int]  # of blocks that overlap: its number, bytes of it before this block's begin, its size


class _Group(NamedTuple):
    """Memory in which arrays overlap."""

    number: int
    begin: int
    size: int
    known: Sequence[tuple[Known, Any, AddressRange]]


Table = tuple[tuple[ArrayForm, ...], tuple[Block, ...]]


class AddressRange(NamedTuple):
    """From the lowest address to the highest one."""

    device: str  # and the block of its memory, on devices whose addresses say nothing of others
    begin: int  # lowest address
    end: int
    first: int  # address of the first item


def is_plain_array(value: Any) -> bool:
    """Whether its memory can be kept: no object dtype, no class of its own, nothing sparse or quantized."""
    torch, numpy = sys.modules.get("torch"), sys.modules.get("numpy")
    if numpy is not None and type(value) is numpy.ndarray:
        return not value.dtype.hasobject
    if torch is None or type(value) not in (torch.Tensor, torch.nn.Parameter):
        return False
    return value.layout is torch.strided and not value.is_quantized and value.device.type != "meta"


def is_torch(value: Any) -> bool:
    """Whether it is a tensor."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.Tensor)


def span_of(value: Any) -> AddressRange | None:
    """The memory of a plain array; None if it has no items."""
    if is_torch(value):
        first, size = value.data_ptr(), value.element_size()
        if not value.numel():
            return None
        device = str(value.device)
        if value.device.type not in ("cpu", "cuda"):  # what others call an address may be a handle: nothing to add to
            device = f"{device} {value.untyped_storage().data_ptr()}"
        if value.is_contiguous():
            return AddressRange(device, first, first + value.numel() * size, first)
        extent = sum((n - 1) * s for n, s in zip(value.shape, value.stride(), strict=True)) + 1
        return AddressRange(device, first, first + extent * size, first)
    if not value.size or not value.itemsize:
        return None
    first = value.__array_interface__["data"][0]
    if value.flags.c_contiguous:
        return AddressRange("cpu", first, first + value.nbytes, first)
    steps = [(n - 1) * s for n, s in zip(value.shape, value.strides, strict=True)]
    return AddressRange(
        "cpu", first + sum(min(s, 0) for s in steps), first + sum(max(s, 0) for s in steps) + value.itemsize, first
    )


@dataclass(slots=True)
class ArrayTable:
    """Collects the arrays of one snapshot."""

    with_gradients: bool
    lost_gradients: bool = False  # a sparse one, or of a class of its own
    _values: list[Any] = field(default_factory=list)  # as they are laid out: alive, so that addresses stay theirs
    _more: list[tuple[Any, ...]] = field(default_factory=list)
    _index: dict[int, int] = field(default_factory=dict)  # by id
    _alive: list[Any] = field(default_factory=list)

    def add(self, value: Any) -> int:
        """Its index."""
        found = self._index.get(id(value))
        if found is not None:
            return found
        self._alive.append(value)
        index = self._index[id(value)] = len(self._values)
        self._values.append(value)
        self._more.append(())
        if is_torch(value):
            leaf = value.requires_grad and value.is_leaf
            plain = value.detach().resolve_conj().resolve_neg()
            self._values[index] = plain
            gradient = value.grad if leaf and self.with_gradients else None
            is_parameter = type(value) is sys.modules["torch"].nn.Parameter
            grad = None
            if gradient is not None:
                self.lost_gradients |= not is_plain_array(gradient)
                grad = self.add(gradient) if is_plain_array(gradient) else None
            self._more[index] = (leaf, is_parameter, grad)
        else:
            self._more[index] = (bool(value.flags.writeable),)
        return index

    def close(self, known: Mapping[Known, Any], first_part: int) -> tuple[Table, list[Any]]:
        """The table, and the sources of its parts, the first of which gets the number `first_part`. `known` are arrays
        that a replay finds by itself."""
        spans = [span_of(value) for value in self._values]
        groups = _overlapping(spans)
        known_in = _known_in(groups, spans, known)
        forms: list[ArrayForm | None] = [None] * len(spans)
        blocks: list[Block] = []
        sources: list[Any] = []

        def put(group: _Group, members: Sequence[int], begin: int, end: int, source: Any, packed: bool) -> None:
            place: int | bytes
            if source.nbytes < _INLINE_BYTES and not (is_torch(source) and source.is_cuda):
                place = bytes(source) if isinstance(source, memoryview) else _bytes_of(source)
            else:
                place = first_part + len(sources)
                sources.append(source)
            for index in members:
                forms[index] = self._form(index, len(blocks), _at(spans, index).first - begin)
            same = {self._lies(self._values[m], _at(spans, m)): m for m in members} if group.known else {}
            told = (
                (key, span.first - begin, same.get(self._lies(value, span), layout_of(value)))
                for key, value, span in group.known
            )
            blocks.append(
                Block(place, end - begin, packed, tuple(told), (group.number, begin - group.begin, group.size))
            )

        for number, members in enumerate(groups):
            begin, end = min(_at(spans, m).begin for m in members), max(_at(spans, m).end for m in members)
            group = _Group(number, begin, end - begin, known_in[number])
            whole = next((m for m in members if _at(spans, m)[1:3] == (begin, end)), None)
            dense = None if whole is None else _dense(self._values[whole])
            items = sum(self._values[m].nbytes for m in members)
            alone = len(members) == 1
            if dense is not None:
                put(group, members, begin, end, dense, False)
            elif (alone or group.known) and group.size > (1 if alone else _GAPS) * items:
                for member in members:  # each by itself: they meet again in the memory that is known
                    span = _at(spans, member)
                    put(group, [member], span.begin, span.end, _packed(self._values[member]), True)
            else:
                raw = _raw(self._values[members[0]], _at(spans, members[0]).device, begin, end)
                put(group, members, begin, end, raw, False)
        for index, form in enumerate(forms):
            if form is None:
                forms[index] = self._form(index, -1, 0)
        return (tuple(f for f in forms if f is not None), tuple(blocks)), sources

    def _form(self, index: int, block: int, offset: int) -> ArrayForm:
        value, more = self._values[index], self._more[index]
        if is_torch(value):
            dtype = str(value.dtype).removeprefix("torch.")
            return ArrayForm("torch", dtype, tuple(value.shape), value.stride(), block, offset, str(value.device), more)
        return ArrayForm("numpy", value.dtype, value.shape, value.strides, block, offset, "cpu", more)

    @staticmethod
    def _lies(value: Any, span: AddressRange) -> tuple[Any, ...]:
        return is_torch(value), span, layout_of(value)


def layout_of(value: Any) -> tuple[Any, ...]:
    """Shape, strides and dtype, as they stand in an `ArrayForm`."""
    if is_torch(value):
        return tuple(value.shape), tuple(value.stride()), str(value.dtype).removeprefix("torch.")
    return value.shape, value.strides, value.dtype


def _at(spans: Sequence[AddressRange | None], index: int) -> AddressRange:
    span = spans[index]
    assert span is not None  # what has no items is in no group
    return span


def _overlapping(spans: Sequence[AddressRange | None]) -> list[list[int]]:
    """Indices of arrays whose memory overlaps, in the order of their first ones: addresses differ from run to run."""
    ordered = sorted((span, index) for index, span in enumerate(spans) if span is not None)
    groups: list[list[int]] = []
    device, end = "", 0
    for span, index in ordered:
        if span.device == device and span.begin < end:
            groups[-1].append(index)
            end = max(end, span.end)
        else:
            groups.append([index])
            device, end = span.device, span.end
    for group in groups:
        group.sort()
    return sorted(groups)


def _known_in(
    groups: Sequence[Sequence[int]], spans: Sequence[AddressRange | None], known: Mapping[Known, Any]
) -> list[list[tuple[Known, Any, AddressRange]]]:
    """For each group, what of the known arrays has memory in it."""
    found: list[list[tuple[Known, Any, AddressRange]]] = [[] for _ in groups]
    ranges = []
    for number, members in enumerate(groups):
        held = [_at(spans, member) for member in members]
        ranges.append((held[0].device, min(s.begin for s in held), max(s.end for s in held), number))
    ranges.sort()
    for key, value in known.items():
        span = span_of(value)
        if span is None:
            continue
        at = bisect.bisect_right(ranges, (span.device, span.begin, math.inf)) - 1
        for device, begin, end, number in ranges[max(at, 0) :]:
            if (device, begin) >= (span.device, span.end):
                break
            if device == span.device and end > span.begin:
                found[number].append((key, value, span))
    return found


def _dense(value: Any) -> Any:
    """All memory from the first item to the last, as a source; None if there is more in it than the items."""
    if is_torch(value):
        if value.is_contiguous():
            return value
        order = sorted(range(value.dim()), key=lambda axis: -value.stride(axis))
        moved = value.permute(order)
        return moved if moved.is_contiguous() else None
    if not value.flags.c_contiguous:
        value = value[tuple(slice(None, None, -1 if step < 0 else 1) for step in value.strides)]
        value = value.transpose(sorted(range(value.ndim), key=lambda axis: -value.strides[axis]))
    return memoryview(value.reshape(-1).view("u1")) if value.flags.c_contiguous else None


def _packed(value: Any) -> Any:
    if is_torch(value):
        return value
    return memoryview(sys.modules["numpy"].ascontiguousarray(value).reshape(-1).view("u1"))


def _raw(value: Any, device: str, begin: int, end: int) -> Any:
    """The memory from `begin` to `end`, in which `value` lies."""
    if device == "cpu":
        return memoryview((ctypes.c_uint8 * (end - begin)).from_address(begin)).cast("B")
    torch = sys.modules["torch"]
    storage = value.untyped_storage()
    with torch.inference_mode(False):
        flat = torch.empty(0, dtype=torch.uint8, device=value.device)
        return flat.set_(storage, begin - storage.data_ptr(), (end - begin,), (1,))


def _bytes_of(tensor: Any) -> bytes:
    torch = sys.modules["torch"]
    content: bytes = as_numpy(tensor.cpu().contiguous().reshape(-1).view(torch.uint8)).tobytes()
    return content


def as_numpy(tensor: Any) -> Any:
    """The memory of a tensor on the CPU as an array, to be read. `tensor.numpy()` would do so too, and forbid the
    script to resize the tensor from then on."""
    return sys.modules["numpy"].from_dlpack(tensor.detach())


def lies_as(left: Any, right: Any) -> bool:
    """Whether two plain arrays of one kind are views of the same memory, item by item."""
    return span_of(left) == span_of(right) and layout_of(left) == layout_of(right)
