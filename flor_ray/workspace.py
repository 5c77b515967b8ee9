"""A folder in which a version can run again without touching the user's files.

The version's files are written from the store, with the patched sources in place. What git ignores (data sets, caches)
or is too large for a version is not in the store; where the user's folder is at hand, each such file appears as a link
to it. A write to a link first replaces it by a copy of its own, so scripts may overwrite what they like; a write to any
other path inside the user's folder is refused. The guard sees what Python opens and what `torch.save` opens.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from flor_ray.versions import SIZE_LIMIT_BYTES, Repository

_MAX_LINKS_PER_FOLDER = 10_000  # a folder with more files becomes one link: read-only, but quick to make
_NEVER_LINKED = {".git", ".flor", ".venv", "venv", "__pycache__", "node_modules"}
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


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
                (root / name).symlink_to(entry.path)


def guard(root: Path, original_root: Path) -> None:
    """Refuse writes into the user's folder from now on, in this process; links in `root` are copied before a write."""
    protected = os.path.realpath(original_root) + os.sep
    inside = os.path.realpath(root) + os.sep
    if inside.startswith(
        protected
    ):  # the user's folder holds the workspace itself: only what is outside it is protected
        allowed: Callable[[str], bool] = lambda path: path.startswith(inside)  # noqa: E731
    else:
        allowed = lambda path: False  # noqa: E731

    def before_write(name: Any) -> None:
        if not isinstance(name, str | bytes | os.PathLike):
            return  # a file descriptor: it was opened before
        path = os.path.abspath(os.fsdecode(name))
        real = os.path.realpath(path)
        if not real.startswith(protected) or allowed(real):
            return
        if os.path.islink(path) and os.path.realpath(os.path.dirname(path)).startswith(inside.rstrip(os.sep)):
            os.unlink(path)
            if os.path.exists(real):
                shutil.copy2(real, path)
            return
        raise PermissionError(
            f"Replay does not write into your folder: {real}. The script opened it by an absolute path, or it is in a "
            f"folder with more than {_MAX_LINKS_PER_FOLDER} files; let it write below its working directory instead."
        )

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            name, mode, flags = arguments
            writes = (
                any(letter in mode for letter in "wax+") if isinstance(mode, str) else bool((flags or 0) & _WRITING)
            )
            if writes:
                before_write(name)
        elif event in ("os.truncate", "os.chmod", "os.utime"):
            before_write(arguments[0])
        elif event in ("os.remove", "os.rmdir", "shutil.rmtree"):
            _refuse_outside(arguments[0], protected, inside)
        elif event == "os.rename":
            _refuse_outside(arguments[0], protected, inside)
            _refuse_outside(arguments[1], protected, inside)

    sys.addaudithook(hook)
    _guard_torch_save(before_write)


def _refuse_outside(name: Any, protected: str, inside: str) -> None:
    """Removing or renaming acts on a link itself, so only the folder that holds the name matters."""
    path = os.path.abspath(os.fsdecode(name))
    real = os.path.join(os.path.realpath(os.path.dirname(path)), os.path.basename(path))
    if real.startswith(protected) and not real.startswith(inside):
        raise PermissionError(f"Replay does not remove or rename your files: {real}.")


def _guard_torch_save(before_write: Callable[[Any], None]) -> None:
    """torch.save opens files in C++, past Python's audit hooks: check its path first, once torch is imported."""

    class Finder:
        """Wraps torch.save when torch has been imported; finds nothing itself."""

        @staticmethod
        def find_spec(name: str, path: Iterable[str] | None = None, target: Any = None) -> None:
            torch = sys.modules.get("torch")
            save = getattr(torch, "save", None)
            if torch is None or save is None or hasattr(save, "__wrapped__"):
                return
            sys.meta_path.remove(Finder)

            def guarded(obj: Any, f: Any, *args: Any, **kwargs: Any) -> Any:
                before_write(f)
                return save(obj, f, *args, **kwargs)

            guarded.__wrapped__ = save  # type: ignore[attr-defined]
            setattr(torch, "save", guarded)  # noqa: B010 - a module has no attribute `save` for a type checker

    sys.meta_path.insert(0, Finder)
