"""Random generators: what is put back draws the same again."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
import torch

from flor_ray.state import random_states


@pytest.fixture(autouse=True)
def _global_generators_are_left_alone() -> Any:
    state = random_states.global_state()
    yield
    random_states.set_global_state(state)


def draw() -> tuple[float, float, float]:
    return random.random(), float(np.random.rand()), float(torch.rand(()))


def test_global_generators_of_every_library_are_put_back() -> None:
    random.gauss(0, 1)  # leaves half a pair behind, which is state too
    state = random_states.global_state()
    first = draw(), random.gauss(0, 1)
    assert (draw(), random.gauss(0, 1)) != first
    random_states.set_global_state(state)
    assert (draw(), random.gauss(0, 1)) == first


@pytest.mark.parametrize(
    ("make", "draws"),
    [
        (lambda: random.Random(1), lambda g: g.random()),
        (lambda: np.random.default_rng(1), lambda g: float(g.normal())),
        (lambda: np.random.RandomState(1), lambda g: float(g.randn())),
        (lambda: torch.Generator().manual_seed(1), lambda g: float(torch.rand((), generator=g))),
    ],
)
def test_a_generator_is_put_into_a_kept_state(make: Any, draws: Any) -> None:
    generator = make()
    assert random_states.is_generator(generator)
    draws(generator)
    state = random_states.state_of(generator)
    expected = [draws(generator) for _ in range(3)]
    random_states.put_state(generator, state)
    assert [draws(generator) for _ in range(3)] == expected
    other = make()
    random_states.put_state(other, state)
    assert [draws(other) for _ in range(3)] == expected


def test_other_values_are_no_generators() -> None:
    assert not any(map(random_states.is_generator, [random, np.random, torch, 1, iter([1])]))


def test_generators_from_which_nothing_was_drawn_are_told_apart() -> None:
    random.seed(1)
    np.random.seed(1)
    torch.manual_seed(1)
    assert random_states.undrawn(random_states.global_state()) == {"python", "numpy", "torch"}
    random.random()
    assert random_states.undrawn(random_states.global_state()) == {"numpy", "torch"}
    np.random.rand()
    assert random_states.undrawn(random_states.global_state()) == {"torch"}
    torch.rand(1)
    assert random_states.undrawn(random_states.global_state()) == set()


def test_states_are_compared_in_the_libraries_that_both_have() -> None:
    state = random_states.global_state()
    assert random_states.same_global_state(state, random_states.global_state())
    assert random_states.same_global_state(state, {"python": state["python"]})
    random.random()
    assert not random_states.same_global_state(state, random_states.global_state())


def test_whoever_gives_a_global_generator_another_state_is_noticed_before_it_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for module, name in [(random, "seed"), (random, "setstate"), (np.random, "seed"), (np.random, "set_state")]:
        monkeypatch.setattr(module, name, getattr(module, name))  # put back after the test
    for module in (torch, torch.random):
        for name in ("manual_seed", "seed", "set_rng_state"):
            monkeypatch.setattr(module, name, getattr(module, name))
    seen: list[tuple[str, bool]] = []
    before = random_states.global_state()

    def seeds(name: str) -> None:
        now = random_states.global_state()
        seen.append((name, random_states.same_global_state({name: before[name]}, {name: now[name]})))

    random_states.watch_seeding(seeds)
    np.random.seed(3)
    torch.manual_seed(3)
    draw()
    random.seed(3)
    assert seen == [("numpy", True), ("torch", True), ("python", False)]
    monkeypatch.undo()
    np.random.seed(3)
    assert len(seen) == 3
