"""Which checkpoints a version's code can start from: those that lack nothing which it takes something from. Pure.

    opaque    envs, bar           what a checkpoint says that it does not hold
    taken     envs in INNER       what the code, with the statements that are to run, takes, and when
              ─> no epoch starts at the checkpoint; the code after the main loop does

So a progress bar or a log file keeps nobody from starting at a checkpoint, and an environment does.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from flor_ray.analysis import epoch_ends
from flor_ray.analysis.epoch_ends import Marking
from flor_ray.analysis.source import Texts
from flor_ray.analysis.taking.taken import Takings, taken_from
from flor_ray.records import Checkpoint, Point, Region

_IN_EPOCHS = frozenset({Region.HEAD, Region.INNER, Region.TAIL, Region.WHOLE})
_AFTER = frozenset({Region.SUFFIX, Region.WHOLE})
_IN_TAIL = frozenset({Region.TAIL, Region.WHOLE})
_PAST_EXIT = frozenset({Region.HEAD, Region.TAIL, Region.SUFFIX, Region.WHOLE})


@dataclass(frozen=True, slots=True)
class Completeness:
    """What of its checkpoints a version's code can start from."""

    checkpoints: tuple[Checkpoint, ...]  # what they lack for this code is among their `uncaptured`
    taken: frozenset[str] = frozenset()  # of what they do not hold, that from which something is taken
    names: frozenset[str] | None = frozenset()  # by which code may come to that; None: nobody knows


def completeness(checkpoints: Sequence[Checkpoint], script: str, files: Texts, epochs: int) -> Completeness:
    """Of a version that ran `script` for so many epochs. `files` have the statements that are to run."""
    opaque = frozenset().union(*(checkpoint.opaque for checkpoint in checkpoints))
    if not opaque:
        return Completeness(tuple(checkpoints))
    found = _taken_from(opaque, script, frozenset(files.items()))
    carried = frozenset().union(*(c.opaque for c in checkpoints if c.point is Point.EPOCH_END))
    complete = tuple(replace(c, uncaptured=c.uncaptured | _lacking(c, found, carried, epochs)) for c in checkpoints)
    taken = {name: one for name, one in found.items() if one.regions}
    names = [one.names for one in taken.values()]
    return Completeness(complete, frozenset(taken), frozenset().union(*names) if all(names) else None)


@lru_cache(maxsize=256)  # many versions have the same files
def _taken_from(opaque: frozenset[str], script: str, files: frozenset[tuple[str, str]]) -> Mapping[str, Takings]:
    return taken_from(opaque, script, dict(files))


def _lacking(
    checkpoint: Checkpoint, found: Mapping[str, Takings], carried: frozenset[str], epochs: int
) -> frozenset[str]:
    """What a checkpoint does not hold, and what runs from there takes something from."""

    def in_regions(names: Iterable[str], regions: frozenset[Region]) -> frozenset[str]:
        return frozenset(name for name in names if found[name].regions & regions)

    if checkpoint.point is Point.NESTED_EXIT:  # the epochs after it begin with what is carried there
        lacking = in_regions(checkpoint.opaque & carried, _PAST_EXIT)
        return lacking | in_regions(checkpoint.opaque, _IN_TAIL)
    return in_regions(checkpoint.opaque, _AFTER if checkpoint.epoch >= epochs else _IN_EPOCHS)


def marking_for(found: Completeness, script: str, files: Texts, marking: Marking) -> Marking:
    """The end of an epoch answers nothing that may come to what it does not hold."""
    words = epoch_ends.words_at_end(script, files, marking) if found.taken and marking.from_end else frozenset()
    is_left_alone = not words or (found.names is not None and found.names.isdisjoint(words))
    return marking if is_left_alone else replace(marking, from_end={})
