"""From where a segment is replayed when a recorded state cannot be put back. Pure.

    the segment as it is      its checkpoint, in a process that may have replayed others, then in a fresh one
    further back              the complete checkpoint before, then the loop's entry
    the script's start        where nothing has to be put back

A state that fails in a fresh process would fail there again: it counts as lost for the rest of the replay, and so do
all that came later. When a second one fails, all but the loop's entry are given up: what changes a model's parts while
it trains mostly happens once.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from flor_ray.errors import RestoreFailed
from flor_ray.records import Checkpoint, Experiment, Operator, Point, Segment, Variant


@dataclass(slots=True)
class LostStates:
    """What of one version could not be put back so far."""

    first: int | None = None  # the first epoch whose end is lost; None: none is
    exits: bool = False  # the states after nested loops are
    why: str = ""  # of the last one that failed

    @property
    def any(self) -> bool:
        return self.exits or self.first is not None

    def add(self, failed: RestoreFailed) -> None:
        """One more has failed, in a fresh process."""
        self.why = str(failed)
        if failed.point == Point.NESTED_EXIT:
            self.exits = True
        elif self.first is None:
            self.first = failed.epoch
        else:
            self.first = min(self.first, failed.epoch, 1)

    def keeps(self, epoch: int) -> bool:
        """Whether the state at this epoch's end may be there."""
        return self.first is None or epoch < self.first

    def instead(self, segment: Segment, experiment: Experiment, checkpoints: Iterable[Checkpoint]) -> Segment:
        """The segment, or the one with the fewest epochs that yields the same and needs nothing that is lost."""
        latest = _latest_restored(segment)
        if experiment.is_adopted:  # nothing leads to an epoch of it but its own checkpoint file
            return segment
        if latest is None or (self.keeps(latest) and not (self.exits and segment.variant is Variant.OUTER)):
            return segment
        before = segment.first - 1 if segment.variant is Variant.END else latest
        ends = (c.epoch for c in checkpoints if c.point is Point.EPOCH_END and not c.uncaptured)
        start = max((epoch for epoch in ends if epoch <= before and self.keeps(epoch)), default=None)
        if segment.operator is Operator.DP_I:
            return replace(segment, variant=Variant.INNER, restore=start)
        epochs = experiment.epochs
        if start is None:
            return replace(segment, first=min(1, epochs), last=epochs, operator=Operator.DP_STAR, restore=None)
        return replace(segment, restore=start, last=epochs)


def _latest_restored(segment: Segment) -> int | None:
    """The last epoch whose end the segment surely restores; None: it begins with the script."""
    if segment.operator is Operator.DP_STAR or (segment.operator is Operator.DP and not segment.suffix):
        return None
    return segment.last if segment.variant is Variant.END else segment.restore


def told(asked: Segment, ran: Segment, why: str) -> str:
    """A sentence on a segment that was replayed from further back than was planned."""
    what = "what is outside the main loop"
    if asked.operator is Operator.DP_I:
        first, last = asked.first, asked.last
        what = f"epoch {first}" if first == last else f"epochs {first}-{last}"
    start = "the start of the script" if ran.restore is None else f"the end of epoch {ran.restore}"
    start = "the entry of the main loop" if ran.restore == 0 else start
    return f"{what} had to be replayed from {start}: {why}"
