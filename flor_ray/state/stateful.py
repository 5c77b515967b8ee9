"""Objects that know their own state: models, optimizers, schedulers, scalers, loaders, random generators.

torch is looked up in `sys.modules`: a script that does not use it never pays for its import.
"""

from __future__ import annotations

import argparse
import functools
import sys
import types
from collections.abc import Callable, Iterable, Mapping, Set
from typing import Any

from flor_ray.errors import StoreError
from flor_ray.records import ADOPTED
from flor_ray.state import random_states, shards
from flor_ray.state.reachable import ReachedPlace, dict_place

# What torch keeps in a module besides its state_dict and the script's own attributes.
_INTERNAL = {"_parameters", "_buffers", "_modules", "_non_persistent_buffers_set", "training"}
_INTERNAL |= {"_metric_attributes"}  # Lightning's: names by the ids that this process has given to metrics
TENSOR_HOOKS = ("_backward_hooks", "_post_accumulate_grad_hooks")
_ATOMS = (int, float, complex, str, bool, type(None), tuple)


def has_state_dict(value: Any) -> bool:
    """Whether the value's class says so: mocks, proxies and the like have any attribute that is asked for."""
    if isinstance(value, type | types.ModuleType) or is_data(value):
        return False
    kind = type(value)
    return callable(getattr(kind, "state_dict", None)) and callable(getattr(kind, "load_state_dict", None))


def is_anchor(value: Any) -> bool:
    """Whether a value keeps its identity, and its state is put into it."""
    return has_state_dict(value) or random_states.is_generator(value)


def is_data(value: Any) -> bool:
    """Data sets, loaders and samplers of torch."""
    data = sys.modules.get("torch.utils.data")
    return data is not None and isinstance(value, data.Dataset | data.DataLoader | data.Sampler)


def has_lasting_workers(value: Any) -> bool:
    """Whether a loader's worker processes, and so their random generators, live on from epoch to epoch."""
    data = sys.modules.get("torch.utils.data")
    return (
        data is not None
        and isinstance(value, data.DataLoader)
        and value.num_workers > 0
        and bool(value.persistent_workers)
    )


def is_module(value: Any) -> bool:
    """Whether it is a torch.nn.Module. torch is not imported for that, here or below."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.nn.Module)


def is_array(value: Any) -> bool:
    """Whether it is a tensor of torch or an array of numpy."""
    torch, numpy = sys.modules.get("torch"), sys.modules.get("numpy")
    return (torch is not None and isinstance(value, torch.Tensor)) or (
        numpy is not None and isinstance(value, numpy.ndarray)
    )


def is_tensor(value: Any) -> bool:
    """Whether it is a tensor of torch."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.Tensor)


def is_optimizer(value: Any) -> bool:
    """Whether it is an optimizer of torch's."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.optim.Optimizer)


def inside(value: Any) -> Mapping[str, Any]:
    """What a library's object holds that the user's code may have put there, or that has a state of its own."""
    if is_data(value) or isinstance(value, argparse.Namespace | types.SimpleNamespace):
        return dict(vars(value))
    if is_module(value):
        found: dict[str, Any] = {}
        for name, module in value.named_modules():
            found[f"{name}.__class__"] = type(module)
            found |= _hooks_of(vars(module), hook_registries(), f"{name}.")
        for name, parameter in value.named_parameters():
            found |= _hooks_of(
                {hooks: getattr(parameter, hooks, None) for hooks in TENSOR_HOOKS}, TENSOR_HOOKS, f"{name}."
            )
        return found
    if is_optimizer(value):
        return _hooks_of(vars(value), [name for name in vars(value) if "_hooks" in name])
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(value, torch.optim.lr_scheduler.LRScheduler):
        return dict(vars(value))
    return {}


def hooks_of_all(is_users: Callable[[Any], bool]) -> dict[str, Any]:
    """The user's hooks that torch calls for every module and every optimizer."""
    found: dict[str, Any] = {}
    for name in ("torch.nn.modules.module", "torch.optim.optimizer"):
        if (module := sys.modules.get(name)) is not None:
            held = vars(module)
            registries = [each for each in held if each.startswith("_global") and "_hooks" in each]
            found |= _hooks_of(held, registries, f"{name}.")
    return {name: hook for name, hook in found.items() if is_users(hook) or is_users(type(hook))}


def _hooks_of(held: Mapping[str, Any], registries: Iterable[str], before: str = "") -> dict[str, Any]:
    """The hooks in these registries, each by a name of its own."""
    there = {name: list(held[name].values()) for name in registries if isinstance(held.get(name), dict)}
    return {
        f"{before}{name}[{index}]": hook
        for name, hooks in there.items()
        for index, hook in enumerate(hooks)
        if not shards.is_of_fsdp(hook)
    }


