"""The whole flow, from a question to the filled column.

    names, where ─> patched sources ─> catalogue ─> gaps ─> what must run ─> segments ─> schedule ─> Ray ─> DataFrame
                    (patching)         (store)    (missing) (avoidance)   (segmenting)  (scheduler) (cluster)

`prepare` goes as far as the schedule and changes nothing; `run` spends the time. `flor.explain` prints what
`prepare` found, `flor.replay` does both.
"""

from __future__ import annotations

import contextlib
import math
import os
import secrets
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from typing import TYPE_CHECKING

from flor_ray import settings
from flor_ray.environment import surroundings
from flor_ray.environment.surroundings import Expected
from flor_ray.errors import FlorWarning, SecretsMissing, StoreError, UsageError
from flor_ray.patching import statements
from flor_ray.planning import (
    avoidance,
    calibrations,
    catalogues,
    missing,
    recorded_environments,
    scheduling,
    segmenting,
)
from flor_ray.planning.replay_plan import Prepared
from flor_ray.planning.terms import Query, Terms, parse_budget, parse_first, parse_wait
from flor_ray.records import ANY_SHAPE, DEFAULT_LIMITS, Limits, Operator, Outcome, WorkerShape
from flor_ray.replaying.limits import parse_limits
from flor_ray.replaying.results import origin_id
from flor_ray.replaying.sandbox.workspace import places_outside
from flor_ray.reports import replays, timelines
from flor_ray.reports.forecasts import Basis
from flor_ray.reports.plans import Explanation
from flor_ray.reports.timelines import Timeline
from flor_ray.settings import Loaded
from flor_ray.store import heartbeats, live_replays
from flor_ray.store.heartbeats import Pulse
from flor_ray.store.project import Project
from flor_ray.wording import parse_bytes

if TYPE_CHECKING:
    import pandas as pd

    from flor_ray.cluster.driver import Driver, Progress
    from flor_ray.cluster.executors import Executor
    from flor_ray.cluster.places import Place
    from flor_ray.replaying.job import VersionJob

_ONE_WORKER = Terms()
_ADDRESS = "RAY_ADDRESS"


def prepare(
    project: Project,
    names: Sequence[str],
    where: str | None = None,
    terms: Terms = _ONE_WORKER,
    again: bool = False,
    tell: statements.Tell = lambda what, done, total: None,
    env: str = recorded_environments.CURRENT,
) -> Prepared:
    """Find what is missing of `names` where `where` holds, and the cheapest way to get it. Runs and changes nothing.

    `again` asks for values that earlier replays have answered too; recorded values are never replayed. `env` is
    "current", or "recorded" for a replay with the packages that versions were recorded with. They are compared with
    those of this process: what workers elsewhere have is not known before they run.

    Raises:
        UnknownFeature: nobody logs one of the names.
        BadWhere: `where` cannot be evaluated.
        NothingFits: the terms leave no time for any of it.
    """
    return prepare_all(project, [Query(names, where)], terms, again, tell, env)


