"""The whole flow, from a question to the filled column.

    names, where ─> patched sources ─> catalogue ─> gaps ─> what must run ─> segments ─> schedule ─> Ray ─> DataFrame
                    (patching)         (store)    (missing) (avoidance)   (segmenting)  (scheduler) (cluster)

`prepare` goes as far as the schedule and changes nothing; `run` spends the time. `flor.explain` prints what
`prepare` found, `flor.replay` does both.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import chain
from typing import TYPE_CHECKING

from flor_ray import running
from flor_ray.environment import surroundings
from flor_ray.patching import statements
from flor_ray.planning import (
    avoidance,
    catalogues,
    missing,
    ranks,
    recorded_environments,
    scheduling,
    segmenting,
    statement_digests,
)
from flor_ray.planning.missing import Request
from flor_ray.planning.replay_plan import Prepared
from flor_ray.planning.terms import Query, Terms
from flor_ray.records import DEFAULT_LIMITS, Limits, Outcome
from flor_ray.replaying.results import origin_id
from flor_ray.reports.forecasts import Basis
from flor_ray.reports.plans import Explanation
from flor_ray.store import heartbeats
from flor_ray.store.project import Project

if TYPE_CHECKING:
    from flor_ray.cluster.driver import Progress
    from flor_ray.cluster.executors import Executor
    from flor_ray.cluster.places import Place

_ONE_WORKER = Terms()


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
    requests, notes = catalogues.requests(project, queries, tuple(propagated.experiments.values()))
    shares, question = [q.share for q in queries], statement_digests.of([(sorted(q.names), q.where) for q in queries])
    return replace(_planned(project, propagated, requests, shares, notes, terms, again, env), question=question)


def prepare_places(
    project: Project,
    requests: Sequence[Request],
    terms: Terms = _ONE_WORKER,
    tell: statements.Tell = lambda what, done, total: None,
    env: str = recorded_environments.CURRENT,
) -> Prepared:
    """Plan what is missing at exact places: `requests` are parts of one question, such as one per name, and each says
    which epochs of which versions it wants. Only these versions are looked at. Other arguments and errors are those of
    `prepare`."""
    names = tuple(dict.fromkeys(name for request in requests for name in request.names))
    picked = None if any(r.selected is None for r in requests) else {v for r in requests for v in r.selected or ()}
    propagated = statements.propagated(project, names, tell=tell, versions=picked)
    return _planned(project, propagated, requests, [], (), terms, False, env)


def _planned(
    project: Project,
    propagated: statements.Propagated,
    requests: Sequence[Request],
    shares: Sequence[float],
    where_notes: Sequence[str],
    terms: Terms,
    again: bool,
    env: str,
) -> Prepared:
    """The plan for these requests; `shares` are their weights, where they are questions of their own."""
    names, by_version = propagated.names, propagated.experiments
    patched = catalogues.with_entries(catalogues.with_observed(project, propagated.patched), by_version)
    regions = {(v, name): region for v, patch in patched.items() for name, region in patch.regions.items()}
    seen = heartbeats.stamps(project.store.files, project.name)  # before it is asked what they have answered
    catalogue = missing.Catalogue(by_version, catalogues.have(project, names, again), regions)
    lacking = [missing.gaps(request, catalogue) for request in requests]
    avoided = avoidance.avoid(project.store, missing.merged(chain(*lacking)), by_version, propagated.texts, patched)
    gaps = avoided.gaps

    usable, notes = catalogues.usable_checkpoints(project, {gap.version for gap in gaps})
    ranked = ranks.ranked(project, by_version, usable)
    gaps, left = ranks.without(gaps, ranked.skipped)
    by_version, usable = {**by_version, **ranked.experiments}, dict(ranked.checkpoints)
    complete, patched = catalogues.with_completeness(usable, patched, propagated.texts, by_version)
    checkpoints = {version: found.checkpoints for version, found in complete.items()}
    changes = catalogues.input_notes(project, by_version, gaps)
    planned = segmenting.plan(gaps, by_version, checkpoints, patched)
    versions = dict.fromkeys(segment.version for segment in planned.segments)
    environments = recorded_environments.choose(env, by_version, versions, project.store.objects)
    weights = list(zip(shares, lacking, strict=True)) if shares else []
    terms, said = ranks.terms_for(terms, {v: ranked.launches[v] for v in versions if v in ranked.launches})
    scheduled = scheduling.scheduled(project, planned.segments, by_version, checkpoints, patched, terms, weights)

    wanted = {
        (v, name)
        for request in requests
        for v in (by_version if request.selected is None else request.selected)
        for name in request.names
    }
    have_any = {version for version, _ in catalogue.have}
    refusals = tuple(
        (version, name, reason)
        for version, patch in patched.items()
        for name, reason in patch.refused.items()
        if (version, name) in wanted
        if (version, name) not in catalogue.have or version not in have_any
    )
    refusals += tuple(
        (v, *each) for v, patch in patched.items() for each in patch.elsewhere.items() if (v, each[0]) in wanted
    )
    return Prepared(
        project,
        names,
        by_version,
        patched,
        checkpoints,
        (
            *(*propagated.notes, *where_notes, *notes, *ranked.notes, *changes, *planned.notes),
            *(*environments.notes, *said, *scheduled.notes),
        ),
        refusals,
        tuple(dict.fromkeys([*left, *(one for request in requests for one in missing.skipped(request, catalogue))])),
        terms,
        replace(scheduled, schedule=recorded_environments.grouped(scheduled.schedule, environments.packages)),
        catalogues.doubtful(names, planned.segments, propagated.texts, patched, complete),
        environments,
        avoided.known,
        again=again,
        seen=seen,
        ranked=ranked,
    )


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
    outcome = running.replayed(prepared, origin, executor, tell, limits) if prepared.costs else Outcome()
    outcome.reports[:0] = at_once
    return outcome


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
        expected=model.expected(prepared.schedule, running.way_of(where or running.place(prepared), prepared.terms)),
    )
    return Explanation(prepared, basis)
