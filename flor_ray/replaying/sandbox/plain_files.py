"""What layers of files are made with: calls that nobody replaces, since `posix` keeps the system's own functions."""

from __future__ import annotations

import _io
import contextlib
import errno
import fcntl
import os
import posix
import shutil
import stat
from collections.abc import Iterator

MAX_LINKS = 40  # as Linux does


def real_path(path: str) -> str:
    """os.path.realpath, which cannot be asked once its parts are replaced. Links in a circle stay as they are."""
    done, left, links = "", [*reversed(os.path.abspath(path).split("/"))], MAX_LINKS
    while left:
        part = left.pop()
        if part in ("", "."):
            continue
        if part == "..":
            done = done.rpartition("/")[0]
            continue
        target = link_text(f"{done}/{part}") if links else None
        if target:
            links -= 1
            done = "" if target.startswith("/") else done
            left.extend(reversed(target.split("/")))
        else:
            done = f"{done}/{part}"
    return done or "/"


def is_folder(path: str) -> bool:
    """Whether there is a folder at `path`, links followed; False also where that cannot be told."""
    try:
        return stat.S_ISDIR(posix.stat(path).st_mode)
    except OSError:
        return False


def held_files() -> set[tuple[int, int]]:
    """Regular files that this process has open for writing, by device and inode. Those of a script that began before
    its loop are not to be replaced: what it writes would go to a file that nobody finds."""
    found: set[tuple[int, int]] = set()
    for name in posix.listdir("/dev/fd") if is_folder("/dev/fd") else ():
        with contextlib.suppress(OSError):  # that of the listing itself is closed again
            status, flags = posix.fstat(int(name)), fcntl.fcntl(int(name), fcntl.F_GETFL)
            if stat.S_ISREG(status.st_mode) and flags & os.O_ACCMODE != os.O_RDONLY:
                found.add((status.st_dev, status.st_ino))
    return found


def make_folders(path: str) -> None:
    """Make a folder and those above it, where they are missing. Raises OSError where a file is in the way."""
    if not is_folder(path):
        make_folders(os.path.dirname(path))
        try:
            posix.mkdir(path)
        except FileExistsError:  # another thread was faster
            if not is_folder(path):
                raise


def remove_tree(path: str) -> None:
    """Remove a folder with all that is in it, also where a script has forbidden that; links are not followed. What
    cannot be removed stays. In a replay process `shutil.rmtree` would find what is below both layers: every disk."""
    folders = [path]
    for folder in folders:  # which grows: those in it come after it
        with contextlib.suppress(OSError):
            posix.chmod(folder, stat.S_IRWXU)
            with posix.scandir(folder) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(entry.path)
                    else:
                        with contextlib.suppress(OSError):
                            posix.remove(entry.path)
    for folder in reversed(folders):
        with contextlib.suppress(OSError):
            posix.rmdir(folder)


def link_text(path: str) -> str | None:
    """What a link says; "" for all else that is there, None for nothing."""
    try:
        return posix.readlink(path)
    except OSError as error:
        return "" if error.errno == errno.EINVAL else None


@contextlib.contextmanager
def locked(path: str) -> Iterator[None]:
    """Hold a lock among threads and processes; `path` is its file."""
    descriptor = posix.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        posix.close(descriptor)


def copy_whole(source: str, target: str, mode: int, content: bool) -> None:
    """Copy a file; who looks meanwhile sees none or all of it."""
    if stat.S_ISDIR(mode):
        make_folders(target)
        posix.chmod(target, stat.S_IMODE(mode) | stat.S_IRWXU)
        return
    partial = f"{target}.{os.getpid()}.partial"
    if stat.S_ISLNK(mode):
        posix.symlink(posix.readlink(source), partial)
    else:
        with _io.open(partial, "wb") as into:
            if content:
                with _io.open(source, "rb") as origin:
                    shutil.copyfileobj(origin, into, 1 << 20)
        status = posix.stat(source)
        posix.utime(partial, ns=(status.st_atime_ns, status.st_mtime_ns))
        posix.chmod(partial, stat.S_IMODE(mode))
    posix.rename(partial, target)
