"""Random generators: the global ones of python, numpy and torch, and those that a script makes.

torch and numpy are looked up in `sys.modules`: a script that does not use them never pays for their import. Devices are
asked only once the script has used them: to ask CUDA whether it is there is enough to make it useless in forks.
"""

from __future__ import annotations

import functools
import pickle
import random
import sys
from collections.abc import Callable, Mapping
from typing import Any

from flor_ray import stored_names

_DEVICES = ("cuda", "xpu")  # of torch's, each with a generator per device
_TORCH_SEEDS = ("manual_seed", "seed", "set_rng_state")


def global_state() -> dict[str, Any]:
    """States of the global random generators of every library that the script has imported."""
    state: dict[str, Any] = {"python": random.getstate()}
    torch, numpy = sys.modules.get("torch"), sys.modules.get("numpy")
    if numpy is not None and hasattr(numpy, "random"):
        state["numpy"] = numpy.random.get_state()
    if torch is not None and hasattr(torch, "get_rng_state"):
        state["torch"] = torch.get_rng_state().numpy().tobytes()
        for kind in _DEVICES:
            device = getattr(torch, kind, None)
            if device is not None and device.is_initialized():
                state[kind] = [one.cpu().numpy().tobytes() for one in device.get_rng_state_all()]
        if _has_metal(torch):
            state["mps"] = torch.mps.get_rng_state().cpu().numpy().tobytes()
    return state


def _has_metal(torch: Any) -> bool:
    backend = getattr(torch.backends, "mps", None)
    return backend is not None and bool(backend.is_available())


def set_global_state(state: Mapping[str, Any]) -> None:
    """Put back what `global_state` returned. Imports a library only if its state was recorded."""
    random.setstate(state["python"])
    if "numpy" in state:
        import numpy

        numpy.random.set_state(state["numpy"])
    if "torch" in state:
        import torch

        torch.set_rng_state(torch.frombuffer(bytearray(state["torch"]), dtype=torch.uint8))
        for kind in _DEVICES:
            if kind in state and getattr(torch, kind).is_available():
                states = [torch.frombuffer(bytearray(one), dtype=torch.uint8) for one in state[kind]]
                getattr(torch, kind).set_rng_state_all(states[: getattr(torch, kind).device_count()])
        if "mps" in state and _has_metal(torch):
            torch.mps.set_rng_state(torch.frombuffer(bytearray(state["mps"]), dtype=torch.uint8))


def watch_seeding(seeds: Callable[[str], None]) -> None:
    """Have `seeds` called before a global generator is given another seed or state, with its name in `global_state`."""
    torch, numpy = sys.modules.get("torch"), sys.modules.get("numpy")
    places: list[tuple[str, Any, str]] = [("python", random, "seed"), ("python", random, "setstate")]
    if numpy is not None and hasattr(numpy, "random"):
        places += [("numpy", numpy.random, "seed"), ("numpy", numpy.random, "set_state")]
    if torch is not None and hasattr(torch, "get_rng_state"):
        places += [("torch", module, name) for module in (torch, torch.random) for name in _TORCH_SEEDS]
    for generator, module, name in places:
        setattr(module, name, _told(generator, getattr(module, name), seeds))


def _told(generator: str, function: Callable[..., Any], seeds: Callable[[str], None]) -> Callable[..., Any]:
    @functools.wraps(function)
    def seeding(*arguments: Any, **named: Any) -> Any:
        seeds(generator)
        return function(*arguments, **named)

    return seeding


def undrawn(state: Mapping[str, Any]) -> set[str]:
    """Generators among those of `global_state` that have been seeded and not drawn from since.

    A Mersenne Twister then stands at the end of its 624 words; numpy's, seeded by the system, one before that. torch's
    is compared with one that is given its seed afresh.
    """
    found = {"python"} if state["python"][1][-1] == 624 else set()
    if "numpy" in state and state["numpy"][2] in (623, 624):
        found.add("numpy")
    if "torch" in state:
        generator = stored_names.torch_generator("cpu", state["torch"])
        drawn_from = state_of(generator)
        generator.manual_seed(generator.initial_seed())
        if state_of(generator) == drawn_from:
            found.add("torch")
    return found


def same_global_state(left: Mapping[str, Any], right: Mapping[str, Any]) -> bool:
    """Whether two results of `global_state` are equal in every library that both have."""
    return all(pickle.dumps(left[name]) == pickle.dumps(right[name]) for name in left.keys() & right.keys())


def is_generator(value: object) -> bool:
    """Whether a value is a random generator of python, numpy or torch."""
    torch, numpy = sys.modules.get("torch"), sys.modules.get("numpy")
    return (
        isinstance(value, random.Random)
        or (torch is not None and isinstance(value, torch.Generator))
        or (numpy is not None and isinstance(value, numpy.random.Generator | numpy.random.RandomState))
    )


def state_of(generator: Any) -> Any:
    """The state of a generator, in a form that can be pickled."""
    torch, numpy = sys.modules.get("torch"), sys.modules.get("numpy")
    if isinstance(generator, random.Random):
        return generator.getstate()
    if torch is not None and isinstance(generator, torch.Generator):
        return generator.get_state().numpy().tobytes()
    if numpy is not None and isinstance(generator, numpy.random.Generator):
        return generator.bit_generator.state
    return generator.get_state()


def put_state(generator: Any, state: Any) -> None:
    """Put a generator into a state that `state_of` returned for one of the same type."""
    torch, numpy = sys.modules.get("torch"), sys.modules.get("numpy")
    if isinstance(generator, random.Random):
        generator.setstate(state)
    elif torch is not None and isinstance(generator, torch.Generator):
        generator.set_state(torch.frombuffer(bytearray(state), dtype=torch.uint8))
    elif numpy is not None and isinstance(generator, numpy.random.Generator):
        generator.bit_generator.state = state
    else:
        generator.set_state(state)


def let_unused_seeds_alone() -> None:
    """From now on a DataLoader without worker processes leaves torch's generator as it was when it begins: it draws a
    seed for workers that there are none of. What its sampler draws is drawn as before."""
    loading = sys.modules.get("torch.utils.data.dataloader")
    kind = getattr(loading, "_SingleProcessDataLoaderIter", None)
    if kind is None or hasattr(kind.__init__, "__wrapped__"):
        return
    original = kind.__init__

    @functools.wraps(original)
    def begins(self: Any, loader: Any) -> None:
        generator = sys.modules["torch"].default_generator
        state = generator.get_state()
        original(self, loader)
        generator.set_state(state)

    kind.__init__ = begins
