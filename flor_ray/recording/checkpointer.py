"""When a run's checkpoints are taken, what is told about them, and what is handed to the journal.

    epoch begins ── nested loop begins: this epoch? (its budget) ── its exit ── the epoch's end ── Skip or Pending

Nothing that the user's objects raise while their state is read stops the training.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from flor_ray.environment import opened
from flor_ray.errors import UsageError
from flor_ray.recording import sharding
from flor_ray.recording.agreement import Agreement
from flor_ray.recording.checkpoint_budget import CheckpointDecision, RunSoFar, Spacing
from flor_ray.recording.journal import Journal
from flor_ray.recording.pending import PendingCheckpoint
from flor_ray.recording.rank_journal import RankJournal
from flor_ray.recording.session import CheckpointOptions
from flor_ray.records import GRADIENTS, EpochTimes, Point, Skip
from flor_ray.state import shards
from flor_ray.state.checkpoints import Capturer
from flor_ray.state.driven import DrivenLoop
from flor_ray.state.selection import LoopFrame
from flor_ray.state.snapshots import Snapshot

_OVERHEAD_VARIABLE = "FLOR_RAY_OVERHEAD"
_FIRST = CheckpointDecision(True, "the entry of the main loop")
_LAST = CheckpointDecision(True, "the last epoch")
_NOT_TAKEN = "the state could not be taken"


class Checkpointer:
    """The checkpoints of one run. `began`: when its process did (time.perf_counter); `tell` warns, once per message;
    `taken` picks from objects those from which the script takes something; `agreement` is that of a run's ranks, if it
    has several.

    Raises:
        UsageError: the environment sets a budget that is none.
    """

    def __init__(
        self,
        capturer: Capturer,
        journal: Journal | RankJournal,
        began: float,
        tell: Callable[[str], None],
        taken: Callable[[frozenset[str]], frozenset[str]],
        agreement: Agreement | None = None,
    ) -> None:
        self.wanted = False  # the script called checkpointing
        self._capturer = capturer
        self._journal = journal
        self._began = began
        self._tell, self._taken = tell, taken
        self._agreement = agreement
        self._has_exits = True  # of nested loops, a state may be kept
        self._known: frozenset[str] = frozenset()  # objects of which it is known whether something is taken from them
        self._spacing = Spacing(share=_share_taken())
        self._spacing.overhead = opened.written.overhead = _overhead_wanted() or self._spacing.overhead
        self._compress: bool | None = None
        self._main: LoopFrame | None = None
        self._place = ("", 0)
        self._cleared: frozenset[str] = frozenset()  # whose gradients the nested loop clears before it reads them
        self._decided: tuple[int, CheckpointDecision] = (0, _FIRST)
        self._device_seconds = 0.0  # for which checkpoints held up GPUs, as far as the budget knows
        self._computed_at_last = 0.0  # seconds of computing before the last checkpoint
        self._epoch_seconds = 0.0  # of the last epoch

    def add(self, targets: Mapping[str, Any], options: CheckpointOptions) -> None:
        """List objects."""
        self.wanted = True
        self._capturer.add(targets)
        self._compress = options.compress
        if options.overhead is not None:
            self._spacing.overhead = opened.written.overhead = options.overhead

    def drive(self, loop: DrivenLoop) -> None:
        """The main loop that begins now is one that a library runs."""
        self.wanted = True
        self._has_exits = loop.has_exits
        self._capturer.drive(loop)

    # points of a run

    def main_loop_begins(self, scope: LoopFrame, place: tuple[str, int]) -> PendingCheckpoint | None:
        """`place`: file and line of the loop. Returns the checkpoint of epoch 0."""
        self._main, self._place = scope, place
        if self.wanted and self._agreement is not None and (kind := sharding.kind_here()):
            self.wanted = False
            self._tell(
                f"The ranks of this run share out what their model consists of ({kind}), which no checkpoint holds: "
                "replays of this version run from the start, with as many ranks."
            )
        if not self.wanted:
            return None
        self._enter(scope, None)
        if self._are_gathered():
            self.wanted = False
            self._tell(
                "FSDP holds parameters whole when the main loop begins, as after an evaluation: replays of this "
                "version run from the start. To have checkpoints, call reshard() of its modules before the loop."
            )
            return None
        return self._take(Point.EPOCH_END, 0, scope)

    def epoch_begins(self, epoch: int) -> None:
        """`epoch` of the main loop begins."""
        self._capturer.begin_epoch()
        if self._agreement is not None and self.wanted:
            self._agreement.begins(epoch, self._by_budget)

    def nested_loop_begins(self, epoch: int, scope: LoopFrame, iterable: object) -> None:
        """The nested loop is entered; what it is given may be part of its state. `epoch` is the main loop's."""
        self._cleared = scope.names.cleared
        if self._takes_part(epoch, early=True) and self._has_exits:
            self._enter(scope, iterable)

    def nested_loop_ends(self, epoch: int, scope: LoopFrame, returned: bool) -> PendingCheckpoint | None:
        """`returned`: it was left by `return` or an exception, so that what came next is not what follows it."""
        if not self._takes_part(epoch) or not self._has_exits:
            return None
        pending = self._take(Point.NESTED_EXIT, epoch, scope)
        if pending is None or returned or pending.snapshot.beyond_frame or scope.names.unknown:
            return None  # what comes after it cannot be replayed from its state
        return pending

    def epoch_ends(self, times: EpochTimes, last: bool, returned: bool) -> PendingCheckpoint | None:
        """`last` is true if the loop is known to be over. If the epoch gets no checkpoint, that is put down."""
        self._epoch_seconds = times.seconds
        if not self.wanted or self._main is None:
            return None
        if last and not self._takes_part(times.epoch):
            self._decided = times.epoch, _LAST
        if not self._takes_part(times.epoch):
            self._journal.skip(Skip(times.epoch, self._decided[1].why, times))
            return None
        pending = self._take(Point.EPOCH_END, times.epoch, self._main, times)
        if pending is None:
            self._journal.skip(Skip(times.epoch, _NOT_TAKEN, times))
        elif returned:
            pending.snapshot.uncaptured |= {"where the script went on"}
        return pending

    def main_loop_ends(self, epoch: int) -> PendingCheckpoint | None:
        """It ran through, and `epoch` was its last: that one always has a checkpoint."""
        if not self.wanted or self._main is None or self._decided[1].take:
            return None
        self._decided = epoch, _LAST
        return self._take(Point.EPOCH_END, epoch, self._main)

    # deciding

    def _takes_part(self, epoch: int, early: bool = False) -> bool:
        """Whether this epoch gets checkpoints: decided once, when its nested loop begins (`early`) or else when it
        ends; by a run's ranks together, when rank 0 begins it."""
        if not self.wanted or self._main is None:
            return False
        if self._agreement is not None and self._decided != (epoch, _LAST):
            self._decided = epoch, self._agreement.decision(epoch, early)
        elif self._decided[0] != epoch:
            self._decided = epoch, self._by_budget()
        return self._decided[1].take

    def _by_budget(self) -> CheckpointDecision:
        if (held_up := self._journal.device_seconds - self._device_seconds) > 0:
            self._device_seconds += held_up
            self._spacing.took(held_up)
        computed = self._computed()
        now = RunSoFar(
            computed=computed,
            since_last=computed - self._computed_at_last,
            background=self._journal.background_seconds,
            restore=self._journal.restore_seconds,
            writing=self._journal.busy,
        )
        return self._spacing.decide(now)

    def _computed(self) -> float:
        """Seconds since the process began, without those for which snapshots held it up."""
        return time.perf_counter() - self._began - self._spacing.stalled_seconds

    # taking

    def _enter(self, scope: LoopFrame, iterable: object) -> None:
        started = time.perf_counter()
        try:
            self._capturer.enter(scope, iterable)
        except Exception as error:  # noqa: BLE001 - the user's objects may raise anything; training must go on
            self._tell(f"No checkpoints of the {scope.slot} loop: {type(error).__name__}: {error}")
        self._spacing.took(time.perf_counter() - started)

    def _take(
        self, point: Point, epoch: int, scope: LoopFrame, times: EpochTimes | None = None
    ) -> PendingCheckpoint | None:
        if self._are_gathered():
            self._tell(
                "FSDP holds parameters whole where a checkpoint is due, as after an evaluation, and to share them out "
                "is for the script to say, in all ranks: none is taken there, and replays begin further back. To have "
                "checkpoints, call reshard() of its modules at the end of each epoch."
            )
            return None
        try:
            assert self._main is not None
            cleared = self._main.names.cleared | self._cleared
            snapshot = self._capturer.take(scope.slot, len(cleared) < self._capturer.optimizers)
        except Exception as error:  # noqa: BLE001 - the user's objects may raise anything; training must go on
            self._tell(f"No checkpoint of epoch {epoch}: {type(error).__name__}: {error}")
            return None
        moved = opened.written.at(epoch, point.value)
        self._spacing.took(snapshot.seconds, snapshot.bytes)
        self._computed_at_last = self._computed()
        if point is Point.EPOCH_END:
            snapshot.uncaptured -= {GRADIENTS}  # the next epoch clears old gradients before it reads any
            self._tell_uncaptured(snapshot)
            if why := _why_no_start(scope):
                snapshot.uncaptured |= {why}
                self._tell(
                    f"The main loop ({self._place[0]}:{self._place[1]}) has {why}: replays of this version run from "
                    "the start instead of from checkpoints."
                )
        snapshot.uncaptured |= {f"the position in {os.path.basename(path)}" for path in moved}
        if new := snapshot.opaque - self._known:
            self._known |= new
            for name in sorted(self._taken(new)):
                self._tell(
                    f"{name!r} cannot be kept in a checkpoint, and the script takes something from it: epochs in which "
                    "it does are replayed from the start."
                )
        pending = PendingCheckpoint(snapshot, point, epoch, *self._place, times, self._decided[1].why)
        has_time = self._spacing.has_time_to_compress(snapshot.bytes, self._epoch_seconds)
        return replace(pending, compress=True if self._compress is None and has_time else self._compress)

    def _are_gathered(self) -> bool:
        """Whether looking at the parameters would make ranks that look share them out, and others not: the next forward
        would wait for these for ever."""
        if self._agreement is None:
            return False
        try:
            return any(map(shards.are_gathered, self._capturer.known().values()))
        except Exception:  # noqa: BLE001 - another torch's FSDP, or the user's objects: nobody knows, so nobody looks
            return True

    def _tell_uncaptured(self, snapshot: Snapshot) -> None:
        for name in sorted(snapshot.uncaptured):
            self._tell(
                f"Variable {name!r} is carried from epoch to epoch but cannot be kept in a checkpoint (it cannot be "
                "pickled, or is too large): replays of this version run from the start instead."
            )


def _overhead_wanted() -> float | None:
    """The budget that the environment sets."""
    text = os.environ.get(_OVERHEAD_VARIABLE)
    if not text:
        return None
    try:
        overhead = float(text)
    except ValueError:
        overhead = 0.0
    if not overhead > 0:
        raise UsageError(f"{_OVERHEAD_VARIABLE}={text!r}: give a share of the run's time, such as 0.02 for 2 %.")
    return overhead


def _share_taken() -> float:
    """How much of a second of background work is taken from a script that computes on this machine."""
    torch = sys.modules.get("torch")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    threads = 1 if torch is None or torch.cuda.is_initialized() else torch.get_num_threads()
    return min(1.0, threads / cores)


def _why_no_start(scope: LoopFrame) -> str:
    """What keeps the loop from being entered in the middle; "" if nothing does."""
    if scope.names.wrapped:
        return f"a position in {scope.names.wrapped}(...)"
    return "a body that cannot be found" if scope.names.unknown else ""
