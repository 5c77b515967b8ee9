"""The public calls (`arg`, `log`, `loop`, `checkpointing`, `MTK`) and the session that answers them in this process.

first call ──> a worker process, or a rank that is not the first?   Passive
               --replay_flor in the command line?                   Replayer (flor_ray.replay)
               else                                                 Recorder (flor_ray.recorder)
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from types import FrameType, TracebackType
from typing import Any, Protocol, TypeVar

from flor_ray import flags

T = TypeVar("T")


class Session(Protocol):
    """What the public functions delegate to."""

    def arg(self, name: str, default: object) -> Any: ...

    def log(self, name: str, value: T) -> T: ...

    def loop(self, name: str | None, iterable: Iterable[T], frame: FrameType) -> Iterator[T]: ...

    def add_targets(self, targets: Mapping[str, Any]) -> None: ...


class Passive:
    """A worker process, or a rank that is not the first: everything runs, nothing is recorded."""

    def arg(self, name: str, default: object) -> Any:
        text = flags.current().kwargs.get(name)
        return default if text is None else flags.convert(name, text, default)

    def log(self, name: str, value: T) -> T:
        return value

    def loop(self, name: str | None, iterable: Iterable[T], frame: FrameType) -> Iterator[T]:
        return iter(iterable)

    def add_targets(self, targets: Mapping[str, Any]) -> None:
        return None


_session: Session | None = None


def session() -> Session:
    """This process's session; recording begins with the first call."""
    global _session
    if _session is None:
        _session = _choose_session()
    return _session


def install(new: Session | None) -> None:
    """Make `new` this process's session (None: choose at the next call)."""
    global _session
    _session = new


def _choose_session() -> Session:
    rank = next((os.environ[name] for name in ("RANK", "LOCAL_RANK") if name in os.environ), "0")
    if multiprocessing.parent_process() is not None or rank != "0":
        return Passive()
    if flags.current().replaying:
        from flor_ray import by_hand

        return by_hand.start(flags.current())
    from flor_ray.recorder import Recorder

    return Recorder.start()


# --- the public functions ------------------------------------------------------------------------------------------


def arg(name: str, default: Any = None) -> Any:
    """A hyper-parameter: `--kwargs name=value` on the command line, else `default`. Recorded once per run.

    The value has the type of `default` (bool, int, float, str; list, tuple and dict are written as JSON). While
    replaying it is the recorded value.

    Raises:
        BadArgument: the text on the command line does not fit the type of `default`.
    """
    return session().arg(name, default)


def log(name: str, value: T) -> T:
    """Record `value` under `name` for the current epoch and step, and return it.

    Numbers, strings, bools, None and JSON-like values are kept as they are; arrays, tensors, DataFrames and figures go
    to the object store and are read back as such. The value is copied now: changing it later does no harm.
    """
    return session().log(name, value)


def loop(name: str, iterable: Iterable[T]) -> Iterator[T]:
    """Iterate, telling flor_ray where the program is.

    The outermost loop is the main loop (its iterations are epochs, from 1), the one inside it the nested loop (steps,
    from 0). `break`, `return` and exceptions out of it are fine.
    """
    return session().loop(name, iterable, sys._getframe(1))


class checkpointing(contextlib.AbstractContextManager[None]):
    """Keep the state of these objects at the end of every epoch, so that replay can start there.

    Each is anything with `state_dict` and `load_state_dict`, or a picklable object, or a dict, list or tuple of them.
    Random generators and the variables that the main loop carries are kept as well, listed or not. Works as a `with`
    block and as a plain call.
    """

    def __init__(self, *objects: Any, **named: Any) -> None:
        session().add_targets({str(index): value for index, value in enumerate(objects)} | named)

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None


class MTK:
    """The older face of the interface, as in the paper: `from flor_ray import MTK as Flor`."""

    @staticmethod
    def checkpoints(*objects: Any, **named: Any) -> None:
        """Keep the state of these objects at the end of every epoch; see `checkpointing`."""
        checkpointing(*objects, **named)

    @staticmethod
    def loop(iterable: Iterable[T], name: str | None = None) -> Iterator[T]:
        """Iterate; the outermost loop is the main loop, the one inside it the nested loop."""
        return session().loop(name, iterable, sys._getframe(1))

    log = staticmethod(log)
    arg = staticmethod(arg)
