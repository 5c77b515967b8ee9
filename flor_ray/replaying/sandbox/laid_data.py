"""Data that a machine has elsewhere, under the paths at which a script looks for it.

    a folder    the layers find it (`Layers.stand_in`): what is at the other place is its lower layer
    a file      a copy in the upper layer if it is small, else a link

Nothing is written but in the replay's own folder, and through no link.
"""

from __future__ import annotations

import os
import posixpath
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from flor_ray.environment.data_places import LocatedFile
from flor_ray.replaying.sandbox.layers import OUTSIDE
from flor_ray.replaying.sandbox.plain_files import MAX_LINKS

_COPIED_BYTES = 1 << 20
_LINKED = 10_000  # files of a folder, for code that opens them past Python


@dataclass(slots=True)
class LaidData:
    """What was laid into one replay's folder. Paths are absolute."""

    folders: dict[str, str] = field(default_factory=dict)  # as a script knows it -> where it is
    files: set[str] = field(default_factory=set)  # in the upper layer
    # folders of the upper layer that hold what a run read, and no more; and which names it saw there: a digest, or ""
    partial: dict[str, str] = field(default_factory=dict)


def lay(
    located: Iterable[LocatedFile], folder: Path, root: Path, original: str, listed: Mapping[str, str]
) -> tuple[LaidData, list[LocatedFile]]:
    """Lay what is not where the script looks for it. `root` has the version's files, and is in `folder`, the replay's;
    `original` is the project's folder on this machine. `listed` are folders whose names the run asked for, with digests
    of these.

    Answers also the files for which there is no room: something of the version's is in the way.
    """
    laying = _Laying(os.path.realpath(folder), os.path.realpath(root), os.path.realpath(original), listed)
    folders_first = sorted(located, key=lambda one: -one.shared)
    left = [one for one in folders_first if one.place and not all(laying.put(one, path) for path in one.asked)]
    return laying.laid, left


class _Laying:
    def __init__(self, folder: str, root: str, original: str, listed: Mapping[str, str]) -> None:
        self.laid = LaidData()
        self._outside = posixpath.join(folder, OUTSIDE)
        self._root, self._original = root, original
        self._listed = {posixpath.join(original, path): digest for path, digest in listed.items()}

    def put(self, one: LocatedFile, path: str) -> bool:
        """Have the file found under a path; False: something is in the way."""
        if one.place == path:
            return True
        found = self._followed(path)
        if found is None:
            return False
        if one.place == found or self._stands_in(found) == one.place:
            return True
        for count in range(one.shared - 1, 0, -1):
            folder, place = _without(found, count), _without(one.place, count)
            if (
                folder
                and os.path.isdir(place)
                and not os.path.lexists(folder)
                and not os.path.lexists(self._upper(folder))
            ):
                if not self._make(self._upper(folder)):
                    return False
                self.laid.folders[folder] = place
                if folder.startswith(f"{self._original}/"):
                    _link_files(place, self._upper(folder))
                return True
        return self._put_file(one, found)

    def _put_file(self, one: LocatedFile, path: str) -> bool:
        upper, above = self._upper(path), posixpath.dirname(path)
        if os.path.isdir(upper) or not self._make(posixpath.dirname(upper)):
            return False
        if os.path.lexists(upper):
            os.unlink(upper)
        if os.stat(one.place).st_size <= _COPIED_BYTES:
            shutil.copy2(one.place, upper)
        else:
            os.symlink(one.place, upper)
        self.laid.files.add(upper)
        recorded = posixpath.dirname(posixpath.join(self._original, one.file.path))
        while above != "/" and not os.path.isdir(above) and self._stands_in(above) is None:
            is_same = posixpath.basename(above) == posixpath.basename(recorded)
            self.laid.partial[self._upper(above)] = self._listed.get(recorded, "") if is_same else ""
            above, recorded = posixpath.dirname(above), posixpath.dirname(recorded)
        return True

    def _followed(self, path: str, links: int = MAX_LINKS) -> str | None:
        """Where links of the version lead on the way to a path, as a script knows it; None for a circle."""
        done = ""
        parts = path.split("/")[1:]
        for number, part in enumerate(parts):
            upper = self._upper(f"{done}/{part}")
            if os.path.islink(upper) and (number < len(parts) - 1 or not self._is_linked(upper)):
                target = posixpath.normpath(posixpath.join(done or "/", os.readlink(upper)))
                rest = parts[number + 1 :]
                return self._followed(posixpath.join(target, *rest), links - 1) if links else None
            done = f"{done}/{part}"
        return done

    def _is_linked(self, upper: str) -> bool:
        """Whether a link stands for the file of the project's folder that has this name, as `workspace` makes them."""
        return os.readlink(upper).startswith(f"{self._original}/")

    def _stands_in(self, path: str) -> str | None:
        """Where a path leads through the folders that were laid."""
        for folder, place in self.laid.folders.items():
            if path == folder or path.startswith(f"{folder}/"):
                return place + path[len(folder) :]
        return None

    def _upper(self, path: str) -> str:
        if path == self._original or path.startswith(f"{self._original}/"):
            return self._root + path[len(self._original) :]
        return self._outside + path

    def _make(self, folder: str) -> bool:
        """Make a folder of the upper layer; False if something else is there."""
        try:
            os.makedirs(folder, exist_ok=True)
        except (FileExistsError, NotADirectoryError):
            return False
        return True


def _without(path: str, count: int) -> str:
    """A path without its last parts."""
    return path.rsplit("/", count)[0]


def _link_files(place: str, folder: str) -> None:
    """Links to the files of a folder, unless there are very many."""
    pending, left = [(place, folder)], _LINKED
    while pending:
        below, target = pending.pop()
        with os.scandir(below) as entries:
            for entry in entries:
                left -= 1
                if left < 0:
                    return
                if entry.is_dir(follow_symlinks=False):
                    os.makedirs(posixpath.join(target, entry.name), exist_ok=True)
                    pending.append((entry.path, posixpath.join(target, entry.name)))
                else:
                    os.symlink(entry.path, posixpath.join(target, entry.name))
