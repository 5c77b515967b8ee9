"""The pickle in a checkpoint: tensors go aside, and what the script creates anew when it runs again is referred to.

("object", path)          an object that has its own entry in the checkpoint
("part", path, kind, i)   a part that such an object had when the loop began (flor_ray.state.structure)
("code", key)             a function or class that was there when the loop began
("array", index)          a tensor or array (flor_ray.state.memory)
("tensor", ...)           the bytes of a tensor, in checkpoints of older releases

Before it stands another pickle, the table of its arrays; older releases wrote none.
"""

from __future__ import annotations

import functools
import io
import pickle
import sys
import types
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from flor_ray import stored_names
from flor_ray.errors import StoreError
from flor_ray.state import closures, devices, expected_names, memory, random_states, reductions, shards, snapshots
from flor_ray.state.laying import LaidArrays
from flor_ray.state.memory import ArrayForm, ArrayTable, Block, Known
from flor_ray.store.objects import Objects

_INLINE_BYTES = 1024  # smaller tensors stay in the pickle: a reference would not be smaller
_ARRAY_BYTES = 1 << 10  # to build and to compare a small array takes as long as to copy so many
_CODE = (type, types.FunctionType, types.ModuleType)
LEFT_OUT = "__flor_left_out__"  # attributes of a pickled object that are not with it
Reference = tuple[Any, ...]


class TooLarge(Exception):
    """The pickle would be larger than its limit."""


@dataclass(frozen=True, slots=True)
class Findable:
    """What a replay finds in its own process when a loop begins: a checkpoint refers to it, by id or by name."""

    references: Mapping[int, Reference] = field(default_factory=dict)
    is_late: Callable[[Any], bool] = lambda code: False  # of code and modules of the user's: came to be since then
    there: Mapping[int, tuple[Known, Any]] = field(default_factory=dict)  # by id; kept all the same
    is_users: Callable[[Any], bool] = lambda code: False  # whether a class is the user's

    def __contains__(self, key: int) -> bool:
        return key in self.references


def pickles(
    value: object,
    findable: Findable,
    left_out: Mapping[int, Any],
    limit: int | None,
    within: frozenset[int] = frozenset(),
) -> str:
    """Why a value cannot be pickled within `limit` bytes; "" if it can be. `within` are ids of objects that it is a
    part of."""
    pickler = StatePickler(findable, left_out, with_gradients=False, limit=limit, trial=True, within=within)
    try:
        pickler.dump(value)
    except TooLarge:
        return "it is too large"
    except Exception as error:  # noqa: BLE001 - pickling runs the user's code, which may raise anything
        return f"it cannot be pickled: {error}"
    return ""


@functools.lru_cache(maxsize=4096)
def keeps_no_state(kind: type) -> bool:
    """Whether objects of a class are pickled as how to make or to reach them: environments that derive from EzPickle,
    what lives in a manager's process or in an actor's."""
    names = {(base.__module__.partition(".")[0], base.__name__) for base in kind.__mro__}
    handles = {("multiprocessing", "BaseProxy"), ("ray", "ActorHandle")}
    return any(name == "EzPickle" for _, name in names) or not names.isdisjoint(handles)


def pickled(value: object, limit: int) -> bytes | None:
    """A value's pickle; None if it cannot be pickled, or not within `limit` bytes."""
    file = _Limited(limit)
    try:
        pickle.Pickler(file, protocol=5).dump(value)
    except Exception:  # noqa: BLE001 - pickling runs the user's code, which may raise anything
        return None
    return file.getvalue()


@dataclass(frozen=True, slots=True)
class Late:
    """Stands in what is pickled for a dict that can be made only when the pickle has come this far."""

    make: Callable[[], dict[Any, Any]]


