"""Reports of replayed segments as JSON, and back. A report lies in the file of the rows that its segment wrote.

What older releases wrote is read as what it would be today: nothing else needs to know of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from flor_ray.records import Fidelity, Operator, SegmentReport
from flor_ray.store import typed_json

_OF_SEGMENT = ("operator", "variant", "first", "last", "suffix", "names")
_COPIED = "copied"  # an operator of older releases: the segment's values were those of an equal run


@dataclass(frozen=True, slots=True)
class KeptReport:
    """A report as the store has it."""

    origin: str  # the replay's id; later replays have greater ones
    segment_id: str  # `Segment.id` of the segment: where a replay wrote it, it writes it again
    report: SegmentReport  # `segment.names` are the names that were answered, asked for by name or not


def to_plain(report: SegmentReport) -> dict[str, object]:
    """The report as JSON: what tells which segment it is of stands beside what it says. The version is left out."""
    plain: dict[str, Any] = typed_json.to_plain(report)
    segment = plain.pop("segment")
    del plain["cache_hits"]
    if not report.further_back:
        del plain["further_back"]  # as in older releases' reports
    return {name: segment[name] for name in _OF_SEGMENT} | plain


def from_plain(plain: Mapping[str, Any], version: str) -> SegmentReport:
    """The report of which `to_plain` made this, today or in an older release.

    Raises:
        ValueError: it is no report; the message names the field.
    """
    segment = {name: plain[name] for name in _OF_SEGMENT if name in plain} | {"version": version}
    if segment.get("operator") == _COPIED:
        segment["operator"] = Operator.KNOWN.value
    nothing_ran = {"rows": 0, "setup_seconds": 0.0, "run_seconds": 0.0}
    verdict = {} if "verdict" in plain else {"verdict": _verdict_of_older(plain)}
    return typed_json.from_plain({**nothing_ran, **plain, **verdict, "segment": segment}, SegmentReport)


def _verdict_of_older(plain: Mapping[str, Any]) -> Fidelity:
    """The verdict on a segment whose report has none: then values were compared bit for bit."""
    if plain.get("mismatch") is not None:
        return Fidelity.DIVERGED
    return Fidelity.EXACT if plain.get("compared") or plain.get("states_compared") else Fidelity.UNVERIFIED
