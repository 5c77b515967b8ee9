"""The data that a project's versions have read: where they are, and how they come into the store."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from flor_ray.environment.data_places import FileSource, LocatedFile
from flor_ray.environment.inputs import InputFile
from flor_ray.errors import UsageError
from flor_ray.replaying.data import DataFinder, name_of
from flor_ray.store import stored_data
from flor_ray.store.project import Project


@dataclass(frozen=True, slots=True)
class NeededFile:
    """A file as some versions read it."""

    file: InputFile
    located: LocatedFile  # on this machine
    versions: tuple[str, ...]
    is_stored: bool


@dataclass(frozen=True, slots=True)
class PushedFile:
    """What became of a file that was to be put into the store."""

    needed: NeededFile
    new_bytes: int = 0
    why_not: str = ""  # it was not put there


def needed(project: Project) -> tuple[NeededFile, ...]:
    """All files that versions have read and not written themselves, by path.

    Raises:
        NothingRecorded: there are no versions.
        StoreError: the store cannot be read.
    """
    finder, names = DataFinder(fetches=False), stored_data.names(project.store.files)
    found: dict[InputFile, LocatedFile] = {}
    versions: dict[InputFile, list[str]] = {}
    for experiment in project.experiments():
        for one in finder.locate(experiment.environment, project.data, project.tree.root, project.store):
            found.setdefault(one.file, one)
            versions.setdefault(one.file, []).append(experiment.version)
    every = (NeededFile(file, one, tuple(versions[file]), name_of(file) in names) for file, one in found.items())
    return tuple(sorted(every, key=lambda each: (each.file.path, each.versions)))


def push(project: Project, paths: Sequence[str]) -> Iterator[PushedFile]:
    """Put the files at or below these paths of this machine, or all that are here, into the store, as far as versions
    have read them as they are. One after the other, as it is done.

    Raises:
        UsageError: of one of the paths, no version has read anything as it is now.
        StoreError: the store cannot be read or written.
    """
    known = needed(project)
    chosen: dict[str | None, NeededFile] = {}
    for path in paths or [""]:
        at_path = [one for one in known if not path or _is_at(one, os.path.abspath(path))]
        here = [one for one in at_path if one.located.source in (FileSource.HERE, FileSource.MAPPED)]
        if path and not any("://" not in one.located.place for one in here):
            raise UsageError(f"{path}: {_why_nothing(at_path)} `flor-ray data` lists what versions have read.")
        chosen |= {name_of(one.file) or one.file.path: one for one in here if "://" not in one.located.place}
    return (_pushed(project, one) for one in chosen.values())


def _is_at(one: NeededFile, path: str) -> bool:
    places = {one.located.place, *one.located.asked, *map(os.path.realpath, one.located.asked)}
    return any(place == path or place.startswith(f"{path.rstrip('/')}/") for place in places)


def _why_nothing(at_path: Iterable[NeededFile]) -> str:
    if any(one.located.differs for one in at_path):
        return "what is there now is not what any version has read."
    return "no version has read a file there that is here."


def _pushed(project: Project, one: NeededFile) -> PushedFile:
    file, store = one.file, project.store
    name = name_of(file)
    if name is None:
        return PushedFile(one, why_not="files with secrets are not put into the store")
    if one.is_stored:
        return PushedFile(one)
    whole = None if file.sampled else file.hash
    try:
        new = stored_data.push(store.files, store.objects, name, one.located.place, not one.located.unsure, whole)
    except (OSError, ValueError) as error:
        return PushedFile(one, why_not=str(error))
    return PushedFile(one, new)
