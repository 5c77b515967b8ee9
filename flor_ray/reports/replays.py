"""What is told to people of replays: doubts and refusals, the summary, the problems. Values in, text out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from flor_ray.records import Checkpoint, EpochTimes, Experiment, Fidelity, Mismatch, Outcome, Point, SegmentReport, Skip
from flor_ray.replaying import causes
from flor_ray.replaying.results import Judgement, judged
from flor_ray.reports import data_files
from flor_ray.reports.text_tables import render
from flor_ray.wording import duration, some_versions, span

if TYPE_CHECKING:
    import pandas as pd

    from flor_ray.patching.patching import Finding
    from flor_ray.planning.replay_plan import Prepared

_MAX_DECISIONS = 24  # rows; in longer runs the first and the last ones tell enough


def pin_hint(name: str, version: str, guess: int | None = None, has_file: bool = True) -> str:
    """Where to look at a place that is doubtful or refused, and how to decide by hand."""
    command, short = f"flor-ray propagate {name}", version[:8]
    see, pin = f"See {command} --versions {short} --diff", f"pin the place with {command} --version {short}"
    if guess is not None:
        return f"{see}, or {pin} --line {guess} (it goes after that line of the version's file)."
    more = "--line" if has_file else "--file and --line"
    what = "the line of the version's file" if has_file else "the file of the version and the line in it"
    return f"{see}, or {pin} and {more}: {what} that it goes after."


def refusals(prepared: Prepared) -> list[tuple[str, str, str]]:
    """Versions in words, name and reason; what was refused in several versions for one reason is said once."""
    groups: dict[tuple[str, str], list[str]] = {}
    for version, name, reason in prepared.refusals:
        groups.setdefault((name, reason), []).append(version)
    return [(some_versions(versions), name, reason) for (name, reason), versions in groups.items()]


def _in_doubt(prepared: Prepared) -> list[tuple[str, Finding]]:
    """Statements that will be replayed although their place is not beyond doubt."""
    planned = prepared.versions
    pairs = [(v, f) for v, patched in prepared.patched.items() if v in planned for f in patched.findings]
    return [(version, finding) for version, finding in pairs if finding.is_doubtful]


def doubtful_places(prepared: Prepared) -> list[str]:
    """Sentences on statements that will be replayed although their place is not beyond doubt."""
    groups: dict[tuple[str, float, str], list[str]] = {}
    for version, finding in _in_doubt(prepared):
        groups.setdefault((finding.name, finding.confidence, finding.why), []).append(version)
    return [
        f"{some_versions(versions)}: {name} was placed with a confidence of {confidence:.2f} ({why})"
        for (name, confidence, why), versions in groups.items()
    ]


def hints(prepared: Prepared) -> list[str]:
    """One for each name that was refused, or whose place is in doubt."""
    refused = {(version, name) for version, name, _ in prepared.refusals if name in prepared.patched[version].refused}
    pairs = [(v, f) for v, patched in prepared.patched.items() for f in patched.findings if (v, f.name) in refused]
    found: dict[str, str] = {}
    for version, f in sorted([*pairs, *_in_doubt(prepared)], key=lambda pair: pair[1].path is None):
        found.setdefault(f.name, pin_hint(f.name, version, f.best_guess or f.after, f.path is not None))
    return list(found.values())


def checkpointing(
    experiment: Experiment, checkpoints: Sequence[Checkpoint], skips: Sequence[Skip], epochs: Sequence[EpochTimes]
) -> str:
    """What one run's checkpoints cost, and what was decided after each epoch and why."""
    head = f"version {experiment.version[:8]}{f' ({experiment.run})' if experiment.run else ''}: "
    if not checkpoints:
        return head + "no checkpoints; replays run from the start."
    taken = sorted({c.epoch for c in checkpoints})
    stalled, background = sum(c.seconds for c in checkpoints), sum(c.background_seconds for c in checkpoints)
    largest = max(c.bytes for c in checkpoints)
    computed = sum(times.seconds for times in epochs)
    share = f", {(stalled + background) / computed:.1%} of the {duration(computed)} of its epochs" if computed else ""
    lines = [
        f"{head}checkpoints after {len(taken)} of {experiment.epochs + 1} epochs (with 0, the loop's entry), of up to "
        f"{largest / 1e6:.1f} MB. They held the script up for {duration(stalled)} and were written with "
        f"{duration(background)} of processor time{share}."
    ]
    decided = [(c.epoch, "checkpoint", c.why) for c in checkpoints if c.point is Point.EPOCH_END]
    decided += [(s.epoch, "none", s.why) for s in skips]
    rows: list[list[str]] = []
    for (first, *_), (last, what, why) in _runs_of_decisions(sorted(decided)):
        rows.append([str(first) if first == last else f"{first}-{last}", what, why])
    if len(rows) > _MAX_DECISIONS:
        rows = [rows[0], ["...", "", ""], *rows[2 - _MAX_DECISIONS :]]
    return "\n".join([*lines, render(["epochs", "decision", "why (of the last of them)"], rows)])


_Decided = tuple[int, str, str]  # epoch, what, why


def _runs_of_decisions(decided: Sequence[_Decided]) -> list[tuple[_Decided, _Decided]]:
    """First and last of each run of equal decisions."""
    runs: list[tuple[_Decided, _Decided]] = []
    for one in decided:
        if runs and runs[-1][1][1] == one[1]:
            runs[-1] = runs[-1][0], one
        else:
            runs.append((one, one))
    return runs


