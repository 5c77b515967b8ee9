"""The observer does not disturb: what a hindsight statement changes is put back, or it is told.

    __flor_observe__("net", "loader")
        before   random states, modes, gradients, buffers and parameters of what the script trains, and of what these
                 names hold
        after    what is not as it was is put back; what cannot be is a sentence for the user

Looked at are the objects that checkpoints know, and what the statement itself names. Tensors are copied first, as far
as _COPIED_BYTES go: buffers, then gradients, then parameters; of the others a version counter tells whether they were
written. torch and numpy are looked up in `sys.modules`.
"""

from __future__ import annotations

import ctypes
import pickle
import sys
import types
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

from flor_ray.state import frames, random_states, stateful
from flor_ray.state.comparing import position
from flor_ray.state.memory import as_numpy
from flor_ray.state.merge import Merger
from flor_ray.state.pickling import pickled

_COPIED_BYTES = 256 << 20  # of tensors, before a statement runs
_PICKLED_BYTES = 1 << 20  # of an object that the statement names
_DEPTH = 3  # how deep to look in what a name holds
_ITEMS = 100  # of one container
_DISTURBED = "a statement that was added {what}: values after it may not be those of the original run"
_ATOMS = (int, float, complex, str, bytes, type(None), range, slice, type)
_CODE = (types.ModuleType, types.FunctionType, types.BuiltinFunctionType, types.MethodType)


class Observer:
    """Guards hindsight statements. `known` are the objects that the run's checkpoints know, by name, and `iterators`
    those that its code goes through."""

    def __init__(
        self,
        known: Callable[[], Mapping[str, Any]],
        iterators: Callable[[], Mapping[str, Any]],
        tell: Callable[[str], None],
        watching: Callable[[], Callable[[], None]] | None = None,
    ) -> None:
        """`watching` is called before each statement, and what it returns when the statement has drawn random
        numbers."""
        self._known, self._iterators = known, iterators
        self._tell, self._watching = tell, watching

    def observe(self, *names: str) -> _Guard:
        """A guard for statements that read these variables of the calling frame."""
        named = frames.read(sys._getframe(1), names)
        return _Guard(self._known(), self._iterators(), named, self._tell, self._watching)


@dataclass(slots=True)
class _Watched:
    """A tensor that must be afterwards what it is now."""

    name: str
    tensor: Any
    version: int
    copy: Any = None


@dataclass(slots=True)
class _Before:
    """What there was before a statement ran."""

    random: Mapping[str, Any]
    generators: list[tuple[Any, Any]] = field(default_factory=list)
    modes: list[tuple[Any, bool]] = field(default_factory=list)
    buffers: list[tuple[dict[str, Any], dict[str, Any]]] = field(default_factory=list)  # a module's, and a copy
    required: list[tuple[Any, bool]] = field(default_factory=list)
    gradients: list[tuple[Any, Any]] = field(default_factory=list)
    tensors: list[_Watched] = field(default_factory=list)
    objects: list[tuple[str, Any, bytes]] = field(default_factory=list)
    positions: list[tuple[str, Any, object]] = field(default_factory=list)  # of iterators
    grad_mode: bool = True


