"""Goes into the repositories of the truth: what a careful user writes around a statement that disturbs its run."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator

import numpy as np
import torch


@contextlib.contextmanager
def undisturbed(*modules: torch.nn.Module) -> Iterator[None]:
    """Random states, modes, buffers and gradients of these modules are afterwards what they were before."""
    drawn = random.getstate(), np.random.get_state(), torch.get_rng_state()
    modes = [(part, part.training) for module in modules for part in module.modules()]
    buffers = [(buffer, buffer.clone()) for module in modules for buffer in module.buffers()]
    gradients = [(p, None if p.grad is None else p.grad.clone()) for module in modules for p in module.parameters()]
    try:
        yield
    finally:
        random.setstate(drawn[0])
        np.random.set_state(drawn[1])
        torch.set_rng_state(drawn[2])
        for part, training in modes:
            part.training = training
        with torch.no_grad():
            for buffer, was in buffers:
                buffer.copy_(was)
        for parameter, gradient in gradients:
            parameter.grad = gradient
