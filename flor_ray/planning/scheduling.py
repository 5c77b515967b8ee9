"""What a plan's segments cost, which of them are run, and by how many workers, when: the scheduler with what it asks of
the store.

    segments ─> calibrations ─> CostModel ─> costs ─> budget, priorities ─> cut and packed: Schedule
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from flor_ray.environment import hardware
from flor_ray.errors import UsageError
from flor_ray.patching.patching import Patched
from flor_ray.planning import calibrations, peaks, segmenting
from flor_ray.planning.replay_plan import Scheduled
from flor_ray.planning.terms import First, Terms
from flor_ray.records import NOBODY, Checkpoint, Crew, Experiment, Gap, Operator, Segment, SegmentCost
from flor_ray.scheduler import budget, priorities, splitting
from flor_ray.scheduler.calibration import Calibration, CostModel
from flor_ray.scheduler.problem import Cutting, Slot
from flor_ray.store.project import Project
from flor_ray.wording import duration

_NEW_NODES = "new nodes"  # a way in which workers are started (`Calibration.start`)
_SAFETY = 1.0  # standard deviations to keep clear of a budget and a deadline, for what segments have of their own


def model_of(
    project: Project,
    versions: Sequence[str],
    experiments: Mapping[str, Experiment],
    checkpoints: Mapping[str, Sequence[Checkpoint]],
    patched: Mapping[str, Patched],
    crew: Crew = NOBODY,
) -> CostModel:
    """What is known of these versions' costs, on workers as most of the crew are."""
    known = calibrations.kept(project.store.files)
    kind = _kind(crew, known)
    here = known.get(kind, Calibration())
    recorded = {v: calibrations.recorded(experiments[v], checkpoints[v], patched[v], here) for v in versions}
    return CostModel(recorded, known, kind)


def _kind(crew: Crew, known: Collection[str]) -> str:
    """The class of most workers, where it is known by what was measured of it; else that of this machine."""
    for ray_type, _ in Counter(crew.types).most_common():
        if kind := _of_type(ray_type, crew, known):
            return kind
    return hardware.kind_here(with_gpu=crew.shape.gpus != 0)


def _of_type(ray_type: str, crew: Crew, known: Collection[str]) -> str:
    """Of the classes of workers that were measured, that of those with a GPU which Ray calls so; "" for none."""
    share = crew.shape.gpus or 1
    return next((kind for kind in sorted(known) if ray_type and hardware.is_of_type(kind, ray_type, share)), "")


def slots(model: CostModel, terms: Terms) -> tuple[Slot, ...]:
    """The workers that a schedule is made for: each with the speed of its class, and with when it should be there.
    Those on nodes that the cluster starts come later than those for which there is room."""
    crew, start = terms.crew, model.start_seconds()
    if crew.counted != terms.workers:
        return (Slot(ready_seconds=start),) * terms.workers
    slowness = model.slowness()
    later = model.start(_NEW_NODES).value if crew.here else 0.0  # else the way in which workers are started says it
    nodes = [0.0] * len(crew.here) + [later] * len(crew.coming) + [0.0] * len(crew.held)
    kinds = [_of_type(ray_type, crew, slowness) for ray_type in crew.types]
    return tuple(Slot(slowness.get(kind, 1.0), start + node) for kind, node in zip(kinds, nodes, strict=True))


def scheduled(
    project: Project,
    segments: Sequence[Segment],
    experiments: Mapping[str, Experiment],
    checkpoints: Mapping[str, Sequence[Checkpoint]],
    patched: Mapping[str, Patched],
    terms: Terms,
    shares: Sequence[tuple[float, Sequence[Gap]]] = (),
) -> Scheduled:
    """Estimate, choose what the terms allow, cut what is too long for one worker, and pack.

    `shares` are the weights of several queries, with what each of them lacks.

    Raises:
        NothingFits: the budget or the deadline leaves no time for any of it.
        UsageError: a feature by whose peak epochs are ordered has no values, or a deadline is over before workers are
            there.
    """
    versions = list(dict.fromkeys(segment.version for segment in segments))
    model = model_of(project, versions, experiments, checkpoints, patched, terms.crew)
    cutting = Cutting(
        lambda segment: segmenting.split_points(segment, checkpoints[segment.version]), segmenting.cut, model.cost
    )
    estimates = tuple(map(model.cost, segments))
    workers = slots(model, terms)
    unordered = terms.first is None and not terms.limited
    if unordered and len(shares) > 1:
        ranked = _by_share(estimates, shares)
        cutting = _with_ranks(cutting, ranked)
        return Scheduled(splitting.schedule(ranked, workers, cutting), ranked, cutting, model)
    if not segments or unordered:
        return Scheduled(splitting.schedule(estimates, workers, cutting), estimates, cutting, model)
    if len(shares) > 1:
        raise UsageError(
            "A budget, a deadline or an order cannot be given for several queries at once: leave it out, or ask one by "
            "one."
        )
    first = terms.first or First()
    by_epoch = peaks.ranks(first, peaks.peak_epochs(project, first), priorities.wanted(estimates), experiments)
    ranked, cutting = priorities.ranked(estimates, by_epoch), priorities.ranked_cutting(cutting, by_epoch)
    if not terms.limited:
        return Scheduled(splitting.schedule(ranked, workers, cutting), ranked, cutting, model)
    start = model.start(terms.way).value if terms.way else 0.0
    if terms.deadline_seconds is not None and terms.deadline_seconds <= start:
        raise UsageError(
            f"Nothing can be replayed by a deadline of {duration(terms.deadline_seconds)}: workers take about "
            f"{duration(start)} to start. Allow more than that."
        )
    # What all estimates have in common does not average out: the limits are kept at its upper end.
    _, high = model.interval(1.0)
    found = budget.within(
        estimates,
        cutting,
        gpu_seconds=terms.gpu_seconds,
        deadline_seconds=None if terms.deadline_seconds is None else terms.deadline_seconds - start,
        workers=workers,
        ranks=by_epoch,
        safety=_SAFETY,
        margin=max(1.0, high),
    )
    return Scheduled(found.schedule, found.costs, cutting, model, (found.note,) if found.note else ())


def _by_share(
    estimates: Sequence[SegmentCost], shares: Sequence[tuple[float, Sequence[Gap]]]
) -> tuple[SegmentCost, ...]:
    """The segments with their ranks in the fair order of several queries."""
    queries = [
        priorities.Share(str(number), share, tuple(c for c in estimates if _answers(c.segment, gaps)))
        for number, (share, gaps) in enumerate(shares)
    ]
    return priorities.fair(queries)


def _answers(segment: Segment, gaps: Sequence[Gap]) -> bool:
    """Whether a segment answers something of the gaps."""
    return any(
        gap.version == segment.version
        and not set(gap.names).isdisjoint(segment.names)
        and (segment.operator is not Operator.DP_I or any(segment.first <= e <= segment.last for e in gap.epochs))
        for gap in gaps
    )


def _with_ranks(cutting: Cutting, ranked: Sequence[SegmentCost]) -> Cutting:
    """A cutting whose pieces have the ranks of the segments that they are of."""
    places = {
        (c.segment.version, epoch): c.rank for c in ranked for epoch in range(c.segment.first, c.segment.last + 1)
    }

    def cost(segment: Segment) -> SegmentCost:
        return replace(cutting.cost(segment), rank=places.get((segment.version, segment.last), 0.0))

    return replace(cutting, cost=cost)
