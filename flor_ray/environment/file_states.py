"""What the files were that a run has written, at its checkpoints: what `written_files` described, read again. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from flor_ray.environment.written_files import ABSENT, FOLDER, FROM_START, LOST, UNREAD
from flor_ray.records import FileState, Point, WrittenFile

_ORDER = (Point.NESTED_EXIT, Point.EPOCH_END)


def state_at(file: WrittenFile, epoch: int = FROM_START, point: Point = Point.EPOCH_END) -> FileState:
    """What a file is at a checkpoint; without one, when the run begins."""
    place = epoch, _ORDER.index(point)
    found = file.states[0]
    for state in file.states:
        if (state.epoch, _ORDER.index(state.point)) <= place:
            found = state
    return found


def lost_at(files: Iterable[WrittenFile], epoch: int = FROM_START, point: Point = Point.EPOCH_END) -> dict[str, str]:
    """Files that the run reads as they are at a checkpoint, and whose content is not kept; and why."""
    states = ((file.path, state_at(file, epoch, point)) for file in files)
    return {path: state.why or "it was being read when the run ended" for path, state in states if state.kept == LOST}


def written_and_read(files: Iterable[WrittenFile]) -> tuple[str, ...]:
    """Files that the run has both written and read."""
    others = (ABSENT, UNREAD, FOLDER)
    return tuple(file.path for file in files if any(state.kept not in others for state in file.states))
