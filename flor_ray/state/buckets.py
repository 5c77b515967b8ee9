"""The order in which DistributedDataParallel sums gradients over ranks: state of a run that no state_dict has.

Gradients lie in buckets, each of which is summed as one. The first backward pass finds out in which order they come,
and from the second one on they lie in that order. With two ranks a sum is the same in any order; with three or more the
last digits depend on where in its bucket a gradient lies. So a replay that starts at a checkpoint arranges them first.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Sequence
from typing import Any

_REBUILT = "rebuilt_per_bucket_param_indices"


def order_here() -> tuple[int, ...] | None:
    """Indices of the parameters in the order in which their gradients come; (): they lie as they did at first, or
    nothing sums any. None: several models do, or one that sums them in a way of its own."""
    found = _models()
    if not found:
        return ()
    if len(found) > 1 or getattr(found[0], "_comm_hooks", None):
        return None
    said = str(found[0]._get_ddp_logging_data().get(_REBUILT, ""))
    return tuple(int(word) for word in said.replace(",", " ").split())


def arrange(order: Sequence[int]) -> bool:
    """Have gradients lie as they do once they have come in this order. All ranks have to do it. False: there is not one
    model for which it is."""
    found = _models()
    if len(found) != 1:
        return False
    torch, model = sys.modules["torch"], found[0]
    parameters = model._module_parameters
    if sorted(order) != list(range(len(parameters))):
        return False
    gradients = [parameter.grad for parameter in parameters]
    for parameter in parameters:
        parameter.grad = None
    with torch.enable_grad():
        model.reducer.prepare_for_forward()
        # What is computed last is differentiated first.
        total = sum((parameters[index] * 0).sum() for index in reversed(order))
        model.reducer.prepare_for_backward([])
        total.backward()
    rebuilt = bool(model.reducer._rebuild_buckets())
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.grad = gradient
    return rebuilt


def _models() -> list[Any]:
    module: Any = sys.modules.get("torch.nn.parallel.distributed")
    if module is None:
        return []
    return [one for one in gc.get_objects() if issubclass(type(one), module.DistributedDataParallel)]
