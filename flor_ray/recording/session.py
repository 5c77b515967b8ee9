"""The session that answers this process's calls: the contract, the silent one, and which one is installed.

The others are a Recorder, and a Replayer in a replay process; `flor_ray.calls` chooses.
"""

from __future__ import annotations

import contextlib
import os
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from mmap import mmap
from types import FrameType
from typing import Any, Protocol, TypeVar

from flor_ray.errors import FlorWarning
from flor_ray.recording import flags
from flor_ray.state.driven import DrivenLoop

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class CheckpointOptions:
    """What a script says of its checkpoints, besides what is in them."""

    overhead: float | None = None  # share of the run's time that recording may cost; 1 or more: after every epoch
    compress: bool | None = None  # None: where it pays


@dataclass(frozen=True, slots=True)
class Steering:
    """What a replay wants of a main loop that a library runs."""

    jumps: bool = False  # which epoch comes next is the replay's choice, not the library's
    skips_steps: bool = False  # the steps of this epoch are not run: the state at their end is put back


class Session(Protocol):
    """What the public functions delegate to."""

    def arg(self, name: str, default: object) -> Any:
        """The value of a hyper-parameter; see `calls.arg`.

        Raises:
            BadArgument: the text on the command line does not fit the type of `default`.
        """

    def log(self, name: str, value: T) -> T:
        """Take a value at the program's present place, and return it unchanged; see `calls.log`."""

    def loop(
        self, name: str | None, iterable: Iterable[T], frame: FrameType, driven: DrivenLoop | None = None
    ) -> Iterator[T]:
        """The elements of `iterable`, one iteration each; see `calls.loop`. `frame` is the caller's, whose variables
        the loop carries. No name: its place in the source stands for one. `driven`: a library runs the loop, and this
        is its state."""

    def steering(self) -> Steering:
        """How the present epoch of a main loop that a library runs is to go on."""

    def iteration(self, name: str, frame: FrameType) -> AbstractContextManager[None]:
        """One iteration of a loop that is written by hand; see `calls.iteration`. `frame` is the caller's."""

    def add_targets(self, targets: Mapping[str, Any], options: CheckpointOptions) -> None:
        """From now on checkpoints hold these objects, by name; see `calls.checkpointing`."""


class Passive:
    """A worker process, or a rank that is not the first: everything runs, nothing is recorded.

    Args:
        what: what this process is, for the warning that its first logged value gets. None: a rank that is not the
            first, which logs what the first one does.
        warned: its only byte is 1 once that has been said; forked workers share it, so that one of them says it.
    """

    def __init__(self, what: str | None = None, warned: bytearray | mmap | None = None) -> None:
        self._what = what
        self._warned = bytearray(1) if warned is None else warned

    def arg(self, name: str, default: object) -> Any:
        text = flags.current().kwargs.get(name)
        return default if text is None else flags.convert(name, text, default)

    def log(self, name: str, value: T) -> T:
        if self._what is not None and not self._warned[0]:
            self._warned[0] = 1
            warnings.warn(
                f"`{name}` and all else that process {os.getpid()} logs is not recorded: it is {self._what}, and "
                "flor_ray records the process that runs the script. Return the values from the worker, and log them in "
                "the script.",
                FlorWarning,
                stacklevel=3,
            )
        return value

    def loop(
        self, name: str | None, iterable: Iterable[T], frame: FrameType, driven: DrivenLoop | None = None
    ) -> Iterator[T]:
        return iter(iterable)

    def steering(self) -> Steering:
        return Steering()

    def iteration(self, name: str, frame: FrameType) -> AbstractContextManager[None]:
        return contextlib.nullcontext()

    def add_targets(self, targets: Mapping[str, Any], options: CheckpointOptions) -> None:
        return None


_installed: Session | None = None


def installed() -> Session | None:
    """This process's session, if it has one yet."""
    return _installed


def install(new: Session | None) -> None:
    """Make `new` this process's session (None: choose at the next call)."""
    global _installed
    _installed = new