def attribute_place(path: str, value: Any, is_users: bool, put: Set[str] = frozenset()) -> ReachedPlace | None:
    """Attributes of an object that its state_dict may not know. `put` are names of those that the user's code sets on
    something."""
    if is_module(value):
        return _module_place(path, value, put)
    if is_users and isinstance(getattr(value, "__dict__", None), dict):
        return dict_place(f"{path}.<attributes>", vars(value))
    return None


def put_place(path: str, value: Any, put: Set[str]) -> ReachedPlace | None:
    """Attributes that the user's code has set on an object of a library."""
    held = getattr(value, "__dict__", None)
    if not isinstance(held, dict) or not put & held.keys():
        return None

    place = dict_place(f"{path}.<put>", held)
    place.read = lambda: {name: held[name] for name in sorted(put & held.keys())}
    return place


def _module_place(path: str, root: Any, put: Set[str]) -> ReachedPlace:
    """Attributes of all submodules, and buffers that are not in the state_dict, as `submodule.attribute`. Those of a
    library's are its numbers and tensors, what has become another object since, and what the user's code has put
    there, or on parameters."""
    modules, hooks = dict(root.named_modules()), hook_registries()
    parameters = {name: parameter for name, parameter in root.named_parameters() if put & vars(parameter).keys()}
    began = {name: _library_attributes(module, put) for name, module in modules.items()}

    def read() -> dict[str, Any]:
        found = {}
        for name, module in modules.items():
            for attribute, item in vars(module).items():
                if attribute in _INTERNAL or attribute in hooks:
                    continue
                if isinstance(item, _ATOMS) or began[name].get(attribute, began) is not item:
                    found[f"{name}.{attribute}"] = item
            for attribute in module._non_persistent_buffers_set:
                if module._buffers.get(attribute) is not None:
                    found[f"{name}.{attribute}"] = module._buffers[attribute]
        for name, parameter in parameters.items():
            found |= {f"{name}.{each}": vars(parameter)[each] for each in put & vars(parameter).keys()}
        return found

    def write(values: Mapping[str, Any], remove: Iterable[str]) -> None:
        for path, item in values.items():
            name, _, attribute = path.rpartition(".")
            if attribute in _INTERNAL:
                continue
            if name in parameters:
                vars(parameters[name])[attribute] = item
                continue
            module = modules[name]
            held = module._buffers if attribute in module._buffers else module.__dict__
            held[attribute] = item
        for path in remove:
            name, _, attribute = path.rpartition(".")
            vars(parameters[name] if name in parameters else modules[name]).pop(attribute, None)

    return ReachedPlace(f"{path}.<attributes>", read, write, binds_all=True)


def _library_attributes(module: Any, put: Set[str]) -> dict[str, Any]:
    """What a module of the library holds besides its parts, numbers and tensors: it is not looked at unless it becomes
    another object."""
    if type(module).__module__.partition(".")[0] != "torch":
        return {}
    return {
        name: item
        for name, item in vars(module).items()
        if name not in _INTERNAL | put and not isinstance(item, _ATOMS) and not is_tensor(item)
    }


@functools.cache
def hook_registries() -> tuple[str, ...]:
    """Attributes of every module that its hooks are in. Some say of each hook how it is called."""
    return tuple(name for name in vars(sys.modules["torch"].nn.Module()) if "_hooks" in name)


def state_of(value: Any, with_gradients: bool, owned: frozenset[int]) -> Any:
    """State of an anchor. `owned` are the ids of the parameters that belong to a module with an entry of its own."""
    if random_states.is_generator(value):
        return random_states.state_of(value)
    state: dict[str, Any] = {"state_dict": value.state_dict()}
    if is_module(value):
        parameters = list(value.parameters())
        state["training"] = [module.training for module in value.modules()]
        state["requires_grad"] = [parameter.requires_grad for parameter in parameters]
        state["gradients"] = [p.grad if with_gradients else None for p in parameters]
    elif is_optimizer(value):
        loose = _loose_parameters(value, owned)
        state["loose"] = {index: parameter.detach() for index, parameter in loose.items()}
        state["gradients"] = {index: p.grad if with_gradients else None for index, p in loose.items()}
    return state


