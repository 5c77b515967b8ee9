"""A plan is carried out: its segments become jobs of workers on Ray or on this machine, others who ask are heeded, and
what was learned is kept."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from flor_ray.environment.surroundings import Expected
from flor_ray.errors import FlorWarning, SecretsMissing, StoreAway, StoreError, UsageError
from flor_ray.planning import calibrations, statement_digests
from flor_ray.planning.replay_plan import Prepared
from flor_ray.planning.terms import Terms
from flor_ray.records import ANY_SHAPE, DEFAULT_LIMITS, Limits, Operator, Outcome, SegmentCost
from flor_ray.replaying.sandbox.workspace import places_outside
from flor_ray.reports import live, timelines
from flor_ray.reports.live import LiveStanding, Picture
from flor_ray.reports.progress import overdue_steps
from flor_ray.reports.timelines import Timeline
from flor_ray.scheduler.overdue import StepLimits, step_limits
from flor_ray.store import claims, heartbeats, live_replays
from flor_ray.store.compacting import compaction
from flor_ray.store.heartbeats import Pulse
from flor_ray.store.outages import Patience

if TYPE_CHECKING:
    from flor_ray.cluster.driver import Driver, Progress
    from flor_ray.cluster.executors import Executor
    from flor_ray.cluster.places import Place
    from flor_ray.replaying.job import VersionJob


def place(prepared: Prepared, wanted: str | None = None) -> Place:
    """Where a replay runs: on Ray, or on worker processes of this machine (`flor_ray.cluster.places`).

    Raises:
        UsageError: it cannot run where it is `wanted`.
    """
    from flor_ray.cluster import places

    packages = [package for of_version in prepared.environments.packages.values() for package in of_version]
    schedule = prepared.schedule
    workers = sum(1 for assignment in schedule.assignments if assignment)
    new_ray = prepared.scheduled.model.start(places.NEW_RAY)
    soonest = max(1.0, new_ray.value - new_ray.spread)
    return places.choose(wanted, workers, schedule.makespan_seconds, packages, soonest, prepared.terms.shape)


def replayed(
    prepared: Prepared,
    origin: str,
    executor: Executor | str | None,
    tell: Callable[[Progress], None],
    limits: Limits,
) -> Outcome:
    """What became of the segments that run."""
    from flor_ray.cluster import addresses
    from flor_ray.cluster.company import Company
    from flor_ray.cluster.driver import Driver

    secret_variables = secrets_of(prepared.terms)
    if not prepared.project.store.files.shared:
        raise UsageError(
            f"Workers are other processes and cannot see {prepared.project.store.url}. Record to a folder or a bucket."
        )
    versions = jobs(prepared, origin, limits)
    way = ""
    if executor is None or isinstance(executor, str):
        found = place(prepared, executor)
        executor, way = _executor(found, prepared.terms, secret_variables), way_of(found, prepared.terms)
        if found.executor == "ray":
            tell = _also_to_ray(tell)
    project = prepared.project
    scheduled = prepared.scheduled
    files = project.store.files
    beginning = heartbeats.of_this_process(prepared.names, len(versions), addresses.submission())
    pulse = heartbeats.Pulse(files, project.name, origin, beginning)
    claimed = claims.ReplayClaims(
        files, project.name, origin, claims.of_this_process(prepared.again, prepared.question)
    )
    company = Company(project.store, project.name, claimed, _statements(prepared), _at_work_since(prepared))
    painter = live.Painter(pulse.shows)
    driver = Driver(
        prepared.schedule,
        scheduled.cutting,
        scheduled.model,
        versions,
        executor,
        _also_to(pulse, tell, lambda progress: painter.paint(lambda: _picture(prepared, origin, driver, progress))),
        way,
        retries=limits.retries,
        wait_seconds=prepared.terms.wait_seconds,
        company=company,
    )
    complete = False
    patience = Patience(limits.outage_seconds, _warn_of_outage)
    with files.outlasting(patience):
        try:
            with live_replays.replaying(files, project.name, origin, versions), pulse, claimed, executor, patience:
                outcome = driver.carry_out()
                pulse.stands(failures=len(outcome.failures))
            complete = True
        finally:
            _keep(prepared, origin, driver, complete)
        compaction.by_itself(project.store, project.name)
    return outcome


def _picture(prepared: Prepared, origin: str, driver: Driver, progress: Progress) -> Picture:
    """What a replay looks like now."""
    left = progress.left
    standing = LiveStanding(
        driver.now,
        progress.answered,
        progress.wanted,
        progress.values,
        progress.workers,
        progress.awaited,
        progress.busy_seconds,
        left.seconds,
        left.low,
        left.high,
        overdue_steps(progress.overdue),
    )
    return Picture(_timeline(prepared, origin, driver), driver.open, standing)


def _warn_of_outage(error: StoreAway | None) -> None:
    if error is not None:
        warnings.warn(f"The store is away, and is waited for: {error}", FlorWarning, stacklevel=2)


def _statements(prepared: Prepared) -> dict[str, dict[str, str]]:
    """By version and name, a digest of what logs it and of all else that its values depend on beside the run."""
    names: dict[str, set[str]] = {}
    for cost in prepared.costs:
        names.setdefault(cost.segment.version, set()).update(cost.segment.names)
    beside = sorted(prepared.project.data.items()), sorted(prepared.terms.secrets)
    return {
        version: statement_digests.of_version(
            prepared.patched[version], sorted(of), (*beside, prepared.environments.packages.get(version, ()))
        )
        for version, of in names.items()
    }


def _at_work_since(prepared: Prepared) -> frozenset[str]:
    """Other replays that may have answered something since the plan was made, which counts unless all is wanted
    anew."""
    if prepared.again:
        return frozenset()
    files, name = prepared.project.store.files, prepared.project.name
    live = {one.id for one in claims.live(files) if one.project == name}
    return frozenset(
        live | {id for id, beat in heartbeats.stamps(files, name).items() if prepared.seen.get(id) != beat}
    )


def _also_to(
    pulse: Pulse, tell: Callable[[Progress], None], paint: Callable[[Progress], None]
) -> Callable[[Progress], None]:
    def told(progress: Progress) -> None:
        pulse.stands(
            answered=progress.answered,
            wanted=progress.wanted,
            workers=progress.workers,
            busy_seconds=progress.busy_seconds,
            left_seconds=progress.left.seconds,
            overdue=overdue_steps(progress.overdue),
        )
        pulse.expect_wanted()
        paint(progress)
        tell(progress)

    return told


def jobs(prepared: Prepared, origin: str, limits: Limits = DEFAULT_LIMITS) -> dict[str, VersionJob]:
    """What workers have to know of each version that is replayed, in the replay with this id."""
    from flor_ray.replaying.data import DataFinder
    from flor_ray.replaying.job import VersionJob

    segments = [cost.segment for cost in prepared.costs]
    costs: dict[str, list[SegmentCost]] = {}
    for cost in prepared.costs:
        costs.setdefault(cost.segment.version, []).append(cost)
    tree = prepared.project.tree
    versioned = frozenset(tree.working_paths())
    outside = places_outside(tree.root, versioned)
    data, finder = prepared.project.data, DataFinder(fetches=False)
    return {
        version: VersionJob(
            store_url=prepared.project.store.url,
            origin=origin,
            experiment=prepared.experiments[version],
            checkpoints=prepared.checkpoints[version],
            patches=prepared.patched[version].files,
            marking=prepared.patched[version].marking,
            leave=prepared.scheduled.model.recorded[version].leave,
            original_root=tree.root,
            versioned=versioned,
            places=outside,
            doubtful=prepared.doubtful.get(version, {}),
            compares_entry=any(s.version == version and s.operator is Operator.DP for s in segments),
            limits=_with_steps(limits, step_limits(costs[version], prepared.scheduled.model.interval)),
            data=data,
            at_hand=finder.at_hand(prepared.experiments[version].environment, data, tree.root),
            packages=prepared.environments.packages.get(version, ()),
            launch=prepared.ranked.launches.get(version),
            parts=prepared.ranked.parts.get(version, ()),
            expected=prepared.environments.expected.get(version, Expected()),
            secrets=prepared.terms.secrets,
        )
        for version in costs
    }


def _with_steps(limits: Limits, steps: StepLimits) -> Limits:
    return replace(limits, late_seconds=steps.late_seconds, step_seconds=steps.limit_seconds)


def secrets_of(terms: Terms) -> dict[str, str]:
    """Names and values of the secrets that replays need. Raises SecretsMissing for those that are not here."""
    if lacking := [name for name in terms.secrets if not os.environ.get(name)]:
        raise SecretsMissing(lacking)
    return {name: os.environ[name] for name in terms.secrets}


def way_of(place: Place, terms: Terms) -> str:
    """How workers are started there, as `Calibration.start` learns what that takes."""
    from flor_ray.cluster import places

    return places.NEW_NODES if place.executor == places.RAY and not terms.crew.here and terms.crew.coming else place.way


def _executor(place: Place, terms: Terms, secret_variables: Mapping[str, str]) -> Executor:
    if place.executor == "local":
        from flor_ray.cluster.local import LocalExecutor

        return LocalExecutor()
    from flor_ray.cluster.actors import RayExecutor

    crew = terms.crew
    shape = terms.shape if crew.shape == ANY_SHAPE else crew.shape
    return RayExecutor(shape, secret_variables, crew.most, terms.scales_to, terms.ranks)


def _also_to_ray(tell: Callable[[Progress], None]) -> Callable[[Progress], None]:
    """Tell progress, and Ray's metrics too."""
    from flor_ray.cluster.metrics import Metrics

    metrics = Metrics()

    def both(progress: Progress) -> None:
        tell(progress)
        metrics.tell(progress)

    return both


