"""Replays in virtual time: how long the same work would take on other numbers of workers, in a world that is less than
perfect. For the command line, benchmarks and notebooks. Runs nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from flor_ray.errors import UsageError
from flor_ray.planning.replay_plan import Prepared
from flor_ray.records import SegmentCost, SegmentReport, Stint
from flor_ray.scheduler.calibration import CostModel
from flor_ray.scheduler.messages import EstimateCorrected
from flor_ray.scheduler.problem import Cutting
from flor_ray.scheduler.simulate import Learn, simulate
from flor_ray.scheduler.splitting import schedule
from flor_ray.scheduler.world import World

if TYPE_CHECKING:
    import pandas as pd

_LEARN_SHARE = 0.02  # new estimates after so many more of the segments; each looks at all of them
_COLUMNS = {
    "workers": "workers",
    "makespan_seconds": "makespan s",
    "lower_bound_seconds": "bound s",
    "ratio": "ratio",
    "gpu_hours": "GPU hours",
    "extra_gpu_percent": "extra %",
    "utilisation_percent": "busy %",
    "steals": "steals",
    "clones": "clones",
    "failures": "failures",
}


@dataclass(frozen=True, slots=True)
class SimulatedWork:
    """What is replayed, and how its estimates learn (None: they do not)."""

    costs: tuple[SegmentCost, ...]
    cutting: Cutting
    model: CostModel | None = None


@dataclass(frozen=True, slots=True)
class SimulatedRow:
    """A simulated replay on so many workers."""

    workers: int
    makespan_seconds: float
    lower_bound_seconds: float  # by the estimates, on workers of full speed and no other trouble
    gpu_hours: float
    extra_gpu_percent: float  # spent on what was lost, cancelled or done twice, per useful second
    utilisation_percent: float
    steals: int
    clones: int
    failures: int

    @property
    def ratio(self) -> float:
        """Makespan over lower bound."""
        return self.makespan_seconds / self.lower_bound_seconds if self.lower_bound_seconds else 1.0


@dataclass(frozen=True, slots=True)
class Simulated:
    """One row per number of workers, and what each worker did."""

    rows: tuple[SimulatedRow, ...]
    segments: int
    stints: Mapping[int, tuple[Stint, ...]] = field(default_factory=dict, repr=False)  # by number of workers

    def to_frame(self) -> pd.DataFrame:
        """The rows: workers, makespan_seconds, lower_bound_seconds, ratio, gpu_hours, extra_gpu_percent,
        utilisation_percent, steals, clones, failures."""
        import pandas as pd

        return pd.DataFrame([[getattr(row, name) for name in _COLUMNS] for row in self.rows], columns=list(_COLUMNS))

    def __str__(self) -> str:
        lines = [list(_COLUMNS.values()), *([_cell(row, name) for name in _COLUMNS] for row in self.rows)]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        table = ("  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)) for line in lines)
        count = f"{self.segments} segment{'' if self.segments == 1 else 's'}, simulated"
        return "\n".join([count, *table])


def _cell(row: SimulatedRow, name: str) -> str:
    value = getattr(row, name)
    digits = {"ratio": 3, "gpu_hours": 2}.get(name, 1)
    return str(value) if isinstance(value, int) else f"{value:.{digits}f}"


def of_prepared(prepared: Prepared) -> SimulatedWork:
    """What a replay of the store would run, by its own profile."""
    return SimulatedWork(prepared.scheduled.estimates, prepared.scheduled.cutting, prepared.scheduled.model)


def simulated(work: SimulatedWork, workers: Sequence[int], world: World | None = None, seed: int = 0) -> Simulated:
    """The replay on each number of workers, in a world without trouble unless it is described.

    The same arguments give the same result. Raises UsageError for less than one worker, and for a world in which the
    replay cannot end.
    """
    if not workers or min(workers) < 1:
        raise UsageError(f"workers={list(workers)}: give at least one number, and each of at least 1.")
    rows, stints = [], {}
    for number in sorted(set(workers)):
        planned = schedule(work.costs, number, work.cutting)
        learn = _learning(work.model, work.costs) if work.model else None
        try:
            found = simulate(planned, number, work.cutting, None, world or World(), seed, learn)
        except ValueError as error:
            raise UsageError(f"{error} (on {number} workers).") from error
        stints[number] = found.stints
        rows.append(
            SimulatedRow(
                workers=number,
                makespan_seconds=found.makespan_seconds,
                lower_bound_seconds=planned.lower_bound_seconds,
                gpu_hours=found.busy_seconds / 3600,
                extra_gpu_percent=100 * found.extra_share,
                utilisation_percent=100 * found.utilisation,
                steals=found.steals,
                clones=found.clones,
                failures=found.failures,
            )
        )
    return Simulated(tuple(rows), len(work.costs), stints)


def _learning(model: CostModel, costs: Sequence[SegmentCost]) -> Learn:
    """What a driver does with reports: the model learns from each, and now and then tells what follows from that."""
    every = max(1, round(_LEARN_SHARE * len(costs)))
    seen = 0

    def learn(report: SegmentReport) -> EstimateCorrected | None:
        nonlocal model, seen
        model, seen = model.observe(report, report.kind), seen + 1
        return None if seen % every else EstimateCorrected(model.corrected(costs), model.slowness())

    return learn