def problems(prepared: Prepared, outcome: Outcome) -> list[str]:
    """Sentences for everything that a user must know about a replay: one per problem, and version where they differ."""
    found = [f"{versions}: {name} was not replayed: {reason}" for versions, name, reason in refusals(prepared)]
    found += [*doubtful_places(prepared), *hints(prepared)]
    found += [f"version {skipped.version[:8]}: {skipped.reason}" for skipped in prepared.skipped]
    failures = [(segment, error) for segment, error in outcome.failures if segment not in outcome.lacking]
    found += [f"version {segment.version[:8]}, {span(segment)}: {error}" for segment, error in failures]
    found += data_files.nowhere(outcome.lacking)
    found += outcome.notes
    for report in outcome.all_reports:
        version = f"version {report.segment.version[:8]}: "
        found += [version + warning for warning in report.warnings]
    found += describe_doubts((report.segment.version, report.doubtful) for report in outcome.all_reports)
    for judged_version, judgement in judged(outcome.all_reports).items():
        found += [f"version {judged_version[:8]}: {sentence}" for sentence in describe_judgement(judgement)]
    return list(dict.fromkeys(found))


def summary(prepared: Prepared, outcome: Outcome) -> pd.DataFrame:
    """One row per version that was to be replayed, in the order in which they were recorded. What other replays have
    answered of it at the same time counts, too."""
    import pandas as pd

    failed = {segment.version for segment, _ in outcome.failures}
    judgements = judged(outcome.all_reports)
    replayed = {cost.segment.version for cost in prepared.costs}
    rows = []
    for version, experiment in prepared.experiments.items():
        if version not in prepared.versions:
            continue
        done = [report for report in outcome.all_reports if report.segment.version == version]
        seconds = sum(report.setup_seconds + report.run_seconds for report in done)
        judgement = judgements.get(version, Judgement())
        diverged = judgement.verdict is Fidelity.DIVERGED
        done_how = "replayed" if version in replayed else "known"
        state = "failed" if version in failed else "diverged" if diverged else done_how
        started = pd.Timestamp(experiment.started, unit="s", tz="UTC")
        count = sum(report.rows for report in done)
        verdict = judgement.verdict.value if done else ""
        place = (experiment.project, experiment.run, started, version)
        rows.append((*place, seconds, count, judgement.compared, verdict, state))
    columns = ["project", "run", "timestamp", "version", "seconds", "rows", "compared", "fidelity", "outcome"]
    return pd.DataFrame(rows, columns=columns)


def describe_doubts(doubtful: Iterable[tuple[str, Mapping[str, str]]]) -> list[str]:
    """What the reader must know of features that depend on what no checkpoint could keep: a sentence for each object of
    which that is. Given are versions, with their features and these objects."""
    features: dict[str, set[str]] = {}
    versions: dict[str, dict[str, None]] = {}
    for version, found in doubtful:
        for feature, variable in found.items():
            features.setdefault(variable, set()).add(feature)
            versions.setdefault(variable, {})[version] = None
    return [
        f"{some_versions([*versions[variable]])}: {causes.some(sorted(names))} depend{'s' * (len(names) == 1)} on "
        f"{variable!r}, which no checkpoint can hold, and nothing that was recorded confirms what the replay made of "
        f"it: log a value that comes from {variable!r} in training, and replays are compared with that"
        for variable, names in sorted(features.items())
    ]


_MAY_DIFFER = "replayed values of this version may not be those of the original run"


def describe_judgement(judgement: Judgement) -> list[str]:
    """What the reader of a version's replayed values must know; nothing if they are as they were recorded."""
    found = [
        f"{name} depends on the clock: it was measured while replaying, not when recorded"
        for name in judgement.measured
    ]
    if judgement.verdict is Fidelity.DIVERGED and judgement.mismatch is not None:
        found.append(describe_mismatch(judgement.mismatch, judgement.cause))
    elif judgement.verdict is Fidelity.UNVERIFIED and judgement.cause is not None:
        found.append(f"{judgement.cause} since it was recorded: {_MAY_DIFFER}")
    elif judgement.verdict is Fidelity.ADOPTED:
        found.append(
            "it was adopted: its values are what its code makes of its checkpoint files, and nothing was recorded with "
            "which they could be compared"
        )
    return found


def describe_mismatch(mismatch: Mismatch, cause: str | None = None) -> str:
    """What a mismatch means to the reader of a DataFrame."""
    recorded, replayed = mismatch.recorded, mismatch.replayed
    parts = [("epoch", mismatch.epoch), ("step", mismatch.step)]
    place = ", ".join(f"{part} {at}" for part, at in parts if at is not None)
    if mismatch.of_state:
        variable = causes.variable_in_words(mismatch.name)
        where = "the main loop's entry" if mismatch.epoch == 0 else place
        sentence = (
            f"the state{f' at {where}' if where else ''} is not the recorded one: {variable} differs "
            f"(recorded: {recorded}; replayed: {replayed})"
        )
    else:
        of = f" ({place})" if place else ""
        sentence = f"its replay computed {mismatch.name}{of} as {replayed}, but {recorded} was recorded"
    return f"{sentence}: {_MAY_DIFFER}{'' if cause is None else f'. Likely cause: {cause}'}"


def describe_comparison(report: SegmentReport) -> str:
    """The verdict on one segment, in a few words."""
    compared = f"{report.compared} recorded values"
    if report.states_compared:
        compared += f" and {report.states_compared} recorded state{'s' if report.states_compared > 1 else ''}"
    apart = f"; {report.clocked} more measure the clock" if report.clocked else ""
    if report.verdict is Fidelity.ADOPTED:
        return f"{report.verdict}: nothing was recorded with which it could be compared{apart}"
    if report.compared + report.states_compared == 0:
        return f"{report.verdict}: nothing that was recorded was computed again{apart}"
    return f"{report.verdict}: {compared} were computed again and compared{apart}"
