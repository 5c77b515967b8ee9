"""Checkpoints: what is in one, how it is taken from a running script, and how it is put back.

    objects      what the user listed, and every other variable with state_dict and load_state_dict
    variables    what the loop carries in its frame (flor_ray.variables)
    rng          python, numpy, torch CPU and every CUDA device
    generators   of loaders and samplers that flor.loop has seen

A checkpoint is one object in the store: a header with the keys of its tensors, then a pickle in which each tensor is a
reference. So a tensor that did not change costs nothing twice, across epochs and versions.

`take` runs in the training thread and copies; hashing and writing (`Snapshot.write`) may happen in another thread.
torch and numpy are looked up in `sys.modules`: a script that does not use them never pays for their import.
"""

from __future__ import annotations

import collections
import io
import json
import pickle
import sys
import time
import types
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

from flor_ray import rng, variables
from flor_ray.errors import StoreError
from flor_ray.objects import Objects
from flor_ray.records import GRADIENTS
from flor_ray.variables import LoopNames

_INLINE_BYTES = 1024  # smaller tensors stay in the pickle: a reference would not be smaller
_VARIABLE_BYTES = 16 << 20  # larger variables are data rather than state, and are reported as not captured
_CONTAINERS = (list, dict, set, collections.deque, bytearray)


@dataclass(frozen=True, slots=True)
class Scope:
    """A frame whose loop carries variables. `slot` names it within a checkpoint: "main" or "nested"."""

    slot: str
    frame: FrameType
    names: LoopNames
    only_live: bool  # report only names as not captured that can be read before they are bound again


@dataclass(slots=True)
class Snapshot:
    """A copy of the state at one moment, not yet written."""

    skeleton: bytes
    tensors: list[bytes]
    captured: frozenset[str]
    uncaptured: frozenset[str]
    opaque: frozenset[str]  # changed by method calls and not picklable: open files, progress bars, writers
    seconds: float

    def write(self, objects: Objects) -> tuple[str, int]:
        """Put the tensors, then the manifest that refers to them. Returns its key and the bytes of everything."""
        keys = [objects.put(data) for data in self.tensors]
        manifest = json.dumps({"tensors": keys}).encode() + b"\n" + self.skeleton
        return objects.put(manifest), len(manifest) + sum(map(len, self.tensors))