class _Guard:
    """Around one execution of a statement."""

    __slots__ = ("_before", "_drew", "_iterators", "_known", "_named", "_tell", "_watching")

    def __init__(
        self,
        known: Mapping[str, Any],
        iterators: Mapping[str, Any],
        named: Mapping[str, Any],
        tell: Callable[[str], None],
        watching: Callable[[], Callable[[], None]] | None = None,
    ) -> None:
        self._known, self._iterators, self._named, self._tell = known, iterators, named, tell
        self._watching = watching
        self._drew: Callable[[], None] | None = None
        self._before: _Before | None = None

    def __enter__(self) -> None:
        self._drew = self._watching() if self._watching is not None else None
        before = _Before(random_states.global_state())
        found = _Observed()
        for name, value in self._named.items():
            found.look(name, value)
        stepped = len(found.optimizers)  # the statement can only reach those that it names
        for name, value in self._known.items():
            found.look(name, value)
        before.generators = [(g, random_states.state_of(g)) for g in found.generators]
        torch = sys.modules.get("torch")
        if torch is not None and hasattr(torch, "is_grad_enabled"):
            before.grad_mode = torch.is_grad_enabled()
        _watch(found, before, stepped)
        before.positions = [(name, value, position(value)) for name, value in self._iterators.items()]
        mentioned = {id(value) for value in self._named.values()}
        for name, value in found.objects:
            if id(value) in mentioned and (data := pickled(value, _PICKLED_BYTES)) is not None:
                before.objects.append((name, value, data))
        self._before = before

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        before = self._before
        assert before is not None
        torch = sys.modules.get("torch")
        if torch is not None and hasattr(torch, "is_grad_enabled") and torch.is_grad_enabled() != before.grad_mode:
            torch.set_grad_enabled(before.grad_mode)
        for module, training in before.modes:
            if module.training != training:
                module.training = training
        for held, were in before.buffers:
            if held.keys() != were.keys() or any(held[name] is not were[name] for name in were):
                held.clear()
                held.update(were)
        for parameter, required in before.required:
            if parameter.requires_grad != required:
                parameter.requires_grad_(required)
        for parameter, gradient in before.gradients:
            if parameter.grad is not gradient:
                parameter.grad = gradient
        for watched in before.tensors:
            self._put_tensor(watched)
        for name, thing, data in before.objects:
            self._put_object(name, thing, data)
        for name, iterator, place in before.positions:
            if position(iterator) != place:
                self._tell(_DISTURBED.format(what=f"went on in {name!r}, which cannot be put back"))
        if self._drew is not None and not random_states.same_global_state(before.random, random_states.global_state()):
            self._drew()
        for generator, state in before.generators:
            random_states.put_state(generator, state)
        random_states.set_global_state(before.random)

    def _put_tensor(self, watched: _Watched) -> None:
        if watched.copy is None:
            if _version(watched.tensor) != watched.version:
                self._tell(_DISTURBED.format(what=f"wrote into {watched.name}, which is too large to be put back"))
        else:
            _put_back(watched.tensor, watched.copy)

    def _put_object(self, name: str, thing: Any, data: bytes) -> None:
        if pickled(thing, _PICKLED_BYTES) != data and Merger().merge(thing, pickle.loads(data)) is not thing:
            what = f"changed {name!r} ({type(thing).__name__}), which cannot be put back"
            self._tell(_DISTURBED.format(what=what))


@dataclass(slots=True)
class _Observed:
    """What is to be watched among some values."""

    generators: list[Any] = field(default_factory=list)
    modules: list[tuple[str, Any]] = field(default_factory=list)
    optimizers: list[tuple[str, Any]] = field(default_factory=list)
    tensors: list[tuple[str, Any]] = field(default_factory=list)
    objects: list[tuple[str, Any]] = field(default_factory=list)
    _seen: set[int] = field(default_factory=set)

    def look(self, name: str, value: Any, depth: int = _DEPTH) -> None:
        if isinstance(value, _ATOMS) or id(value) in self._seen:
            return
        self._seen.add(id(value))
        if isinstance(value, types.MethodType):
            self.look(name, value.__self__, depth)
        elif isinstance(value, _CODE):
            return
        elif random_states.is_generator(value):
            self.generators.append(value)
        elif stateful.is_module(value):
            self.modules.append((name, value))
        elif stateful.is_optimizer(value):
            self.optimizers.append((name, value))
        elif stateful.is_tensor(value):
            self.tensors.append((name, value))
        else:
            if not stateful.is_data(value):
                self.objects.append((name, value))
            for attribute, item in _parts(value) if depth else ():
                self.look(f"{name}{attribute}", item, depth - 1)


