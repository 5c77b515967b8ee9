"""What a model or an optimizer consists of: its parts when a loop begins, and what has become of them since.

    module      submodules and their classes, parameters, buffers, hooks
    optimizer   groups, and the parameters in them

A checkpoint refers to the parts that were there when the loop began, since a replay has them too. While they are the
same, an object's state_dict tells its state. When they are not (a swapped head, a pruned or lazily made layer, a group
that was added), a checkpoint holds the object whole: what it consists of now, parts of the entry as references with
their content, and what has come since by value. torch is never imported here.
"""

from __future__ import annotations

import contextlib
import sys
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from flor_ray.errors import StoreError
from flor_ray.state import shards, stateful

_REGISTRIES = ("_parameters", "_buffers", "_modules")

Parts = dict[str, list[Any]]
Hooks = Mapping[tuple[str, str], Any]  # by path of the module and registry


@dataclass(frozen=True, slots=True)
class Structure:
    """That of an object when a loop began."""

    parts: Callable[[], Parts]  # as `parts_of` has them; None for one that is gone
    same: Callable[[], bool]  # whether it consists of the same parts now
    put_back: Callable[[], None]  # make it so. Raises StoreError where that is impossible
    whole: Callable[[bool], dict[str, Any] | None]  # what it consists of now, with gradients or without; None: it has
    # what cannot be kept
    put_whole: Callable[[Mapping[str, Any]], None]  # what `whole` gave
    hooks: Hooks = field(default_factory=dict)  # of a module, by their keys, where it had any

    def must_have(self, hooks: Hooks, all_of_them: bool) -> None:
        """Raise StoreError unless a module had these hooks here too, under the same keys: handles hold these. Others
        may have been added by a hindsight statement; with `all_of_them` there may be none."""
        if hooks != (self.hooks if all_of_them else {place: self.hooks.get(place) for place in hooks}):
            raise StoreError("A module has other hooks than when it was recorded, and a checkpoint would lose some.")


def parts_of(value: Any) -> Parts:
    """Parameters, lasting buffers, submodules and registries of hooks of a module; nothing for anything else."""
    if not stateful.is_module(value):
        return {}
    lasting = {
        f"{path}.{name}".lstrip(".")
        for path, module in value.named_modules()
        for name in module._buffers.keys() - module._non_persistent_buffers_set
    }
    modules = list(value.modules())
    return {
        "parameters": list(value.parameters()),
        "buffers": [buffer for name, buffer in value.named_buffers() if name in lasting],  # others are not in its state
        "modules": modules[1:],
        "hooks": [held for module in modules for name, held in _hooks(module)],
    }


def structure_of(value: Any, weakly: bool) -> Structure | None:
    """What a module or an optimizer consists of; None for anything else. `weakly`: no part is kept alive for it, and it
    cannot be put back."""
    if stateful.is_optimizer(value):
        return _of_optimizer(value, weakly)
    if not stateful.is_module(value):
        return None
    plain = all(isinstance(vars(module).get(name), dict) for module in value.modules() for name in _REGISTRIES)
    return _of_module(value, weakly) if plain else None  # compiled ones have no parts that could change


# --- modules --------------------------------------------------------------------------------------------------------


def _of_module(root: Any, weakly: bool) -> Structure:
    held = {kind: [_held(part, weakly) for part in found] for kind, found in parts_of(root).items()}
    form, objects = _module_form(root)
    held_objects = [_held(item, weakly) for item in objects]
    hooked = [_held(item, weakly) for item in _hooked(root)]
    first = [] if weakly else [(m, type(m), _registries(m), _unmade(m)) for m in root.modules()]

    def parts() -> Parts:
        return {kind: [get() for get in getters] for kind, getters in held.items()}

    def same() -> bool:
        now, items = _module_form(root)
        return now == form and _are(items, held_objects)

    def put_back() -> None:
        for module, kind, registries, unmade in first:
            if any(not _is_unmade(vars(module)[name].get(key)) for name, key in unmade):
                raise StoreError(f"The parameters of a {kind.__name__} have been made, and had not been then.")
            _fill(module, kind, registries)

    def whole(with_gradients: bool) -> dict[str, Any] | None:
        if not _are(_hooked(root), hooked):
            return None
        there = [root, *(module for module in parts()["modules"] if module is not None)]
        tensors = [tensor for kind in ("parameters", "buffers") for tensor in parts()[kind]]
        return {
            "modules": [(module, type(module), _registries(module)) for module in there],
            "contents": [
                (
                    tensor,
                    tensor.detach(),
                    tensor.requires_grad,
                    tensor.grad if with_gradients and tensor.is_leaf else None,
                )
                for tensor in tensors
                if tensor is not None and not _is_unmade(tensor)
            ],
        }

    hooks = {
        (path, name): keys
        for path, module in root.named_modules()
        for name, held_here in _hooks(module)
        if (keys := list(_not_fsdps(held_here)))
    }
    return Structure(parts, same, put_back, whole, _put_module, hooks)


def _module_form(root: Any) -> tuple[list[Any], list[Any]]:
    """What can be told of a module's parts in plain values, and the parts themselves. Buffers may be other tensors."""
    form: list[Any] = []
    objects: list[Any] = []
    registries = stateful.hook_registries()
    for path, module in root.named_modules():
        form.append((path, type(module), sorted(module._non_persistent_buffers_set)))
        objects.append(module)
        for name, parameter in module._parameters.items():
            hooks = _tensor_hooks(parameter)
            form.append((name, _kind_of(parameter), len(hooks)))
            objects.append(parameter)
            objects += hooks
        form += [(name, _kind_of(buffer)) for name, buffer in module._buffers.items()]
        form.append(list(module._modules))
        objects += module._modules.values()
        held = vars(module)
        for name in registries:  # nearly all are empty
            if (hooked := held.get(name)) and isinstance(hooked, dict) and (hooked := _not_fsdps(hooked)):
                form.append((name, list(hooked)))
                objects += hooked.values()
    return form, objects


