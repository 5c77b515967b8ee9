"""The session of a replayed script: the same calls as in recording, answered from segments.

    Channel ── Segment ──> Replayer ── restores, lets the script run epochs first..last ──> Channel

At the main loop the Replayer takes segments from its channel: it restores the checkpoint before a segment, lets the
script run the segment's epochs, hands over what was logged, and takes the next one, in any order. An epoch of which
nothing more is wanted is left early where the next state is restored anyway. When there are no more segments the
process ends, without running the rest of the script.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn, TypeVar

from flor_ray.analysis.loops import LoopNames
from flor_ray.environment import hardware
from flor_ray.errors import FlorError, ReplayError, RestoreFailed, StoreAway, StoreError, UsageError
from flor_ray.recording import flags
from flor_ray.recording import script as scripts
from flor_ray.recording.context import Context, Role
from flor_ray.recording.names import KeptNames
from flor_ray.recording.session import CheckpointOptions, Steering
from flor_ray.records import LogRecord, Mismatch, Operator, Point, Segment, Variant
from flor_ray.redaction import redacted
from flor_ray.replaying import marked_code
from flor_ray.replaying.first_call import FirstCall
from flor_ray.replaying.guard import Observer
from flor_ray.replaying.results import SegmentResult
from flor_ray.replaying.sandbox.laid_files import LaidFiles
from flor_ray.replaying.task import Channel, Elements, ReplayTask
from flor_ray.state import buckets, random_states
from flor_ray.state.checkpoints import Capturer, LoadedState
from flor_ray.state.driven import DrivenLoop
from flor_ray.state.frames import HeldLoops
from flor_ray.state.selection import Chooser, LoopFrame
from flor_ray.store import runs, typed_values
from flor_ray.store.objects import Objects

T = TypeVar("T")

_BYTES_PER_SECOND = 200e6  # at which a recorded state is read and compared, roughly
_COMPARE_SHARE = 0.05  # of a segment's time
_COMPARE_SECONDS = 0.02  # may be spent in any case
_LEFT_PREFIX = "Segment {segment} starts from the prefix, but this process has already left it."


class Replayer:
    """The session of a replayed script."""

    def __init__(
        self,
        task: ReplayTask,
        channel: Channel,
        objects: Objects,
        waits: bool,
        started: float,
        marked: bool = False,
        files: LaidFiles | None = None,
    ) -> None:
        self._task = task
        self._channel = channel
        self._objects = objects
        self._context = Context(waits=waits)
        self._names = KeptNames(lambda sentence: None)  # it was said when the run was recorded
        root = Path(task.root).resolve()
        inserted = {str(root / path): marks.hindsight for path, marks in task.marks.items() if marks.hindsight}
        self._sources = scripts.LoopSources(inserted)
        self._held_loops = HeldLoops()
        text_of = self._sources.without_inserted
        self._capturer = Capturer(
            Chooser(scripts.users_code(root)), recording=False, inserted=inserted, text_of=text_of
        )
        self._records: list[LogRecord] = []
        self._warnings: list[str] = []
        self._segment = channel.next()
        self._clock = started
        self._kept = time.monotonic()  # when a segment began, or what it had yielded was handed over
        self._setup_seconds = 0.0
        self._main: LoopFrame | None = None
        self._is_driven = False  # a library runs the main loop
        self._first_call = FirstCall(task, self._sources.remember)
        watching = self._watching if task.adopted else None
        self._observer = Observer(self._capturer.known, self._capturer.iterators, self.warn, watching)
        self._files = files  # that the recorded run wrote; None: they are as they are
        if files is not None:
            files.tell, files.lacks = self.warn, self._lacks
        self._marked = marked  # the script runs with marks in it
        self._moved = False  # the state is no longer what the prefix left
        self._states_compared = 0
        self._read_seconds, self._read_bytes = 0.0, 0
        self._arranged = False  # how gradients are summed over ranks has been put back
        self._hits_told = 0  # hits of the cache that a result has told
        self._state_mismatch: Mismatch | None = None
        self._entry_mismatch: Mismatch | None = None  # of what code before the main loop made
        self._hardware: dict[str, object] = {}
        self._left = False  # this epoch was left early, so the next one begins with its recorded end
        self._drawn: int | None = None  # from which record on nothing is answered of this adopted epoch
        self._at_end = False  # the end of this epoch was restored, and only what reads that state is to run
        self._skips = False  # this iteration only leads to the place where a state is restored
        self._ended = False  # all epochs of the segment have run; it is over when the script shows that it goes on

    # the four calls

    def arg(self, name: str, default: object) -> Any:
        self._begin_call()
        kept = self._names.of(name)
        if kept is not None and kept in self._task.hidden_args:
            return self._hidden_arg(kept, default)
        if kept is None or kept not in self._task.args:
            return default
        self._context.count_outside(kept)
        value = self._task.args[kept]
        if value == runs.recorded_form(default):  # it is what the default was, whose type JSON need not know
            return default
        return tuple(value) if isinstance(default, tuple) and isinstance(value, list) else value

    def _hidden_arg(self, name: str, default: object) -> Any:
        """An argument whose value was a secret: what the script itself makes of it, or what the environment holds."""
        self._context.count_outside(name)
        variable = self._task.hidden_args[name]
        if not variable:
            return default
        if variable not in os.environ:
            raise ReplayError(
                f"This version was started with --kwargs {name}=..., a secret that is not recorded. "
                f"Set {variable} in the environment of the workers, and replay it again."
            )
        return flags.convert(name, os.environ[variable], default)

    def log(self, name: str, value: T) -> T:
        self._begin_call()
        kept = self._names.of(name)
        if kept is not None:
            level, epoch, step, iteration = self._context.key(kept)
            encoded = typed_values.encode(value)
            self._records.append(LogRecord(level, epoch, step, kept, iteration, encoded, time.time()))
        return value

    def add_targets(self, targets: Mapping[str, Any], options: CheckpointOptions) -> None:
        self._begin_call()
        self._capturer.add(targets)
        self._context.waits = False

    def loop(
        self, name: str | None, iterable: Iterable[T], frame: FrameType, driven: DrivenLoop | None = None
    ) -> Iterator[T]:
        self._held_loops.close_left()
        self._look_for_first_call()
        names = self._sources.names(frame) if driven is None else LoopNames()
        scope = LoopFrame("main", frame if driven is None else driven.frame, names, only_live=True)
        iterator = self._loop(name, iterable, scope, driven)
        if scope.names.lines is not None:
            self._held_loops.add(iterator, frame, scope.names.lines)
        return iterator

    # loops

    def steering(self) -> Steering:
        segment, epoch = self._segment, self._context.epoch
        if segment is None or segment.operator is not Operator.DP_I or not self._is_driven:
            return Steering()
        skips = segment.variant is Variant.OUTER and (epoch, Point.NESTED_EXIT) in self._task.checkpoints
        return Steering(jumps=True, skips_steps=skips)

    def _loop(
        self, name: str | None, iterable: Iterable[T], scope: LoopFrame, driven: DrivenLoop | None
    ) -> Generator[T, None, None]:
        self._begin_call()
        role = self._context.enter()
        if role is Role.MAIN:
            if driven is not None:
                self._is_driven = True
                self._capturer.drive(driven)
            self._first_call.must_be_made(self.warn)
            self._main = scope
            if self._task.checkpoints:
                self._capturer.enter(scope)
            yield from self._main_loop(iterable)
        elif role is Role.NESTED:
            yield from self._nested_loop(iterable, replace(scope, slot="nested", only_live=False))
        else:
            try:
                yield from iterable
            finally:
                self._context.leave(role)

    def _main_loop(self, iterable: Iterable[T]) -> Iterator[T]:
        self._setup_seconds = self._lap()
        self._compare_entry()
        elements = Elements(iterable)
        try:
            while (segment := self._segment) is not None:
                if segment.operator is Operator.DP_STAR:
                    yield from self._whole_loop(segment, elements)
                    if segment.suffix:
                        return
                    self._finish()
                elif segment.operator is Operator.DP:
                    if segment.suffix:
                        yield from self._to_the_end(segment, elements)
                        return
                    self._finish()
                else:
                    run = self._ends if segment.variant is Variant.END else self._epochs
                    yield from run(segment, elements)
                    self._finish()
            self._exit()
        finally:
            self._context.leave(Role.MAIN)

    def _whole_loop(self, segment: Segment, elements: Elements[T]) -> Iterator[T]:
        """All epochs; of a run that did not end, those that it finished."""
        epoch = 1
        while elements.has(epoch) and (segment.suffix or epoch <= segment.last):
            self._context.begin_epoch(epoch)
            self._moved = True
            self._ended = not segment.suffix and epoch == segment.last
            yield elements.at(epoch)
            self._ended = False
            epoch += 1

    def _to_the_end(self, segment: Segment, elements: Elements[T]) -> Iterator[T]:
        """From a checkpoint to the main loop's end: what comes after it needs the state there. Mostly it is that."""
        restored = self._last_epoch(segment)
        begin = restored + 1
        if begin <= segment.last:
            self._element(elements, begin, segment)
        self._restore(Point.EPOCH_END, restored)
        for epoch in range(begin, segment.last + 1):
            element = self._element(elements, epoch, segment)
            self._context.begin_epoch(epoch)
            yield element

    def _epochs(self, segment: Segment, elements: Elements[T]) -> Iterator[T]:
        begin = (segment.restore or 0) + 1
        if segment.restore is None:
            self._refuse_if_moved(segment)
        self._left = False
        for epoch in range(begin, segment.last + 1):
            if not self._claims(epoch):
                return
            self._hand_over(epoch - 1, compares=not self._left)
            element = self._element(elements, epoch, segment)
            if self._left or (epoch == begin and segment.restore is not None):
                self._restore(Point.EPOCH_END, epoch - 1)
            self._left = False
            self._context.begin_epoch(epoch)
            self._moved = True
            self._ended = epoch == segment.last  # if the script leaves the loop now, it is a `break`
            yield element
            self._ended = False
            if epoch == self._last_wanted(segment) and not self._left:
                self._compare(Point.EPOCH_END, epoch)

    def _ends(self, segment: Segment, elements: Elements[T]) -> Iterator[T]:
        """The state at the end of each epoch, for the statements that need nothing else."""
        for epoch in range(segment.first, segment.last + 1):
            if not self._claims(epoch):
                return
            self._hand_over(epoch - 1)
            element = self._element(elements, epoch, segment)
            self._restore(Point.EPOCH_END, epoch)
            self._context.begin_epoch(epoch)
            self._at_end = True
            if not self._task.adopted:
                yield element
            else:
                random_states.let_unused_seeds_alone()
                before, self._drawn = random_states.global_state(), None
                yield element
                if not random_states.same_global_state(before, random_states.global_state()):
                    self._drawn = 0
                self._drop_drawn(epoch)
            self._at_end = False

    def _watching(self) -> Callable[[], None]:
        """A statement begins in an adopted run, of which nobody kept the random states: the function that this returns
        is called when it has drawn random numbers. Then it is not answered, nor is what may come from what it made."""
        begun = len(self._records)

        def drew() -> None:
            if len(self._records) > begun:
                self._tell_drawn(begun)
            elif self._drawn is None:
                self._drawn = begun

        return drew

    def _drop_drawn(self, epoch: int) -> None:
        """What came after random numbers were drawn."""
        if self._drawn is not None:
            first = next((i for i, record in enumerate(self._records) if record.epoch == epoch), len(self._records))
            self._tell_drawn(max(first, self._drawn))
        self._drawn = None

    def _tell_drawn(self, begun: int) -> None:
        names = sorted({record.name for record in self._records[begun:]})
        del self._records[begun:]
        for name in names:
            self.warn(
                f"{name} is not answered: it draws random numbers where the epoch ends, and nobody kept the random "
                "states of this adopted run. Draw from a generator of the statement's own, with a seed"
            )

    def _claims(self, epoch: int) -> bool:
        """Whether the segment goes on with this epoch. If its rest was taken away, it ends with the one before."""
        segment = self._segment
        if segment is None or segment.operator is not Operator.DP_I or self._channel.claim(epoch):
            return True
        self._segment = replace(segment, last=epoch - 1)
        return False

    def _last_wanted(self, segment: Segment) -> int:
        """The segment's last epoch, as it is now."""
        last = self._channel.last if segment.operator is Operator.DP_I else None
        return segment.last if last is None else min(last, segment.last)

    def _element(self, elements: Elements[T], epoch: int, segment: Segment) -> T:
        """What the main loop yields in an epoch. Taken before a state is put back: it may draw random numbers."""
        if not elements.has(epoch):
            raise ReplayError(
                f"The main loop ended after epoch {epoch - 1}; when recorded it went on to epoch {segment.last}. "
                "Its number of epochs depends on something that has changed since."
            )
        return elements.at(epoch)

    def _nested_loop(self, iterable: Iterable[T], scope: LoopFrame) -> Iterator[T]:
        epoch = self._context.epoch or 0
        first, segment = self._context.nested_in_epoch == 1, self._segment
        ran = False
        proves = segment is not None and segment.variant is Variant.INNER and first
        proves = proves and segment is not None and epoch == self._last_wanted(segment)
        proves = proves and self._is_worth_comparing(Point.NESTED_EXIT, epoch)
        if proves:
            self._capturer.enter(scope, iterable)
        try:
            skip = segment is not None and segment.variant is Variant.OUTER and first
            if skip and (epoch, Point.NESTED_EXIT) in self._task.checkpoints:
                self._capturer.enter(scope, iterable)
                self._restore(Point.NESTED_EXIT, epoch, scope)
                return
            for step, element in enumerate(iterable):
                self._context.step = step
                yield element
            ran = True
        finally:
            self._context.leave(Role.NESTED)
            if proves and ran:
                self._compare(Point.NESTED_EXIT, epoch, scope.slot)

    # iterations: the script's own loop decides whether there is another one

    @contextlib.contextmanager
    def iteration(self, name: str, frame: FrameType) -> Iterator[None]:
        self._held_loops.close_left()
        self._begin_call()
        role = self._context.enter_iteration(name)
        first = role is Role.MAIN and self._main is None
        if first:
            self._first_call.must_be_made(self.warn)
            self._main = LoopFrame("main", frame, self._sources.iteration_names(frame), only_live=False)
            if self._task.checkpoints:
                self._capturer.enter(self._main)
            self._setup_seconds = self._lap()
            self._skips = self._segment is None or not self._segment.from_prefix
            if self._skips and not self._marked:
                raise UsageError(
                    "A main loop of flor.iteration(...) can only be replayed by hand as a whole: use --replay_flor "
                    "0/1, or `flor-ray replay`."
                )
        try:
            yield
        finally:
            self._context.leave(role)
        if role is Role.MAIN:
            self._iteration_ends(self._context.epochs)

    def _iteration_ends(self, epoch: int) -> None:
        """Here the state of any epoch's end can be put back: what comes next in the script follows it."""
        segment, skipped, self._skips = self._segment, self._skips, False
        if segment is not None and not skipped:
            self._moved = True
            if segment.suffix or (epoch != segment.last and self._claims(epoch + 1)):
                self._hand_over(epoch)
                return
            self._finish()
        while (segment := self._segment) is not None:
            if segment.operator is Operator.DP and not segment.suffix:
                self._finish()
                continue
            if segment.from_prefix:
                raise ReplayError(_LEFT_PREFIX.format(segment=segment.id))
            restored = self._last_epoch(segment)
            self._restore(Point.EPOCH_END, restored)
            self._context.epochs = restored
            self._claims(restored + 1)
            return
        self._exit()

    # marks

    @property
    def marks(self) -> Mapping[str, Callable[..., Any]]:
        """What the marks in the script's files call."""
        return {
            marked_code.OBSERVE: self._observer.observe,
            marked_code.DONE: self._may_leave,
            marked_code.AT_END: lambda: self._at_end,
            marked_code.RUNS: lambda: not self._skips,
        }

    def _may_leave(self, line: int) -> bool:
        """Whether the epoch may end here, after the statement that ends on this line of the main loop's body."""
        segment, epoch = self._segment, self._context.epoch
        if segment is None or segment.operator is not Operator.DP_I or epoch is None or not segment.names:
            return False
        if self._context.stack != [Role.MAIN] or self._main is None or sys._getframe(1) is not self._main.frame:
            return False
        if any(name not in self._task.stops for name in segment.names):
            return False
        if max(self._task.stops[name] for name in segment.names) != line or epoch < segment.first:
            return False
        self._left = epoch == self._last_wanted(segment) or epoch in self._task.leave
        return self._left

    def warn(self, sentence: str) -> None:
        """Tell something of the version, with the next result; once."""
        if sentence not in self._warnings:
            self._warnings.append(sentence)

    # state

    def _is_worth_comparing(self, point: Point, epoch: int, spent: float = 0.0) -> bool:
        """Whether reading the recorded state costs little beside what has led here, and the seconds `spent` before."""
        size = self._task.sizes.get((epoch, point))
        spent += time.perf_counter() - self._clock
        return size is not None and size / _BYTES_PER_SECOND < max(_COMPARE_SHARE * spent, _COMPARE_SECONDS)

    def _compare(self, point: Point, epoch: int, slot: str = "main", spent: float = 0.0) -> None:
        """Is this the state that was recorded here?"""
        if self._state_mismatch is not None or not self._is_worth_comparing(point, epoch, spent):
            return
        try:
            with self._reading(point, epoch):
                state = LoadedState.read(self._objects, self._task.checkpoints[epoch, point])
                found = self._capturer.difference(state, slot, self._task.clocked)
        except Exception:  # noqa: BLE001 - what cannot be put beside this state is not compared, which the verdict shows
            return
        self._states_compared += 1
        if found is not None:
            self._state_mismatch = Mismatch(found.path, epoch, None, found.recorded, found.replayed)

    def _compare_entry(self) -> None:
        """Has the code before the main loop made what it made when recorded? Nothing else compares its values. Equality
        proves nothing: data that the loop leaves alone need not be in checkpoints."""
        if self._task.compares_entry and (0, Point.EPOCH_END) in self._task.checkpoints:
            self._compare(Point.EPOCH_END, 0, spent=self._setup_seconds)
            self._entry_mismatch, self._state_mismatch = self._state_mismatch, None
            self._states_compared = 0

    def _refuse_if_moved(self, segment: Segment) -> None:
        if self._moved:
            raise ReplayError(_LEFT_PREFIX.format(segment=segment.id))

    def _restore(self, point: Point, epoch: int, scope: LoopFrame | None = None) -> None:
        try:
            self._arrange_sums(epoch)
            with self._reading(point, epoch):
                state = LoadedState.read(self._objects, self._task.checkpoints[epoch, point])
                opaque = self._task.opaque.get((epoch, point), frozenset())
                self._capturer.restore(state, "main" if scope is None else scope.slot, opaque)
                if self._files is not None:
                    self._files.lay(epoch, point)
        except ReplayError:  # the script has not made what it made when recorded, and would not from further back
            raise
        except StoreAway as error:  # nothing is known of the state
            self._channel.failed(error)
            raise
        except Exception as error:
            why = str(error) if isinstance(error, FlorError) else f"{type(error).__name__}: {error}"
            raise self._failed(epoch, point, " ".join(why.split())) from error
        self._moved = True

    def _arrange_sums(self, epoch: int) -> None:
        """Gradients of several ranks are summed from here on as they were there.

        Raises:
            StoreError: as they were before the first step, and this process has run some: another one has to do it.
        """
        launch = self._task.launch
        if launch is None or launch.size < 3 or launch.buckets == ():
            return
        if epoch == 0 and self._moved:
            raise StoreError("in this process, gradients are summed in another order by now")
        if epoch == 0 or self._arranged or launch.buckets is None:
            return
        self._arranged = True
        if not buckets.arrange(launch.buckets):
            self.warn(
                "the order in which its ranks sum their gradients could not be put back: values after a checkpoint may "
                "differ in their last digits"
            )

    def _failed(self, epoch: int, point: Point, why: str) -> RestoreFailed:
        """In a process of ours, this does not return."""
        failed = RestoreFailed(epoch, point, why)
        self._channel.failed(failed)
        return failed

    def _lacks(self, epoch: int, point: Point, why: str) -> NoReturn:
        raise self._failed(epoch, point, why)

    @contextlib.contextmanager
    def _reading(self, point: Point, epoch: int) -> Iterator[None]:
        started = time.perf_counter()
        yield
        self._read_seconds += time.perf_counter() - started
        self._read_bytes += self._task.sizes.get((epoch, point), 0)

    def _last_epoch(self, segment: Segment) -> int:
        if segment.restore is None:
            raise ReplayError(f"Segment {segment.id} runs the suffix, but names no checkpoint to start it from.")
        return segment.restore

    def _begin_call(self) -> None:
        """First call: the random state must be the recorded one. Later ones: did the script leave the main loop?"""
        self._held_loops.close_left()
        if self._ended and self._context.epoch is None:
            self._finish(exhausted=True)
            self._exit()
        self._look_for_first_call()

    def watch_seeding(self) -> None:
        """The script begins now: what it draws before it seeds the generator is another number in every run."""
        self._first_call.watch_seeding(self.warn)

    def _look_for_first_call(self) -> None:
        if not self._first_call.is_made and self._first_call.is_this(sys._getframe(2)):
            self._hardware = hardware.here()  # at the same place as when recording
            self._first_call.put_back(self._objects, sys._getframe(2), self.warn)

    # segments

    def _finish(self, exhausted: bool = False) -> None:
        segment = self._segment
        if segment is None:
            return
        self._ended = False
        self._channel.done(replace(self._result(segment), exhausted=exhausted))
        self._segment = None if exhausted else self._channel.next()
        self._clock, self._kept = time.perf_counter(), time.monotonic()

    def _hand_over(self, last: int, compares: bool = False) -> None:
        """The epochs up to `last` are over, and the next one is claimed: after a while they are worth keeping, whatever
        becomes of the rest. Of a whole script nothing is: without a checkpoint it would begin again with its start."""
        segment = self._segment
        if segment is None or segment.operator is not Operator.DP_I or last < segment.first:
            return
        if time.monotonic() - self._kept < self._task.commit_seconds:
            return
        if compares:
            self._compare(Point.EPOCH_END, last)
        self._segment = segment.part(last + 1, segment.last)
        self._channel.done(replace(self._result(segment.part(segment.first, last)), goes_on=True))
        self._kept = time.monotonic()

    def _result(self, segment: Segment) -> SegmentResult:
        """What has come of the segment, or a part of it, since the last one."""
        outside = segment.operator is not Operator.DP_I
        kept = tuple(record for record in self._records if outside or record.epoch is not None)
        self._records = [] if outside else [record for record in self._records if record.epoch is None]
        result = SegmentResult(
            segment,
            kept,
            self._setup_seconds,
            self._lap(),
            tuple(self._warnings),
            states_compared=self._states_compared,
            state_mismatch=self._state_mismatch or (self._entry_mismatch if outside else None),
            hardware=self._hardware,
            read_seconds=self._read_seconds,
            read_bytes=self._read_bytes,
            cache_hits=self._objects.hits - self._hits_told,
        )
        self._hits_told = self._objects.hits
        self._states_compared, self._state_mismatch = 0, None
        self._read_seconds, self._read_bytes = 0.0, 0
        self._setup_seconds = 0.0
        self._warnings.clear()
        return result

    def may_end_with(self, error: BaseException) -> bool:
        """Whether the script has come to where the recorded run ended, with this error."""
        is_last = self._segment is not None and self._segment.suffix
        return is_last and scripts.error_line(error) == redacted(self._task.error or "")

    def script_ended(self) -> None:
        """The script has run to its end: what is still open is what runs to the end."""
        self._first_call.must_be_made(self.warn)
        if self._main is None:
            self._setup_seconds = 0.0
        if self._segment is not None and self._segment.operator is Operator.DP_I and not self._ended:
            raise ReplayError(
                "The script ended before the epochs that are wanted: its main loop was not reached, or it was left "
                "earlier than when it was recorded."
            )
        self._finish(exhausted=True)

    def _exit(self) -> None:
        """End the process here: the rest of the script is not wanted, and its `finally` blocks must not run."""
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)

    def _lap(self) -> float:
        now = time.perf_counter()
        seconds, self._clock = now - self._clock, now
        return seconds
