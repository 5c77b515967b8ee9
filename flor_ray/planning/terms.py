"""On which terms a replay is planned: how many workers, what it may spend, what it answers first; as users write it.

    end              the last wanted epoch of each version
    peak:accuracy    the epoch at which a feature was greatest
    peak:-loss       the epoch at which it was least
    coarse           coarse to fine, without the last epoch before all others unless `end` is given too
    newest           of epochs that come at the same time, those of newer versions first

Peaks and the end come first, all else follows coarse to fine (`flor_ray.scheduler.priorities`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from flor_ray.errors import UsageError
from flor_ray.records import ANY_SHAPE, NOBODY, Crew, WorkerShape
from flor_ray.wording import parse_seconds

Best = Literal["max", "min"]
_WORDS = "end, coarse, newest, peak:NAME (where a feature is greatest) and peak:-NAME (where it is least)"


@dataclass(frozen=True, slots=True)
class Peak:
    """The epoch at which a feature is best comes first: where it is greatest, or smallest."""

    feature: str
    best: Best = "max"


@dataclass(frozen=True, slots=True)
class First:
    """What comes first."""

    peaks: tuple[Peak, ...] = ()
    end: bool = True
    newest: bool = False


@dataclass(frozen=True, slots=True)
class Query:
    """What one of several users, or of several questions, wants of a replay.

    `share` is its weight: of two queries that both wait, one with twice the share gets twice the worker time.
    """

    names: Sequence[str]
    where: str | None = None
    share: float = 1.0

    def __post_init__(self) -> None:
        if isinstance(self.names, str) or not self.names:
            raise UsageError(f"A query names its features in a list, as in ['grad_norm']; this one has {self.names!r}.")
        if not (self.share > 0 and math.isfinite(self.share)):
            raise UsageError(
                f"{self.share} is no share: give a positive number; twice the share gets twice the worker time."
            )


@dataclass(frozen=True, slots=True)
class Terms:
    """On which terms a replay is planned."""

    workers: int = 1
    gpu_seconds: float | None = None  # of all workers together; None: no limit
    deadline_seconds: float | None = None  # from its start to its end
    first: First | None = None  # None: what suits the schedule, or the end if there is a limit
    price_per_gpu_hour: float | None = None
    way: str = ""  # how workers are started (`Calibration.start`), which a deadline has to wait for; "": they are there
    wait_seconds: float = 1800.0  # without any worker for so long, the replay is given up
    shape: WorkerShape = ANY_SHAPE  # as the user wants it
    crew: Crew = NOBODY  # `workers`, where it is known what they will be
    scales_to: int | None = None  # workers to which the cluster grows, as the user says
    ranks: int = 1  # processes for which each worker has room: of versions that ran as several
    secrets: tuple[str, ...] = ()  # names of variables that replayed scripts need, and may see

    @property
    def limited(self) -> bool:
        return self.gpu_seconds is not None or self.deadline_seconds is not None


def parse_first(text: str | Sequence[str] | None) -> First:
    """Words as in the module docstring, several with commas between or as a list. None or "": the end.

    Raises:
        UsageError: one of them is none of these words.
    """
    words = text.split(",") if isinstance(text, str) else list(text or ())
    found: set[str] = set()
    peaks: list[Peak] = []
    for word in filter(None, map(str.strip, words)):
        kind, colon, feature = word.partition(":")
        if kind == "peak" and feature.strip(" -"):
            name = feature.strip()
            peaks.append(Peak(name[1:].strip(), "min") if name.startswith("-") else Peak(name))
        elif not colon and word in ("end", "coarse", "newest"):
            found.add(word)
        else:
            raise UsageError(f"--first {word} is not known. What can come first: {_WORDS}.")
    return First(tuple(dict.fromkeys(peaks)), "end" in found or "coarse" not in found, "newest" in found)


def parse_budget(budget: float | str | None, deadline: float | str | None) -> tuple[float | None, float | None]:
    """GPU-seconds of all workers together, and seconds from now, of numbers of seconds or spans such as "2h".

    Raises:
        UsageError: one of them is neither, or leaves no time.
    """
    return _seconds(budget, "budget", "of GPU time"), _seconds(deadline, "deadline", "from now")


def parse_wait(wait: float | str | None) -> float:
    """Seconds of a number of them, or of a span. Raises UsageError for what is neither, or no time."""
    return Terms().wait_seconds if wait is None else _seconds(wait, "wait", "for workers") or 0.0


def _seconds(given: float | str | None, name: str, meaning: str) -> float | None:
    seconds = parse_seconds(given) if isinstance(given, str) else given
    if seconds is not None and not (seconds > 0 and math.isfinite(seconds)):
        raise UsageError(f"A {name} of {given} leaves no time to replay in. Write a span {meaning}, as in 30m or 2h.")
    return seconds