@dataclass(slots=True)
class Capturer:
    """Takes and restores the state of one script. `targets` are the objects that the user listed, by name."""

    is_users: Callable[[type], bool]  # whether a class is defined in the user's project
    targets: dict[str, Any] = field(default_factory=dict)

    def add(self, named: Mapping[str, Any]) -> None:
        """List objects; dicts, lists and tuples of them are listed one by one, as `name.key`."""
        for name, value in named.items():
            if isinstance(value, dict) and not hasattr(value, "state_dict"):
                self.add({f"{name}.{key}": item for key, item in value.items()})
            elif isinstance(value, list | tuple):
                self.add({f"{name}.{index}": item for index, item in enumerate(value)})
            else:
                self.targets[name] = value

    def take(self, scopes: Iterable[Scope], generators: Mapping[str, Any], with_gradients: bool) -> Snapshot:
        started = time.perf_counter()
        scopes = list(scopes)
        opaque: set[str] = set()
        captured: set[str] = set()
        missing: set[str] = set()
        live_objects = self._objects(scopes)
        body: dict[str, Any] = {"slots": {}, "rng": rng.global_state(), "generators": dict(generators)}
        for scope in scopes:
            values, left_out, unreadable = self._variables(scope, live_objects)
            body["slots"][scope.slot] = values
            captured |= values.keys()
            missing |= left_out
            opaque |= unreadable
        captured |= {name.split(":", 2)[-1] for name in live_objects if name.startswith("variable:")}
        gradients_left_out = False
        body["objects"] = {}
        for name, value in live_objects.items():
            body["objects"][name] = _state_of(value, with_gradients)
            gradients_left_out |= not with_gradients and _has_gradients(value)
        if gradients_left_out:
            missing.add(GRADIENTS)
        tensors: list[bytes] = []
        skeleton = _dumps(body, live_objects, tensors)
        return Snapshot(
            skeleton,
            tensors,
            frozenset(captured),
            frozenset(missing),
            frozenset(opaque),
            time.perf_counter() - started,
        )

    def restore(self, state: LoadedState, scopes: Iterable[Scope]) -> dict[str, Any]:
        """Put a state back into the live objects, frames and RNGs. Returns the generators' states, by loop."""
        scopes = list(scopes)
        live_objects = self._objects(scopes)
        body = state.body(live_objects)
        for name, saved in body["objects"].items():
            if name in live_objects:
                _put_state(live_objects[name], saved)
            elif not name.startswith("variable:"):
                raise StoreError(
                    f"The checkpoint holds {name!r}, which this version's checkpointing(...) does not list any more."
                )
        for scope in scopes:
            saved_variables = body["slots"].get(scope.slot)
            if saved_variables is None:
                continue
            current = variables.read(scope.frame, saved_variables)
            values = {
                name: value if name in scope.names.bound else _in_place(current.get(name), value)
                for name, value in saved_variables.items()
            }
            kept = values.keys() | {name.split(":", 2)[-1] for name in live_objects}
            stale = variables.read(scope.frame, scope.names.bound - kept)
            remove = [name for name, value in stale.items() if not _is_code(value)]
            variables.write(scope.frame, values, remove)
        rng.set_global_state(body["rng"])
        return dict(body["generators"])

    def _objects(self, scopes: Iterable[Scope]) -> dict[str, Any]:
        """The listed objects, and the unlisted ones with a state_dict that a loop mentions."""
        objects = dict(self.targets)
        known = {id(value) for value in objects.values()}
        for scope in scopes:
            names = scope.names.mentioned | scope.names.called | scope.names.changed
            for name, value in variables.read(scope.frame, names).items():
                if id(value) not in known and _has_state_dict(value):
                    objects[f"variable:{scope.slot}:{name}"] = value
                    known.add(id(value))
        return objects

    def _variables(self, scope: Scope, live_objects: Mapping[str, Any]) -> tuple[dict[str, Any], set[str], set[str]]:
        """Values to keep, names that should be kept and cannot, and names of opaque things that were changed."""
        known = {id(value) for value in live_objects.values()}
        names = scope.names
        values: dict[str, Any] = {}
        missing: set[str] = set()
        opaque: set[str] = set()
        everything = names.bound | names.changed | names.called | names.mentioned
        for name, value in variables.read(scope.frame, everything).items():
            must = name in (names.live if scope.only_live else names.bound | names.changed)
            wanted = name in names.bound or name in names.changed or self._may_change(value)
            if not wanted or _is_code(value):
                continue
            if id(value) in known:
                if name in names.bound:  # e.g. `net = net.to(device)` in the loop: kept as a reference to the object
                    values[name] = value
                continue
            if self._fits(value, live_objects):
                values[name] = _portable(value, self.is_users)
            elif (
                must or (self.is_users(type(value)) and name in names.called) or isinstance(value, types.GeneratorType)
            ):
                missing.add(name)
            elif name in names.called:
                opaque.add(name)
        return values, missing, opaque

    def _may_change(self, value: object) -> bool:
        """Whether a function that is handed this value may well change it: containers, the user's objects, RNGs."""
        if isinstance(value, _CONTAINERS):
            return len(value) <= 10_000  # more is data
        return self.is_users(type(value)) or rng.is_generator(value) or isinstance(value, types.GeneratorType)

    def _fits(self, value: object, live_objects: Mapping[str, Any]) -> bool:
        """Whether the value can be pickled within the size limit."""
        if type(value) in (int, float, str, bool, type(None)):
            return True
        tensors: list[bytes] = []
        try:
            size = len(_dumps(_portable(value, self.is_users), live_objects, tensors))
        except Exception:  # noqa: BLE001 - pickling runs the user's code, which may raise anything; the name is reported
            return False
        return size + sum(map(len, tensors)) <= _VARIABLE_BYTES


@dataclass(frozen=True, slots=True)
class LoadedState:
    """A checkpoint read from the store; `body` unpickles it against the live objects of the script."""

    skeleton: bytes
    tensors: tuple[bytes, ...]

    @classmethod
    def read(cls, objects: Objects, key: str) -> LoadedState:
        header, _, skeleton = objects.get(key).partition(b"\n")
        return cls(skeleton, tuple(objects.get(tensor) for tensor in json.loads(header)["tensors"]))

    def body(self, live_objects: Mapping[str, Any]) -> dict[str, Any]:
        unpickler = pickle.Unpickler(io.BytesIO(self.skeleton))
        unpickler.persistent_load = lambda reference: self._resolve(reference, live_objects)  # type: ignore[method-assign]
        body: dict[str, Any] = unpickler.load()
        return body

    def _resolve(self, reference: tuple[Any, ...], live_objects: Mapping[str, Any]) -> Any:
        kind, *rest = reference
        if kind == "object":
            return live_objects[rest[0]]
        import torch

        index, dtype, shape, device, requires_grad = rest
        flat = torch.frombuffer(bytearray(self.tensors[index]), dtype=torch.uint8)
        tensor = flat.view(getattr(torch, dtype)).reshape(shape)
        if device != "cpu" and torch.cuda.is_available():
            tensor = tensor.to(device)
        return tensor.requires_grad_(requires_grad)


