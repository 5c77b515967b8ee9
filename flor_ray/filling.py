"""The public functions around replays: where statements would stand, what it would cost, and the filled column."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from flor_ray import asked_terms, pipeline, running, settings
from flor_ray.errors import FlorWarning, UsageError
from flor_ray.patching import statements
from flor_ray.planning.replay_plan import Prepared
from flor_ray.planning.terms import Query, Terms
from flor_ray.records import Limits
from flor_ray.reports import notebooks, replays
from flor_ray.reports.plans import Explanation
from flor_ray.settings import Loaded
from flor_ray.store.project import Project

if TYPE_CHECKING:
    import pandas as pd


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
    with asked_terms.on_cluster(asked):
        project, terms, environment = _asked_of(asked, path, first)
        return pipeline.explained(pipeline.prepare(project, _names(names), where, terms, env=environment))


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
        time_limit: seconds, or a span such as "10m", that one segment may take, its set-up included; "none": as
            long as it likes. By default its script hangs when it stays in one epoch for ten minutes and more, and for
            ten times as long as that should take at most.
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
        wait: seconds, or a span, to wait while there is no worker, such as for nodes that a cluster starts; 30 min by
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
    with asked_terms.on_cluster(asked):
        project, terms, environment = _asked_of(asked, path, first, executor)
        limits = asked_terms.limits_of(asked)
        prepared = pipeline.prepare(project, _names(names), where, terms, again, env=environment)
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
    with asked_terms.on_cluster(asked):
        project, terms, environment = _asked_of(asked, path, executor=executor)
        limits = asked_terms.limits_of(asked)
        prepared = pipeline.prepare_all(project, queries, terms, again, env=environment)
        return _answered(prepared, limits, executor)


def _asked_of(
    asked: Loaded, path: str, first: str | Sequence[str] | None = None, executor: str | None = None
) -> tuple[Project, Terms, str]:
    return Project.of(asked, path), asked_terms.terms_of(asked, first, executor), asked_terms.environment_of(asked)


def _answered(prepared: Prepared, limits: Limits, executor: str | None) -> pd.DataFrame:
    where = running.place(prepared, executor).executor
    with notebooks.live_progress(bool(prepared.costs)) as tell:
        outcome = pipeline.run(prepared, where, tell, limits)
    for warning in replays.problems(prepared, outcome):
        warnings.warn(warning, FlorWarning, stacklevel=3)
    summary = replays.summary(prepared, outcome)
    summary.attrs["executor"] = where
    return notebooks.with_marks(summary)


def _names(names: Sequence[str] | str) -> tuple[str, ...]:
    found = (names,) if isinstance(names, str) else tuple(names)
    if not found:
        raise UsageError("Name at least one feature, as in flor.replay(['grad_norm']).")
    return found