def prepare_all(
    project: Project,
    queries: Sequence[Query],
    terms: Terms = _ONE_WORKER,
    again: bool = False,
    tell: statements.Tell = lambda what, done, total: None,
    env: str = recorded_environments.CURRENT,
) -> Prepared:
    """Plan several queries at once. What two of them want is replayed once; they get worker time by share. Arguments
    and errors are those of `prepare`."""
    names = tuple(dict.fromkeys(name for asked in queries for name in asked.names))
    propagated = statements.propagated(project, names, tell=tell)
    by_version = propagated.experiments
    patched = catalogues.with_entries(catalogues.with_observed(project, propagated.patched), by_version)
    experiments = tuple(by_version.values())
    regions = {(v, name): region for v, patch in patched.items() for name, region in patch.regions.items()}
    catalogue = missing.Catalogue(by_version, catalogues.have(project, names, again), regions)
    requests, where_notes = catalogues.requests(project, queries, experiments)
    lacking = [missing.gaps(request, catalogue) for request in requests]
    avoided = avoidance.avoid(project.store, missing.merged(chain(*lacking)), by_version, propagated.texts, patched)
    gaps = avoided.gaps

    usable, notes = catalogues.usable_checkpoints(project, {gap.version for gap in gaps})
    complete, patched = catalogues.with_completeness(usable, patched, propagated.texts, by_version)
    checkpoints = {version: found.checkpoints for version, found in complete.items()}
    changes = catalogues.input_notes(project, by_version, gaps)
    planned = segmenting.plan(gaps, by_version, checkpoints, patched)
    versions = dict.fromkeys(segment.version for segment in planned.segments)
    environments = recorded_environments.choose(env, by_version, versions, project.store.objects)
    shares = [(asked.share, found) for asked, found in zip(queries, lacking, strict=True)]
    scheduled = scheduling.scheduled(project, planned.segments, by_version, checkpoints, patched, terms, shares)

    wanted = {v for request in requests for v in (by_version if request.selected is None else request.selected)}
    have_any = {version for version, _ in catalogue.have}
    refusals = tuple(
        (version, name, reason)
        for version, patch in patched.items()
        if version in wanted
        for name, reason in patch.refused.items()
        if (version, name) not in catalogue.have or version not in have_any
    )
    refusals += tuple((v, *each) for v, patch in patched.items() if v in wanted for each in patch.elsewhere.items())
    return Prepared(
        project,
        names,
        by_version,
        patched,
        checkpoints,
        (*propagated.notes, *where_notes, *notes, *changes, *planned.notes, *environments.notes, *scheduled.notes),
        refusals,
        tuple(dict.fromkeys(one for request in requests for one in missing.skipped(request, catalogue))),
        terms,
        replace(scheduled, schedule=recorded_environments.grouped(scheduled.schedule, environments.packages)),
        catalogues.doubtful(names, planned.segments, propagated.texts, patched, complete),
        environments,
        avoided.known,
    )


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


def run(
    prepared: Prepared,
    executor: Executor | str | None = None,
    tell: Callable[[Progress], None] = lambda progress: None,
    limits: Limits = DEFAULT_LIMITS,
) -> Outcome:
    """Replay, on "ray", on "local" workers, or on an executor that is given; None: as `place` has it. Rows are in the
    store when this returns.

    A segment that exceeds one of the `limits` fails, and others go on.
    """
    origin = origin_id(time.time(), secrets.token_hex(2))
    project = prepared.project
    at_once = avoidance.write_known(project.store, project.name, origin, prepared.known)
    outcome = _replayed(prepared, origin, executor, tell, limits) if prepared.costs else Outcome()
    outcome.reports[:0] = at_once
    return outcome


def _replayed(
    prepared: Prepared,
    origin: str,
    executor: Executor | str | None,
    tell: Callable[[Progress], None],
    limits: Limits,
) -> Outcome:
    """What became of the segments that run."""
    from flor_ray.cluster import addresses
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
        executor, way = _executor(found, prepared.terms.shape, secret_variables), found.way
        if found.executor == "ray":
            tell = _also_to_ray(tell)
    project = prepared.project
    scheduled = prepared.scheduled
    files = project.store.files
    beginning = heartbeats.of_this_process(prepared.names, len(versions), addresses.submission())
    pulse = heartbeats.Pulse(files, project.name, origin, beginning)
    driver = Driver(
        prepared.schedule,
        scheduled.cutting,
        scheduled.model,
        versions,
        executor,
        _also_to(pulse, tell),
        way,
        retries=limits.retries,
        wait_seconds=prepared.terms.wait_seconds,
    )
    complete = False
    try:
        with live_replays.replaying(files, project.name, origin, versions), pulse, executor:
            outcome = driver.carry_out()
            pulse.stands(failures=len(outcome.failures))
        complete = True
    finally:
        _keep(prepared, origin, driver, complete)
    return outcome


def _also_to(pulse: Pulse, tell: Callable[[Progress], None]) -> Callable[[Progress], None]:
    def told(progress: Progress) -> None:
        pulse.stands(
            answered=progress.answered,
            wanted=progress.wanted,
            workers=progress.workers,
            busy_seconds=progress.busy_seconds,
            left_seconds=progress.left.seconds,
        )
        pulse.expect_wanted()
        tell(progress)

    return told


