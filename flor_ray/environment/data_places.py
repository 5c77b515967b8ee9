"""Where the files that a run read are on the machine that replays it. Pure: whoever asks says what is there.

    1. where the script looks for it     the same path; and, from where the project is now, the same way as it was then
    2. through the data map              `data:` of flor.yaml: a recorded path, or a folder above it -> a path or a URL
    3. in the store                      put there by `flor-ray data push`
    4. nowhere                           another machine may have it

A place counts if the file there has the recorded fingerprint. One with another file in it counts only for a run that
takes what there is (`VersionJob.as_it_is`), because no machine has the recorded one.
"""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from flor_ray.environment.inputs import LEFT_OUT_KEY, Change, InputFile, Resemblance, recorded
from flor_ray.records import LackingFile

ROOT_KEY, HOME_KEY = "root", "home"  # in an experiment's environment
WITHOUT = "none"  # in place of a path in the data map: the script does without the file, or fetches it itself

# Of these, libraries fetch or make what is not there, or do without it. Files of a hidden folder are settings, mostly.
_OPTIONAL = re.compile(r"(/home/[^/]+|/root|/Users/[^/]+)/(\.|scikit_learn_data/|Library/Caches/)")


@dataclass(frozen=True, slots=True)
class Homes:
    """Folders by which paths of one machine are those of another: the project's, and the user's; "": not known."""

    root: str = ""
    home: str = ""

    @classmethod
    def recorded(cls, environment: Mapping[str, object]) -> Homes:
        """Those of the machine on which a run was recorded."""
        found = (environment.get(key) for key in (ROOT_KEY, HOME_KEY))
        return cls(*(path if isinstance(path, str) and os.path.isabs(path) else "" for path in found))

    @classmethod
    def here(cls, root: str) -> Homes:
        """Those of this machine."""
        return cls(root, os.path.expanduser("~"))


class FileSource(StrEnum):
    """From where a replay has a file."""

    HERE = "here"
    MAPPED = "mapped"
    STORED = "stored"
    NOWHERE = "nowhere"
    WITHOUT = "without"  # the data map says that none is needed


@dataclass(frozen=True, slots=True)
class LocatedFile:
    """A file that a run read, and from where its replay has it."""

    file: InputFile
    source: FileSource
    asked: tuple[str, ...] = ()  # absolute paths under which the script may ask for it
    place: str = ""  # the path of the file that counts, or of another one; "": there is none, or it is yet to be pulled
    shared: int = 0  # last parts of its path that are the same at `place`, so that a folder may stand for all in it
    unsure: bool = False
    differs: bool = False  # what is at `place` is another file

    @property
    def lacking(self) -> LackingFile | None:
        """What the machine lacks; None if it has the file, or need not have it."""
        if self.source is not FileSource.NOWHERE:
            return None
        return LackingFile(self.file.path, self.differs, _OPTIONAL.match(self.file.path) is not None)

    @property
    def change(self) -> Change | None:
        """What a replay has in place of the recorded file; None: that file."""
        if self.source in (FileSource.NOWHERE, FileSource.WITHOUT):
            return Change(self.file.path, missing=not self.differs)
        return Change(self.file.path, surely=False) if self.unsure else None


Compare = Callable[[InputFile, str], Resemblance]  # with what is at a path or a URL


def locate(
    environment: Mapping[str, object],
    data: Mapping[str, str],
    here: Homes,
    compare: Compare,
    stored: Callable[[InputFile], Resemblance],
) -> tuple[LocatedFile, ...]:
    """From where a replay has each file that the recorded run read and did not write itself."""
    then = Homes.recorded(environment)
    files = [file for file in recorded(environment) if not file.rewritten]
    return tuple(_located(file, data, then, here, compare, stored) for file in files)


def lacking(environment: Mapping[str, object], located: Sequence[LocatedFile]) -> tuple[LackingFile, ...]:
    """What the machine lacks of a version's files."""
    found = [file for one in located if (file := one.lacking) is not None]
    left_out = environment.get(LEFT_OUT_KEY)
    if left_out and any(one.source is FileSource.STORED for one in located):
        found.append(LackingFile(f"{left_out} more files"))  # of which nobody knows the names
    return tuple(found)


