"""What becomes of a replayed segment: its values are compared with the record, the new ones written, and a report kept.

The report lies beside the rows, in the same file, so both become visible together. Readers learn from it which epochs
were answered (also where a statement logged nothing) and whether what was recomputed was what had been recorded.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from types import MappingProxyType

from flor_ray.analysis import chance, clocks
from flor_ray.analysis.orders import orders
from flor_ray.environment import file_states, hardware, inputs, surroundings
from flor_ray.records import (
    ADOPTED,
    Checkpoint,
    Experiment,
    Fidelity,
    LogRecord,
    Mismatch,
    Operator,
    Segment,
    SegmentReport,
    Variant,
    WrittenFile,
)
from flor_ray.replaying import causes
from flor_ray.replaying.causes import Evidence
from flor_ray.replaying.fidelity import Comparison, RecordedValues, compare, judge
from flor_ray.store import ranks
from flor_ray.store.store import Store

NO_EVIDENCE = Evidence()


@dataclass(frozen=True, slots=True)
class SegmentResult:
    """What a replay process says of one segment: everything that it logged, wanted or not."""

    segment: Segment
    records: tuple[LogRecord, ...]  # values are schema.Value
    setup_seconds: float  # process start to main loop, 0 if an earlier segment has paid it
    run_seconds: float
    warnings: tuple[str, ...] = ()
    exhausted: bool = False  # the process ends with this segment
    goes_on: bool = False  # it is a part, and the process is at the rest of the segment
    states_compared: int = 0  # recorded states that the replay came to and that were compared with its own
    state_mismatch: Mismatch | None = None  # where the first of them differed
    hardware: Mapping[str, object] = field(default_factory=dict)  # on which the process ran: `hardware.here`
    kind: str = ""  # of the worker, and the next four are as in the report
    start_seconds: float = 0.0
    read_seconds: float = 0.0
    read_bytes: int = 0
    further_back: bool = False
    cache_hits: int = 0  # of its own process, and of its worker since the segment began
    others: Mapping[int, tuple[LogRecord, ...]] = field(default_factory=dict)  # by rank, what the other ranks logged


@dataclass(frozen=True, slots=True)
class Judged:
    """What will be written of a segment, or of a part of one."""

    report: SegmentReport
    rows: tuple[LogRecord, ...]
    in_doubt: bool  # rows depend on what no checkpoint could keep, and nothing here confirms them
    others: Mapping[int, tuple[LogRecord, ...]] = field(default_factory=dict)  # rows of other ranks


def write(
    store: Store,
    experiment: Experiment,
    origin: str,
    recorded: RecordedValues,
    result: SegmentResult,
    doubtful: Mapping[str, str] = MappingProxyType({}),
    evidence: Evidence = NO_EVIDENCE,
) -> SegmentReport:
    """Compare what was recorded, write what was not, and say how it went. Doing it twice has the effect of once.

    `doubtful` are as in `judge_result`.
    """
    started = time.perf_counter()
    judged = judge_result(recorded, result, doubtful, evidence)
    report = replace(judged.report, run_seconds=result.run_seconds + time.perf_counter() - started)
    return keep(store, experiment, origin, replace(judged, report=report))


def keep(store: Store, experiment: Experiment, origin: str, judged: Judged) -> SegmentReport:
    """Write what was judged. Doing it twice has the effect of once."""
    segment = judged.report.segment
    names = segment.names or tuple(sorted({row.name for row in judged.rows}))
    kept = replace(judged.report, segment=replace(segment, names=names))
    for rank, rows in judged.others.items():  # before rank 0's, which say that the segment is answered
        place = ranks.place(experiment.project, experiment.version, rank)
        store.write_replay(*place, origin, segment.id, rows, replace(kept, rows=len(rows)))
    store.write_replay(experiment.project, experiment.version, origin, segment.id, judged.rows, kept)
    return judged.report


def judge_result(
    recorded: RecordedValues,
    result: SegmentResult,
    doubtful: Mapping[str, str] = MappingProxyType({}),
    evidence: Evidence = NO_EVIDENCE,
    whole: Segment | None = None,
) -> Judged:
    """What there is to write of a result, compared with what was recorded. `whole`: that of which it is a part.

    `doubtful` are the features that depend on an object which no checkpoint could keep, with that object: where the
    segment ran from the script's beginning and nothing that it computed again confirms it, its report marks them. So it
    does with what each start of a script draws anew, such as the name of a temporary folder.
    """
    segment = result.segment
    whole = whole or segment
    elsewhere = _is_elsewhere(evidence.environment, result.hardware)
    comparison = compare(recorded, result.records, evidence.clocked, elsewhere)
    changed = bool(evidence.changes or evidence.rewritten)
    verdict = judge(comparison, result.states_compared, result.state_mismatch, elsewhere, inputs_changed=changed)
    if verdict is Fidelity.UNVERIFIED and ADOPTED in evidence.environment:
        verdict = Fidelity.ADOPTED
    mismatch, cause = _explained(comparison, result, evidence, whole)
    rows = tuple(record for record in result.records if _wanted(segment, record) and not recorded.has(record))
    in_doubt = _ran_from_the_start(whole) and verdict is Fidelity.UNVERIFIED
    drawn = evidence.drawn if _draws_anew(whole) else evidence.unkept
    doubts = dict(drawn) | dict(doubtful if in_doubt else {})
    lacking = sorted({row.name for row in rows} & doubts.keys())
    report = SegmentReport(
        segment=segment,
        rows=len(rows),
        setup_seconds=result.setup_seconds,
        run_seconds=result.run_seconds,
        compared=comparison.compared,
        states_compared=result.states_compared,
        mismatch=mismatch,
        warnings=result.warnings,
        doubtful={name: doubts[name] for name in lacking},
        verdict=verdict,
        exact=comparison.exact,
        clocked=comparison.clocked,
        measured=tuple(sorted({row.name for row in rows} & evidence.clocked)),
        cause=cause,
        kind=result.kind,
        start_seconds=result.start_seconds,
        read_seconds=result.read_seconds,
        read_bytes=result.read_bytes,
        further_back=result.further_back,
        cache_hits=result.cache_hits,
    )
    others = {rank: tuple(one for one in of if _wanted(segment, one)) for rank, of in result.others.items()}
    return Judged(report, rows, bool(lacking), others)


def joined(first: SegmentResult, second: SegmentResult) -> SegmentResult:
    """Two parts of a segment, of which the second follows the first, as one."""
    return replace(
        second,
        segment=replace(first.segment, last=second.segment.last),
        records=first.records + second.records,
        setup_seconds=first.setup_seconds + second.setup_seconds,
        run_seconds=first.run_seconds + second.run_seconds,
        warnings=tuple(dict.fromkeys(first.warnings + second.warnings)),
        states_compared=first.states_compared + second.states_compared,
        state_mismatch=first.state_mismatch or second.state_mismatch,
        start_seconds=first.start_seconds + second.start_seconds,
        read_seconds=first.read_seconds + second.read_seconds,
        read_bytes=first.read_bytes + second.read_bytes,
        further_back=first.further_back or second.further_back,
        cache_hits=first.cache_hits + second.cache_hits,
        others={rank: first.others.get(rank, ()) + rows for rank, rows in second.others.items()},
    )


def evidence(
    experiment: Experiment,
    checkpoints: Iterable[Checkpoint],
    texts: Mapping[str, str],
    root: str,
    files: Sequence[WrittenFile] = (),
    laid: bool = True,
    changes: Sequence[inputs.Change] | None = None,
) -> Evidence:
    """What is known of a version when its replays are judged. `changes` are those of its input files; None: look at
    these, below `root` or absolute.

    `texts` are those of its Python files by path, with the statements that were added; `files` what the run wrote, and
    `laid` whether a replay has these as they were.
    """
    lost = file_states.lost_at(files) if laid else file_states.written_and_read(files)
    if changes is None:
        changes = inputs.Comparer(root).changes(experiment.environment)
    script = texts.get(experiment.script, "")
    imported = causes.imported_modules(script)
    modules = {p: text for p, text in sorted(texts.items()) if p != experiment.script and _stem(p) in imported}
    everything = (script, *modules.values())
    drawn = {name: by for text in everything for name, by in chance.features_drawn(text).items()}
    unkept = {name: by for text in everything for name, by in orders(text).features.items()}
    if not surroundings.has_hash_seed(experiment.environment):
        unkept = {name: f"{by} (PYTHONHASHSEED was not set)" for name, by in unkept.items()}
        drawn |= {name: by for text in everything for name, by in orders(text).derived.items()} | unkept
    called = {name: by for text in everything for name, by in chance.features_called(text).items()}
    return Evidence(
        changes=tuple(str(change) for change in changes if change.surely),
        rewritten=(*inputs.rewritten(experiment.environment), *lost),
        uncaptured=frozenset().union(*(c.uncaptured for c in checkpoints)),
        clocked=frozenset().union(*map(clocks.features_that_measure, (script, *modules.values()))),
        drawn=drawn | called,
        unkept=unkept | called,
        environment=experiment.environment,
        script=script,
        modules=modules,
    )


def _ran_from_the_start(segment: Segment) -> bool:
    """Whether epochs ran without a checkpoint's state."""
    from_start = segment.operator is Operator.DP_I and segment.restore is None and segment.variant is not Variant.END
    return from_start or segment.operator is Operator.DP_STAR


