"""Replays of the epoch times that FlorDB's authors released, in virtual time, with the dispatcher of the real cluster.

A version is a run of one of the paper's models, and the planner makes one segment of each: a column that is logged in
the inner loop is wanted of all epochs. At every number of workers there are at least 8 segments per worker, and 500
versions at least: the released runs, again and again.

    exact        segments take what was estimated
    noise        each epoch takes 20 % more or less (standard deviation), and nobody knows before
    stragglers   5 % of the workers take 8 times as long for everything, and nobody knows which
    both         noise and stragglers

Lower bounds are of what segments really take, on as many workers of full speed: that 5 % of these are nearly useless
makes 1.046 the best that can be had with stragglers. Extra GPU time is what was spent on segments that were cancelled
or done twice, per second that was not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from flor_ray.scheduler.simulate import Simulation, simulate
from flor_ray.scheduler.splitting import schedule
from flor_ray.scheduler.world import Truth, World
from scheduling import released

_WORLDS = {
    "exact": World(),
    "noise": World(noise=0.2),
    "stragglers": World(straggler_share=0.05),
    "both": World(noise=0.2, straggler_share=0.05),
}
_SEGMENTS_PER_WORKER, _LEAST_VERSIONS = 8, 500
_BREAKING = (1, 2, 4, 8, 16, 32)  # segments per worker


def measure(quick: bool, say: Callable[[str], None]) -> dict[str, object]:
    """Simulates all; keys for the last line of bench/schedule.py."""
    runs = released.read()
    table: dict[str, list[tuple[float, Simulation]]] = {name: [] for name in _WORLDS}
    say(_HEAD.format("all models", "workers"))
    for workers in (1, 16, 64) if quick else (1, 4, 16, 64, 256, 1024):
        versions = max(_LEAST_VERSIONS, _SEGMENTS_PER_WORKER * workers)
        for name, found in _simulated(runs, versions, workers, say, str(workers)).items():
            table[name].append(found)
    if not quick:
        say("")
        say(_HEAD.format("64 workers", "segments of all models per worker"))
        for each in _BREAKING:
            _simulated(runs, 64 * each, 64, say, str(each))
        say("")
        say(_HEAD.format("64 workers, 8 segments each", "of model"))
        for model in dict.fromkeys(run.model for run in runs):
            _simulated([run for run in runs if run.model == model], 64 * 8, 64, say, model)
    return _summary(table)


def _summary(table: Mapping[str, Sequence[tuple[float, Simulation]]]) -> dict[str, object]:
    worst = {name: max(ratio for ratio, _ in found) for name, found in table.items()}
    return {
        "trace_ratio_exact_max": round(worst["exact"], 4),
        "trace_ratio_noise_max": round(worst["noise"], 4),
        "straggler_ratio": round(worst["stragglers"], 4),
        "straggler_extra_gpu_pct": round(100 * max(s.extra_share for _, s in table["stragglers"]), 2),
        "straggler_and_noise_ratio": round(worst["both"], 4),
    }


_HEAD = (
    "{0}\n{1:<34} versions epochs/worker  longest epoch/bound | exact  noise  stragglers (extra GPU)  both  (extra GPU)"
)


def _simulated(
    runs: Sequence[released.Trace], versions: int, workers: int, say: Callable[[str], None], label: str
) -> dict[str, tuple[float, Simulation]]:
    """Makespan over lower bound in each world."""
    traced = released.replay(released.replicated(runs, versions))
    plan = schedule(traced.costs, workers, traced.cutting)
    found: dict[str, tuple[float, Simulation]] = {}
    bounds: dict[float, float] = {}
    for name, world in _WORLDS.items():
        if world.noise not in bounds:
            bounds[world.noise] = _bound(traced, workers, world)
        simulation = simulate(plan, workers, traced.cutting, traced.cutting.cost, world)
        found[name] = simulation.makespan_seconds / bounds[world.noise], simulation
    longest = max(t.seconds for e in traced.experiments.values() for t in e.profile.epochs)
    say(
        f"{label:<34} {versions:>8} {traced.epochs / workers:>13.1f} {longest / bounds[0.0]:>20.3f} | "
        f"{found['exact'][0]:.4f} {found['noise'][0]:.4f} "
        f"{found['stragglers'][0]:>10.4f} {found['stragglers'][1].extra_share:>11.1%} "
        f"{found['both'][0]:>6.4f} {found['both'][1].extra_share:>11.1%}"
    )
    return found


def _bound(traced: released.TracedReplay, workers: int, world: World) -> float:
    """Seconds below which nobody ends what segments really take."""
    truth = Truth((), traced.cutting, traced.cutting.cost, world, seed=0)

    cutting = replace(traced.cutting, cost=truth.cost)
    return schedule([truth.cost(cost.segment) for cost in traced.costs], workers, cutting).lower_bound_seconds
