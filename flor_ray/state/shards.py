"""Tensors that the ranks of a run share out (torch's DTensor, which FSDP's second version makes of parameters).

Each rank keeps and puts back the part that it has: a replay has as many ranks as the run had. To look at the whole
would be a collective, which stops the run for good where one rank does it and another does not. torch is never imported
here.
"""

from __future__ import annotations

import sys
from typing import Any


def is_shared_out(value: Any) -> bool:
    """Whether it is a tensor of which each rank has a part."""
    tensors = sys.modules.get("torch.distributed.tensor")
    return tensors is not None and isinstance(value, tensors.DTensor)


def part_of(value: Any) -> Any:
    """This rank's part of such a tensor."""
    return value._local_tensor  # `to_local` would be an operation of autograd's


def made_of(value: Any) -> tuple[Any, ...]:
    """What `stored_names.shared_out` takes, to make such a tensor again."""
    shape, stride = tuple(value.shape), tuple(value.stride())
    return part_of(value).detach(), value.device_mesh, value.placements, shape, stride, value.requires_grad


def is_mesh(value: Any) -> bool:
    """Whether it says which ranks share a tensor out."""
    meshes = sys.modules.get("torch.distributed.device_mesh")
    return meshes is not None and isinstance(value, meshes.DeviceMesh)


def are_alike(left: Any, right: Any) -> bool:
    """Whether two tensors of one shape are shared out the same way, or both not at all."""
    if not is_shared_out(left) or not is_shared_out(right):
        return is_shared_out(left) == is_shared_out(right)
    return bool(left.placements == right.placements and left.device_mesh == right.device_mesh)


def are_gathered(value: Any) -> bool:
    """Whether a module of FSDP's holds parameters whole now, as after a forward without a backward."""
    return any(not group.is_sharded for module in _fsdp_modules(value) for group in _groups(module))


def share_out(value: Any) -> None:
    """Let a module's parameters be shared out again. Gathering them anew is a collective: all ranks have to do this."""
    for module in _fsdp_modules(value):
        module.reshard()


def _fsdp_modules(value: Any) -> list[Any]:
    fsdp, torch = sys.modules.get("torch.distributed.fsdp"), sys.modules.get("torch")
    if fsdp is None or torch is None or not isinstance(value, torch.nn.Module):
        return []
    return [module for module in value.modules() if isinstance(module, fsdp.FSDPModule)]


def _groups(module: Any) -> list[Any]:
    """What gathers its parameters at once; no public name says whether it has."""
    groups: list[Any] = list(module._get_fsdp_state()._fsdp_param_groups)
    return groups


def is_of_fsdp(hook: Any) -> bool:
    """Whether FSDP has registered it. What FSDP knows of its parameters follows from where in a step the script is, and
    some of its hooks come with the first step."""
    hook = getattr(hook, "hook", hook)  # as torch wraps some
    owner = getattr(hook, "__self__", None)
    home = getattr(hook, "__module__", None) if owner is None else type(owner).__module__
    return isinstance(home, str) and home.startswith("torch.distributed.fsdp.")