def jobs(prepared: Prepared, origin: str, limits: Limits = DEFAULT_LIMITS) -> dict[str, VersionJob]:
    """What workers have to know of each version that is replayed, in the replay with this id."""
    from flor_ray.replaying.data import DataFinder
    from flor_ray.replaying.job import VersionJob

    segments = [cost.segment for cost in prepared.costs]
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
            limits=limits,
            data=data,
            at_hand=finder.at_hand(prepared.experiments[version].environment, data, tree.root),
            packages=prepared.environments.packages.get(version, ()),
            expected=prepared.environments.expected.get(version, Expected()),
            secrets=prepared.terms.secrets,
        )
        for version in {segment.version for segment in segments}
    }


def secrets_of(terms: Terms) -> dict[str, str]:
    """Names and values of the secrets that replays need. Raises SecretsMissing for those that are not here."""
    if lacking := [name for name in terms.secrets if not os.environ.get(name)]:
        raise SecretsMissing(lacking)
    return {name: os.environ[name] for name in terms.secrets}


def _executor(place: Place, shape: WorkerShape, secret_variables: Mapping[str, str]) -> Executor:
    if place.executor == "local":
        from flor_ray.cluster.local import LocalExecutor

        return LocalExecutor()
    from flor_ray.cluster.actors import RayExecutor

    return RayExecutor(shape, secret_variables)


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
    stints = tuple(driver.outcome.stints)
    if not stints:
        return
    project = prepared.project
    runs = {version: prepared.experiments[version].run for version in {stint.segment.version for stint in stints}}
    timeline = Timeline(
        origin,
        prepared.names,
        stints,
        prepared.workers,
        driver.expected.ready_seconds + driver.expected.run_seconds,
        complete,
        {version: run for version, run in runs.items() if run},
    )
    try:
        timelines.keep(project.store.files, project.name, timeline)
        calibrations.keep(project.store.files, driver.model.learned())
    except (OSError, StoreError) as error:  # the values are in the store, and this must not hide how the replay ended
        warnings.warn(f"The timeline of replay {origin} could not be kept: {error}", FlorWarning, stacklevel=2)


# --- the public functions -------------------------------------------------------------------------------------------


def explain(
    names: Sequence[str] | str,
    where: str | None = None,
    workers: int | None = None,
    path: str = ".",
    store_url: str | None = None,
    env: str | None = None,
    budget: float | str | None = None,
    deadline: float | str | None = None,
    first: str | Sequence[str] | None = None,
    price: float | None = None,
    data: Mapping[str, str] | None = None,
) -> Explanation:
    """What `replay` with these arguments would run, and what it should take. Runs nothing.

    Print it; `to_frame()` is a DataFrame with a row per segment, `to_html()` a page, `tradeoff` what more or fewer
    workers would bring. `price` is that of an hour of one worker.
    """
    asked = settings.load(
        path,
        store=store_url,
        workers=workers,
        environment=env,
        budget=budget,
        deadline=deadline,
        price=price,
        data=data,
    )
    with on_cluster(asked):
        terms = terms_of(asked, first)
        return explained(prepare(Project.of(asked, path), _names(names), where, terms, env=environment_of(asked)))


def explained(prepared: Prepared, where: Place | None = None) -> Explanation:
    """What a plan says of its costs, times and workers, if it is replayed there (None: as `place` has it). Nothing
    runs."""
    scheduled = prepared.scheduled
    model = scheduled.model
    basis = Basis(
        interval=model.interval,
        kind=model.kind,
        calibrated=not model.unknown_kinds([model.kind]),
        gpus=bool(surroundings.gpus()),
        price_per_gpu_hour=prepared.terms.price_per_gpu_hour,
        costs=scheduled.estimates,
        cutting=scheduled.cutting,
        expected=model.expected(prepared.schedule, (where or place(prepared)).way),
    )
    return Explanation(prepared, basis)


def parse_terms(
    workers: int | None = None,
    budget: float | str | None = None,
    deadline: float | str | None = None,
    first: str | Sequence[str] | None = None,
    price: float | None = None,
    executor: str | None = None,
    shape: WorkerShape = ANY_SHAPE,
) -> Terms:
    """Terms from what users write, as `replay` has it. Raises UsageError for what none of them can be."""
    gpu_seconds, deadline_seconds = parse_budget(budget, deadline)
    if price is not None and not (price >= 0 and math.isfinite(price)):
        raise UsageError(f"{price} is no price: give the cost of one worker-hour as a number of 0 or more.")
    order = None if first is None else parse_first(first)
    way = _way(deadline_seconds, executor) if deadline_seconds is not None else ""
    if workers is None or shape != ANY_SHAPE:  # which a cluster may have no room for
        workers = default_workers(executor, shape, workers)
    return Terms(workers, gpu_seconds, deadline_seconds, order, price, way, shape=shape)


