"""A replayed script writes where it likes, and no file of the user's changes.

    overlay = install(root, original_root, kept)

From then on, in this process and those that it forks, Python's functions for files work on two layers (`layers`): what
the script writes, removes or renames outside of the replay's own folder happens in a scratch copy there, and later
reads see it. So do the functions in `file_functions`, which open files past Python. Temporary files go to the replay's
folder too, and trackers of experiments are offline (`trackers`). What is no file (devices, pipes, sockets), the caches
of libraries and the `kept` paths are left alone.

Underneath, an audit hook refuses what reaches the system by another way, such as `io.FileIO` by class or a library with
its own reference to a function. Programs that a script starts are not seen, nor are processes that multiprocessing
spawns instead of forking; they only inherit TMPDIR. C++ code that opens files by itself is not seen either.
"""

from __future__ import annotations

import builtins
import functools
import getpass
import os
import posix
import site
import sys
import sysconfig
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from flor_ray import processes
from flor_ray.environment import late_patches
from flor_ray.environment.file_functions import FUNCTIONS, caches, opened_as
from flor_ray.replaying import leftovers
from flor_ray.replaying.sandbox.laid_data import LaidData
from flor_ray.replaying.sandbox.layered_calls import WRITING, LayeredCalls, absolute, like
from flor_ray.replaying.sandbox.layers import OUTSIDE, Layers
from flor_ray.replaying.sandbox.plain_files import make_folders
from flor_ray.replaying.sandbox.trackers import Offline, go_offline

_SENTENCES = 3

_CHANGES = {"os.truncate", "os.chmod", "os.chown", "os.utime", "os.setxattr", "os.removexattr"}
_NAME_CHANGES: dict[str, tuple[int, ...]] = {"os.mkdir": (0,), "os.remove": (0,), "os.rmdir": (0,), "os.symlink": (1,)}
_NAME_CHANGES |= {"os.rename": (0, 1), "os.link": (0, 1)}


class Overlay:
    """What `install` put in place."""

    def __init__(self, layers: Layers, trackers: Offline) -> None:
        self.layers = layers
        self._trackers = trackers

    @property
    def folder(self) -> Path:
        """The replay's own folder, which vanishes with it."""
        return Path(self.layers.home)

    def sentences(self) -> tuple[str, ...]:
        """What was changed outside of the user's folder, or sent to a tracker, and dropped."""
        counts = sorted(self.layers.changed_outside().items(), key=lambda item: (-item[1], item[0]))
        said = [
            f"writes to {folder} went to a scratch copy and were dropped: {_files(count)}"
            for folder, count in counts[:_SENTENCES]
        ]
        if len(counts) > _SENTENCES:
            rest = counts[_SENTENCES:]
            said.append(f"so did writes to {len(rest)} more folders: {_files(sum(count for _, count in rest))}")
        hidden = self.layers.hidden()
        if hidden:
            said.append(f"{_files(len(hidden))} only looked removed, {hidden[0]} among them")
        return (*said, *self._trackers.sentences())


def prepare() -> None:
    """Do what takes time in `install` now, in a process that processes are forked from."""
    functions = [value for value in vars(posix).values() if callable(value)]
    for module, name, *_ in FUNCTIONS:
        found = getattr(sys.modules.get(module), name, None)
        functions += [] if found is None else [found]
    late_patches.look_for([builtins.open, *functions])


_MOST_SOCKET_BYTES = 107  # of the path of a socket
_SOCKET_NAME_BYTES = 40  # that multiprocessing adds to its folder for temporary files


def workspace_in(folder: Path, original_root: str) -> Path:
    """Where a replay has the version's files: in the mirror of the file system in its folder, so that `../data` leads
    from there to where it leads in the user's folder. A name alone, where that is not at hand, is beside the mirror."""
    is_known = os.path.isabs(original_root)
    return folder / OUTSIDE / os.path.realpath(original_root)[1:] if is_known else folder / original_root


