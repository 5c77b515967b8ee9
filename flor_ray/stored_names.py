"""What pickles in a store call by a name of ours, and how such pickles are read.

    checkpoints      the seven functions, and what the script itself holds of flor_ray: self.report = flor.log
    logged values    what of flor_ray is in an object that only pickles: flor.log("asked", flor.Query(...))

A PART OF THE STORE'S FORMAT: the name of this module, those of the seven functions, and what they take.
Stores hold them, so none of that may ever change or move; nor may errors and warnings leave `flor_ray.errors`. Public
names are free to be defined elsewhere: they are looked up in the package, wherever they were when they were pickled.
"""

from __future__ import annotations

import gc
import importlib
import inspect
import io
import pickle
import sys
from collections.abc import Callable, Iterable, Mapping
from types import CellType, CodeType, FunctionType, ModuleType
from typing import Any

from flor_ray.errors import StoreError

_PACKAGE = __name__.partition(".")[0]


def refer(*reference: Any) -> Any:
    """Stands in a checkpoint's pickle for what `LoadedState.body` finds in its place."""
    raise StoreError(f"This pickle can only be read as a part of its checkpoint: it refers to {reference[:2]}.")


def torch_generator(device: str, state: bytes) -> Any:
    """A torch.Generator with the bytes of its `get_state()`."""
    import torch

    generator = torch.Generator(device=device)
    generator.set_state(torch.frombuffer(bytearray(state), dtype=torch.uint8))
    return generator


def shared_out(
    local: Any, mesh: Any, placements: Any, shape: tuple[int, ...], stride: tuple[int, ...], requires_grad: bool
) -> Any:
    """A tensor of which this rank has the part `local`. Nothing is asked of other ranks."""
    import torch
    from torch.distributed.tensor import DTensor

    with torch.no_grad():
        made = DTensor.from_local(
            local, mesh, placements, run_check=False, shape=torch.Size(shape), stride=tuple(stride)
        )
    return made.requires_grad_(requires_grad)


def mesh(device: str, ranks: Any, names: tuple[str, ...] | None) -> Any:
    """The mesh of these ranks that the script has made: making one is a collective."""
    from torch.distributed.device_mesh import DeviceMesh

    meshes = (one for one in gc.get_objects() if issubclass(type(one), DeviceMesh))
    for found in meshes:
        if (found.device_type, found.mesh.tolist(), found.mesh_dim_names) == (device, ranks, names):
            return found
    raise StoreError(
        f"A checkpoint holds tensors that the ranks {ranks} ({device}) share out, and this version has made no such "
        "mesh when its loop begins."
    )


def module(name: str) -> ModuleType:
    """The module of this name."""
    return importlib.import_module(name)


def set_state_and_rest(obj: Any, states: tuple[Any, dict[str, Any]]) -> None:
    """Give an object the state that its own way of pickling has, and then the attributes which that leaves out."""
    own, rest = states
    setter = getattr(obj, "__setstate__", None)
    if setter is not None and own is not None:
        setter(own)
    else:
        for part in own if isinstance(own, tuple) else (own,):
            rest = (part or {}) | rest
    for name, value in rest.items():
        object.__setattr__(obj, name, value)


def closure(
    home: str,
    path: str,
    taken: Mapping[str, Any],
    defaults: tuple[Any, ...] | None,
    keywords: dict[str, Any] | None,
    attributes: Mapping[str, Any],
) -> FunctionType:
    """A function that one of the module `home` makes, written at `path`, with the variables that it took along."""
    code = code_of(home, path)
    if code is None or set(code.co_freevars) != set(taken):
        raise StoreError(
            f"A checkpoint holds a function that {home}.{path} was when it was recorded, which is written otherwise "
            "now: another release of that library is installed. Replay with the recorded one."
        )
    cells = tuple(CellType(taken[name]) for name in code.co_freevars)
    made = FunctionType(code, vars(module(home)), code.co_name, defaults, cells)
    made.__kwdefaults__ = keywords
    vars(made).update(attributes)
    return made


def code_of(home: str, path: str) -> CodeType | None:
    """What is written at `path` of a module, as `function.<locals>.inner`; None unless just one thing is."""
    outer, *inner = path.split(".<locals>.")
    found: Any = sys.modules.get(home) or module(home)
    for name in outer.split("."):
        found = getattr(found, name, None)
    code = getattr(inspect.unwrap(found), "__code__", None) if callable(found) else None
    for name in inner:
        constants = code.co_consts if code is not None else ()
        codes = [each for each in constants if isinstance(each, CodeType) and each.co_name == name]
        code = codes[0] if len(codes) == 1 else None
    return code if isinstance(code, CodeType) else None


# By the module, below the package, that stores name because it was there before it came here.
_MOVED: Mapping[tuple[str, str], Callable[..., Any]] = {
    ("pickling", "refer"): refer,
    ("rng", "torch_generator"): torch_generator,
}


class StoredUnpickler(pickle.Unpickler):
    """Reads a pickle of the store, by whichever release it was written.

    Raises:
        StoreError: it names something of flor_ray that is not there.
    """

    def find_class(self, module: str, name: str) -> Any:
        """What a pickle calls by this name: where it is today, if it is ours."""
        package, _, inside = module.partition(".")
        if package != _PACKAGE:
            return super().find_class(module, name)
        if (inside, name) in _MOVED:
            return _MOVED[inside, name]
        is_public = name.partition(".")[0] in sys.modules[_PACKAGE].__all__
        try:
            return super().find_class(_PACKAGE if is_public else module, name)
        except (ImportError, AttributeError) as error:
            raise StoreError(
                f"A pickle in the store names {module}.{name}, which this flor_ray does not have: another release "
                "wrote it. Upgrade flor_ray."
            ) from error


def loads(data: bytes, buffers: Iterable[Any] = ()) -> Any:
    """The object in a pickle of the store. Raises what unpickling it raises."""
    return StoredUnpickler(io.BytesIO(data), buffers=buffers).load()
