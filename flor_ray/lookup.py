"""What is there already: logged values as a table. Nothing is planned or run here, and nothing is imported for that."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from flor_ray.errors import FlorWarning, UnknownFeature, UsageError
from flor_ray.records import Experiment, Fidelity, SegmentReport
from flor_ray.store.project import Project

if TYPE_CHECKING:
    import pandas as pd

    from flor_ray.replaying.results import Judgement
    from flor_ray.reports.curve_charts import Chart
    from flor_ray.store.pivoting.pivots import Pivot
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
        return sentences(self.judgements, self.doubtful)


def sentences(judgements: Mapping[str, Judgement], doubtful: Mapping[str, Mapping[str, str]]) -> list[str]:
    """Why values that were replayed may not be those of the original run; both are by version."""
    if not judgements:
        return []
    from flor_ray.reports import replays as reports

    each = [(v, s) for v, one in sorted(judgements.items()) for s in reports.describe_judgement(one)]
    said = [f"version {version[:8]}: {sentence}" for version, sentence in each]
    return said + reports.describe_doubts(sorted(doubtful.items()))


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
    from flor_ray.store.pivoting import pivots

    project, experiments = _asked(path, store_url, level)
    logged = pivots.read(project.store, project.name, names, experiments)
    if unknown := [name for name in names if name not in logged.names]:
        _expect_in_code(project, unknown, experiments, logged.names)
    allowed = project.pickles if pickles is None else pickles
    found = pivots.pivot(project.store, project.name, names, experiments, logged.logs, level=level, pickles=allowed)
    judged = judged_by_version(logged.reports, names) if logged.reports else ({}, {})
    return LoggedValues(found, *judged)


def _asked(path: str, store_url: str | None, level: str | None) -> tuple[Project, Sequence[Experiment]]:
    from flor_ray.store.pivoting import pivots

    if level is not None and level not in pivots.LEVELS:
        raise UsageError(f"level={level!r}: give 'd' (outside the main loop), 'o' (in it) or 'i' (in the nested loop).")
    project = Project.open(path, store_url)
    return project, project.experiments()


def dataframe(
    *names: str,
    path: str = ".",
    store_url: str | None = None,
    level: str | None = None,
    pickles: str | None = None,
    index: bool = False,
    ranks: str = "first",
) -> pd.DataFrame:
    """Logged values as a pandas DataFrame, recorded and replayed ones alike; what is missing is NaN.

    One row per version, per (version, epoch) or per (version, epoch, step): the finest level at which any of `names`
    was logged; coarser values repeat. No names: all features. Where a version logged one name at several levels, its
    column has the finest, and there are columns such as `loss_o` (in the main loop) and `loss_d` (outside of it) for
    the others. `level="d"`, "o" or "i" gives the rows and the values of that level; of names that were logged at
    coarser levels only, those, repeated as ever. `index=True` makes version, epoch, step and iteration, as far as there
    are such columns, the rows' index. All rows that there are come, as they were logged: none is left out or averaged.

    Columns are int64 (Int64 where some are missing), float64, bool or boolean, str, or, of other and of mixed values,
    object; `timestamp`, when the run started, is in UTC.

    Values that a replay could not confirm (it computed a
    recorded value differently) come with a FlorWarning, and their versions are in `df.attrs["diverged"]`. So do those
    that depend on what no checkpoint can hold, such as a socket, and that no recorded value confirms;
    `df.attrs["doubtful"]` has them by version.
    `df.attrs["fidelity"]` says of each replayed version: verdict (exact, within tolerance, diverged, unverified, or
    adopted of a run from before flor_ray), compared (recorded values and states that were computed again), and, if they
    differ, cause and the first mismatch.
    `df.attrs["provenance"]` says which values were replayed: by name, then by replay, then by version, their epochs
    (None: outside the main loop). All others were recorded.

    `ranks="all"` has a column `rank`, and after the rows of each version's first rank those of the others, as far as
    they were replayed: while a run of several processes is recorded, only the first one's values are.

    A value that only pickles is shown as `<not loaded: type ...>`, since to load a pickle is to run what it says. Its
    `data` are the bytes, and `load()` answers the object. `pickles="allow"` loads them all, and so do
    `pickles: allow` in flor.yaml and FLOR_PICKLES=allow in the environment: for stores whose writers you trust.

    Raises:
        UnknownFeature: a name was never logged, and no file logs it.
        UsageError: there is no such level, `pickles` is neither "allow" nor "refuse", or `ranks` neither "first" nor
            "all".
    """
    if ranks not in ("first", "all"):
        raise UsageError(f"ranks={ranks!r}: give 'first' (those of each run's first process) or 'all'.")
    found = answer(names, path, store_url, level, pickles)
    result = _framed(found, index and ranks == "first")
    if ranks == "all":
        from flor_ray.store.pivoting import rank_frames

        project = Project.open(path, store_url)
        allowed = project.pickles if pickles is None else pickles
        result = rank_frames.with_ranks(result, project.store, project.experiments(), names, level, allowed, index)
    for sentence in found.sentences:
        warnings.warn(sentence, FlorWarning, stacklevel=2)
    return _marked(result)


def _marked(frame: pd.DataFrame) -> pd.DataFrame:
    """A DataFrame as it is; a notebook shows it with what its `attrs` say."""
    if "IPython" not in sys.modules:
        return frame
    from flor_ray.reports import notebooks

    return notebooks.with_marks(frame)


def versions(path: str = ".", store_url: str | None = None) -> pd.DataFrame:
    """Recorded versions, oldest first: version, run, timestamp (in UTC), script, status, epochs, seconds, args (a dict)
    and error."""
    import pandas as pd

    listed = Project.open(path, store_url).listed_runs()
    rows = [
        (
            run.version,
            run.run,
            pd.Timestamp(run.started, unit="s", tz="UTC"),
            run.script,
            run.status.value,
            run.epochs,
            None if run.ended is None else run.ended - run.started,
            run.args,
            run.error,
        )
        for run in listed
    ]
    columns = ["version", "run", "timestamp", "script", "status", "epochs", "seconds", "args", "error"]
    frame = pd.DataFrame(rows, columns=columns).astype({"seconds": "float64"})
    frame.attrs["flor"] = "versions"
    return _marked(frame)


def plot(
    *names: str,
    by: str | None = None,
    x: str | None = None,
    log: bool = False,
    file: str | None = None,
    path: str = ".",
    store_url: str | None = None,
) -> Chart:
    """Curves of features over epochs or steps, one for each run.

    A notebook draws the chart, without a network and also when it is opened again: drag to zoom, click twice to see all
    again. All values are drawn, and where there is none, or none that is finite, there is a gap.

    Args:
        names: features that have values in epochs or steps.
        by: an argument, or another feature with one value in a run: runs with the same value have one colour, and
            where there are several of them, their mean is drawn as well.
        x: "epoch" or "step"; None: the finer of those that the features have.
        log: the values' axis is logarithmic.
        file: a picture to write, such as "loss.png" or "loss.svg"; matplotlib draws it.

    Raises:
        UsageError: no version has numbers to draw, or matplotlib is needed and not installed.
        UnknownFeature: a name was never logged, and no file logs it.
    """
    from flor_ray.reports import curve_charts

    if not names:
        raise UsageError('Name at least one feature, as in flor.plot("loss").')
    wanted = dict.fromkeys([*names, by] if by is not None else names)
    chart = curve_charts.of(dataframe(*wanted, path=path, store_url=store_url), names, by, x, log)
    if file is not None:
        chart.save(file)
    return chart


def dataframes(
    *names: str,
    path: str = ".",
    store_url: str | None = None,
    level: str | None = None,
    pickles: str | None = None,
    index: bool = False,
) -> Iterator[pd.DataFrame]:
    """The rows of `dataframe` in pieces, for more of them than fit into memory: an iterator of DataFrames.

    Each has the rows of some versions, oldest first, about half a million logged values, or those of one version. All
    have the same columns: `iteration` always, and integers are Int64 whether some are missing or not. The types are the
    same, too, but where an integer beyond 2^53 would not survive beside floats: there they are objects. What `attrs`
    say, and warnings, are of the versions of a piece. Arguments and errors are those of `dataframe`.

    Example::

        means = {df["version"].iloc[0]: df["loss"].mean() for df in flor.dataframes("loss")}
    """
    project, experiments = _asked(path, store_url, level)
    if unknown := set(names) - project.store.names(project.name) if names else ():
        _expect_in_code(project, sorted(unknown), experiments, project.store.names(project.name))
    return _pieces(project, names, experiments, level, project.pickles if pickles is None else pickles, index)


def _pieces(
    project: Project,
    names: Sequence[str],
    experiments: Sequence[Experiment],
    level: str | None,
    pickles: str | None,
    index: bool,
) -> Iterator[pd.DataFrame]:
    from flor_ray.store.pivoting import pivots

    for pivot, reports in pivots.in_pieces(project.store, project.name, names, experiments, level, pickles):
        found = LoggedValues(pivot, *judged_by_version(reports, names))
        for sentence in found.sentences:
            warnings.warn(sentence, FlorWarning, stacklevel=2)
        yield _framed(found, index)


def _framed(found: LoggedValues, index: bool) -> pd.DataFrame:
    """As a DataFrame, with all that its reader must know in `attrs`."""
    from flor_ray.store.pivoting import data_frames

    judgements, doubtful = found.judgements, found.doubtful
    result = data_frames.of(found.pivot, index)
    result.attrs["fidelity"] = {version: judgement.plain for version, judgement in sorted(judgements.items())}
    result.attrs["diverged"] = sorted(v for v, one in judgements.items() if one.verdict is Fidelity.DIVERGED)
    result.attrs["doubtful"] = {version: sorted(doubts) for version, doubts in sorted(doubtful.items())}
    result.attrs["provenance"] = data_frames.provenance(found.pivot)
    return result


class epochs:
    """Epochs that stand out, one of each version: a table with version, run, timestamp and epoch.

    `epoch.merge(flor.dataframe("loss"))` has their values, and in SQL the macros `peak` and `final` are the same.
    """

    @staticmethod
    def peak(feature: str, path: str = ".", store_url: str | None = None) -> pd.DataFrame:
        """Where a feature was greatest in each version, or, for "-loss", least: the first of several such epochs.

        Versions without a value of it in an epoch are left out.

        Raises:
            UsageError: no version has values of the feature, or they are not numbers, or logged outside of the loop.

        Warns:
            FlorWarning: values that a replay could not confirm decide about it.
        """
        from flor_ray.planning import peaks, terms

        project = Project.open(path, store_url)
        experiments = project.experiments()
        first = terms.parse_first(f"peak:{feature}")
        found = peaks.peak_epochs(project, first)
        names = [peak.feature for peak in first.peaks]
        logged = project.store.logged(project.name, names, sorted(found))
        for sentence in sentences(*judged_by_version(logged.reports, names)):
            warnings.warn(sentence, FlorWarning, stacklevel=2)
        return _at_epochs(experiments, {version: min(found_epochs) for version, found_epochs in found.items()})

    @staticmethod
    def end(path: str = ".", store_url: str | None = None) -> pd.DataFrame:
        """The last epoch of each version that has come to the end of one."""
        experiments = Project.open(path, store_url).experiments()
        return _at_epochs(experiments, {e.version: e.epochs for e in experiments if e.epochs})


def _at_epochs(experiments: Sequence[Experiment], chosen: Mapping[str, int]) -> pd.DataFrame:
    import pandas as pd

    rows = [
        (e.version, e.run, pd.Timestamp(e.started, unit="s", tz="UTC"), chosen[e.version])
        for e in experiments
        if e.version in chosen
    ]
    return pd.DataFrame(rows, columns=["version", "run", "timestamp", "epoch"])


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


def judged_by_version(
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