def _keep(prepared: Prepared, origin: str, driver: Driver, complete: bool) -> None:
    """Keep the timeline and what was learned of costs, however the replay ended."""
    if not driver.outcome.stints:
        return
    project = prepared.project
    try:
        timelines.keep(project.store.files, project.name, _timeline(prepared, origin, driver, complete))
        calibrations.keep(project.store.files, driver.model.learned())
    except (OSError, StoreError) as error:  # the values are in the store, and this must not hide how the replay ended
        warnings.warn(f"The timeline of replay {origin} could not be kept: {error}", FlorWarning, stacklevel=2)


def _timeline(prepared: Prepared, origin: str, driver: Driver, complete: bool = False) -> Timeline:
    """What workers have done so far."""
    stints, at_work = tuple(driver.outcome.stints), driver.open
    versions = {stint.segment.version for stint in stints} | {one.segment.version for one in at_work}
    runs = {version: prepared.experiments[version].run for version in versions}
    schedule, ready = prepared.schedule, driver.expected.ready_seconds
    planned_ready = max((slot.ready_seconds for slot in schedule.slots), default=0.0)
    return Timeline(
        origin,
        prepared.names,
        stints,
        prepared.workers,
        ready + driver.expected.run_seconds,
        complete,
        {version: run for version, run in runs.items() if run},
        ready + max(0.0, schedule.lower_bound_seconds - planned_ready),
    )