def _way(deadline_seconds: float, executor: str | None) -> str:
    """How workers will be started, at the slowest, for a replay that is over by then."""
    from flor_ray.cluster import places

    return places.choose(executor, 1, deadline_seconds).way


def terms_of(asked: Loaded, first: str | Sequence[str] | None = None, executor: str | None = None) -> Terms:
    """The terms that settings have."""
    said = asked.settings
    memory = parse_bytes(said.memory, "memory") if isinstance(said.memory, str) else said.memory
    shape = WorkerShape(said.gpus, said.cpus, memory, said.accelerators or ())
    terms = parse_terms(said.workers, said.budget, said.deadline, first, said.price, executor, shape)
    return replace(terms, wait_seconds=parse_wait(said.wait), secrets=said.secrets or ())


def limits_of(asked: Loaded) -> Limits:
    """The limits of a segment that settings have."""
    said = asked.settings
    return parse_limits(said.time_limit, said.memory_limit, said.retries)


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


def propagate(
    names: Sequence[str] | str,
    versions: Sequence[str] | str | None = None,
    path: str = ".",
    store_url: str | None = None,
) -> pd.DataFrame:
    """Where the statements that log `names` would stand in old versions. Runs and changes nothing.

    Args:
        names: features that the newest code (or any version's) logs.
        versions: ids, or how they begin; None: all.

    Returns:
        One row per version and statement: version, name, file, line (in the patched file), confidence (0 to 1), outcome
        (placed, present, pinned or refused), why.
    """
    import pandas as pd

    prefixes = [versions] if isinstance(versions, str) else versions
    found = statements.propagated(Project.open(path, store_url), _names(names), prefixes).findings
    rows = [(v, f.name, f.path, f.line, f.confidence, f.fate.value, f.why) for v, f in found]
    table = pd.DataFrame(rows, columns=["version", "name", "file", "line", "confidence", "outcome", "why"])
    return table.astype({"line": "Int64"})


def replay(
    names: Sequence[str] | str,
    where: str | None = None,
    workers: int | None = None,
    again: bool = False,
    path: str = ".",
    store_url: str | None = None,
    time_limit: float | str | None = None,
    memory_limit: int | str | None = None,
    env: str | None = None,
    budget: float | str | None = None,
    deadline: float | str | None = None,
    first: str | Sequence[str] | None = None,
    executor: str | None = None,
    retries: int | None = None,
    wait: float | str | None = None,
    data: Mapping[str, str] | None = None,
) -> pd.DataFrame:
    """Fill the missing values of `names`, wherever `where` holds, by replaying old versions.

    What is not given is as flor.yaml and the environment have it (`flor-ray config`).

    Args:
        names: features that the newest code (or any version's) logs.
        where: pandas query string over features, version, run, timestamp, epoch and step, such as
            "accuracy < 95 and epoch >= 3". It picks versions and epochs; None picks all.
        workers: how many; by default one per GPU of the cluster, or per CPU where it has none.
        again: replay also what an earlier replay has answered. Recorded values are never replayed.
        time_limit: seconds, or a span such as "10m", that one segment may take, its set-up included.
        memory_limit: bytes, or a size such as "8GB", that the processes of one segment may hold together; by default
            90 % of the machine's memory. A segment that exceeds a limit fails, and the others go on.
        env: "recorded" replays a version with the packages that it was recorded with, where others are installed here:
            Ray installs them on top of what is there. "current" replays with what is installed, and says what differs.
        budget: seconds of all workers together, or a span such as "2h"; as much is replayed as fits, by estimate. The
            same call goes on with the rest.
        deadline: seconds, or a span, in which the replay is to end; as much is replayed as fits, by estimate.
        first: what is answered first: "end" (each version's last epoch), "peak:accuracy" (where a feature was
            greatest) or "peak:-loss" (least), "coarse" (no epoch before all others), "newest" (of equals, newer
            versions); several with commas. All else follows coarse to fine. Without it, what suits the schedule comes
            first, and "end" if there is a limit.
        executor: "ray" runs it on the Ray cluster: that of RAY_ADDRESS, one that runs on this machine, or one that is
            started here. "local" runs it on worker processes of this machine. None: on Ray, unless no cluster was named
            or runs here, and it should take less time than starting one; a machine with GPUs always uses Ray,
            which gives each worker one, and so does what needs other packages (`env`). The values are the same.
        retries: further attempts at a segment whose worker or process was killed; 2 by default.
        wait: seconds, or a span, to wait while there is no worker, such as for nodes that a cluster starts; 5 min by
            default.
        data: where data that runs have read are on the workers' machines: for a recorded path, or a folder above it, a
            path or a URL there.

    Returns:
        One row per replayed version: project, run, timestamp, version, seconds (of worker time), rows, compared
        (recorded values and states that were computed again), fidelity (exact, within tolerance, diverged or
        unverified), outcome; `attrs["executor"]` says where it ran. Read the values with `dataframe`.

    Warns:
        FlorWarning: for each version that was refused or failed, or that did not compute what was recorded.
    """
    asked = settings.load(
        path,
        store=store_url,
        workers=workers,
        time_limit=time_limit,
        memory_limit=memory_limit,
        retries=retries,
        wait=wait,
        environment=env,
        budget=budget,
        deadline=deadline,
        data=data,
    )
    with on_cluster(asked):
        limits, terms = limits_of(asked), terms_of(asked, first, executor)
        project = Project.of(asked, path)
        prepared = prepare(project, _names(names), where, terms, again, env=environment_of(asked))
        return _answered(prepared, limits, executor)


