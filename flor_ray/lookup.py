"""What is there already: logged values as a table. Nothing is planned or run here, and nothing is imported for that."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from flor_ray.errors import FlorWarning, UnknownFeature, UsageError
from flor_ray.records import Experiment, Fidelity, SegmentReport
from flor_ray.store.project import Project

if TYPE_CHECKING:
    import pandas as pd

    from flor_ray.replaying.results import Judgement
    from flor_ray.store.pivots import Pivot
    from flor_ray.store.segment_reports import KeptReport


@dataclass(frozen=True, slots=True)
class LoggedValues:
    """Logged values, and what their reader must know of them."""

    pivot: Pivot
    judgements: Mapping[str, Judgement]  # by version, of the replays that answered
    doubtful: Mapping[str, Mapping[str, str]]  # by version: features, and the objects that no checkpoint could keep

    @property
    def sentences(self) -> list[str]:
        """Why values may not be those of the original run."""
        if not self.judgements:
            return []
        from flor_ray.reports import replays as reports

        judged = [(v, s) for v, one in sorted(self.judgements.items()) for s in reports.describe_judgement(one)]
        said = [f"version {version[:8]}: {sentence}" for version, sentence in judged]
        return said + reports.describe_doubts(sorted(self.doubtful.items()))


def answer(
    names: Sequence[str],
    path: str = ".",
    store_url: str | None = None,
    level: str | None = None,
    pickles: str | None = None,
) -> LoggedValues:
    """The values of `names` (none: of all features), as `dataframe` has them, without pandas.

    Raises:
        UnknownFeature: a name was never logged, and no file logs it.
        UsageError: there is no such level, or no such word for `pickles`.
    """
    from flor_ray.store import pivots

    if level is not None and level not in pivots.LEVELS:
        raise UsageError(f"level={level!r}: give 'd' (outside the main loop), 'o' (in it) or 'i' (in the nested loop).")
    project = Project.open(path, store_url)
    experiments = project.experiments()
    logged = project.store.logged(project.name, names or None, [experiment.version for experiment in experiments])
    if unknown := [name for name in names if name not in logged.names]:
        _expect_in_code(project, unknown, experiments, logged.names)
    allowed = project.pickles if pickles is None else pickles
    found = pivots.pivot(project.store, project.name, names, experiments, logged.rows, level=level, pickles=allowed)
    return LoggedValues(found, *_judged(logged.reports, names)) if logged.reports else LoggedValues(found, {}, {})


def dataframe(
    *names: str,
    path: str = ".",
    store_url: str | None = None,
    level: str | None = None,
    pickles: str | None = None,
) -> pd.DataFrame:
    """Logged values as a pandas DataFrame, recorded and replayed ones alike; what is missing is NaN.

    One row per version, per (version, epoch) or per (version, epoch, step): the finest level at which any of `names`
    was logged; coarser values repeat. No names: all features. Where a version logged one name at several levels, its
    column has the finest, and there are columns such as `loss_o` (in the main loop) and `loss_d` (outside of it) for
    the others. `level="d"`, "o" or "i" gives the rows and the values of that level; of names that were logged at
    coarser levels only, those, repeated as ever. Values that a replay could not confirm (it computed a
    recorded value differently) come with a FlorWarning, and their versions are in `df.attrs["diverged"]`. So do those
    that depend on what no checkpoint can hold, such as a socket, and that no recorded value confirms;
    `df.attrs["doubtful"]` has them by version.
    `df.attrs["fidelity"]` says of each replayed version: verdict (exact, within tolerance, diverged or unverified),
    compared (recorded values and states that were computed again), and, if they differ, cause and the first mismatch.

    A value that only pickles is shown as `<not loaded: type ...>`, since to load a pickle is to run what it says. Its
    `data` are the bytes, and `load()` answers the object. `pickles="allow"` loads them all, and so do
    `pickles: allow` in flor.yaml and FLOR_PICKLES=allow in the environment: for stores whose writers you trust.

    Raises:
        UnknownFeature: a name was never logged, and no file logs it.
        UsageError: there is no such level, or `pickles` is neither "allow" nor "refuse".
    """
    from flor_ray.store import data_frames

    found = answer(names, path, store_url, level, pickles)
    judgements, doubtful = found.judgements, found.doubtful
    result = data_frames.of(found.pivot)
    result.attrs["fidelity"] = {version: judgement.plain for version, judgement in sorted(judgements.items())}
    result.attrs["diverged"] = sorted(v for v, one in judgements.items() if one.verdict is Fidelity.DIVERGED)
    result.attrs["doubtful"] = {version: sorted(doubts) for version, doubts in sorted(doubtful.items())}
    for sentence in found.sentences:
        warnings.warn(sentence, FlorWarning, stacklevel=2)
    return result


def _expect_in_code(
    project: Project, unknown: Sequence[str], experiments: Sequence[Experiment], recorded: frozenset[str]
) -> None:
    """Raise UnknownFeature for a name that no file logs: not one of the working tree, nor one of any version."""
    from flor_ray.patching import donors, statements

    working = statements.working_texts(project)
    in_code = donors.features(working)
    for experiment in reversed(experiments):
        if all(name in in_code for name in unknown):
            break
        in_code |= donors.features(statements.python_texts(project, [experiment])[experiment.version])
    for name in unknown:
        if name not in in_code:
            raise UnknownFeature(name, recorded | in_code, donors.unclear(working))


def _judged(
    reports: Sequence[KeptReport], names: Sequence[str]
) -> tuple[dict[str, Judgement], dict[str, dict[str, str]]]:
    """By version, from the newest replays of `names`: whether they computed what was recorded, and the features that
    depend on what no checkpoint could keep."""
    from flor_ray.replaying.results import judged

    newest: dict[tuple[str, str, str], SegmentReport] = {}
    for kept in sorted(reports, key=lambda kept: kept.origin):
        segment = kept.report.segment
        for name in segment.names:
            if not names or name in names:
                newest[segment.version, name, kept.segment_id] = kept.report
    each = [_of_these(names, report) for report in {id(report): report for report in newest.values()}.values()]
    doubtful: dict[str, dict[str, str]] = {}
    for report in each:
        doubtful.setdefault(report.segment.version, {}).update(report.doubtful)
    return judged(each), {v: doubts for v, doubts in doubtful.items() if doubts}


def _of_these(names: Sequence[str], report: SegmentReport) -> SegmentReport:
    """A report without what it says of features other than `names`; no names: all of it."""
    if not names:
        return report
    doubtful = {name: variable for name, variable in report.doubtful.items() if name in names}
    return replace(report, doubtful=doubtful, measured=tuple(name for name in report.measured if name in names))
