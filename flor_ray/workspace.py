"""A folder in which a version can run again without touching the user's files.

The version's files are written from the store, with the patched sources in place. What git ignores (data sets, caches)
or is too large for a version is not in the store; where the user's folder is at hand, each such file appears as a copy
if it is small, else as a link to it. A write to a link first replaces it by a copy of its own, so scripts may overwrite
what they like; a write to any other path inside the user's folder, or through a linked folder, is refused. The guard
sees what Python opens, and what the libraries in `_WRITERS` open past Python; it does not see into other programs that
a script starts.
"""

from __future__ import annotations

import functools
import os
import shutil
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from flor_ray.versions import SIZE_LIMIT_BYTES, Repository

_MAX_LINKS_PER_FOLDER = 10_000  # a folder with more files becomes one link: read-only, but quick to make
_COPIED_BYTES = 1 << 20  # files up to this are copied: nothing can reach the user's file through a copy
_ALL_COPIED_BYTES = 64 << 20  # and no more than this in all: a data set of many small files is linked
_NEVER_LINKED = {".git", ".flor", ".venv", "venv", "__pycache__", "node_modules"}
# Functions that open files in C++ or Rust, past Python's audit hooks: module, name, position and name of the path.
_WRITERS = (
    ("torch", "save", 1, "f"),
    ("safetensors.torch", "save_file", 1, "filename"),
    ("safetensors.numpy", "save_file", 1, "filename"),
    ("pyarrow.parquet", "write_table", 1, "where"),
    ("pyarrow.feather", "write_feather", 1, "dest"),
    ("cv2", "imwrite", 0, "filename"),
)
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


_CHANGES = {"os.truncate", "os.chmod", "os.chown", "os.utime", "os.setxattr", "os.removexattr", "sqlite3.connect"}


def materialise(root: Path, files: Mapping[str, tuple[bytes, str]], original_root: Path | None) -> None:
    """Write a version's files (path -> bytes, git mode) below `root`, and link what else the user's folder holds."""
    for name, (data, mode) in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if mode == "120000":
            path.symlink_to(os.fsdecode(data))
        else:
            path.write_bytes(data)
            path.chmod(0o755 if mode == "100755" else 0o644)
    if original_root is not None and original_root.is_dir():
        _link_unversioned(root, original_root, frozenset(Repository.open(str(original_root)).working_paths()))


def _link_unversioned(root: Path, original: Path, tracked: frozenset[str]) -> None:
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
            if name in tracked and entry.stat(follow_symlinks=False).st_size <= SIZE_LIMIT_BYTES:
                continue  # part of versions: if it is not in this one, it was not there when it ran
            if entry.is_dir(follow_symlinks=False):
                pending.append(Path(entry.path))
            elif not (root / name).exists() and not (root / name).is_symlink():
                (root / name).parent.mkdir(parents=True, exist_ok=True)
                size = entry.stat(follow_symlinks=False).st_size
                if entry.is_file(follow_symlinks=False) and size <= min(_COPIED_BYTES, left):
                    left -= size
                    shutil.copy2(entry.path, root / name)
                else:
                    (root / name).symlink_to(entry.path)


def guard(root: Path, original_root: Path) -> None:
    """Refuse writes into the user's folder from now on, in this process; links in `root` are copied before a write."""
    protected = os.path.realpath(original_root) + os.sep
    inside = os.path.realpath(root) + os.sep

    def before_write(name: Any) -> None:
        if not isinstance(name, str | bytes | os.PathLike):
            return  # a file descriptor: it was opened before
        path = os.path.abspath(os.fsdecode(name))
        real = os.path.realpath(path)
        through_link = path.startswith(inside) and not real.startswith(inside)
        if not through_link and (real.startswith(inside) or not real.startswith(protected)):
            return
        if os.path.islink(path) and os.path.realpath(os.path.dirname(path)).startswith(inside.rstrip(os.sep)):
            os.unlink(path)
            if os.path.exists(real):
                shutil.copy2(real, path)
            return
        raise PermissionError(
            f"Replay does not write into your folder: {real}. The script opened it by an absolute path, or it is in a "
            f"linked folder, or in one with more than {_MAX_LINKS_PER_FOLDER} files; let it write below its working "
            "directory instead."
        )

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            name, mode, flags = arguments
            writes = (
                any(letter in mode for letter in "wax+") if isinstance(mode, str) else bool((flags or 0) & _WRITING)
            )
            if writes:
                before_write(name)
        elif event in _CHANGES:
            before_write(arguments[0])
        elif event == "os.mkdir":
            if not os.path.isdir(arguments[0]):  # else the system says that it is there
                _refuse_outside(_path(arguments[0], arguments[2]), protected, inside)
        elif event in ("os.remove", "os.rmdir", "shutil.rmtree"):
            _refuse_outside(_path(*arguments[:2]), protected, inside)
        elif event in ("os.rename", "os.link"):
            _refuse_outside(_path(arguments[0], arguments[2]), protected, inside)
            _refuse_outside(_path(arguments[1], arguments[3]), protected, inside)
        elif event == "os.symlink":
            _refuse_outside(_path(arguments[1], arguments[2]), protected, inside)

    sys.addaudithook(hook)
    _guard_writers(before_write)


def _path(name: Any, folder: Any = -1) -> str:
    """An absolute path; `folder` is the descriptor of the folder that a relative one is meant in, -1 for none."""
    text = os.fsdecode(name) if not isinstance(name, int) else os.readlink(f"/proc/self/fd/{name}")
    if isinstance(folder, int) and folder >= 0 and not os.path.isabs(text):
        text = os.path.join(os.readlink(f"/proc/self/fd/{folder}"), text)
    return os.path.abspath(text)


def _refuse_outside(path: str, protected: str, inside: str) -> None:
    """Removing or renaming acts on a link itself, so only the folder that holds the name matters."""
    real = os.path.join(os.path.realpath(os.path.dirname(path)), os.path.basename(path))
    if (real + os.sep).startswith(protected) and not (real + os.sep).startswith(inside):
        raise PermissionError(f"Replay does not make, remove or rename files in your folder: {real}.")


def _guard_writers(before_write: Callable[[Any], None]) -> None:
    """Check the paths of `_WRITERS` first, once their modules have been imported."""

    waiting = list(_WRITERS)

    class Finder:
        """Wraps them when it is asked for a later module; finds nothing itself."""

        @staticmethod
        def find_spec(name: str, path: Iterable[str] | None = None, target: Any = None) -> None:
            for entry in waiting[:]:
                module, function, position, keyword = entry
                found = getattr(sys.modules.get(module), function, None)
                if found is not None:
                    waiting.remove(entry)
                    setattr(sys.modules[module], function, _checked(found, position, keyword, before_write))

    sys.meta_path.insert(0, Finder)


def _checked(
    function: Callable[..., Any], position: int, keyword: str, before_write: Callable[[Any], None]
) -> Callable[..., Any]:
    @functools.wraps(function)
    def checked(*args: Any, **kwargs: Any) -> Any:
        before_write(args[position] if len(args) > position else kwargs.get(keyword))
        return function(*args, **kwargs)

    return checked
