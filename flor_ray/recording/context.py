"""Where in a run the program is: epoch, step, and the ordinal of each logged name. Pure bookkeeping.

    flor.loop depth     role       epoch   step
    first, outermost    MAIN       e
    inside it           NESTED     e       s
    inside that         DEEPER     e       s      (repeated logs get iteration 0, 1, ...)
    any other           OUTSIDE
    in another thread   ELSEWHERE

Recording and replaying share it, so that a value has the same key (epoch, step, name, iteration) in both. Any thread
may log; the loops of one thread only, that which entered the main loop, say where the program is.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from enum import Enum, auto

from flor_ray.records import Level


class Role(Enum):
    """What a loop is to the run: its main loop (epochs), one inside it (steps), one below that, none of these, or one
    of another thread while the main loop runs."""

    MAIN = auto()
    NESTED = auto()
    DEEPER = auto()
    OUTSIDE = auto()
    ELSEWHERE = auto()


@dataclass(slots=True)
class Context:
    """`waits` is true while the script is known to call checkpointing later: loops before it are not the main loop."""

    waits: bool = False
    epoch: int | None = None
    step: int | None = None
    stack: list[Role] = field(default_factory=list)
    main_seen: bool = False
    nested_in_epoch: int = 0  # nested loops entered in this epoch
    steps: int = 0  # of the longest of them
    epochs: int = 0  # begun so far
    iterations: str | None = None  # name of the main loop, if it is written as iterations
    # A key is given out, and an epoch begun, in one go. The same thread may come in again: signal handlers log too.
    lock: threading.RLock = field(default_factory=threading.RLock)
    _thread: int = 0  # that entered the main loop
    _steps: dict[str, int] = field(default_factory=dict)  # iterations of nested loops that are written so
    _outside: dict[str, int] = field(default_factory=dict)
    _outer: dict[str, int] = field(default_factory=dict)
    _inner: dict[str, list[int]] = field(default_factory=dict)  # per name, counts by step

    def enter(self) -> Role:
        """Role of the loop that begins now."""
        if self._is_elsewhere():
            return Role.ELSEWHERE
        if not self.stack:
            role = Role.OUTSIDE if self.main_seen or self.waits else Role.MAIN
            self.main_seen |= role is Role.MAIN
            self._thread = threading.get_ident()
        elif self.stack[-1] is Role.MAIN:
            role = Role.NESTED
            self.nested_in_epoch += 1
        else:
            role = Role.OUTSIDE if Role.MAIN not in self.stack else Role.DEEPER
        self.stack.append(role)
        return role

    def enter_iteration(self, name: str) -> Role:
        """Role of one iteration of a loop that has no other face than its iterations. Begins an epoch, or a step."""
        if self._is_elsewhere():
            return Role.ELSEWHERE
        if not self.stack:
            self._thread = threading.get_ident()
            again = self.main_seen and self.iterations == name
            role = Role.MAIN if again or not (self.main_seen or self.waits) else Role.OUTSIDE
            if role is Role.MAIN:
                self.main_seen, self.iterations = True, name
                self.begin_epoch(self.epochs + 1)
        elif self.stack[-1] is Role.MAIN:
            role = Role.NESTED
            step = self._steps.get(name, 0)
            self.begin_step(step)
            self._steps[name] = step + 1
            self.nested_in_epoch += step == 0
        else:
            role = Role.OUTSIDE if Role.MAIN not in self.stack else Role.DEEPER
        self.stack.append(role)
        return role

    def leave(self, role: Role) -> None:
        """The innermost loop of this role has ended, and with it whatever it still holds open."""
        if role is Role.ELSEWHERE:
            return
        while self.stack:
            if self.stack.pop() is role:
                break
        if role is Role.MAIN:
            self.epoch = self.step = None
        elif role is Role.NESTED:
            self.step = None

    @property
    def is_loops_thread(self) -> bool:
        """Whether the calling thread is the one whose loops say where the program is."""
        return self._thread == threading.get_ident()

    def _is_elsewhere(self) -> bool:
        return bool(self.stack) and not self.is_loops_thread

    def begin_epoch(self, epoch: int) -> None:
        """The main loop is at this epoch (from 1): steps and repeated logs are counted afresh."""
        with self.lock:
            self.epoch, self.step, self.nested_in_epoch, self.steps = epoch, None, 0, 0
            self.epochs = epoch
            self._steps.clear()
            self._outer.clear()
            self._inner.clear()

    def begin_step(self, step: int) -> None:
        """The nested loop is at this step (from 0)."""
        self.step, self.steps = step, max(self.steps, step + 1)

    def key(self, name: str) -> tuple[Level, int | None, int | None, int]:
        """Level, epoch, step and iteration of a value that is logged now under `name`; given out once."""
        with self.lock:
            epoch, step = self.epoch, self.step
            if epoch is None:
                return Level.DATA_PREP, None, None, self.count_outside(name)
            if step is None:
                iteration = self._outer.get(name, 0)
                self._outer[name] = iteration + 1
                return Level.OUTER, epoch, None, iteration
            counts = self._inner.get(name)
            if counts is None:
                counts = self._inner[name] = []
            if len(counts) <= step:
                counts.extend([0] * (step + 1 - len(counts)))
            iteration = counts[step]
            counts[step] = iteration + 1
            return Level.INNER, epoch, step, iteration

    def count_outside(self, name: str) -> int:
        """Iteration of a value that belongs to the whole run, wherever it is logged."""
        with self.lock:
            iteration = self._outside.get(name, 0)
            self._outside[name] = iteration + 1
            return iteration
