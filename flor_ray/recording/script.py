"""The training script that runs in this process: its main frame, sources, classes and age. No recording here."""

from __future__ import annotations

import contextlib
import linecache
import os
import sys
import sysconfig
import threading
import time
import types
from collections.abc import Callable, Mapping
from pathlib import Path
from types import FrameType
from typing import Any

from flor_ray import processes
from flor_ray.analysis.loops import LoopNames, as_recorded, iteration_names, loop_names
from flor_ray.analysis.marks import without_inserted
from flor_ray.redaction import redacted

_STANDARD = os.path.join(os.path.dirname(os.__file__), "")  # where the standard library is


class LoopSources:
    """Source files as they were when the run began, and what their loops carry. `inserted`: lines that a replay has in
    them and the record had not, by resolved path."""

    def __init__(self, inserted: Mapping[str, frozenset[int]] | None = None) -> None:
        self._inserted = inserted or {}
        self._texts: dict[str, str] = {}
        self._names: dict[tuple[str, int], LoopNames] = {}

    def remember(self, filename: str) -> str:
        """Text of a file, read now if it was not read before; "" if it cannot be read."""
        if filename not in self._texts:
            try:
                self._texts[filename] = Path(filename).read_text(encoding="utf-8", errors="surrogateescape")
            except OSError:
                self._texts[filename] = "".join(linecache.getlines(filename))  # a notebook keeps its cells there
        return self._texts[filename]

    def without_inserted(self, filename: str) -> str:
        """A file's text, in which what a replay has besides does nothing."""
        inserted = self._inserted.get(os.path.realpath(filename)) if self._inserted else None
        return without_inserted(self.remember(filename), inserted) if inserted else self.remember(filename)

    def names(self, frame: FrameType) -> LoopNames:
        """What the loop that `frame` is about to enter carries."""
        place = (frame.f_code.co_filename, frame.f_lineno)
        if place not in self._names:
            self._names[place] = self._read(loop_names, *place)
        return self._names[place]

    def iteration_names(self, frame: FrameType) -> LoopNames:
        """What the loop carries of which `frame` is about to enter an iteration."""
        return self._read(iteration_names, frame.f_code.co_filename, frame.f_lineno)

    def _read(self, names_of: Callable[[str, int], LoopNames], filename: str, line: int) -> LoopNames:
        text = self.remember(filename)
        names = names_of(text, line)
        inserted = self._inserted.get(os.path.realpath(filename)) if self._inserted else None
        return as_recorded(names, names_of(without_inserted(text, inserted), line)) if inserted else names


def main_frame(frame: FrameType | None) -> FrameType | None:
    """The frame of the main script's module, looking outwards from `frame`. Text that this module executes in its own
    namespace, such as a configuration, is no script."""
    found = None
    while frame is not None:
        if frame.f_code.co_name == "<module>" and frame.f_globals.get("__name__") == "__main__":
            if found is not None and frame.f_globals is not found.f_globals:
                break
            if found is None or frame.f_code.co_filename == frame.f_globals.get("__file__"):
                found = frame
        frame = frame.f_back
    return found


def frame_and_file(caller: FrameType) -> tuple[FrameType | None, Path | None]:
    """The script that `caller` is code of: its main frame, which a worker of Ray has not, and its file; None: it has
    none."""
    in_worker = in_ray_worker()
    frame = None if in_worker else main_frame(caller)
    filename = frame.f_globals.get("__file__") if frame is not None else file_of_thread()
    if in_worker:
        filename = outermost_file(caller)
    return frame, Path(filename).resolve() if filename else None


def module_name(frame: FrameType) -> str:
    """Name of the module that runs as the main script, `pkg.train` of `python -m pkg.train`; "" if it runs as a
    file."""
    spec = frame.f_globals.get("__spec__")
    if spec is None or spec.loader is None or spec.name == "__main__":
        return ""
    return str(spec.name) if spec.origin == frame.f_globals.get("__file__") else ""


def file_of_thread() -> str | None:
    """The file of the script that has started this thread; None in the main thread, whose frames lead there."""
    is_main = threading.current_thread() is threading.main_thread()
    return None if is_main else getattr(sys.modules.get("__main__"), "__file__", None)


def users_place(frame: FrameType | None, root: Path) -> tuple[str, int] | None:
    """File (relative to `root`) and line of the innermost code of the user's among these frames; None: there is none
    below `root`."""
    while frame is not None:
        path = users_file(frame.f_code.co_filename, root)
        if path is not None and (frame.f_globals.get("__name__") or "").partition(".")[0] != "flor_ray":
            return path, frame.f_lineno
        frame = frame.f_back
    return None


