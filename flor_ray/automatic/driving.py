"""`TrainerLoops`: the session's main loop and nested loop, advanced by a trainer's events instead of `for` statements.

    record   the trainer runs its epochs, and says where it is
    replay   begin_epoch() puts a recorded state back and says which epoch that makes the next one; where a replay
             `jumps`, the trainer is brought to run that one, and where it `skips_steps`, to run none of its steps

A library's module beside this one knows how to bring its trainer there.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Generator, Iterator, Mapping
from types import FrameType
from typing import Any

from flor_ray import calls
from flor_ray.errors import ReplayError
from flor_ray.recording import session
from flor_ray.recording.session import Passive, Session, Steering
from flor_ray.state.driven import DrivenLoop

_OURS = "flor_ray."
_STANDARD = os.path.join(os.path.dirname(os.__file__), "")  # where the standard library is
_PLACES = frozenset({"epoch", "step", "global_step"})  # what trainers add to their metrics, and is our key already
# Seconds and rates of Hugging Face's: another run of the same code has others, so a replay could only ever differ.
_SPEEDS = ("_runtime", "_per_second", "jit_compilation_time")


class TrainerLoops:
    """A trainer's epochs and steps. `state_of` says what they consist of when the first one begins, given the script's
    frame; without it there are no checkpoints, and a replay runs the training from its beginning."""

    def __init__(self, state_of: Callable[[FrameType], DrivenLoop] | None = None) -> None:
        self._state_of = state_of
        self._driven: DrivenLoop | None = None
        self._epochs: _Loop | None = None
        self._steps: _Loop | None = None
        self.epoch = 0  # the one that runs, counted from 1
        self.is_over = False  # a replay wants no epoch any more: the trainer is to leave its loop

    @property
    def is_running(self) -> bool:
        """Whether a training has begun and has not ended."""
        return self._epochs is not None

    @property
    def steering(self) -> Steering:
        """What a replay wants of the present epoch."""
        return calls.current_session().steering() if self._state_of is not None else Steering()

    def begin_epoch(self) -> None:
        """The trainer begins its next epoch: what is logged belongs to it, and no longer to a step. Afterwards `epoch`
        is the one that is to run, unless the training `is_over`."""
        self.end_steps()
        if self._epochs is None:
            if self._state_of is not None:
                self._driven = self._state_of(_users_frame())
            self._epochs = _Loop("epoch", self._driven)
        epoch = self._epochs.advance()
        if epoch is None:
            self.is_over = True
        else:
            self.epoch = epoch

    def begin_step(self) -> None:
        """The trainer begins the next step of its epoch."""
        if self._steps is None:
            self._steps = _Loop("step", self._driven)
        if self._steps.advance() is None:
            raise ReplayError("A step of an epoch runs whose steps were to be skipped.")

    def skip_steps(self) -> None:
        """Instead of its steps, put back the state at their end."""
        if _Loop("step", self._driven).advance() is not None:
            raise ReplayError("The state at the end of an epoch's steps could not be put back.")

    def end_steps(self) -> None:
        """What is logged next belongs to the epoch."""
        if self._steps is not None:
            self._steps.finish()
        self._steps = None

    def end(self) -> None:
        """What is logged next belongs to the run."""
        self.end_steps()
        if self._epochs is not None and not self.is_over:
            self._epochs.finish()
        self._forget()

    def abandon(self) -> None:
        """The training was left by an exception: its last epoch is not a finished one."""
        for loop in (self._steps, self._epochs):
            if loop is not None:
                loop.close()
        self._forget()

    def _forget(self) -> None:
        self._steps = self._epochs = self._driven = None
        self.is_over = False


class _Loop:
    def __init__(self, name: str, driven: DrivenLoop | None) -> None:
        self._ticks = _Ticks()
        # This frame, where no `for` statement stands: the trainer's frame would look as if its loops were the script's.
        self._iterator = calls.current_session().loop(name, self._ticks, sys._getframe(), driven)

    def advance(self) -> int | None:
        """The number of the iteration that begins; None: a replay goes on without one."""
        return next(self._iterator, None)

    def finish(self) -> None:
        self._ticks.ended = True
        next(self._iterator, None)

    def close(self) -> None:
        if isinstance(self._iterator, Generator):
            self._iterator.close()


class _Ticks(Iterator[int]):
    """Elements of a loop whose length is not known before its end."""

    def __init__(self) -> None:
        self.ended = False
        self._next = 0

    def __next__(self) -> int:
        if self.ended:
            raise StopIteration
        self._next += 1
        return self._next


def in_library(kind: type) -> bool:
    """Whether a class is a library's, or Python's own."""
    file = getattr(sys.modules.get(kind.__module__), "__file__", None)
    if kind.__module__ == "__main__":
        return False
    return file is None or "site-packages" in file or file.startswith(_STANDARD) or kind.__module__.startswith(_OURS)


def _users_frame() -> FrameType:
    """The innermost frame of the script's own code: it has called the trainer."""
    frame: FrameType | None = sys._getframe(1)
    outermost = sys._getframe(1)
    while frame is not None:
        path = frame.f_code.co_filename
        ours = (frame.f_globals.get("__name__") or "").startswith(_OURS)
        if not ours and "site-packages" not in path and not path.startswith(_STANDARD):
            return frame
        outermost, frame = frame, frame.f_back
    return outermost


def log_metrics(metrics: Mapping[str, Any]) -> None:
    """Log the numbers among a trainer's metrics, but for speeds. A tensor is read now, which waits for its device: call
    this only where the trainer logs, too."""
    for name, value in metrics.items():
        number = value.item() if getattr(value, "ndim", None) == 0 and hasattr(value, "item") else value
        if name not in _PLACES and not name.endswith(_SPEEDS) and isinstance(number, int | float):
            calls.log(name, number)


class Unlogged(Passive):
    """Stands in for a session while a trainer tries its validation: that is no part of the training, and the trainer
    itself drops what it logs there. Arguments are the session's."""

    def __init__(self, around: Session) -> None:
        super().__init__()
        self._around = around

    def arg(self, name: str, default: object) -> Any:
        return self._around.arg(name, default)

    @classmethod
    def begin(cls) -> None:
        """From now on nothing that is logged is recorded."""
        session.install(cls(calls.current_session()))

    @staticmethod
    def end() -> None:
        """What is logged is recorded again."""
        installed = session.installed()
        if isinstance(installed, Unlogged):
            session.install(installed._around)
