"""Two layers of files, as in an overlay file system: the lower one is only read, the upper one takes every change.

    user's folder   /home/me/project/a.csv   changes go to   <replay>/outside/home/me/project/a.csv   (the workspace,
    any other path  /home/me/out/b.pt                        <replay>/outside/home/me/out/b.pt        which wins)
    kept paths      /dev/null                                /dev/null                           (one layer only)

A removed file is only hidden: the lower one stays. The workspace's links to large files of the user (`workspace`) are
those files; the first change to one replaces the link by a copy. All links are followed by name here, so that a link
in one layer finds its target in the other.

Every call to the system goes through `posix`, whose functions nobody replaces. What is hidden is known to a process and
to those that it forks later, not to its parent.
"""

from __future__ import annotations

import errno
import os
import posix
import stat
from collections.abc import Callable, Iterable, Mapping
from enum import Enum
from typing import NamedTuple

from flor_ray.environment.inputs import digest_of_names
from flor_ray.replaying.sandbox.plain_files import (
    MAX_LINKS,
    copy_whole,
    is_folder,
    link_text,
    locked,
    make_folders,
    real_path,
)

OUTSIDE = "outside"  # the mirror of the file system in a replay's folder
_MAX_FOLDERS = 100_000  # remembered: some 30 MB


class Found(Enum):
    """Where a name is."""

    UPPER = "upper"
    LOWER = "lower"
    LINKED = "linked"  # a link of the workspace, which stands for a file or a folder of the user's
    NOWHERE = "nowhere"


class Folder(NamedTuple):
    """A folder in both layers. Neither place need be there."""

    name: str  # without links
    upper: str
    lower: str | None  # None: this folder has one layer
    kept: bool = False  # its files are changed where they are


class Name(NamedTuple):
    """A file's name in a folder, after links have been followed."""

    folder: Folder
    name: str
    found: Found

    @property
    def full(self) -> str:
        return _join(self.folder.name, self.name)

    @property
    def upper(self) -> str:
        return _join(self.folder.upper, self.name)

    @property
    def lower(self) -> str:
        """Only for folders of two layers."""
        return _join(self.folder.lower or "", self.name)


