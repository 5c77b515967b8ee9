"""How far a value can be trusted, in one word and a reason: what the store knows of the replay that it is from.

    recorded            the run itself logged it
    exact               what was recorded and computed again came out equal, bit for bit
    within tolerance    it came out equal but for rounding
    unverified          nothing that was recorded was computed again with it
    doubtful            something speaks against it, and the reason says what

Pure.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from flor_ray.records import Fidelity, Operator, SegmentReport
from flor_ray.replaying import results
from flor_ray.reports import replays
from flor_ray.store.segment_reports import KeptReport
from flor_ray.wording import counted


class Trust(StrEnum):
    """How far a value can be trusted."""

    RECORDED = "recorded"
    EXACT = "exact"
    WITHIN_TOLERANCE = "within tolerance"
    UNVERIFIED = "unverified"
    DOUBTFUL = "doubtful"


@dataclass(frozen=True, slots=True)
class TrustMark:
    """What is said of a value."""

    trust: Trust
    reason: str = ""
    replay: str = ""  # the id of the replay that it is from


RECORDED = TrustMark(Trust.RECORDED, "logged by the run itself")


def of_report(report: SegmentReport, name: str, replay: str) -> TrustMark:
    """What a replayed segment's report says of its values of a feature."""
    if name in report.doubtful:
        found = replays.describe_doubts([(report.segment.version, {name: report.doubtful[name]})])
        return TrustMark(Trust.DOUBTFUL, "; ".join(found), replay)
    of_this = replace(report, measured=tuple(one for one in report.measured if one == name))
    if sentences := replays.describe_judgement(results.judgement(of_this)):
        return TrustMark(Trust.DOUBTFUL, "; ".join(sentences), replay)
    if report.segment.operator is Operator.KNOWN:
        return TrustMark(Trust.EXACT, "known without running: what was recorded says it", replay)
    compared = [counted(report.compared, "recorded value")] * (report.compared > 0)
    compared += [counted(report.states_compared, "recorded state")] * (report.states_compared > 0)
    again = f"{' and '.join(compared)} computed again"
    if report.verdict is Fidelity.EXACT:
        return TrustMark(Trust.EXACT, f"{again}: all equal, bit for bit", replay)
    if report.verdict is Fidelity.WITHIN_TOLERANCE:
        equal = f", {report.exact} of them bit for bit" if report.exact else ""
        because = f" ({report.cause})" if report.cause else ""
        return TrustMark(Trust.WITHIN_TOLERANCE, f"{again}: equal but for rounding{equal}{because}", replay)
    if report.verdict is Fidelity.DIVERGED:
        return TrustMark(Trust.DOUBTFUL, report.cause or "the replay did not compute what was recorded", replay)
    return TrustMark(Trust.UNVERIFIED, "nothing that was recorded was computed again with it", replay)


class TrustMarking:
    """The marks of one feature's values: of each a position in `known`."""

    def __init__(self, name: str, reports: Iterable[KeptReport], replayed: Mapping[str, Mapping[str, Collection[int]]]):
        """`replayed` are the epochs by replay and version; below 1: outside of the main loop."""
        self.known: list[TrustMark] = [RECORDED]
        self._name, self._numbers = name, {RECORDED: 0}
        self._epochs: dict[str, dict[str, Collection[int]]] = {}
        for replay, of in replayed.items():
            for version, epochs in of.items():
                self._epochs.setdefault(version, {})[replay] = epochs
        self._reports: dict[tuple[str, str], list[KeptReport]] = {}
        for kept in reports:
            segment = kept.report.segment
            if not segment.names or name in segment.names:
                self._reports.setdefault((kept.origin, segment.version), []).append(kept)

    def of(self, version: str, epochs: npt.NDArray[np.integer]) -> npt.NDArray[np.int64]:
        """The marks of a version's values, by the epochs that they are in."""
        found = np.zeros(len(epochs), np.int64)
        for replay, replayed in self._epochs.get(version, {}).items():
            for epoch in replayed:
                found[epochs == epoch] = self._number(self._mark(replay, version, epoch))
        return found

    def _mark(self, replay: str, version: str, epoch: int) -> TrustMark:
        """By the report on the fewest epochs of those on this one: a part's says more of it than that of the whole."""
        fitting = [kept.report for kept in self._reports.get((replay, version), ()) if _covers(kept.report, epoch)]
        if not fitting:
            return TrustMark(Trust.UNVERIFIED, "the report of the replay that computed it is gone", replay)
        report = min(fitting, key=lambda one: one.segment.last - one.segment.first)
        return of_report(report, self._name, replay)

    def _number(self, mark: TrustMark) -> int:
        if mark not in self._numbers:
            self._numbers[mark] = len(self.known)
            self.known.append(mark)
        return self._numbers[mark]


def _covers(report: SegmentReport, epoch: int) -> bool:
    segment = report.segment
    if segment.operator is Operator.DP_I or (segment.operator is Operator.KNOWN and segment.last):
        return segment.first <= epoch <= segment.last
    return segment.operator is Operator.DP_STAR or epoch < 1
