"""Which files this process opens, from the import of flor_ray on: scripts often read their data before their first call
to us. An audit hook notes paths; `inputs` makes sense of them, and `written` follows those that are changed. Until the
main loop begins it serves `import_seconds`.

Not seen: files that C++ or Rust code opens by itself, but for the functions in `file_functions` once a run is recorded,
and those of other processes, such as a DataLoader's workers: `program_files` looks for what these have changed.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

from flor_ray.environment import import_seconds
from flor_ray.environment.program_files import Surveyor, is_ours
from flor_ray.environment.written_files import WrittenFiles

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
_listed: dict[str, None] = {}  # folders, absolute
_more: set[int] = set()  # hashes of the paths beyond
programs = Surveyor(lambda: _folder)
written = WrittenFiles(programs, followed=lambda path: _follow(path))  # noqa: PLW0108 - which is below


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


def listed() -> tuple[str, ...]:
    """Absolute paths of the folders of which the names were asked for, also by the import of modules."""
    return tuple(_listed)


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


def stop() -> None:
    """Note nothing more: this is a process that was forked from the script's."""
    global _paused
    _paused = True


def note(path: str, how: str) -> None:
    """A library is about to open a file past Python: to r(ead), w(rite) or a(ppend), or d: to write into a folder."""
    if not _paused and how != "d":
        _note(path, {"a": "a+"}.get(how, how), 0)


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    if import_seconds.watching and event in import_seconds.EVENTS:
        import_seconds.note(event, arguments)
    if _paused:
        return
    if event == "open":
        _note(*arguments)
    elif event in _CHANGES:
        _CHANGES[event](arguments)
    elif event in _PROGRAMS and not is_ours(event, arguments):
        with paused():
            programs.before_program()


def _note(path: object, mode: object, flags: object) -> None:
    """Note one file. An exception here would be one of the script's `open`."""
    if type(path) is not str:
        if not isinstance(path, str | bytes | os.PathLike):
            return
        path = os.fsdecode(path)
    done = _done(mode, flags)
    if mode is None and (raw := _absolute(path)) is not None:
        written.is_raw(raw)
    before = _known.get(path, 0)
    if (done == READ == before) or path.endswith(_CODE):
        return
    if not (before or done & WRITTEN) and len(_paths) >= _MOST:
        if len(_more) < _MOST_COUNTED:
            _more.add(hash(path))
        return
    absolute = _absolute(path)
    if absolute is None:
        return
    was = _paths.get(absolute, 0)
    if done & WRITTEN and not was and os.path.isdir(absolute):
        return  # a temporary file without a name is made in it
    _known[path] = before | done
    _paths[absolute] = was | done
    if done & WRITTEN:
        if was == READ:  # under whatever names: from now on it matters when it is read
            _known.clear()
        written.changes(absolute, was_read=bool((was | done) & READ), fluid=done == READ | WRITTEN)
    elif was & WRITTEN:
        written.reads(absolute)


def _follow(path: str) -> bool:
    """Note that another program has changed a file; whether the script has read it."""
    was = _paths.get(path, 0)
    _paths[path] = was | WRITTEN
    _known.clear()
    return bool(was & READ)


def _absolute(path: Any, folder: object = -1) -> str | None:
    """An absolute path; None for what is none. `folder` is a descriptor, or -1."""
    if not isinstance(path, str | bytes | os.PathLike):
        return None
    text: str = os.fsdecode(path)
    try:
        if isinstance(folder, int) and folder >= 0 and not text.startswith("/"):
            text = os.path.join(os.readlink(f"/proc/self/fd/{folder}"), text)
        return os.path.abspath(text)
    except OSError:  # the working directory is gone
        return None


def _changed(path: Any, folder: object = -1, is_folder: bool = False) -> None:
    absolute = _absolute(path, folder)
    if absolute is not None:
        was = _paths.get(absolute, 0)
        _paths[absolute] = was | WRITTEN
        if was == READ:
            _known.clear()
        written.changes(absolute, was_read=bool(was & READ), folder=is_folder)


def _renamed(old: Any, new: Any, old_folder: object = -1, new_folder: object = -1) -> None:
    source, target = _absolute(old, old_folder), _absolute(new, new_folder)
    if source is not None and target is not None:
        was = _paths.get(source, 0) | _paths.get(target, 0)
        for path in (source, target):
            _paths[path] = _paths.get(path, 0) | WRITTEN
        if was & READ:
            _known.clear()
        written.renames(source, target, was_read=bool(was & READ))


def _lists(path: Any) -> None:
    if len(_listed) < _MOST and (absolute := _absolute("." if path is None else path)) is not None:
        _listed[absolute] = None


def _connected(database: Any) -> None:
    """SQLite opens a file: it reads and changes it from now on."""
    if isinstance(database, str | bytes | os.PathLike) and os.fsdecode(database) not in (":memory:", ""):
        path = os.fsdecode(database)
        _note(path.removeprefix("file:").partition("?")[0] if path.startswith("file:") else path, "r+", 0)


def _remove_tree(folder: Any) -> None:
    absolute = _absolute(folder)
    if absolute is not None:
        written.removes_tree(absolute)


def _mapped(descriptor: Any, access: Any) -> None:
    if descriptor >= 0 and access not in (mmap.ACCESS_READ, mmap.ACCESS_COPY):
        with contextlib.suppress(OSError):
            written.is_raw(os.readlink(f"/proc/self/fd/{descriptor}"))


_PROGRAMS = frozenset(("subprocess.Popen", "os.system", "os.posix_spawn", "os.fork", "os.forkpty"))

_CHANGES: dict[str, Callable[[tuple[Any, ...]], None]] = {
    "mmap.__new__": lambda given: _mapped(given[0], given[2]),
    "os.listdir": lambda given: _lists(given[0]),
    "os.scandir": lambda given: _lists(given[0]),
    "os.remove": lambda given: _changed(*given),
    "os.rmdir": lambda given: _changed(given[0], given[1], is_folder=True),
    "os.mkdir": lambda given: _changed(given[0], given[2], is_folder=True),
    "os.truncate": lambda given: _changed(given[0]),
    "os.rename": lambda given: _renamed(*given),
    "os.link": lambda given: _changed(given[1], given[3]),
    "os.symlink": lambda given: _changed(given[1], given[2]),
    "shutil.rmtree": lambda given: _remove_tree(given[0]),
    "sqlite3.connect": lambda given: _connected(given[0]),
    "tempfile.mkstemp": lambda given: written.is_random(given[0]),
    "tempfile.mkdtemp": lambda given: written.is_random(given[0]),
    "os.chdir": lambda given: _known.clear(),
    "os.fchdir": lambda given: _known.clear(),
}


def _done(mode: object, flags: object) -> int:
    if isinstance(mode, str):
        if "+" in mode:
            return READ | WRITTEN
        return READ if mode.startswith("r") else WRITTEN
    if isinstance(flags, int) and flags & _WRITING:
        return READ | WRITTEN if flags & os.O_RDWR and not flags & os.O_CREAT else WRITTEN
    return READ
