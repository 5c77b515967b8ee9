"""What becomes of a replayed segment: its values are compared with the record, the new ones written, and a report kept.

The report lies beside the rows, in the same file, so both become visible together. Readers learn from it which epochs
were answered (also where a statement logged nothing) and whether what was recomputed was what had been recorded.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from flor_ray.fidelity import RecordedValues, compare
from flor_ray.records import Experiment, LogRecord, Mismatch, Operator, Segment, SegmentReport
from flor_ray.store import Store


@dataclass(frozen=True, slots=True)
class SegmentResult:
    """What a replay process says of one segment: everything that it logged, wanted or not."""

    segment: Segment
    records: tuple[LogRecord, ...]  # values are schema.Value
    setup_seconds: float  # process start to main loop, 0 if an earlier segment has paid it
    run_seconds: float
    warnings: tuple[str, ...] = ()
    exhausted: bool = False  # the process ends with this segment


def write(
    store: Store,
    experiment: Experiment,
    origin: str,
    recorded: RecordedValues,
    result: SegmentResult,
    doubtful: Mapping[str, str] = MappingProxyType({}),
) -> SegmentReport:
    """Compare what was recorded, write what was not, and say how it went. Doing it twice has the effect of once.

    `doubtful` are the features that depend on a variable which no checkpoint could keep, with that variable: where the
    segment began at a checkpoint, its report marks them.
    """
    started = time.perf_counter()
    segment = result.segment
    compared, mismatch = compare(recorded, result.records)
    rows = [record for record in result.records if _wanted(segment, record) and not recorded.has(record)]
    report = SegmentReport(
        segment=segment,
        rows=len(rows),
        setup_seconds=result.setup_seconds,
        run_seconds=result.run_seconds + time.perf_counter() - started,
        compared=compared,
        mismatch=mismatch,
        warnings=result.warnings,
        doubtful={name: doubtful[name] for name in sorted({row.name for row in rows} & doubtful.keys())}
        if segment.operator is not Operator.DP_STAR
        else {},
    )
    names = segment.names or tuple(sorted({row.name for row in rows}))
    as_json = report_json(report) | {"names": list(names)}
    store.write_replay(experiment.project, experiment.version, origin, segment.id, rows, as_json)
    return report


def _wanted(segment: Segment, record: LogRecord) -> bool:
    if segment.names and record.name not in segment.names:
        return False
    if segment.operator is Operator.DP_I:
        return record.epoch is not None and segment.first <= record.epoch <= segment.last
    return segment.operator is Operator.DP_STAR or record.epoch is None


def report_json(report: SegmentReport) -> dict[str, object]:
    """A report in the form in which it is kept."""
    segment = report.segment
    return {
        "operator": segment.operator.value,
        "variant": segment.variant.value,
        "first": segment.first,
        "last": segment.last,
        "suffix": segment.suffix,
        "names": list(segment.names),
        "rows": report.rows,
        "setup_seconds": report.setup_seconds,
        "run_seconds": report.run_seconds,
        "compared": report.compared,
        "mismatch": None if report.mismatch is None else mismatch_json(report.mismatch),
        "warnings": list(report.warnings),
        "doubtful": dict(report.doubtful),
    }


def mismatch_json(mismatch: Mismatch) -> dict[str, object]:
    return {
        "name": mismatch.name,
        "epoch": mismatch.epoch,
        "step": mismatch.step,
        "recorded": mismatch.recorded,
        "replayed": mismatch.replayed,
    }


def origin_id(now: float, token: str) -> str:
    """Id of a replay. Ids sort by time (unix seconds), so that a later replay supersedes an earlier one."""
    stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime(now)) + f".{int(now % 1 * 1_000_000):06d}Z"
    return f"replay-{stamp}-{token}"