def install(
    root: Path,
    original_root: Path,
    kept: Iterable[str | Path] = (),
    folder: Path | None = None,
    data: LaidData | None = None,
) -> Overlay:
    """Redirect this process's writes for good. `root` holds the version's files, and `folder` (its parent, if none is
    given) belongs to the replay.

    What lies below `kept`, such as a local store, is read and written where it is. `data` is what was laid into the
    folder of the data that are elsewhere on this machine.
    """
    home = os.path.realpath(root.parent if folder is None else folder)
    temporary = tempfile.gettempdir()
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", os.path.join(temporary, f"torchinductor_{_user()}"))
    left_alone = [*map(str, kept), *_left_alone(os.environ, temporary)]
    scratch = os.path.join(home, "tmp")
    if len(os.fsencode(scratch)) + _SOCKET_NAME_BYTES > _MOST_SOCKET_BYTES:  # loaders could not talk to their workers
        scratch = tempfile.mkdtemp(prefix=processes.folder_prefix("tmp"))
        left_alone.append(scratch)
        leftovers.note_scratch(Path(home), scratch)
    os.environ["TMPDIR"] = tempfile.tempdir = scratch
    layers = Layers(str(root), str(original_root), left_alone, home)
    if data is not None:
        layers.stand_in(data.folders, data.files, data.partial)
    make_folders(scratch)
    replaced = LayeredCalls(layers).replace()
    sys.addaudithook(functools.partial(_refuse, layers))
    patches: dict[str, list[late_patches.Patch]] = {}
    for module, function, position, keyword, access in FUNCTIONS:
        wrap = functools.partial(_translated, layers, position=position, keyword=keyword, access=access)
        patches.setdefault(module, []).append(functools.partial(_replace, attribute=function, make=wrap))
    late_patches.after_import(patches, replaced)
    return Overlay(layers, go_offline(Path(home, "trackers")))


def _user() -> str:
    """The name by which torch calls the cache of compiled code that it keeps among temporary files."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container without this user
        return str(os.getuid())


def _left_alone(variables: Mapping[str, str], temporary: str) -> Iterator[str]:
    yield from ("/dev", "/proc", "/sys")
    yield from caches(variables, temporary)
    yield from site.getsitepackages()
    yield from (site.getusersitepackages(), sysconfig.get_path("purelib"), sysconfig.get_path("stdlib"))


def _replace(module: ModuleType, attribute: str, make: Callable[[Any], Any]) -> tuple[object, object] | None:
    return late_patches.replace(module, attribute, make)


def _translated(
    layers: Layers, function: Callable[..., Any], position: int, keyword: str, access: str | tuple[int, str]
) -> Callable[..., Any]:
    """A function that opens a file by itself, with the path that it is to open."""

    def place(path: str, how: str) -> str:
        if how == "r":
            return layers.reading(path)
        if how == "d":
            layers.writing(os.path.join(path, "."))
            make_folders(layers.folder(path).upper)
            return layers.folder(path).upper
        return layers.writing(path, copy=how != "w")

    @functools.wraps(function)
    def translated(*args: Any, **kwargs: Any) -> Any:
        given = args[position] if len(args) > position else kwargs.get(keyword)
        before, text, after = _file_of(given, kwargs) if keyword == "database" else ("", absolute(given), "")
        if text is None:
            return function(*args, **kwargs)
        how = "r" if "mode=ro" in after else opened_as(access, args, kwargs)
        found = place(text, how)
        layers.opened(found, how)
        path = like(given, f"{before}{found}{after}")
        if found == text:
            return function(*args, **kwargs)
        if len(args) > position:
            return function(*args[:position], path, *args[position + 1 :], **kwargs)
        return function(*args, **{**kwargs, keyword: path})

    return translated


def _file_of(database: Any, options: Mapping[str, Any]) -> tuple[str, str | None, str]:
    """The file of an SQLite database, with what stands before and after it in a URI."""
    if database == ":memory:":
        return "", None, ""
    if not (isinstance(database, str) and options.get("uri") and database.startswith("file:")):
        return "", absolute(database), ""
    path, mark, rest = database.removeprefix("file:").partition("?")
    if path.startswith("//"):
        path = path[2:].partition("/")[1] + path[2:].partition("/")[2]
    return "file:", None if path == ":memory:" else absolute(path), mark + rest


def _refuse(layers: Layers, event: str, arguments: tuple[Any, ...]) -> None:
    """Stop changes to the user's files that were not redirected."""
    if event == "open":
        name, mode, flags = arguments
        writes = any(letter in mode for letter in "wax+") if isinstance(mode, str) else bool((flags or 0) & WRITING)
        if writes:
            _check(layers, name)
    elif event in _CHANGES:
        _check(layers, arguments[0])
    elif event in _NAME_CHANGES:
        for position in _NAME_CHANGES[event]:
            folder = arguments[position + 2] if len(arguments) == 4 else arguments[-1]
            _check(layers, arguments[position], folder, follow=False)
    elif event == "sqlite3.connect":
        _, path, after = _file_of(arguments[0], {"uri": True})
        if path is not None and "mode=ro" not in after:
            _check(layers, path)


def _check(layers: Layers, name: Any, folder: Any = -1, follow: bool = True) -> None:
    path = absolute(name, folder if isinstance(folder, int) and folder >= 0 else None)
    if path is not None and not layers.may_change(path, follow):
        raise PermissionError(
            f"Replay does not change your files, and could not redirect this to a scratch copy: {path}. Open it with "
            "open(), pathlib or a function of os, or let the script write below its working directory."
        )


def _files(count: int) -> str:
    return "1 file" if count == 1 else f"{count} files"