class StatePickler(pickle.Pickler):
    """`findable` is referred to, and no late code is pickled by name: a replay would take what has its name when the
    loop begins, or find nothing. `left_out` names attributes to leave out, by object id.
    `met` are ids of what was there when the loop began and is in the pickle.

    With `trial` nothing is copied: it only tells whether the value can be pickled within `limit` bytes.
    """

    def __init__(
        self,
        findable: Findable,
        left_out: Mapping[int, Any],
        with_gradients: bool,
        limit: int | None = None,
        trial: bool = False,
        within: frozenset[int] = frozenset(),
    ) -> None:
        self._within = within
        self._file = _Limited(limit)
        super().__init__(self._file, protocol=5, buffer_callback=self._buffer)
        self.arrays = ArrayTable(with_gradients)
        self.met: set[int] = set()
        self.sources: list[Any] = []  # tensors and memoryviews, not copied yet
        self.buffers: list[int] = []  # which of them the pickle takes as out-of-band buffers
        self.met_graph = False  # a tensor that autograd could go back from: that is lost
        self._findable, self._left_out = findable, left_out
        self._trial = trial
        self._torch = sys.modules.get("torch")

    def close(self, known: Mapping[Known, Any]) -> bytes:
        """The whole pickle. Its arrays become sources; `known` are those that a replay finds by itself."""
        table, sources = self.arrays.close(known, len(self.sources))
        self.sources += sources
        self.met_graph |= self.arrays.lost_gradients
        plain = tuple(tuple(map(tuple, part)) for part in table)  # no names of ours in stores
        return pickle.dumps(plain, protocol=5) + self._file.getvalue()

    def reducer_override(self, obj: Any) -> Any:
        """Not called for numbers, strings and plain containers, which is what makes it quick."""
        found = self._findable.references.get(id(obj))
        if found is not None:
            return stored_names.refer, found
        if isinstance(obj, _CODE):
            if self._findable.is_late(obj):
                raise pickle.PicklingError(f"{obj.__name__} was made in the loop")
            if isinstance(obj, types.FunctionType):
                is_users, references = self._findable.is_users, self._findable.references
                return closures.reduced(obj, is_users, lambda value: id(value) in references) or NotImplemented
            is_module = isinstance(obj, types.ModuleType) and sys.modules.get(obj.__name__) is obj
            return (stored_names.module, (obj.__name__,)) if is_module else NotImplemented
        if id(obj) in self._findable.there:
            self.met.add(id(obj))
        if memory.is_plain_array(obj):
            return stored_names.refer, self._array(obj)
        if shards.is_shared_out(obj):
            return stored_names.shared_out, shards.made_of(obj)
        if shards.is_mesh(obj):
            return stored_names.mesh, (obj.device_type, obj.mesh.tolist(), obj.mesh_dim_names)
        if type(obj) is Late:
            return dict, (obj.make(),)
        if type(obj) is weakref.ref and obj.__callback__ is None:
            held = obj()
            if held is None:
                return weakref.ref, (set(),)  # one that nobody holds
            return (weakref.ref, (held,)) if id(held) in self._findable.there else NotImplemented
        torch = self._torch
        if torch is not None and isinstance(obj, torch.Generator):
            return stored_names.torch_generator, (str(obj.device), random_states.state_of(obj))
        left_out = self._left_out.get(id(obj))
        kind: type = type(obj)
        if keeps_no_state(kind):
            raise pickle.PicklingError(f"a {kind.__name__} is pickled without its state")
        if left_out:
            reduced = obj.__reduce_ex__(5)
            state = {name: item for name, item in reduced[2].items() if name not in left_out}
            return (*reduced[:2], state | {LEFT_OUT: sorted(left_out)}, *reduced[3:])
        if id(obj) not in self._within and reductions.is_own(kind, self._findable.is_users):
            within = self._within | {id(obj)}
            limit = self._file.left
            return reductions.whole(
                obj, lambda value: not pickles(value, self._findable, self._left_out, limit, within)
            )
        return NotImplemented

    def _buffer(self, buffer: pickle.PickleBuffer) -> bool:
        """The memory of an array: true keeps it in the pickle."""
        with buffer.raw() as raw:
            if raw.nbytes < _INLINE_BYTES:
                return True
            self._file.spend(raw.nbytes)
        if not self._trial:
            self.buffers.append(len(self.sources))
            self.sources.append(buffer.raw())
        return False

    def _array(self, value: Any) -> Reference:
        self._file.spend(max(value.nbytes, _ARRAY_BYTES))
        if self._torch is not None and isinstance(value, self._torch.Tensor):
            self.met_graph |= value.requires_grad and not value.is_leaf
            if self.arrays.with_gradients and value.is_leaf and value.grad is not None:
                self._file.spend(value.grad.nbytes)
        return ("array", -1 if self._trial else self.arrays.add(value))


class _Limited(io.BytesIO):
    """A file that refuses to grow beyond its limit."""

    def __init__(self, limit: int | None) -> None:
        super().__init__()
        self.left = limit

    def write(self, data: Any) -> int:
        self.spend(memoryview(data).nbytes)
        return super().write(data)

    def spend(self, size: int) -> None:
        if self.left is not None:
            self.left -= size
            if self.left < 0:
                raise TooLarge


class _StateUnpickler(stored_names.StoredUnpickler):
    def __init__(self, file: io.BytesIO, found: Callable[..., Any], buffers: Iterable[bytearray]) -> None:
        super().__init__(file, buffers=buffers)
        self._found = found

    def find_class(self, module: str, name: str) -> Any:
        try:
            found = super().find_class(module, name)
        except (AttributeError, ImportError) as error:
            raise StoreError(
                f"The checkpoint holds {module}.{name}, which this version does not have when its loop begins."
            ) from error
        if found is stored_names.refer:
            return self._found
        if found is stored_names.closure:
            return _closure
        expected_names.expect(found, module, name)
        return found


def _closure(*arguments: Any) -> types.FunctionType:
    made = stored_names.closure(*arguments)
    expected_names.expect(made, made.__module__, made.__qualname__)
    return made