def _located(
    file: InputFile,
    data: Mapping[str, str],
    then: Homes,
    here: Homes,
    compare: Compare,
    stored: Callable[[InputFile], Resemblance],
) -> LocatedFile:
    asked = asked_paths(file.path, then, here)
    other = ""
    for place in asked:
        found = compare(file, place)
        if found in (Resemblance.EQUAL, Resemblance.UNSURE):
            shared = _shared(asked[0], place)
            return LocatedFile(file, FileSource.HERE, asked, place, shared, found is Resemblance.UNSURE)
        other = other or (place if found is Resemblance.OTHER else "")
    mapped = mapped_place(file.path, data, then, here) if asked else None
    if mapped is not None:
        place, shared = mapped
        if place == WITHOUT:
            return LocatedFile(file, FileSource.WITHOUT, asked, other, differs=bool(other))
        found = compare(file, place)
        if found in (Resemblance.EQUAL, Resemblance.UNSURE):
            return LocatedFile(file, FileSource.MAPPED, asked, place, shared, found is Resemblance.UNSURE)
        other = other or (place if found is Resemblance.OTHER else "")
    found = stored(file) if asked else Resemblance.NONE
    if found in (Resemblance.EQUAL, Resemblance.UNSURE):
        return LocatedFile(file, FileSource.STORED, asked, unsure=found is Resemblance.UNSURE)
    return LocatedFile(file, FileSource.NOWHERE, asked, other, differs=bool(other))


def asked_paths(path: str, then: Homes, here: Homes) -> tuple[str, ...]:
    """Absolute paths under which a script may ask for a file that was recorded under `path`, the likeliest first; none
    for what is no recorded path."""
    if not path or "\0" in path or posixpath.normpath(path) != path or path.startswith(("../", "//")) or path == "..":
        return ()
    if not path.startswith("/"):
        return tuple(dict.fromkeys(posixpath.join(root, path) for root in (here.root, then.root) if root))
    found = [path]
    if then.root and here.root and posixpath.commonpath([path, then.root]) != "/":
        found.append(posixpath.normpath(posixpath.join(here.root, posixpath.relpath(path, then.root))))
    if then.home and here.home and path.startswith(f"{then.home}/"):
        found.append(here.home + path.removeprefix(then.home))
    return tuple(dict.fromkeys(found))


def mapped_place(path: str, data: Mapping[str, str], then: Homes, here: Homes) -> tuple[str, int] | None:
    """Where the data map has a recorded file, a path or a URL, and how many parts of its path that shares."""
    root, home = then.root or here.root or "/", then.home or here.home
    full = posixpath.join(root, path)
    found = None
    for key, target in data.items():
        above = _absolute(key, root, home)
        if full != above and not full.startswith(f"{above.rstrip('/')}/"):
            continue
        if found is None or len(above) > len(found[0]):
            found = above, target
    if found is None:
        return None
    above, target = found
    rest = posixpath.relpath(full, above) if full != above else ""
    if target == WITHOUT:
        return WITHOUT, 0
    shared = rest.count("/") + 2 if rest else 1  # with the folder itself
    if "://" in target:
        return (f"{target.rstrip('/')}/{rest}" if rest else target), 0
    return posixpath.normpath(posixpath.join(_absolute(target, here.root or "/", here.home), rest)), shared


def _absolute(path: str, root: str, home: str) -> str:
    if path == "~" or path.startswith("~/"):
        return posixpath.normpath(home + path[1:])
    return posixpath.normpath(posixpath.join(root, path))


def _shared(first: str, second: str) -> int:
    """How many last parts of two paths are the same."""
    count = 0
    for one, other in zip(reversed(first.split("/")), reversed(second.split("/")), strict=False):
        if one != other:
            break
        count += 1
    return count


def differences(located: Iterable[LocatedFile]) -> tuple[Change, ...]:
    """What a replay has in place of files that the run read, in the order in which it read them."""
    return tuple(change for one in located if (change := one.change) is not None)