def _parts(value: Any) -> list[tuple[str, Any]]:
    if isinstance(value, dict):
        return [(f"[{key!r}]", item) for key, item in list(value.items())[:_ITEMS]]
    if isinstance(value, list | tuple):
        return [(f"[{index}]", item) for index, item in enumerate(value[:_ITEMS])]
    held = getattr(value, "__dict__", None)
    return [(f".{name}", item) for name, item in held.items()][:_ITEMS] if isinstance(held, dict) else []


def _watch(found: _Observed, before: _Before, stepped: int) -> None:
    """Modes, and tensors in the order in which they are copied: a module's own statistics change the easiest. Of the
    optimizers only the first `stepped` are copied."""
    torch = sys.modules.get("torch")
    if torch is None:
        return
    parameters: dict[int, tuple[str, Any]] = {}
    buffers: dict[int, tuple[str, Any]] = {}
    for name, module in found.modules:
        inner = list(module.modules())
        before.modes += [(one, one.training) for one in inner]
        before.buffers += [(one._buffers, dict(one._buffers)) for one in inner if one._buffers]
        buffers |= {id(b): (f"{name}.{path}", b) for path, b in module.named_buffers()}
        parameters |= {id(p): (f"{name}.{path}", p) for path, p in module.named_parameters()}
    moments = []
    for index, (name, optimizer) in enumerate(found.optimizers):
        loose = [p for group in optimizer.param_groups for p in group["params"] if id(p) not in parameters]
        parameters |= {id(p): (f"parameter {number} of {name}", p) for number, p in enumerate(loose)}
        if index < stepped:
            held = [state for state in optimizer.state.values() if isinstance(state, dict)]
            moments += [(f"the state of {name}", tensor) for state in held for tensor in state.values()]
    before.required = [(p, p.requires_grad) for _, p in parameters.values()]
    before.gradients = [(p, p.grad) for _, p in parameters.values()]
    gradients = [(f"the gradient of {name}", p.grad) for name, p in parameters.values() if p.grad is not None]
    left = _COPIED_BYTES
    for name, whole in [*buffers.values(), *found.tensors, *gradients, *parameters.values(), *moments]:
        tensor: Any = getattr(whole, "_local_tensor", whole)  # of one that ranks share out, the part that is here
        if not stateful.is_tensor(tensor) or tensor.layout is not torch.strided or torch.nn.parameter.is_lazy(tensor):
            continue
        watched = _Watched(name, tensor, _version(tensor))
        size = tensor.numel() * tensor.element_size()
        if size <= left and (copy := _copy(tensor)) is not None:
            watched.copy = copy
            left -= size
        before.tensors.append(watched)


def _version(tensor: Any) -> int:
    return 0 if tensor.is_inference() else int(tensor._version)


def _copy(tensor: Any) -> Any:
    """Bytes of a tensor in this machine's memory (torch would start its threads for each copy), else a clone; None
    where a GPU that the script fills has no room for one."""
    if (held := _bytes(tensor)) is not None:
        return held.tobytes()
    try:
        return tensor.detach().clone()
    except sys.modules["torch"].OutOfMemoryError:
        return None


def _put_back(tensor: Any, copy: Any) -> None:
    """The content that a tensor had, if it has another one now. Past the version counter: a backward pass that is still
    to come needs just this content."""
    held, torch = _bytes(tensor), sys.modules["torch"]
    if held is None:
        now = tensor.detach()
        if not torch.equal(now, copy) and not ((now == copy) | ((now != now) & (copy != copy))).all():  # NaN is NaN
            tensor.data.copy_(copy)
    elif held.nbytes == len(copy) and held.tobytes() != copy:
        ctypes.memmove(tensor.data_ptr(), copy, len(copy))


def _bytes(tensor: Any) -> Any:
    """The bytes of a tensor as an array that shares its memory; None if it has none that could be seen so."""
    if tensor.device.type != "cpu" or not tensor.is_contiguous() or tensor.is_conj() or tensor.is_neg():
        return None
    return as_numpy(tensor.detach().reshape(-1).view(sys.modules["torch"].uint8))
