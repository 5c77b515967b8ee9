"""Which files this process opens, from the import of flor_ray on: scripts often read their data before their first call
to us. An audit hook notes paths; `inputs` makes sense of them. Until the main loop begins it serves `import_seconds`.

Not seen: files that C++ or Rust code opens by itself, and those of other processes, such as a DataLoader's workers.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Iterator

from flor_ray.environment import import_seconds

READ, WRITTEN = 1, 2  # what was done to a file; both can be

_MOST = 4000  # paths that are kept
_MOST_COUNTED = 200_000  # and that are counted beyond these
_CODE = (".py", ".pyc", ".pyi", ".so", ".pth", ".pyd", ".dist-info", ".egg-link")
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND

_began_ns = 0  # unix time; 0: not watching
_folder = ""  # in which the process was started
_paused = False
_known: dict[str, int] = {}  # as they were given -> what was done
_paths: dict[str, int] = {}  # absolute -> what was done
_more: set[int] = set()  # hashes of the paths beyond


def watch() -> None:
    """Begin to note. There is no end: audit hooks stay."""
    global _began_ns, _folder
    if not _began_ns:
        _began_ns = time.time_ns()
        _folder = _folder_at_start()
        import_seconds.watch()
        sys.addaudithook(_hook)


def began_ns() -> int:
    """Unix time from when on files are noted, in nanoseconds."""
    return _began_ns


def folder_at_start() -> str:
    """The working directory in which the process was started, as far as that can be told: scripts go to others."""
    return _folder


def _folder_at_start() -> str:
    """The script's path, without what the command line said of it. Else where the process is now: nearly always the
    same, since a script imports us at its top."""
    main = sys.modules.get("__main__")
    file, spec = getattr(main, "__file__", None) or "", getattr(main, "__spec__", None)
    said = "" if spec is None else f"{spec.name.replace('.', '/')}.py"  # python -m looks in the working directory first
    if spec is None and sys.argv:
        said = sys.argv[0]
    if said and file.endswith(f"/{said}") and (spec is None or file.removesuffix(f"/{said}") == sys.path[0]):
        return file.removesuffix(f"/{said}") or "/"
    try:
        return os.getcwd()
    except OSError:  # it has been removed
        return ""


def paths() -> dict[str, int]:
    """Absolute paths of the files that were opened, in that order, with READ, WRITTEN or both."""
    return dict(_paths)


def left_out() -> int:
    """How many files were opened beyond those in `paths`."""
    return len(_more)


@contextlib.contextmanager
def paused() -> Iterator[None]:
    """What is opened meanwhile is ours, and not the script's."""
    global _paused
    _paused = True
    try:
        yield
    finally:
        _paused = False


def _hook(event: str, arguments: tuple[object, ...]) -> None:
    if import_seconds.watching and event in import_seconds.EVENTS:
        import_seconds.note(event, arguments)
    if event == "open" and not _paused:
        _note(*arguments)


def _note(path: object, mode: object, flags: object) -> None:
    """Note one file. An exception here would be one of the script's `open`."""
    if type(path) is not str:
        if not isinstance(path, str | bytes | os.PathLike):
            return
        path = os.fsdecode(path)
    done = _done(mode, flags)
    before = _known.get(path, 0)
    if before | done == before or path.endswith(_CODE):
        return
    if not before and len(_paths) >= _MOST:
        if len(_more) < _MOST_COUNTED:
            _more.add(hash(path))
        return
    _known[path] = before | done
    try:
        absolute = os.path.abspath(path)
    except OSError:  # the working directory is gone
        return
    _paths[absolute] = _paths.get(absolute, 0) | done


def _done(mode: object, flags: object) -> int:
    if isinstance(mode, str):
        if mode.startswith("r"):
            return READ | WRITTEN if "+" in mode else READ
        return WRITTEN
    if isinstance(flags, int) and flags & _WRITING:
        return READ | WRITTEN if flags & os.O_RDWR and not flags & os.O_CREAT else WRITTEN
    return READ