def replay_all(
    queries: Sequence[Query],
    workers: int | None = None,
    again: bool = False,
    path: str = ".",
    store_url: str | None = None,
    time_limit: float | str | None = None,
    memory_limit: int | str | None = None,
    env: str | None = None,
    executor: str | None = None,
    retries: int | None = None,
    wait: float | str | None = None,
    data: Mapping[str, str] | None = None,
) -> pd.DataFrame:
    """Answer several queries in one replay: what two of them want runs once, and worker time is shared by weight.

    Example::

        flor.replay_all([flor.Query(["grad_norm"], "epoch >= 3", share=2), flor.Query(["cf_matrix"])])

    All else is as in `replay`. The queries are answered side by side: while several wait, each gets worker time by its
    share, up to the length of a segment and as far as versions on one worker are not torn apart for it.
    """
    if not queries:
        raise UsageError("Give at least one query, as in flor.replay_all([flor.Query(['grad_norm'])]).")
    asked = settings.load(
        path,
        store=store_url,
        workers=workers,
        time_limit=time_limit,
        memory_limit=memory_limit,
        retries=retries,
        wait=wait,
        environment=env,
        data=data,
    )
    with on_cluster(asked):
        limits, terms = limits_of(asked), terms_of(asked, executor=executor)
        prepared = prepare_all(Project.of(asked, path), queries, terms, again, env=environment_of(asked))
        return _answered(prepared, limits, executor)


def _answered(prepared: Prepared, limits: Limits, executor: str | None) -> pd.DataFrame:
    where = place(prepared, executor).executor
    outcome = run(prepared, where, limits=limits)
    for warning in replays.problems(prepared, outcome):
        warnings.warn(warning, FlorWarning, stacklevel=3)
    summary = replays.summary(prepared, outcome)
    summary.attrs["executor"] = where
    return summary


def _names(names: Sequence[str] | str) -> tuple[str, ...]:
    found = (names,) if isinstance(names, str) else tuple(names)
    if not found:
        raise UsageError("Name at least one feature, as in flor.replay(['grad_norm']).")
    return found


def default_workers(executor: str | None = None, shape: WorkerShape = ANY_SHAPE, wanted: int | None = None) -> int:
    """As many as are `wanted`, or else as there is room for: one per GPU of the cluster, or one per CPU where it has
    none, unless their shape says otherwise; "local" workers: one per CPU of this machine.

    Raises:
        UsageError: there is no room for workers of this shape, or for so many.
    """
    from flor_ray.cluster import places

    return wanted if wanted is not None and executor == places.LOCAL else places.expected_slots(executor, shape, wanted)