def put_state(name: str, value: Any, saved: Any) -> None:
    """Put a state that `state_of` returned into an object of the same kind."""
    if random_states.is_generator(value):
        random_states.put_state(value, saved)
        return
    if is_optimizer(value):
        _put_optimizer(value, saved)
        return
    if ADOPTED in saved:
        _put_adopted(name, value, saved)
        return
    value.load_state_dict(saved["state_dict"])
    if is_module(value):
        try:
            put_training(value, saved)
            for parameter, requires, gradient in zip(
                value.parameters(), saved["requires_grad"], saved["gradients"], strict=True
            ):
                if parameter.requires_grad != requires:  # one that is yet to be made cannot be asked to
                    parameter.requires_grad_(requires)
                parameter.grad = None if gradient is None else gradient.to(parameter.device)
        except ValueError:
            raise StoreError(f"{name} has other submodules or parameters than when it was recorded.") from None


def _put_adopted(name: str, value: Any, saved: Mapping[str, Any]) -> None:
    """A state of which nothing is known but what was in a checkpoint file: no gradients, and no mode of submodules."""
    state = saved["state_dict"]
    if not is_module(value):
        value.load_state_dict(state)
        return
    known = value.state_dict()
    for prefix in _WRAPPERS:  # it was saved of what stands around the module: DistributedDataParallel, torch.compile
        if state and not known.keys() & state.keys() and all(key.startswith(prefix) for key in state):
            state = {key.removeprefix(prefix): item for key, item in state.items()}
    there = {known[key].data_ptr() for key in known.keys() & state.keys()}
    lacking = {key for key in known.keys() - state.keys() if known[key].data_ptr() not in there}  # tied ones are there
    if lacking or state.keys() - known.keys():
        word, keys = ("lacks", lacking) if lacking else ("has", state.keys() - known.keys())
        raise StoreError(
            f"The checkpoint file is not of {name!r} as this version makes it: it {word} {sorted(keys)[0]!r}"
            f"{f' and {len(keys) - 1} more' if len(keys) > 1 else ''}. Adopt it with the command line that it ran with."
        )
    try:
        value.load_state_dict(state, strict=False)
    except RuntimeError as error:  # other shapes
        raise StoreError(f"The checkpoint file is not of {name!r} as this version makes it: {error}") from None
    if saved[ADOPTED] is not None:
        value.train(saved[ADOPTED])


_WRAPPERS = ("module.", "_orig_mod.")


def put_training(value: Any, saved: Mapping[str, Any]) -> None:
    """Which submodules train. Raises ValueError if it has others than when that was kept."""
    if is_module(value):
        for module, training in zip(value.modules(), saved["training"], strict=True):
            module.training = training


def _put_optimizer(optimizer: Any, saved: Mapping[str, Any]) -> None:
    """`load_state_dict` makes new groups and converts tensors; a script may hold the groups, and meant the types."""
    groups, saved_state = optimizer.param_groups, saved["state_dict"]
    held = list(groups)
    optimizer.load_state_dict(saved_state)
    for old, new in zip(held, optimizer.param_groups, strict=True):
        old.clear()
        old.update(new)
    groups[:] = held
    optimizer.param_groups = groups
    torch = sys.modules["torch"]
    parameters = [parameter for group in groups for parameter in group["params"]]
    for index, parameter in enumerate(parameters):
        for name, item in saved_state["state"].get(index, {}).items():
            loaded = optimizer.state[parameter].get(name)
            if isinstance(item, torch.Tensor) and isinstance(loaded, torch.Tensor) and item.dtype != loaded.dtype:
                optimizer.state[parameter][name] = item.to(loaded.device)
    for index, content in saved["loose"].items():
        parameter, gradient = parameters[index], saved["gradients"][index]
        parameter.detach().copy_(content)
        parameter.grad = None if gradient is None else gradient.to(parameter.device)


def _loose_parameters(optimizer: Any, owned: frozenset[int]) -> dict[int, Any]:
    """Parameters of an optimizer that no saved module holds, by position."""
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    return {index: parameter for index, parameter in enumerate(parameters) if id(parameter) not in owned}


def owned_parameters(objects: Iterable[Any]) -> frozenset[int]:
    return frozenset(id(parameter) for value in objects if is_module(value) for parameter in value.parameters())


def has_gradients(value: Any) -> bool:
    """Whether a parameter of this module or optimizer has a gradient; False for anything else."""
    if is_module(value):
        return any(parameter.grad is not None for parameter in value.parameters())
    return is_optimizer(value) and any(
        parameter.grad is not None for group in value.param_groups for parameter in group["params"]
    )


def has_graph(value: Any, depth: int = 3) -> bool:
    """Whether autograd could go back from a tensor in this value."""
    torch = sys.modules.get("torch")
    if torch is None:
        return False
    if isinstance(value, torch.Tensor):
        return bool(value.requires_grad and not value.is_leaf)
    if depth and isinstance(value, list | tuple | dict):
        items = list(value.values()) if isinstance(value, dict) else value
        return any(has_graph(item, depth - 1) for item in items[:1000])
    return False
