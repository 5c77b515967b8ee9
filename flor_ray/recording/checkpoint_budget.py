"""After which epochs a checkpoint is taken: as many as a share of the run's time pays for. Pure: no clock, no files.

    saved up     share of the seconds computed so far
    spent        seconds that snapshots held the script up + what their writing took from it
    a checkpoint is taken when what it should cost, and the last one's cost, have been saved up

So dear snapshots are taken rarely and cheap ones often, whatever the size of the model or the length of an epoch. The
idea is that of adaptive checkpointing in Flor (Garcia et al., VLDB 2021), as a budget that is kept rather than a bound
on the worst case; its second condition, that restoring is cheaper than computing again, is here too.
"""

from __future__ import annotations

from dataclasses import dataclass, field

_CHECKPOINTS_PART = 0.3  # of the budget; the rest is for starting, for logging and for what nobody can measure
_UNNOTICED_SECONDS = 0.05  # a checkpoint that costs less than this ...
_ALLOWED_SECONDS = 0.25  # ... may be taken until so much is spent: short runs of small models keep every epoch
_OPTIMIZER_GROWTH = 2.0  # after epoch 0: an Adam's slots add twice the weights to the next checkpoint
_WRITTEN_BYTES_PER_SECOND = 500e6  # copied, hashed and written, one core of an EPYC server
_COMPRESSED_BYTES_PER_SECOND = 300e6  # zstd 1 and shuffling, one core of an EPYC server
_DEFAULT_OVERHEAD = 0.02  # of the run's time; the bound of the Flor paper is 6.67 %, CheckFreq's 3.5 %
_REMEMBERED = 3  # checkpoints whose cost tells what the next one will cost


@dataclass(frozen=True, slots=True)
class RunSoFar:
    """Where a run stands when an epoch ends. Seconds."""

    computed: float  # since the process began, without what our snapshots took
    since_last: float  # of these, since the last checkpoint
    background: float  # processor time that writing has taken so far
    restore: float  # what restoring a checkpoint should take
    writing: str = ""  # why no further checkpoint could be written now; "" if it could


@dataclass(frozen=True, slots=True)
class CheckpointDecision:
    """Whether to take a checkpoint now, and why: a part of a sentence."""

    take: bool
    why: str


@dataclass(slots=True)
class Spacing:
    """One run's decisions. `overhead` is the budget (0.02: 2 % of the run's time); 1 or more takes every epoch.

    `share` is how much of a second of background work is taken from the script: 1 where it keeps all cores busy.
    """

    overhead: float = _DEFAULT_OVERHEAD
    share: float = 1.0
    _stalled: float = 0.0
    _costs: list[float] = field(default_factory=list)
    _stall: float = 0.0  # of the checkpoint whose cost is not known yet
    _settled: float = 0.0  # background seconds that belong to checkpoints whose cost is known
    _open: bool = False
    _bytes: int = 0

    @property
    def every_epoch(self) -> bool:
        return self.overhead >= 1

    @property
    def stalled_seconds(self) -> float:
        """For which the script was held up so far."""
        return self._stalled

    def took(self, seconds: float, size: int = 0) -> None:
        """A snapshot of `size` bytes held the script up for so long."""
        self._stalled += seconds
        self._stall += seconds
        self._bytes = max(size, self._bytes)
        self._open = True

    def decide(self, now: RunSoFar) -> CheckpointDecision:
        """Whether the epoch that ends now gets a checkpoint."""
        if self.every_epoch:
            return CheckpointDecision(True, "every epoch, as asked for")
        if now.writing:
            return CheckpointDecision(False, now.writing)
        self._settle(now.background)
        expected = self._expected()
        spent = self._stalled + self.share * now.background
        if expected < _UNNOTICED_SECONDS and spent + 2 * expected < _ALLOWED_SECONDS:
            return CheckpointDecision(True, f"it costs {_seconds(expected)}, too little to be noticed")
        if now.since_last < now.restore:
            return CheckpointDecision(
                False, f"restoring it would take {_seconds(now.restore)}, computing again {_seconds(now.since_last)}"
            )
        saved = self.overhead * _CHECKPOINTS_PART * now.computed - spent
        if 2 * expected <= saved:
            return CheckpointDecision(
                True, f"it costs {_seconds(expected)}, and {_seconds(saved)} of the budget were left"
            )
        left = f"{_seconds(max(0.0, saved))} of the budget ({self.overhead:.1%} of the run's time) were left"
        return CheckpointDecision(False, f"it and the last one would cost {_seconds(2 * expected)}, and {left}")

    def has_time_to_compress(self, size: int, epoch: float) -> bool:
        """Whether compressing so many bytes goes unnoticed, or takes a small part of what an epoch of so many seconds
        pays for."""
        seconds = self.share * size / _COMPRESSED_BYTES_PER_SECOND
        pays = min(self.overhead, _DEFAULT_OVERHEAD) * _CHECKPOINTS_PART * epoch
        return seconds < _UNNOTICED_SECONDS / 10 or seconds < pays / 4

    def _settle(self, background: float) -> None:
        """What was written since belongs to the last checkpoint."""
        if self._open:
            self._costs.append(self._stall + self.share * (background - self._settled))
            del self._costs[:-_REMEMBERED]
            self._stall, self._settled, self._open = 0.0, background, False

    def _expected(self) -> float:
        """The dearest of the last ones: writing is quick until the system's buffers are full."""
        if len(self._costs) == 1:
            return self._costs[0] + _OPTIMIZER_GROWTH * self._bytes / _WRITTEN_BYTES_PER_SECOND
        return max(self._costs, default=0.0)


def _seconds(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"
