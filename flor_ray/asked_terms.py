"""What settings ask of a replay: its terms, its limits, its environment, and the cluster that it joins."""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from flor_ray import running
from flor_ray.errors import UsageError
from flor_ray.planning import (
    recorded_environments,
)
from flor_ray.planning.terms import Terms, parse_budget, parse_first, parse_wait
from flor_ray.records import ANY_SHAPE, Limits, WorkerShape
from flor_ray.replaying.limits import parse_limits
from flor_ray.settings import Loaded
from flor_ray.wording import parse_bytes

if TYPE_CHECKING:
    pass

_ADDRESS = "RAY_ADDRESS"


def parse_terms(
    workers: int | None = None,
    budget: float | str | None = None,
    deadline: float | str | None = None,
    first: str | Sequence[str] | None = None,
    price: float | None = None,
    executor: str | None = None,
    shape: WorkerShape = ANY_SHAPE,
    scales_to: int | None = None,
) -> Terms:
    """Terms from what users write, as `replay` has it. Raises UsageError for what none of them can be, and where there
    is no room for workers of this shape, or for so many."""
    from flor_ray.cluster import places

    gpu_seconds, deadline_seconds = parse_budget(budget, deadline)
    if price is not None and not (price >= 0 and math.isfinite(price)):
        raise UsageError(f"{price} is no price: give the cost of one worker-hour as a number of 0 or more.")
    order = None if first is None else parse_first(first)
    crew = places.expected_crew(executor, shape, workers, scales_to)
    terms = Terms(crew.counted, gpu_seconds, None, order, price, "", shape=shape, crew=crew, scales_to=scales_to)
    if deadline_seconds is None:
        return terms
    slowest = places.choose(executor, 1, deadline_seconds)  # of the ways in which workers may be started for it
    return replace(terms, deadline_seconds=deadline_seconds, way=running.way_of(slowest, terms))


def terms_of(asked: Loaded, first: str | Sequence[str] | None = None, executor: str | None = None) -> Terms:
    """The terms that settings have."""
    said = asked.settings
    memory = parse_bytes(said.memory, "memory") if isinstance(said.memory, str) else said.memory
    labels = tuple(sorted((said.labels or {}).items()))
    shape = WorkerShape(said.gpus, said.cpus, memory, said.accelerators or (), labels)
    limits = said.budget, said.deadline
    terms = parse_terms(said.workers, *limits, first, said.price, executor, shape, said.scales_to)
    return replace(terms, wait_seconds=parse_wait(said.wait), secrets=said.secrets or ())


def limits_of(asked: Loaded) -> Limits:
    """The limits of a segment that settings have."""
    said = asked.settings
    return parse_limits(said.time_limit, said.memory_limit, said.retries, said.commit, said.outage)


def environment_of(asked: Loaded) -> str:
    """Whether settings ask for the packages that are installed, or for the recorded ones."""
    return asked.settings.environment or recorded_environments.CURRENT


@contextlib.contextmanager
def on_cluster(asked: Loaded) -> Iterator[None]:
    """Meanwhile, the cluster that settings name is the one to join: Ray and all that looks for one read RAY_ADDRESS."""
    before, address = os.environ.get(_ADDRESS), asked.settings.address
    if address is not None:
        os.environ[_ADDRESS] = address
    try:
        yield
    finally:
        if address is not None:
            if before is None:
                del os.environ[_ADDRESS]
            else:
                os.environ[_ADDRESS] = before
