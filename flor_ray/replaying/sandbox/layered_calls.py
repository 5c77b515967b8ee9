"""Python's functions for files, on two layers: each finds the file that a path stands for, and calls the real one.

Descriptors are passed on: what they stand for was opened by a path before. A path that stands for itself is passed on
as it was given, so that relative names stay relative.
"""

from __future__ import annotations

import builtins
import fcntl
import functools
import os
import posix
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from types import FrameType
from typing import Any

from flor_ray.replaying.sandbox.layers import Layers
from flor_ray.replaying.sandbox.plain_files import is_folder

WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_TEMPORARY = getattr(os, "O_TMPFILE", 0)
# Functions of os.path and pathlib that look at a file's status for whether it is there.
_WHETHER = frozenset({"exists", "isfile", "isdir", "samefile", "sameopenfile", "is_file", "is_dir"})


class LayeredCalls:
    """Puts them in place of Python's own."""

    def __init__(self, layers: Layers) -> None:
        self._layers = layers

    def replace(self) -> dict[int, object]:
        """Replace those of os. All that is to be replaced wherever it has been imported, by id."""
        layers = self._layers
        made: dict[str, Callable[..., Any]] = {
            name: self._on_path(getattr(posix, name), layers.reading, follow)
            for name, follow in (
                *((name, True) for name in ("stat", "access", "statvfs", "pathconf", "getxattr", "listxattr")),
                *((name, False) for name in ("lstat", "readlink")),
            )
            if hasattr(posix, name)
        }
        made |= {"fstat": posix.fstat}
        made |= {name: self._telling(made[name]) for name in ("stat", "lstat", "fstat")}
        for name in ("chmod", "chown", "utime", "truncate", "setxattr", "removexattr", "chflags", "lchown", "lchmod"):
            if hasattr(posix, name):
                made[name] = self._on_path(getattr(posix, name), layers.writing, not name.startswith("l"))
        for name in ("mkdir", "mkfifo", "mknod"):
            made[name] = self._on_path(getattr(posix, name), lambda path, _: layers.new_place(path), False)
        for name in ("remove", "unlink", "rmdir"):
            made[name] = self._remove(getattr(posix, name), name == "rmdir")
        for name in ("rename", "replace"):
            made[name] = self._rename(getattr(posix, name))
        made |= {"link": self._link(), "symlink": self._symlink(), "open": self._os_open()}
        made |= {"listdir": self._listdir(), "scandir": self._scandir(), "chdir": self._chdir()}
        opened = self._open(builtins.open)
        replaced: dict[int, object] = {id(builtins.open): opened}
        for name, function in made.items():
            replaced[id(getattr(posix, name))] = function
            setattr(os, name, function)
            for names in (os.supports_dir_fd, os.supports_fd, os.supports_follow_symlinks, os.supports_effective_ids):
                if getattr(posix, name) in names:
                    names.add(function)
        globber = getattr(sys.modules.get("glob"), "_StringGlobber", None)  # from Python 3.13 on, pathlib's
        if globber is not None:
            globber.scandir = staticmethod(made["scandir"])
        shutil.__dict__["_use_fd_functions"] = False  # rmtree by paths, which can be translated
        return replaced

    def _on_path(
        self, function: Callable[..., Any], place: Callable[[str, bool], str], follow: bool
    ) -> Callable[..., Any]:
        @functools.wraps(function)
        def on_path(path: Any = None, *args: Any, **kwargs: Any) -> Any:
            text = absolute(path, kwargs.get("dir_fd"))
            if text is None:
                return function(path, *args, **kwargs)
            found = place(text, kwargs.get("follow_symlinks", follow))
            if found == text:
                return function(path, *args, **kwargs)
            kwargs.pop("dir_fd", None)
            try:
                return function(like(path, found), *args, **kwargs)
            except OSError as error:
                error.filename = os.fspath(path)  # the script knows no other
                raise

        return on_path

    def _telling(self, function: Callable[..., os.stat_result]) -> Callable[..., os.stat_result]:
        """`function`, which tells those who want to know of it that somebody asks how long a file is."""
        asked = self._layers.asked

        @functools.wraps(function)
        def telling(*args: Any, **kwargs: Any) -> os.stat_result:
            status = function(*args, **kwargs)
            if asked and (status.st_dev, status.st_ino) in asked and not _asks_whether(sys._getframe(1)):
                asked[status.st_dev, status.st_ino]()
            return status

        return telling

    def _open(self, function: Callable[..., Any]) -> Callable[..., Any]:
        layers = self._layers

        @functools.wraps(function)
        def opened(file: Any, mode: Any = "r", *args: Any, **kwargs: Any) -> Any:
            opener = kwargs.get("opener") or (args[5] if len(args) > 5 else None)
            text = absolute(file)
            if text is None or not isinstance(mode, str) or (opener and not os.path.isabs(os.fspath(file))):
                return function(file, mode, *args, **kwargs)
            if any(letter in mode for letter in "wax+"):
                found = layers.writing(text, copy="w" not in mode, new="x" in mode)
            else:
                found = layers.reading(text)
            if found == text:
                return function(file, mode, *args, **kwargs)
            try:
                return function(like(file, found), mode, *args, **kwargs)
            except OSError as error:
                error.filename = os.fspath(file)
                raise

        return opened

    def _os_open(self) -> Callable[..., Any]:
        layers = self._layers

        @functools.wraps(posix.open)
        def opened(path: Any, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
            text = absolute(path, dir_fd)
            if text is None:
                return posix.open(path, flags, mode, dir_fd=dir_fd)
            if _TEMPORARY and flags & _TEMPORARY == _TEMPORARY:
                found = layers.writing(text)
            elif flags & WRITING:
                new = bool(flags & os.O_CREAT and flags & os.O_EXCL)
                follow = not (new or flags & os.O_NOFOLLOW)
                found = layers.writing(text, follow, copy=not flags & os.O_TRUNC, new=new)
            else:
                found = layers.reading(text, not flags & os.O_NOFOLLOW)
            try:
                return posix.open(like(path, found), flags, mode)
            except OSError as error:
                error.filename = os.fspath(path)
                raise

        return opened

    def _remove(self, function: Callable[..., Any], folder: bool) -> Callable[..., Any]:
        @functools.wraps(function)
        def remove(path: Any, *, dir_fd: int | None = None) -> None:
            text = absolute(path, dir_fd)
            if text is None:
                function(path, dir_fd=dir_fd)
            else:
                self._layers.remove(text, folder)

        return remove

    def _rename(self, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def rename(src: Any, dst: Any, *, src_dir_fd: int | None = None, dst_dir_fd: int | None = None) -> None:
            old, new = absolute(src, src_dir_fd), absolute(dst, dst_dir_fd)
            if old is None or new is None:
                function(src, dst, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd)
            else:
                self._layers.rename(old, new)

        return rename

    def _link(self) -> Callable[..., Any]:
        @functools.wraps(posix.link)
        def link(
            src: Any,
            dst: Any,
            *,
            src_dir_fd: int | None = None,
            dst_dir_fd: int | None = None,
            follow_symlinks: bool = True,
        ) -> None:
            old, new = absolute(src, src_dir_fd), absolute(dst, dst_dir_fd)
            if old is None or new is None:
                raise TypeError("link: src and dst must be paths")
            posix.link(self._layers.writing(old, follow_symlinks), self._layers.new_place(new))

        return link

    def _symlink(self) -> Callable[..., Any]:
        @functools.wraps(posix.symlink)
        def symlink(src: Any, dst: Any, target_is_directory: bool = False, *, dir_fd: int | None = None) -> None:
            path = absolute(dst, dir_fd)
            if path is None:
                raise TypeError("symlink: dst must be a path")
            posix.symlink(*self._layers.new_link(os.fsdecode(src), path))

        return symlink

    def _listdir(self) -> Callable[..., Any]:
        @functools.wraps(posix.listdir)
        def listdir(path: Any = None) -> list[Any]:
            text = absolute("." if path is None else path)
            if text is None:
                return posix.listdir(path)
            folder = self._layers.folder(text)
            self._layers.lists(folder)
            names = list(self._layers.names(folder))
            return [os.fsencode(name) for name in names] if isinstance(path, bytes) else names

        return listdir

    def _scandir(self) -> Callable[..., Any]:
        layers = self._layers

        @functools.wraps(posix.scandir)
        def scandir(path: Any = None) -> Any:
            text = absolute("." if path is None else path)
            if text is None:
                return posix.scandir(path)
            folder = layers.folder(text)
            layers.lists(folder)
            is_itself = folder.upper == folder.name if folder.lower is None else folder.name == text
            if is_itself and layers.is_plain(folder) and not layers.asked:
                return posix.scandir(path)
            return _Entries(path, folder.upper, layers.names(folder))

        return scandir

    def _chdir(self) -> Callable[..., Any]:
        @functools.wraps(posix.chdir)
        def chdir(path: Any) -> None:
            text = absolute(path)
            if text is None:
                posix.chdir(path)
                return
            folder = self._layers.folder(text)
            posix.chdir(folder.lower if folder.lower and is_folder(folder.lower) else folder.upper)

        return chdir


class _LayeredEntry:
    """An os.DirEntry of either layer, under the path that the script knows."""

    def __init__(self, folder: Any, found: os.DirEntry[str]) -> None:
        self._found = found
        self.name: Any = os.fsencode(found.name) if isinstance(folder, bytes) else found.name
        self.path: Any = self.name if folder is None else os.path.join(os.fspath(folder), self.name)

    def __fspath__(self) -> Any:
        return self.path

    def __repr__(self) -> str:
        return f"<DirEntry {self.name!r}>"

    def inode(self) -> int:
        return self._found.inode()

    def is_symlink(self) -> bool:
        return self._found.is_symlink()

    def is_junction(self) -> bool:
        return False

    def is_dir(self, *, follow_symlinks: bool = True) -> bool:
        if follow_symlinks and self._found.is_symlink():
            return os.path.isdir(self.path)
        return self._found.is_dir(follow_symlinks=False)

    def is_file(self, *, follow_symlinks: bool = True) -> bool:
        if follow_symlinks and self._found.is_symlink():
            return os.path.isfile(self.path)
        return self._found.is_file(follow_symlinks=False)

    def stat(self, *, follow_symlinks: bool = True) -> os.stat_result:
        return os.stat(self.path, follow_symlinks=follow_symlinks)


class _Entries:
    """What os.scandir returns."""

    def __init__(self, folder: Any, upper: str, names: Mapping[str, str]) -> None:
        places = sorted(set(names.values()), key=lambda place: place == upper)
        self._entries = (
            _LayeredEntry(folder, entry)
            for place in places
            for entry in posix.scandir(place)
            if names.get(entry.name) == place
        )

    def __iter__(self) -> Iterator[_LayeredEntry]:
        return self

    def __next__(self) -> _LayeredEntry:
        return next(self._entries)

    def __enter__(self) -> _Entries:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._entries.close()


def absolute(path: Any, folder: int | None = None) -> str | None:
    """An absolute path for what a function was given; None where that is no path, and for it to complain about."""
    if type(path) is not str:
        if isinstance(path, int) or not isinstance(path, str | bytes | os.PathLike):
            return None
        path = os.fsdecode(path)
    if not path:
        return None
    if path[0] == "/":
        return str(path)
    return f"{posix.getcwd() if folder is None else _folder_of(folder)}/{path}"


def _asks_whether(frame: FrameType) -> bool:
    """Whether who looks at a file's status does so only for whether it is there."""
    caller = frame.f_back if frame.f_code.co_name == "stat" and frame.f_back is not None else frame
    return caller.f_code.co_name in _WHETHER


def _folder_of(descriptor: int) -> str:
    if sys.platform == "darwin":
        return os.fsdecode(fcntl.fcntl(descriptor, fcntl.F_GETPATH, bytes(1024)).rstrip(b"\0"))
    return posix.readlink(f"/proc/self/fd/{descriptor}")


def like(path: Any, found: str) -> Any:
    return os.fsencode(found) if isinstance(path, bytes) else found