def _draws_anew(segment: Segment) -> bool:
    """Whether no checkpoint brought back what the run had drawn when it began."""
    return segment.restore is None and segment.variant is not Variant.END


def _stem(path: str) -> str:
    parts = path.removesuffix(".py").removesuffix("/__init__").split("/")
    return parts[-1]


def _is_elsewhere(recorded: Mapping[str, object], now: Mapping[str, object]) -> bool:
    """Whether equal results cannot be expected bit for bit."""
    return bool(hardware.differences(recorded, now) or hardware.library_differences(recorded, now))


def _explained(
    comparison: Comparison, result: SegmentResult, evidence: Evidence, whole: Segment
) -> tuple[Mismatch | None, str | None]:
    """The first mismatch of a segment, of values before states, and the cause of what is not as recorded."""
    state = None if result.state_mismatch is None else replace(result.state_mismatch, of_state=True)
    mismatch = comparison.mismatch or state
    if mismatch is None:
        return None, causes.some(evidence.changes) or causes.written_and_read(evidence) or None
    restored = whole.restore is not None or whole.variant is Variant.END
    cause = causes.likely_cause(evidence, mismatch, result.hardware, restored, state, result.warnings)
    return mismatch, cause


def _wanted(segment: Segment, record: LogRecord) -> bool:
    if segment.names and record.name not in segment.names:
        return False
    if segment.operator is Operator.DP_I:
        return record.epoch is not None and segment.first <= record.epoch <= segment.last
    return segment.operator is Operator.DP_STAR or record.epoch is None