class Layers:
    """Translates absolute paths. `root` is the workspace; it is in `home`, which belongs to the replay."""

    def __init__(self, root: str, original: str, kept: Iterable[str], home: str) -> None:
        self.root = real_path(root)
        self.home = real_path(home)
        self.outside = _join(self.home, OUTSIDE)
        self.original = real_path(original)
        self._originals = tuple({_join(os.path.abspath(original), ""), _join(self.original, "")})
        self._kept = {path for name in kept for path in (os.path.abspath(name), real_path(name))} - {"/"}
        self._above_kept = {folder for path in self._kept for folder in _parents(path)}
        self._starts = {place: Folder("/", self.outside, "/") for place in ("/", self.outside)}
        self._starts |= {path: Folder(path, path, None, kept=True) for path in self._kept}
        self._starts[self.original] = Folder(self.original, self.root, self.original)
        self._starts[self.home] = Folder(self.home, self.home, None)
        self._starts[self.root] = Folder(self.root, self.root, None)
        self._folders: dict[str, Folder] = {}
        self.forget()
        self._hidden: set[str] = set()
        self.opened: Callable[[str, str], None] = lambda path, how: None  # told what functions of libraries open
        self.listed: Callable[[str], None] = lambda path: None  # told once of each partial folder that is listed
        # of files by device and inode: called whenever the script asks how long one is
        self.asked: dict[tuple[int, int], Callable[[], None]] = {}
        self._partial: dict[str, str] = {}  # folders of the upper layer that hold only what the recorded run read
        self._laid: frozenset[str] = frozenset()  # files of the upper layer that no script has made
        self._left_out: set[str] = set()  # of these, files that the replay must not know of
        self._tell: Callable[[str], None] = lambda path: None

    def stand_in(self, folders: Mapping[str, str], files: Iterable[str], partial: Mapping[str, str]) -> None:
        """Folders, as a script knows them, that are elsewhere on this machine; and what the upper layer was given."""
        for name, place in folders.items():
            is_ours = _is_below(name, self.original)
            upper = self.root + name[len(self.original) :] if is_ours else _join(self.outside, name[1:])
            self._starts[name] = self._starts[upper] = Folder(name, upper, place)
        self._originals += tuple(_join(place, "") for place in folders.values())
        self._laid, self._partial = frozenset(files), dict(partial)
        self.forget()

    def lists(self, folder: Folder) -> None:
        """What is in a folder is asked for."""
        seen = self._partial.pop(folder.upper, None)
        if seen is not None and digest_of_names(self.names(folder)) != seen:
            self.listed(folder.name)

    def leave_out(self, paths: Iterable[str], tell: Callable[[str], None]) -> None:
        """Hide files of the user's; `tell` is called once for each at which the script looks."""
        self._left_out |= set(paths)
        self._hidden |= self._left_out
        self._tell = tell

    # looking

    def find(self, path: str, follow: bool, links: int = MAX_LINKS) -> Name:
        """Where a path leads. Raises OSError for links in a circle."""
        head, _, name = path.rpartition("/")
        if name in ("", ".", ".."):
            folder = self.folder(path, links)
            if folder.name == "/":
                return Name(folder, ".", Found.LOWER)
            head, _, name = folder.name.rpartition("/")
        folder = self.folder(head or "/", links)
        if folder.kept:
            return Name(folder, name, Found.UPPER)
        full = _join(folder.name, name)
        if self._left_out:
            self._look(full)
        if full in self._kept or (full in self._above_kept and link_text(full) is None):
            return Name(Folder(folder.name, folder.name, None, kept=True), name, Found.UPPER)
        target = link_text(_join(folder.upper, name))
        if target is not None:
            if not target:
                return Name(folder, name, Found.UPPER)
            if self._linked(target):
                return Name(folder, name, Found.LINKED)
            return self._follow(folder, name, target, Found.UPPER, follow, links)
        if folder.lower is None or full in self._hidden:
            return Name(folder, name, Found.NOWHERE)
        target = link_text(_join(folder.lower, name))
        if target is None:
            return Name(folder, name, Found.NOWHERE)
        return self._follow(folder, name, target, Found.LOWER, follow, links)

    def _look(self, full: str) -> None:
        path = _join(self.original, full[len(self.root) + 1 :]) if _is_below(full, self.root) else full
        if path in self._left_out:
            self._left_out.discard(path)
            self._tell(path)

    def _follow(self, folder: Folder, name: str, target: str, found: Found, follow: bool, links: int) -> Name:
        if not target or not follow:
            return Name(folder, name, found)
        if links == 0:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), _join(folder.name, name))
        return self.find(os.path.join(folder.name, target), True, links - 1)

    def folder(self, path: str, links: int = MAX_LINKS) -> Folder:
        """Both places of a folder, there or not."""
        folder = self._folders.get(path)
        if folder is None:
            if len(self._folders) > _MAX_FOLDERS:
                self.forget()
            head, _, name = path.rpartition("/")
            parent = self.folder(head or "/", links)
            if name == "..":
                folder = self.folder(os.path.dirname(parent.name), links)
            else:
                folder = parent if name in ("", ".") else self._child(parent, name, links)
            self._folders[path] = folder
        return folder

    def _child(self, parent: Folder, name: str, links: int) -> Folder:
        full = _join(parent.name, name)
        start = self._starts.get(full)
        if start is not None:
            return start
        upper = _join(parent.upper, name)
        if parent.kept:
            return Folder(full, upper, None, kept=True)
        target = link_text(upper)
        if target and not (parent.lower is not None and self._linked(target)):
            return self._leads_to(parent, target, full, links)
        if target:  # a linked folder has no room for changes
            upper = _join(self.outside, full[1:])
        if parent.lower is None or full in self._hidden:
            return Folder(full, upper, None)
        lower = _join(parent.lower, name)
        if target != "" and (below := link_text(lower)):
            return self._leads_to(parent, below, full, links)
        return Folder(full, upper, lower)

    def _leads_to(self, parent: Folder, target: str, full: str, links: int) -> Folder:
        if links == 0:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), full)
        return self.folder(os.path.join(parent.name, target), links - 1)

    def _linked(self, target: str) -> bool:
        return target.startswith(self._originals)

    def forget(self) -> None:
        """Folders may have become others."""
        self._folders = {path: self._starts[path] for path in ("/", self.root)}

    def reading(self, path: str, follow: bool = True) -> str:
        """The file to read for a path."""
        folder = self._folders.get(path.rpartition("/")[0])
        if folder is not None and folder.kept:
            return path
        start = self._starts.get(path)
        if start is not None:
            return start.lower or start.upper
        name = self.find(path, follow)
        if name.found is Found.UPPER or name.folder.lower is None:
            return name.upper
        if name.found is Found.LINKED:
            return name.upper if follow and not is_folder(name.upper) else name.lower
        if name.found is Found.NOWHERE and name.full in self._hidden:
            return name.upper
        return name.lower

    def names(self, folder: Folder) -> dict[str, str]:
        """What is in a folder: names, and the place that holds each. Raises OSError if it is nowhere."""
        if folder.lower is None:
            return dict.fromkeys(posix.listdir(folder.upper), folder.upper)
        if not is_folder(folder.upper):
            names = dict.fromkeys(posix.listdir(folder.lower), folder.lower)
        else:
            names = dict.fromkeys(posix.listdir(folder.lower), folder.lower) if is_folder(folder.lower) else {}
            for name in posix.listdir(folder.upper):
                if name not in names or not self._linked(link_text(_join(folder.upper, name)) or ""):
                    names[name] = folder.upper
        if self._hidden:
            gone = [n for n, place in names.items() if place == folder.lower and _join(folder.name, n) in self._hidden]
            for name in gone:
                del names[name]
        return names

    def is_plain(self, folder: Folder) -> bool:
        """Whether a folder has no second layer, or nothing in it."""
        return folder.lower is None or not (is_folder(folder.upper) or self._hidden)

    # changing

    def writing(self, path: str, follow: bool = True, copy: bool = True, new: bool = False) -> str:
        """The file to change for a path: with what is in it if `copy`, and FileExistsError if it must be `new`."""
        name = self.find(path, follow)
        if name.folder.kept or (name.found is Found.UPPER and not new):
            return name.upper
        if new and name.found is not Found.NOWHERE:
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), path)
        if name.found is Found.NOWHERE:
            self._make_parent(name.folder)
            return name.upper
        linked = name.found is Found.LINKED
        source = name.upper if linked else name.lower
        mode = posix.stat(source).st_mode if linked or follow else posix.lstat(source).st_mode
        if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode) or stat.S_ISLNK(mode)):
            return source  # a pipe, a socket, a device
        if linked and stat.S_ISDIR(mode):
            make_folders(self.folder(path).upper)
            return self.folder(path).upper
        self._make_parent(name.folder)
        with locked(_join(self.home, "overlay.lock")):
            if self.find(path, follow).found is name.found:  # else another process was faster
                copy_whole(source, name.upper, mode, copy)
        return name.upper

    def _make_parent(self, folder: Folder) -> None:
        if folder.lower is not None and is_folder(folder.lower):
            make_folders(folder.upper)

    def new_place(self, path: str) -> str:
        """Where to make a folder or a link, which must not be there yet."""
        return self.writing(path.rstrip("/") or "/", follow=False, new=True)

    def remove(self, path: str, folder: bool) -> None:
        """Remove a file or an empty folder. The lower one is only hidden."""
        name = self.find(path, follow=False)
        remove = posix.rmdir if folder else posix.remove
        if name.folder.lower is None:
            remove(name.upper)
        else:
            if name.found is Found.NOWHERE:
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
            mode = posix.lstat(name.lower if name.found is Found.LOWER else name.upper).st_mode
            _check_kind(stat.S_ISDIR(mode), folder, path)
            if folder and self.names(self.folder(name.full)):
                raise OSError(errno.ENOTEMPTY, os.strerror(errno.ENOTEMPTY), path)
            if name.found is not Found.LOWER:
                remove(name.upper)
        self._hide(name)
        self.forget()

    def rename(self, old: str, new: str) -> None:
        """Move `old` to `new`, which is replaced, as os.replace does. What is only in the lower layer is copied.

        Raises:
            FileNotFoundError: there is no `old`.
        """
        source, target = self.find(old, follow=False), self.find(new, follow=False)
        if source.found is Found.NOWHERE:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), old, None, new)
        if source.folder.lower is not None:
            self._raise_up(source)
        self._make_parent(target.folder)
        if target.found is Found.LOWER or (target.found is Found.UPPER and target.folder.lower is not None):
            is_target_folder = stat.S_ISDIR(posix.lstat(self.reading(target.full, False)).st_mode)
            is_source_folder = stat.S_ISDIR(posix.lstat(source.upper).st_mode)
            if is_target_folder or is_source_folder:
                _check_kind(is_target_folder, is_source_folder, new)
                if self.names(self.folder(target.full)):
                    raise OSError(errno.ENOTEMPTY, os.strerror(errno.ENOTEMPTY), old, None, new)
        posix.rename(source.upper, target.upper)
        self._hide(source)
        self._hide(target)
        self.forget()

    def _raise_up(self, name: Name) -> None:
        """Bring all of a file or a folder into the upper layer."""
        self.writing(name.full, follow=False)
        if name.found is not Found.LINKED and stat.S_ISDIR(posix.lstat(name.upper).st_mode):
            folder = self.folder(name.full)
            for child in self.names(folder):
                self._raise_up(self.find(_join(folder.name, child), follow=False))

    def new_link(self, target: str, path: str) -> tuple[str, str]:
        """What a new symbolic link says, and where it is. Into the user's folder it says the workspace."""
        for prefix in self._originals:
            if target.startswith(prefix):
                target = _join(self.root, target[len(prefix) :])
        place = self.new_place(path)
        self.forget()
        return target, place

    def _hide(self, name: Name) -> None:
        """The workspace's files go by two names, and are gone by both."""
        full = name.full
        if name.folder.lower is None and full.startswith(_join(self.root, "")):
            full = lower = _join(self.original, full[len(self.root) + 1 :])
        elif name.folder.lower is None:
            return
        else:
            lower = name.lower
        if link_text(lower) is not None:
            self._hidden.add(full)

    # what was done

    def may_change(self, path: str, follow: bool = True) -> bool:
        """Whether a change to this very file, not to its upper one, is harmless."""
        path = os.path.abspath(path)
        real = real_path(path) if follow else _join(real_path(os.path.dirname(path)), os.path.basename(path))
        if _is_below(real, self.home) or "/__pycache__" in real or real in self._above_kept:
            return True
        if any(_is_below(path, kept) or _is_below(real, kept) for kept in self._kept):
            return True
        try:
            mode = posix.stat(real).st_mode
        except OSError:
            return False
        return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))

    def changed_outside(self) -> dict[str, int]:
        """Folders, other than the user's, that files were written to, and how many."""
        counts: dict[str, int] = {}
        pending = [self.outside] if is_folder(self.outside) else []
        while pending:
            place = pending.pop()
            for entry in posix.scandir(place):
                if entry.path == self.root or entry.path in self._laid:
                    continue
                if entry.is_dir(follow_symlinks=False):
                    pending.append(entry.path)
                else:
                    name = place[len(self.outside) :] or "/"
                    counts[name] = counts.get(name, 0) + 1
        return counts

    def hidden(self) -> tuple[str, ...]:
        """Files that are there and look removed."""
        return tuple(sorted(name for name in self._hidden if self.find(name, follow=False).found is Found.NOWHERE))


def _check_kind(is_folder: bool, wanted: bool, path: str) -> None:
    if is_folder and not wanted:
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
    if wanted and not is_folder:
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), path)


def _is_below(path: str, folder: str) -> bool:
    return path == folder or path.startswith(_join(folder, ""))


def _parents(path: str) -> list[str]:
    parents = []
    while path != "/":
        path = os.path.dirname(path)
        parents.append(path)
    return parents[:-1]


def _join(folder: str, name: str) -> str:
    return f"{folder}{name}" if folder.endswith("/") else f"{folder}/{name}"
