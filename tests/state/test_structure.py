"""What models and optimizers consist of, and whether it is what it was."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, prune
from torch.utils.hooks import RemovableHandle

from flor_ray.errors import StoreError
from flor_ray.state.structure import Structure, structure_of


class Louder(nn.Linear):
    """A class of another name."""


def net() -> nn.Sequential:
    return nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2), nn.ReLU(), nn.Linear(2, 1))


def of(value: Any, weakly: bool = False) -> Structure:
    found = structure_of(value, weakly)
    assert found is not None
    return found


def trains(module: Any) -> None:
    opt = torch.optim.Adam(module.parameters())
    module(torch.ones(3, 2)).sum().backward()
    opt.step()
    module.eval()
    module[0].requires_grad_(False)
    module[1].running_mean = torch.zeros(2)  # another tensor of the same kind: state_dict holds it


def swaps(module: nn.Sequential) -> None:
    module[3] = nn.Linear(2, 1)


def swaps_what_has_no_state(module: nn.Sequential) -> None:
    module[2] = nn.GELU()


def ties(module: nn.Sequential) -> None:
    module[0].bias = module[1].bias


def grows_a_tensor(module: nn.Sequential) -> None:
    module[3].weight.data = torch.ones(4, 2)


def begins_a_buffer(module: nn.Sequential) -> None:
    module[0].register_buffer("mean", torch.zeros(1), persistent=False)


def hooks(module: nn.Sequential) -> None:
    module[0].register_forward_pre_hook(print)


def becomes(module: nn.Sequential) -> None:
    module[0].__class__ = Louder


def reorders(module: nn.Sequential) -> None:
    module[0], module[3] = module[3], module[0]


CHANGES: list[Callable[[Any], object]] = [
    swaps,
    swaps_what_has_no_state,
    ties,
    grows_a_tensor,
    begins_a_buffer,
    hooks,
    becomes,
    reorders,
    lambda module: module.append(nn.ReLU()),
    lambda module: module.__delitem__(2),
    lambda module: prune.l1_unstructured(module[0], "weight", amount=1),  # type: ignore[no-untyped-call]
    lambda module: parametrizations.weight_norm(module[0]),
]


def test_training_leaves_a_module_what_it_is() -> None:
    module = net()
    structure = of(module)
    trains(module)
    assert structure.same()


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_of_parts_is_seen_and_put_back(change: Callable[[Any], object]) -> None:
    module = net()
    structure = of(module)
    before = [*module.modules(), *module.parameters(), *map(type, module.modules())]
    change(module)
    assert not structure.same()
    structure.put_back()
    assert [*module.modules(), *module.parameters(), *map(type, module.modules())] == before
    if change is not grows_a_tensor:  # which is content
        assert structure.same()


def test_of_an_optimizer_groups_and_parameters_count() -> None:
    module = net()
    opt = torch.optim.SGD(module[0].parameters(), lr=0.1, momentum=0.9)
    structure, group = of(opt), opt.param_groups[0]
    trains(module)
    opt.step()
    group["lr"] = 0.2
    assert structure.same()
    opt.add_param_group({"params": module[3].parameters()})
    assert not structure.same()
    structure.put_back()
    assert structure.same()
    assert opt.param_groups[0] is group
    group["params"] = list(module[3].parameters())
    assert not structure.same()


def test_nothing_is_kept_alive_while_recording() -> None:
    module = net()
    structure, old = of(module, weakly=True), weakref.ref(module[3])
    del module[3]
    gc.collect()
    assert old() is None
    module.append(nn.Linear(2, 1))  # perhaps where the old one was
    assert not structure.same()
    assert None in structure.parts()["modules"]


def test_parameters_that_have_been_made_are_not_unmade() -> None:
    module = nn.Sequential(nn.LazyLinear(2))
    structure = of(module)
    structure.put_back()
    module(torch.ones(1, 3))
    with pytest.raises(StoreError, match="The parameters of a LazyLinear have been made"):
        structure.put_back()


def test_hooks_of_tensors_cannot_be_kept() -> None:
    module: Any = net()
    structure = of(module)
    module[0].weight.register_hook(lambda gradient: gradient)
    assert not structure.same()
    assert structure.whole(True) is None


def test_handles_of_hooks_stay_theirs() -> None:
    """A handle holds a key: no hook that is registered later may get it, and no other may have it already."""
    module = net()
    handle = module[0].register_forward_hook(lambda *given: None)
    structure = of(module)
    structure.must_have(structure.hooks, all_of_them=True)
    with pytest.raises(StoreError, match="A module has other hooks"):
        structure.must_have({("0", "_forward_hooks"): [handle.id + 1]}, all_of_them=False)
    structure.must_have({}, all_of_them=False)
    with pytest.raises(StoreError, match="A module has other hooks"):
        structure.must_have({}, all_of_them=True)
    kept = {"modules": [(module[0], nn.Linear, {"_forward_hooks": {handle.id + 50: print}})], "contents": []}
    structure.put_whole(kept)
    assert RemovableHandle.next_id == handle.id + 51
    assert list(module[0]._forward_hooks.values()) == [print]
