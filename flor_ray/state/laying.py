"""Builds the arrays of a checkpoint, each where its memory belongs: in living memory that is known, or in its own.

What may live here: the other half of `memory`, which says how arrays are kept. torch and numpy are imported only where
a checkpoint holds something of theirs.
"""

from __future__ import annotations

import bisect
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from flor_ray.errors import StoreError
from flor_ray.state import devices
from flor_ray.state.memory import ArrayForm, Block, Known, as_numpy, is_plain_array, is_torch, layout_of, span_of

_CANNOT = "What shared memory when it was recorded cannot be made to share it again."


@dataclass(slots=True)
class LaidArrays:
    """The arrays of a checkpoint, built where they belong. `living` finds what is known; None lays all of it apart."""

    forms: Sequence[ArrayForm]
    blocks: Sequence[Block]
    parts: Sequence[bytes | memoryview]
    living: Callable[[Known], Any] | None = None
    _built: dict[int, Any] = field(default_factory=dict)
    _placed: dict[int, int] = field(default_factory=dict)  # address in living memory, by group
    _taken: list[tuple[int, int]] = field(default_factory=list)  # these addresses with their ends, in order
    _memory: dict[int, Any] = field(default_factory=dict)  # by block: its bytes, as an array or tensor of bytes

    def array(self, index: int) -> Any:
        """The array with this index; the same object each time."""
        if index not in self._built:
            form = self.forms[index]
            self._built[index] = self._torch(form) if form.kind == "torch" else self._numpy(form)
        return self._built[index]

    def move_known(self) -> None:
        """Parameters and tensors that shared memory with others when they were kept, and do not here, are made to."""
        for number, block in enumerate(self.blocks):
            memory = self._memory.get(number)
            if memory is None or self.living is None:
                continue
            for key, offset, index in block.known:
                found = self.living(key)
                if not is_plain_array(found):
                    continue  # a parameter that its module has yet to make
                span = span_of(found)
                if span is not None and span.first - offset == _address(memory):
                    continue
                if not isinstance(index, int) or not is_torch(found):
                    raise StoreError(_CANNOT)
                found.data = self.array(index).detach()

    def _torch(self, form: ArrayForm) -> Any:
        import torch

        kind = getattr(torch, form.dtype)
        leaf, is_parameter, gradient = form.more
        device = devices.here(form.device)
        with torch.inference_mode(False), torch.no_grad():
            if form.block < 0:
                tensor = torch.empty_strided(form.shape, form.strides, dtype=kind, device=device)
            else:
                flat = self._flat(form)
                flat = flat if isinstance(flat, torch.Tensor) else torch.from_numpy(flat)
                begin = flat.storage_offset() + form.offset
                if begin % kind.itemsize:
                    raise StoreError(_CANNOT)
                tensor = torch.empty(0, dtype=kind, device=flat.device)
                tensor.set_(flat.untyped_storage(), begin // kind.itemsize, form.shape, form.strides)
        if is_parameter:
            tensor = torch.nn.Parameter(tensor, requires_grad=leaf)
        elif leaf:
            tensor.requires_grad_(True)
        if gradient is not None:
            tensor.grad = self.array(gradient)
        return tensor

    def _numpy(self, form: ArrayForm) -> Any:
        import numpy

        if form.block < 0:
            array = numpy.empty(form.shape, form.dtype)
        else:
            flat = self._flat(form)
            flat = flat if isinstance(flat, numpy.ndarray) else flat.numpy()
            array = numpy.ndarray(form.shape, form.dtype, flat, form.offset, form.strides)
        if not form.more[0]:
            array.flags.writeable = False
        return array

    def _flat(self, form: ArrayForm) -> Any:
        """The memory of a block, with the bytes of it that were kept."""
        memory = self._memory.get(form.block)
        if memory is None:
            block = self.blocks[form.block]
            memory = self._found(block)
            content = self.parts[block.place] if isinstance(block.place, int) else block.place
            if memory is None:
                memory = _fresh(block, form, content)
            elif block.packed:
                _write_packed(memory, form, content)
            elif not _holds(memory, content):
                _write(memory, content)
            self._memory[form.block] = memory
        return memory

    def _found(self, block: Block) -> Any:
        """Where the block lies here: where all that is known of it agrees. None: memory of its own."""
        if self.living is None:
            return None
        memories = []
        for key, offset, how in block.known:
            found = self.living(key)
            layout = self.forms[how][1:4] if isinstance(how, int) else (how[2], *how[:2])
            memory = _memory_at(found, offset, block.size)
            if memory is None or layout_of(found) != (*layout[1:], layout[0]):
                return None
            memories.append(memory)
        if not memories or any(_address(memory) != _address(memories[0]) for memory in memories):
            return None
        number, before, size = block.group
        begin = _address(memories[0]) - before
        if self._placed.setdefault(number, begin) != begin:
            return None
        at = bisect.bisect_left(self._taken, (begin, begin + size))
        if (begin, begin + size) not in self._taken[at : at + 1]:
            neighbours = self._taken[max(at - 1, 0) : at + 1]
            if any(begin < end and start < begin + size for start, end in neighbours):
                return None  # it was apart from what lies there now
            self._taken.insert(at, (begin, begin + size))
        return memories[0]


def _address(memory: Any) -> int:
    return int(memory.data_ptr() if is_torch(memory) else memory.__array_interface__["data"][0])


def _memory_at(value: Any, offset: int, size: int) -> Any:
    """`size` bytes of the memory of a living array, from `offset` bytes before its first item; None: it ends before."""
    if value is None or not is_plain_array(value) or span_of(value) is None:
        return None
    if is_torch(value):
        torch = sys.modules["torch"]
        storage = value.untyped_storage()
        begin = value.data_ptr() - offset - storage.data_ptr()
        if begin < 0 or begin + size > storage.nbytes():
            return None
        with torch.inference_mode(False), torch.no_grad():
            return torch.empty(0, dtype=torch.uint8, device=value.device).set_(storage, begin, (size,), (1,))
    numpy = sys.modules["numpy"]
    owner = value
    while isinstance(owner.base, numpy.ndarray):
        owner = owner.base
    flat = owner.reshape(-1, order="A")
    if not numpy.may_share_memory(flat, owner):
        return None
    flat = flat.view("u1")
    begin = _address(value) - offset - _address(flat)
    return flat[begin : begin + size] if begin >= 0 and begin + size <= flat.nbytes else None


def _fresh(block: Block, form: ArrayForm, content: Any) -> Any:
    """Memory of its own with a block's bytes, of the kind that `form` wants."""
    memory: Any
    data = bytearray(block.size if block.packed else content)
    if form.kind == "numpy":
        import numpy

        memory = numpy.frombuffer(data, "u1")
    else:
        import torch

        # a copy: torch would refuse to resize what lies in a bytearray
        device = devices.here(form.device)
        memory = torch.empty(len(data), dtype=torch.uint8, device=device)
        if data:
            memory.copy_(torch.frombuffer(data, dtype=torch.uint8))
    if block.packed:
        _write_packed(memory, form, content)
    return memory


def _holds(memory: Any, content: Any) -> bool:
    """Whether these are its bytes already: it may be a mapped file, or not be writeable for another reason."""
    if is_torch(memory) and memory.device.type != "cpu":
        return False
    flat = as_numpy(memory) if is_torch(memory) else memory
    numpy = sys.modules["numpy"]
    return bool(numpy.array_equal(flat, numpy.frombuffer(content, "u1")))


def _write(memory: Any, content: Any) -> None:
    if is_torch(memory):
        torch = sys.modules["torch"]
        memory.copy_(torch.frombuffer(bytearray(content), dtype=torch.uint8))
    else:
        if not memory.flags.writeable:
            raise StoreError(_CANNOT)
        memory[:] = sys.modules["numpy"].frombuffer(content, "u1")


def _write_packed(memory: Any, form: ArrayForm, content: Any) -> None:
    """The items of a block's only array, each to its place."""
    if form.kind == "torch":
        import torch

        kind = getattr(torch, form.dtype)
        flat: Any = memory if isinstance(memory, torch.Tensor) else torch.from_numpy(memory)
        target = torch.empty(0, dtype=kind, device=flat.device)
        target.set_(
            flat.untyped_storage(), (flat.storage_offset() + form.offset) // kind.itemsize, form.shape, form.strides
        )
        items = torch.frombuffer(bytearray(content), dtype=torch.uint8).view(kind).reshape(form.shape)
        target.copy_(items) if 0 not in form.strides else _write_expanded(target, items)
    else:
        import numpy

        flat = memory if isinstance(memory, numpy.ndarray) else memory.numpy()
        numpy.ndarray(form.shape, form.dtype, flat, form.offset, form.strides)[...] = numpy.frombuffer(
            content, form.dtype
        ).reshape(form.shape)


def _write_expanded(target: Any, items: Any) -> None:
    """Of items that are one and the same in memory, one."""
    one = tuple(slice(0, 1) if step == 0 else slice(None) for step in target.stride())
    target[one].copy_(items[one])