@dataclass(frozen=True, slots=True)
class LoadedState:
    """A checkpoint read from the store; `body` unpickles it, `resolve` finding the script's own objects."""

    skeleton: bytes
    parts: Sequence[bytes | memoryview]
    buffers: tuple[int, ...] = ()

    @classmethod
    def read(cls, objects: Objects, key: str) -> LoadedState:
        """The checkpoint with this key.

        Raises:
            StoreError: an object of it is missing or corrupt.
        """
        manifest, parts = snapshots.read(objects, key)
        return cls(manifest.skeleton, parts, manifest.buffers)

    def arrays(self, living: Callable[[Known], Any] | None = None) -> LaidArrays:
        """Its arrays, to be built; `living` finds the memory that some of them belong in."""
        table = _StateUnpickler(io.BytesIO(self.skeleton), lambda *reference: None, self._buffers()).load()
        forms, blocks = table if isinstance(table, tuple) else ((), ())
        return LaidArrays(tuple(ArrayForm(*f) for f in forms), tuple(Block(*b) for b in blocks), self.parts, living)

    def body(self, resolve: Callable[[Reference], Any], arrays: LaidArrays | None = None) -> dict[str, Any]:
        """The state, unpickled anew: what is changed in it is not seen by the next call. `resolve` is given each
        reference to an object of the script, and returns that object. `arrays` are those of this checkpoint."""
        laid = arrays or self.arrays()

        def found(*reference: Any) -> Any:
            if reference[0] == "array":
                return laid.array(reference[1])
            return self._tensor(*reference[1:]) if reference[0] == "tensor" else resolve(reference)

        file = io.BytesIO(self.skeleton)
        body: Any = _StateUnpickler(file, found, self._buffers()).load()
        if isinstance(body, tuple):
            body = _StateUnpickler(file, found, self._buffers()).load()
        return body  # type: ignore[no-any-return]

    def _buffers(self) -> Iterator[bytearray]:
        return (bytearray(self.parts[index]) for index in self.buffers)

    def _tensor(
        self,
        place: int | bytes,
        dtype: str,
        shape: tuple[int, ...],
        device: str,
        leaf: bool,
        is_parameter: bool,
        gradient: Reference | None,
    ) -> Any:
        import torch

        data = bytearray(self.parts[place] if isinstance(place, int) else place)
        kind = getattr(torch, dtype)
        if data:
            tensor = torch.frombuffer(data, dtype=torch.uint8).view(kind).reshape(shape)
        else:
            tensor = torch.empty(shape, dtype=kind)
        tensor = tensor.to(devices.here(device))
        if is_parameter:
            tensor = torch.nn.Parameter(tensor, requires_grad=leaf)
        elif leaf:
            tensor.requires_grad_(True)
        if gradient is not None:
            tensor.grad = self._tensor(*gradient[1:])
        return tensor


def references_to(
    objects: Mapping[str, Any], code: Mapping[str, Any], parts: Mapping[str, Mapping[str, Sequence[Any]]]
) -> dict[int, Reference]:
    """References by id, for everything that a replay will find in its own process. `parts` are those of `objects`, by
    kind; None stands for one that is gone."""
    found: dict[int, Reference] = {id(value): ("code", key) for key, value in code.items()}
    for path in objects:
        for kind, items in parts[path].items():  # of equal ones the first is meant
            last_first = reversed(list(enumerate(items)))
            found = {id(part): ("part", path, kind, at) for at, part in last_first if part is not None} | found
    found |= {id(value): ("object", path) for path, value in objects.items()}
    return found


def resolver(
    objects: Mapping[str, Any], code: Mapping[str, Any], parts: Mapping[str, Mapping[str, Sequence[Any]]]
) -> Callable[[Reference], Any]:
    """The other way round."""

    def resolve(reference: Reference) -> Any:
        kind, key = reference[:2]
        try:
            if kind == "code":
                return code[key]
            if kind == "object":
                return objects[key]
            return parts[key][reference[2]][reference[3]]
        except (KeyError, IndexError):
            raise StoreError(
                f"The checkpoint refers to {key.rpartition(':')[2] or key!r}, which this version's code does not have "
                "when its main loop begins."
            ) from None

    return resolve


def own_items(value: Any) -> Iterator[tuple[Any, str | None, Any]]:
    """(holder, attribute, item) of what can be left out of a pickle, or looked into: `attribute` is None for items."""
    if isinstance(value, dict):
        for item in value.values():
            yield value, None, item
    elif isinstance(value, list | tuple | set):
        for item in value:
            yield value, None, item
    kind, basic = type(value), ("__reduce_ex__", "__reduce__", "__getstate__")
    plain = all(getattr(kind, name, None) == getattr(object, name, None) for name in basic)
    if plain and isinstance(getattr(value, "__dict__", None), dict) and not isinstance(value, types.ModuleType):
        for name, item in vars(value).items():
            yield value, name, item
