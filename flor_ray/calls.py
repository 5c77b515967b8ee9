"""The public calls: `arg`, `log`, `loop`, `checkpointing`, and their older face `MTK`.

first call ──> a worker process?                                    Passive
               a rank that is not the first?                        RankRecorder (flor_ray.recording.rank_recorder)
               --replay_flor in the command line?                   Replayer (flor_ray.by_hand)
               else                                                 Recorder (flor_ray.recording.recorder)
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import sys
import threading
import warnings
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Any, TypeVar

from flor_ray.errors import FlorError, FlorWarning, UsageError
from flor_ray.recording import flags, launch, script, session
from flor_ray.recording.session import CheckpointOptions, Passive, Session

T = TypeVar("T")

_choosing = threading.RLock()


def arg(name: str, default: Any = None) -> Any:
    """A hyper-parameter: `--kwargs name=value` on the command line, else `default`. Recorded once per run.

    The value has the type of `default` (bool, int, float, str; list, tuple and dict are written as JSON). While
    replaying it is the recorded value.

    Raises:
        BadArgument: the text on the command line does not fit the type of `default`.
    """
    return current_session().arg(name, default)


def log(name: str, value: T) -> T:
    """Record `value` under `name` for the current epoch and step, and return it.

    Numbers, strings, bools, None and JSON-like values are kept as they are; arrays, tensors, DataFrames and figures go
    to the object store and are read back as such. The value is copied now: changing it later does no harm.
    """
    return (session.installed() or current_session()).log(name, value)  # a call less, where it is called most


def loop(name: str, iterable: Iterable[T]) -> Iterator[T]:
    """Iterate, telling flor_ray where the program is.

    The outermost loop is the main loop (its iterations are epochs, from 1), the one inside it the nested loop (steps,
    from 0). `break`, `return` and exceptions out of it are fine.
    """
    return current_session().loop(name, iterable, sys._getframe(1))


def iteration(name: str, index: object = None, value: object = None) -> contextlib.AbstractContextManager[None]:
    """One iteration of a loop that `loop` cannot stand for, such as a `while` loop::

        while not converged:
            with flor.iteration("epoch"):
                ...

    Outermost it is an epoch, inside of one a step; they are counted as in `loop`. `index` and `value` are taken for the
    sake of scripts that were written for FlorDB, and count for nothing.
    """
    return current_session().iteration(name, sys._getframe(1))


class checkpointing(contextlib.AbstractContextManager[None]):
    """Keep the state of these objects at the ends of epochs, so that replay can start there.

    Each is anything with `state_dict` and `load_state_dict`, or a picklable object, or a dict, list or tuple of them.
    Random generators and the variables that the main loop carries are kept as well, listed or not. Works as a `with`
    block and as a plain call.

    `overhead` is the share of the run's time that recording may cost: 0.02 (2 %) unless the environment variable
    FLOR_RAY_OVERHEAD says otherwise. Checkpoints are taken as often as that allows, always at the loop's entry and
    after its last epoch; with 1 or more, after every epoch. `compress`: None compresses tensors where that pays, True
    wherever it saves anything, False never; always without loss.

    Raises:
        UsageError: `overhead` is not a positive number, or `compress` is none of these.
    """

    def __init__(
        self, *objects: Any, overhead: float | None = None, compress: bool | None = None, **named: Any
    ) -> None:
        if overhead is not None and not _is_positive(overhead):
            raise UsageError(
                f"checkpointing(overhead={overhead!r}): give the share of the run's time that recording may cost, such "
                "as 0.02 for 2 %, or 1 for a checkpoint after every epoch."
            )
        if compress not in (None, True, False):
            raise UsageError(f"checkpointing(compress={compress!r}): give None (where it pays), True or False.")
        targets = {str(index): value for index, value in enumerate(objects)} | named
        current_session().add_targets(targets, CheckpointOptions(overhead, compress))

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None


def _is_positive(value: object) -> bool:
    return isinstance(value, int | float) and value > 0


class MTK:
    """The older face of the interface, as in the paper: `from flor_ray import MTK as Flor`."""

    @staticmethod
    def checkpoints(*objects: Any, **named: Any) -> None:
        """Keep the state of these objects at the end of every epoch; see `checkpointing`."""
        checkpointing(*objects, **named)

    @staticmethod
    def loop(iterable: Iterable[T], name: str | None = None) -> Iterator[T]:
        """Iterate; the outermost loop is the main loop, the one inside it the nested loop."""
        return current_session().loop(name, iterable, sys._getframe(1))

    log = staticmethod(log)
    arg = staticmethod(arg)


def records_here() -> bool:
    """Whether this process is the one that records its run: no worker process, and the first rank."""
    return _is_first_rank() and _worker() is None


def _is_first_rank() -> bool:
    return launch.rank_of(os.environ) == 0


def _worker() -> str | None:
    """What kind of worker this process is, if it is one that no rank of Ray Train's runs in."""
    if script.in_ray_worker() and "RANK" not in os.environ:
        return "a Ray worker but not a rank of Ray Train"
    return None if multiprocessing.parent_process() is None else "a worker process of the script"


def current_session() -> Session:
    """This process's session; recording begins with the first call."""
    found = session.installed()
    if found is None:
        with _choosing:  # of several threads that call first, one begins the run
            found = session.installed()
            if found is None:
                found = _choose()
                session.install(found)
    return found


def _choose() -> Session:
    worker = _worker()
    if not _is_first_rank():
        return Passive() if worker is not None or flags.current().replaying else _other_rank()
    if worker is not None:
        return Passive(worker)
    if flags.current().replaying:
        from flor_ray import by_hand

        return by_hand.start(flags.current())
    from flor_ray.recording.recorder import Recorder

    return Recorder.start()


def _other_rank() -> Session:
    """That of a rank that is not the first. What rank 0 will not do without (a repository, a store) it says itself."""
    if launch.size_of(os.environ) < 2:
        return Passive()
    from flor_ray.recording.rank_recorder import RankRecorder

    try:
        return RankRecorder.start()
    except FlorError as error:
        warnings.warn(
            f"Nothing of rank {launch.rank_of(os.environ)} can be kept, so that this run cannot be replayed: {error}",
            FlorWarning,
            stacklevel=4,
        )
        return Passive()
