"""A folder in which a version can run again without touching the user's files.

The version's files are written from the store, with the patched sources in place. What git ignores (data sets, caches)
or is too large for a version is not in the store; where the user's folder is at hand, each such file appears as a copy
if it is small, else as a link to it. What becomes of writes, to these files and to any others, is `overlay`'s.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from flor_ray.redaction import is_secret_file
from flor_ray.store.repository import SIZE_LIMIT_BYTES

_POINTER = re.compile(rb"version https://git-lfs\.github\.com/spec/v1\noid sha256:([0-9a-f]{64})\nsize (\d+)\n")
_MAX_LINKS_PER_FOLDER = 10_000  # a folder with more files becomes one link: quick to make
_COPIED_BYTES = 1 << 20  # files up to this are copied: nothing can reach the user's file through a copy
_ALL_COPIED_BYTES = 64 << 20  # and no more than this in all: a data set of many small files is linked
_NEVER_LINKED = {".git", ".flor", ".venv", "venv", "__pycache__", "node_modules"}


@dataclass(frozen=True, slots=True)
class MadeSince:
    """Tells files that were made after a run began and that it did not open: it cannot have seen them."""

    began_ns: int  # unix time
    opened: frozenset[str]  # by the run; relative to the repository's root

    def has(self, name: str, status: os.stat_result) -> bool:
        """Whether this is such a file. Code never is: which files of code a run opened is not known."""
        is_code = name.endswith((".py", ".pyi", ".so", ".pyd", ".pth"))
        return status.st_mtime_ns > self.began_ns and name not in self.opened and not is_code


@dataclass(frozen=True, slots=True)
class Materialised:
    """What of a version's folder is not as it was; paths are relative to the root."""

    newer: tuple[str, ...] = ()  # files of the user's that were made since, and are left out
    unmade: Mapping[str, str] = field(default_factory=dict)  # links that lead out of the folder -> where to


def materialise(
    root: Path,
    files: Mapping[str, tuple[bytes, str]],
    original_root: Path | None,
    versioned: frozenset[str] = frozenset(),
    made_since: MadeSince | None = None,
    places: Collection[str] = (),
) -> Materialised:
    """Write a version's files (path -> bytes, git mode) below `root`, and link what else the user's folder holds, but
    for the `versioned` files: versions hold them, and of others than theirs they had none.

    Links come after all files, so that nothing is written through one. `Store.sources` has looked at the paths. One
    that leads out of the folder is made if the user's own folder has the same, or if it leads to one of the `places`
    outside or below.
    """
    links: dict[Path, str] = {}
    for name, (data, mode) in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if mode == "120000":
            links[path] = _target(name, os.fsdecode(data), original_root)
        elif (original := _behind_pointer(name, data, original_root)) is not None:
            links[path] = str(original)
        else:
            path.write_bytes(data)
            path.chmod(0o755 if mode == "100755" else 0o644)
    trusted = places if original_root is None else [*places, str(original_root)]
    unmade = _make_links(root, links, original_root, trusted)
    if original_root is None or not original_root.is_dir():
        return Materialised((), unmade)
    return Materialised(tuple(_link_unversioned(root, original_root, versioned, made_since)), unmade)


def places_outside(root: str, names: Collection[str]) -> frozenset[str]:
    """Where links out of a folder of the user's lead to; `names` are files and links in it."""
    links = {name: os.readlink(path) for name in names if os.path.islink(path := os.path.join(root, name))}
    outside = {os.path.normpath(os.path.join(root, os.path.dirname(name), target)) for name, target in links.items()}
    return frozenset(place for place in outside if not _is_below(place, [root]))


def _make_links(
    root: Path, links: Mapping[Path, str], original_root: Path | None, places: Collection[str]
) -> dict[str, str]:
    """Make a version's links, and answer those that are not made: where they lead, the user does not say."""
    unmade: dict[str, str] = {}
    inside = []
    for path, target in links.items():
        name = path.relative_to(root).as_posix()
        place = os.path.normpath(path.parent / target)
        if _is_below(place, [root]):
            inside.append((path, name, place))
        elif not (_is_below(place, places) or _has_link(original_root, name, target)):
            unmade[name] = target
            continue
        path.symlink_to(target)
    for path, name, place in inside:  # `a/..` leads elsewhere where `a` is a link itself
        if os.path.realpath(path) != os.path.realpath(place):
            unmade[name] = os.readlink(path)
            path.unlink()
    return unmade


def _is_below(place: str, folders: Collection[str | Path]) -> bool:
    return any(Path(place).is_relative_to(folder) for folder in folders)


def _has_link(original_root: Path | None, name: str, target: str) -> bool:
    """Whether the user's folder, if it is at hand, has this link too."""
    found = None if original_root is None else original_root / name
    return found is not None and found.is_symlink() and _target(name, os.readlink(found), original_root) == target


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def _target(name: str, target: str, original_root: Path | None) -> str:
    """What a link of the version says. One that leads out of the repository says where, for code that follows it past
    our layers."""
    place = os.path.normpath(os.path.join(os.path.dirname(name), target))
    is_outside = place == ".." or place.startswith("../")
    return os.path.normpath(os.path.join(original_root, place)) if original_root and is_outside else target


def _behind_pointer(name: str, data: bytes, original_root: Path | None) -> Path | None:
    """The file for which a pointer of Git LFS stands, where it can be found as it was."""
    pointer = _POINTER.fullmatch(data)
    if pointer is None or original_root is None:
        return None
    digest, size = pointer[1].decode(), int(pointer[2])
    kept = original_root / ".git/lfs/objects" / digest[:2] / digest[2:4] / digest
    for path in (kept, original_root / name):
        if path.is_file() and path.stat().st_size == size:
            with path.open("rb") as file:
                if path is kept or hashlib.file_digest(file, "sha256").hexdigest() == digest:
                    return path
    return None


def _link_unversioned(root: Path, original: Path, tracked: frozenset[str], made_since: MadeSince | None) -> list[str]:
    left_out: list[str] = []
    tracked_folders = {str(parent) for name in tracked for parent in Path(name).parents}
    pending = [original]
    left = _ALL_COPIED_BYTES
    while pending:
        folder = pending.pop()
        try:
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except OSError:  # a folder that cannot be read is not there for the replay either
            continue
        relative = folder.relative_to(original)
        target = root / relative
        if len(entries) > _MAX_LINKS_PER_FOLDER and str(relative) not in tracked_folders and not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            target.symlink_to(folder, target_is_directory=True)
            continue
        for entry in entries:
            name = (relative / entry.name).as_posix()
            if entry.name in _NEVER_LINKED:
                continue
            if entry.is_dir(follow_symlinks=False):
                # A submodule that is not checked out, or what the version has no folder for, such as a link.
                if name not in tracked and not (os.path.lexists(root / name) and not _is_folder(root / name)):
                    pending.append(Path(entry.path))
            elif (
                name in tracked
                and entry.stat(follow_symlinks=False).st_size <= SIZE_LIMIT_BYTES
                and not is_secret_file(name)
            ):
                continue  # part of versions: if it is not in this one, it was not there when it ran
            elif not (root / name).exists() and not (root / name).is_symlink():
                status = entry.stat(follow_symlinks=False)
                if made_since is not None and made_since.has(name, status):
                    left_out.append(name)
                    continue
                (root / name).parent.mkdir(parents=True, exist_ok=True)
                size = status.st_size
                if entry.is_file(follow_symlinks=False) and size <= min(_COPIED_BYTES, left):
                    left -= size
                    shutil.copy2(entry.path, root / name)
                else:
                    (root / name).symlink_to(entry.path)
    return left_out