def _registries(module: Any) -> dict[str, Any]:
    """Copies of what a module's parts are registered in."""
    held = vars(module)
    found: dict[str, Any] = {name: dict(held[name]) for name in _REGISTRIES}
    found |= {name: dict(hooks) for name, hooks in _hooks(module)}
    found["_non_persistent_buffers_set"] = set(module._non_persistent_buffers_set)
    return found


def _fill(module: Any, kind: type, registries: Mapping[str, Any]) -> None:
    """Register these parts and no others, in the same registries: handles of hooks refer to them."""
    if type(module) is not kind:
        module.__class__ = kind
    for name, items in registries.items():
        registry = vars(module)[name]
        late = {key: held for key, held in registry.items() if shards.is_of_fsdp(held)} if "_hooks" in name else {}
        registry.clear()
        registry.update(items | late if late else items)


def _put_module(payload: Mapping[str, Any]) -> None:
    for module, kind, registries in payload["modules"]:
        _fill(module, kind, registries)
    torch = sys.modules["torch"]
    handles = torch.utils.hooks.RemovableHandle
    used = [key for module, _, _ in payload["modules"] for _, hooks in _hooks(module) for key in hooks]
    handles.next_id = max([handles.next_id, *(key + 1 for key in used if isinstance(key, int))])
    with torch.no_grad():
        for tensor, content, requires, gradient in payload["contents"]:
            if _is_unmade(tensor):
                tensor.materialize(content.shape, content.device, content.dtype)
            if _kind_of(tensor) != _kind_of(content):
                tensor.data = content
            else:
                tensor.data.copy_(content)  # mostly it lies there already
            if tensor.is_leaf:
                tensor.requires_grad_(requires)
                tensor.grad = gradient


def _hooks(module: Any) -> Iterator[tuple[str, dict[Any, Any]]]:
    held = vars(module)
    yield from ((name, held[name]) for name in stateful.hook_registries() if isinstance(held.get(name), dict))


def _not_fsdps(hooks: Mapping[Any, Any]) -> dict[Any, Any]:
    return {key: hook for key, hook in hooks.items() if not shards.is_of_fsdp(hook)}


def _held(value: Any, weakly: bool) -> Callable[[], Any]:
    if weakly and value is not None:
        with contextlib.suppress(TypeError):  # some cannot be referred to weakly
            return weakref.ref(value)
    return lambda: value


def _are(items: Sequence[Any], held: Sequence[Callable[[], Any]]) -> bool:
    return len(items) == len(held) and all(item is get() for item, get in zip(items, held, strict=True))


def _tensor_hooks(tensor: Any) -> list[Any]:
    return [hook for name in stateful.TENSOR_HOOKS if (hooks := getattr(tensor, name, None)) for hook in hooks.values()]


def _hooked(root: Any) -> list[Any]:
    """Parameters and the hooks on them, which no pickle holds."""
    return [item for parameter in root.parameters() for hook in _tensor_hooks(parameter) for item in (parameter, hook)]


def _kind_of(tensor: Any) -> Any:
    if tensor is None or _is_unmade(tensor):
        return type(tensor)
    return tensor.shape, tensor.dtype


def _is_unmade(tensor: Any) -> bool:
    """Whether it is a parameter or buffer that a lazy module has yet to make."""
    return isinstance(tensor, sys.modules["torch"].nn.parameter.UninitializedTensorMixin)


def _unmade(module: Any) -> list[tuple[str, str]]:
    return [
        (registry, name)
        for registry in ("_parameters", "_buffers")
        for name, item in vars(module)[registry].items()
        if _is_unmade(item)
    ]


# --- optimizers -----------------------------------------------------------------------------------------------------


def _of_optimizer(optimizer: Any, weakly: bool) -> Structure:
    form, objects = _optimizer_form(optimizer)
    held = [_held(item, weakly) for item in objects]
    first = [] if weakly else [(group, list(group["params"])) for group in optimizer.param_groups]

    def same() -> bool:
        now, items = _optimizer_form(optimizer)
        grouped = {id(item) for item in items}  # no state_dict has the state of others
        return now == form and _are(items, held) and all(id(parameter) in grouped for parameter in optimizer.state)

    def put_back() -> None:
        if same():
            return
        for group, parameters in first:
            group["params"] = list(parameters)
        optimizer.param_groups[:] = [group for group, _ in first]

    def whole(with_gradients: bool) -> dict[str, Any] | None:
        return {"groups": [dict(group) for group in optimizer.param_groups], "state": dict(optimizer.state)}

    def put_whole(payload: Mapping[str, Any]) -> None:
        groups, saved = optimizer.param_groups, payload["groups"]
        kept = [*groups[: len(saved)], *({} for _ in saved[len(groups) :])]
        for group, items in zip(kept, saved, strict=True):
            group.clear()
            group.update(items)
        groups[:] = kept
        optimizer.state.clear()
        optimizer.state.update(payload["state"])

    return Structure(dict, same, put_back, whole, put_whole)


def _optimizer_form(optimizer: Any) -> tuple[list[Any], list[Any]]:
    parameters = [group["params"] for group in optimizer.param_groups]
    return [len(group) for group in parameters], [item for group in parameters for item in group]