@dataclass(frozen=True, slots=True)
class Judgement:
    """What the replays of one version have shown, all together."""

    verdict: Fidelity = Fidelity.UNVERIFIED
    compared: int = 0  # recorded values and states that were computed again
    cause: str | None = None
    mismatch: Mismatch | None = None  # the first
    measured: tuple[str, ...] = ()  # wanted features that measure the clock

    @property
    def plain(self) -> dict[str, object]:
        """What `attrs["fidelity"]` of a DataFrame says of the version: dicts, strings and numbers only."""
        mismatch = None if self.mismatch is None else asdict(self.mismatch)
        return {"verdict": self.verdict.value, "compared": self.compared, "cause": self.cause, "mismatch": mismatch}


def judged(reports: Iterable[SegmentReport]) -> dict[str, Judgement]:
    """By version, what segments' reports say together; the worst counts."""
    found: dict[str, Judgement] = {}
    for report in reports:
        version, one = report.segment.version, judgement(report)
        found[version] = _together(found[version], one) if version in found else one
    return found


def judgement(report: SegmentReport) -> Judgement:
    """What one segment's report says of its version."""
    compared = report.compared + report.states_compared
    return Judgement(report.verdict, compared, report.cause, report.mismatch, report.measured)


def _together(first: Judgement, second: Judgement) -> Judgement:
    worse = first if _badness(first) >= _badness(second) else second
    measured = tuple(sorted({*first.measured, *second.measured}))
    return replace(worse, compared=first.compared + second.compared, measured=measured)


def _badness(judgement: Judgement) -> int:
    """A segment that computed nothing again says nothing about others, unless an input file is not what it was."""
    if judgement.verdict is Fidelity.UNVERIFIED:
        return 0 if judgement.cause is None else 3
    ranks = {Fidelity.EXACT: 1, Fidelity.WITHIN_TOLERANCE: 2, Fidelity.ADOPTED: 3}
    return ranks.get(judgement.verdict, 4)


def origin_id(now: float, token: str) -> str:
    """Id of a replay. Ids sort by time (unix seconds), so that a later replay supersedes an earlier one."""
    stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime(now)) + f".{int(now % 1 * 1_000_000):06d}Z"
    return f"replay-{stamp}-{token}"