def users_file(filename: str, root: Path) -> str | None:
    """A file relative to `root`, which is resolved; None if it is not below that, or a library's."""
    path = Path(os.path.realpath(filename))
    is_users = path.is_relative_to(root) and "site-packages" not in path.parts
    return path.relative_to(root).as_posix() if is_users else None


def error_line(error: BaseException) -> str:
    """How a run failed that ended with this error, in one line."""
    return redacted(f"{type(error).__name__}: {error}".splitlines()[0])[:500]


def in_ray_worker() -> bool:
    """Whether this is a worker process of Ray, which runs functions of a script but is not its process."""
    main = getattr(sys.modules.get("__main__"), "__file__", None) or ""
    return "ray" in sys.modules and os.path.basename(main) == "default_worker.py"


def outermost_file(frame: FrameType | None) -> str | None:
    """The file of the outermost function that is no library's: what a worker of Ray was told to run."""
    found = None
    libraries = (sysconfig.get_path("stdlib"), sysconfig.get_path("purelib"), sysconfig.get_path("platlib"))
    ray_itself = getattr(sys.modules["__main__"], "__file__", None)  # its worker's script, wherever Ray is installed
    while frame is not None:
        name, module = frame.f_code.co_filename, frame.f_globals.get("__name__") or ""
        ours = name == ray_itself or name.startswith(libraries) or module.startswith(("flor_ray.", "ray."))
        if os.path.isfile(name) and not ours:
            found = name
        frame = frame.f_back
    return found


_CYTHONS = ("_cython_", "cython_runtime")  # modules of no file that extensions make


def users_code(root: Path) -> Callable[[Any], bool]:
    """A test for functions, classes and modules that are defined below `root`, rather than in a library."""
    known: dict[str, bool] = {"__main__": True}
    below = os.path.join(root, "")

    def test(thing: Any) -> bool:
        name = thing.__name__ if isinstance(thing, types.ModuleType) else getattr(thing, "__module__", None)
        if not isinstance(name, str):
            return False
        if name not in known:
            module = thing if isinstance(thing, types.ModuleType) else sys.modules.get(name)
            known[name] = _is_below(getattr(module, "__file__", None), below) or _is_made_by_hand(module)
        return known[name]

    return test


def _is_made_by_hand(module: types.ModuleType | None) -> bool:
    """Whether a script has made a module of no file, as `types.ModuleType("settings")`. Libraries make them too, within
    packages of their own."""
    if type(module) is not types.ModuleType or "." in module.__name__ or module.__name__.startswith(_CYTHONS):
        return False
    return getattr(module, "__file__", None) is None and module.__spec__ is None and not hasattr(module, "__path__")


def _is_below(path: str | None, folder: str) -> bool:
    """Whether a module's file lies in a folder, and is no library's. Thousands of modules are asked before a loop
    begins: texts are compared, and few files are looked at."""
    if not path or path.startswith(_STANDARD) or "site-packages" in path.split(os.sep):
        return False
    return os.path.realpath(path).startswith(folder)


def taken_by(
    script: str, text: str, root: Path, is_users: Callable[[Any], bool]
) -> Callable[[frozenset[str]], frozenset[str]]:
    """A choice of the objects that a script takes something from, as its text and the user's modules that have been
    imported by then tell."""

    def taken(names: frozenset[str]) -> frozenset[str]:
        from flor_ray.analysis.taking.taken import taken_from  # most scripts need none of this

        files = {script: text}
        for name, module in list(sys.modules.items()):
            path = getattr(module, "__file__", None)
            if name != "__main__" and isinstance(path, str) and path.endswith(".py") and is_users(module):
                with contextlib.suppress(OSError, ValueError):  # it is no longer there, or reached by a link
                    relative = Path(path).resolve().relative_to(root).as_posix()
                    files.setdefault(relative, Path(path).read_text("utf-8", "surrogateescape"))
        found = taken_from(names, script, files)
        return frozenset(name for name in names if found[name].regions)

    return taken


def is_compiled_from(frame: FrameType, text: str) -> bool:
    """Whether the module that runs in `frame` was compiled from this text."""
    try:
        code = compile(text.encode("utf-8", "surrogateescape"), frame.f_code.co_filename, "exec", dont_inherit=True)
    except (SyntaxError, ValueError):
        return False
    return code == frame.f_code


def process_started() -> float:
    """When this process began, on the clock of `time.perf_counter`: imports are part of what a run costs."""
    return time.perf_counter() - processes.age_seconds()