class _StatePickler(pickle.Pickler):
    """Pickles state; tensors go aside, objects that have their own entry become references."""

    def __init__(self, file: io.BytesIO, live_objects: Mapping[str, Any], tensors: list[bytes]) -> None:
        super().__init__(file, protocol=5)
        self._names = {id(value): name for name, value in live_objects.items()}
        self._tensors = tensors
        self._torch = sys.modules.get("torch")

    def persistent_id(self, obj: Any) -> Any:
        name = self._names.get(id(obj))
        if name is not None:
            return ("object", name)
        torch = self._torch
        if torch is None or type(obj) is not torch.Tensor or obj.layout is not torch.strided or obj.is_quantized:
            return None
        if obj.numel() * obj.element_size() < _INLINE_BYTES and obj.is_leaf and obj.device.type == "cpu":
            return None
        data = obj.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
        self._tensors.append(data)
        dtype = str(obj.dtype).removeprefix("torch.")
        requires_grad = obj.requires_grad and obj.is_leaf
        return ("tensor", len(self._tensors) - 1, dtype, tuple(obj.shape), str(obj.device), requires_grad)

    def reducer_override(self, obj: Any) -> Any:
        if self._torch is not None and isinstance(obj, self._torch.Generator):
            return rng.torch_generator, (str(obj.device), rng.state_of(obj))
        return NotImplemented


def _dumps(body: object, live_objects: Mapping[str, Any], tensors: list[bytes]) -> bytes:
    file = io.BytesIO()
    _StatePickler(file, live_objects, tensors).dump(body)
    return file.getvalue()


def _has_state_dict(value: object) -> bool:
    if isinstance(value, type | types.ModuleType) or _is_data(value):
        return False
    return callable(getattr(value, "state_dict", None)) and callable(getattr(value, "load_state_dict", None))


def _is_code(value: object) -> bool:
    code = (types.ModuleType, type, types.FunctionType, types.BuiltinFunctionType, types.MethodType)
    return isinstance(value, code)


def _is_data(value: object) -> bool:
    data = sys.modules.get("torch.utils.data")
    return data is not None and isinstance(value, data.Dataset | data.DataLoader)


def _is_module(value: object) -> bool:
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.nn.Module)


@dataclass(slots=True)
class _Attributes:
    """State of an object of the user's own class: its attributes, without data sets and loaders."""

    kept: dict[str, Any]


def _portable(value: Any, is_users: Callable[[type], bool]) -> Any:
    if is_users(type(value)) and hasattr(value, "__dict__") and not isinstance(value, BaseException):
        return _Attributes({name: item for name, item in vars(value).items() if not _is_data(item)})
    return value


def _state_of(value: Any, with_gradients: bool) -> Any:
    if not _has_state_dict(value):
        return value
    state: dict[str, Any] = {"state_dict": value.state_dict()}
    if _is_module(value):
        parameters = list(value.parameters())
        state["training"] = [module.training for module in value.modules()]
        state["requires_grad"] = [parameter.requires_grad for parameter in parameters]
        state["gradients"] = [p.grad if with_gradients else None for p in parameters]
    return state


def _has_gradients(value: Any) -> bool:
    return _is_module(value) and any(parameter.grad is not None for parameter in value.parameters())


def _put_state(value: Any, saved: Any) -> None:
    if not _has_state_dict(value):
        if _in_place(value, saved) is not value:
            raise StoreError(f"A {type(value).__name__} given to checkpointing(...) cannot be restored in place.")
        return
    value.load_state_dict(saved["state_dict"])
    if _is_module(value):
        for module, training in zip(value.modules(), saved["training"], strict=True):
            module.training = training
        for parameter, requires, gradient in zip(
            value.parameters(), saved["requires_grad"], saved["gradients"], strict=True
        ):
            parameter.requires_grad_(requires)
            parameter.grad = None if gradient is None else gradient.to(parameter.device)


def _in_place(live: Any, saved: Any) -> Any:
    """Change `live` into `saved`, so that every other reference to it sees the change; else return `saved`."""
    torch, numpy = sys.modules.get("torch"), sys.modules.get("numpy")
    if isinstance(saved, _Attributes):
        if live is None or not hasattr(live, "__dict__"):
            raise StoreError("A checkpoint holds an object that this version does not create before its main loop.")
        for name in [name for name, item in vars(live).items() if name not in saved.kept and not _is_data(item)]:
            delattr(live, name)
        vars(live).update({name: _in_place(vars(live).get(name), item) for name, item in saved.kept.items()})
        return live
    if type(live) is not type(saved) or live is saved:
        return saved
    if isinstance(live, list | bytearray):
        live[:] = saved
    elif isinstance(live, dict | set):
        live.clear()
        live.update(saved)
    elif isinstance(live, collections.deque):
        live.clear()
        live.extend(saved)
    elif rng.is_generator(live):
        rng.put_state(live, rng.state_of(saved))
    elif torch is not None and type(live) is torch.Tensor and live.shape == saved.shape and live.dtype == saved.dtype:
        live.detach().copy_(saved)
    elif numpy is not None and isinstance(live, numpy.ndarray) and live.shape == saved.shape:
        live[...] = saved
    else:
        return saved
    return live
