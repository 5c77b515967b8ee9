"""A replayed script writes where it likes, and no file of the user's changes.

    overlay = install(root, original_root, kept)

From then on, in this process and those that it forks, Python's functions for files work on two layers (`layers`): what
the script writes, removes or renames outside of the replay's own folder happens in a scratch copy there, and later
reads see it. So do the functions in `_FUNCTIONS`, which open files past Python. Temporary files go to the replay's
folder too, and trackers of experiments are offline (`trackers`). What is no file (devices, pipes, sockets), the caches
of libraries and the `kept` paths are left alone.

Underneath, an audit hook refuses what reaches the system by another way, such as `io.FileIO` by class or a library with
its own reference to a function. Programs that a script starts are not seen, nor are processes that multiprocessing
spawns instead of forking; they only inherit TMPDIR. C++ code that opens files by itself is not seen either.
"""

from __future__ import annotations

import atexit
import builtins
import functools
import getpass
import os
import posix
import shutil
import site
import sys
import sysconfig
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from flor_ray.replaying.sandbox import late_patches
from flor_ray.replaying.sandbox.layered_calls import WRITING, LayeredCalls, absolute, like
from flor_ray.replaying.sandbox.layers import OUTSIDE, Layers
from flor_ray.replaying.sandbox.plain_files import make_folders
from flor_ray.replaying.sandbox.trackers import Offline, go_offline

_SENTENCES = 3
_KEYWORD = sys.maxsize  # the position of what is only given by name

# Functions that open files in C++ or Rust: the module that defines it, its name, position and name of the path, and
# r(ead), w(rite), a(ppend), d (write into a folder), or the position and name of a mode that says it.
_FUNCTIONS: tuple[tuple[str, str, int, str, str | tuple[int, str]], ...] = (
    ("torch.serialization", "save", 1, "f", "w"),
    ("torch.serialization", "load", 0, "f", "r"),
    ("torch.jit._serialization", "save", 1, "f", "w"),
    ("torch.jit._serialization", "load", 0, "f", "r"),
    ("safetensors", "safe_open", 0, "filename", "r"),
    ("safetensors.torch", "save_file", 1, "filename", "w"),
    ("safetensors.torch", "load_file", 0, "filename", "r"),
    ("safetensors.numpy", "save_file", 1, "filename", "w"),
    ("safetensors.numpy", "load_file", 0, "filename", "r"),
    ("transformers.tokenization_utils_tokenizers", "TokenizersBackend.__init__", _KEYWORD, "tokenizer_file", "r"),
    ("transformers.tokenization_utils_tokenizers", "TokenizersBackend._save_pretrained", 1, "save_directory", "d"),
    ("transformers.tokenization_utils_fast", "PreTrainedTokenizerFast.__init__", _KEYWORD, "tokenizer_file", "r"),
    ("transformers.tokenization_utils_fast", "PreTrainedTokenizerFast._save_pretrained", 1, "save_directory", "d"),
    ("pyarrow.lib", "OSFile", 0, "path", (1, "mode")),
    ("pyarrow.lib", "memory_map", 0, "path", (1, "mode")),
    ("pyarrow.parquet.core", "write_to_dataset", 1, "root_path", "d"),
    ("pyarrow.parquet.core", "write_table", 1, "where", "w"),
    ("pyarrow.parquet.core", "read_table", 0, "source", "r"),
    ("pyarrow.parquet.core", "ParquetWriter.__init__", 1, "where", "w"),
    ("pyarrow.parquet.core", "ParquetFile.__init__", 1, "source", "r"),
    ("pyarrow.feather", "write_feather", 1, "dest", "w"),
    ("pyarrow.feather", "read_feather", 0, "source", "r"),
    ("cv2", "imwrite", 0, "filename", "w"),
    ("cv2", "imread", 0, "filename", "r"),
    ("h5py", "File.__init__", 1, "name", (2, "mode")),
    ("sqlite3.dbapi2", "connect", 0, "database", "a"),
)
# Caches of libraries: no data of the user's, and slow to fill again. Variable, and where it is if that is not set.
_CACHES = (
    ("XDG_CACHE_HOME", "~/.cache"),
    ("HF_HOME", "~/.cache/huggingface"),
    ("HF_HUB_CACHE", ""),
    ("HF_DATASETS_CACHE", ""),
    ("TORCH_HOME", "~/.cache/torch"),
    ("TORCH_EXTENSIONS_DIR", ""),
    ("TORCHINDUCTOR_CACHE_DIR", ""),
    ("TRITON_CACHE_DIR", "~/.triton"),
    ("CUDA_CACHE_PATH", "~/.nv"),
    ("NUMBA_CACHE_DIR", ""),
    ("MPLCONFIGDIR", "~/.config/matplotlib"),
    ("KERAS_HOME", "~/.keras"),
    ("SCIKIT_LEARN_DATA", "~/scikit_learn_data"),
    ("", "~/Library/Caches"),
)
_CHANGES = {"os.truncate", "os.chmod", "os.chown", "os.utime", "os.setxattr", "os.removexattr"}
_NAME_CHANGES: dict[str, tuple[int, ...]] = {"os.mkdir": (0,), "os.remove": (0,), "os.rmdir": (0,), "os.symlink": (1,)}
_NAME_CHANGES |= {"os.rename": (0, 1), "os.link": (0, 1)}


class Overlay:
    """What `install` put in place."""

    def __init__(self, layers: Layers, trackers: Offline) -> None:
        self._layers = layers
        self._trackers = trackers

    @property
    def folder(self) -> Path:
        """The replay's own folder, which vanishes with it."""
        return Path(self._layers.home)

    def sentences(self) -> tuple[str, ...]:
        """What was changed outside of the user's folder, or sent to a tracker, and dropped."""
        counts = sorted(self._layers.changed_outside().items(), key=lambda item: (-item[1], item[0]))
        said = [
            f"writes to {folder} went to a scratch copy and were dropped: {_files(count)}"
            for folder, count in counts[:_SENTENCES]
        ]
        if len(counts) > _SENTENCES:
            rest = counts[_SENTENCES:]
            said.append(f"so did writes to {len(rest)} more folders: {_files(sum(count for _, count in rest))}")
        hidden = self._layers.hidden()
        if hidden:
            said.append(f"{_files(len(hidden))} only looked removed, {hidden[0]} among them")
        return (*said, *self._trackers.sentences())


def prepare() -> None:
    """Do what takes time in `install` now, in a process that processes are forked from."""
    functions = [value for value in vars(posix).values() if callable(value)]
    for module, name, *_ in _FUNCTIONS:
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


def install(root: Path, original_root: Path, kept: Iterable[str | Path] = (), folder: Path | None = None) -> Overlay:
    """Redirect this process's writes for good. `root` holds the version's files, and `folder` (its parent, if none is
    given) belongs to the replay.

    What lies below `kept`, such as a local store, is read and written where it is.
    """
    home = os.path.realpath(root.parent if folder is None else folder)
    temporary = tempfile.gettempdir()
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", os.path.join(temporary, f"torchinductor_{_user()}"))
    left_alone = [*map(str, kept), *_left_alone(os.environ, temporary)]
    scratch = os.path.join(home, "tmp")
    if len(os.fsencode(scratch)) + _SOCKET_NAME_BYTES > _MOST_SOCKET_BYTES:  # loaders could not talk to their workers
        scratch = tempfile.mkdtemp(prefix="flor-")
        left_alone.append(scratch)
        atexit.register(shutil.rmtree, scratch, ignore_errors=True)
    os.environ["TMPDIR"] = tempfile.tempdir = scratch
    layers = Layers(str(root), str(original_root), left_alone, home)
    make_folders(scratch)
    replaced = LayeredCalls(layers).replace()
    sys.addaudithook(functools.partial(_refuse, layers))
    patches: dict[str, list[late_patches.Patch]] = {}
    for module, function, position, keyword, access in _FUNCTIONS:
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
    yield os.path.join(temporary, "ray")  # Ray's servers, which are other programs, look there
    for variable, default in _CACHES:
        folder = os.path.expanduser(variables.get(variable) or default)
        if os.path.isabs(folder):
            yield folder
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
        how = access
        if isinstance(how, tuple):
            mode = str((args[how[0]] if len(args) > how[0] else kwargs.get(how[1])) or "r")
            how = "w" if "w" in mode else "a" if any(letter in mode for letter in "ax+") else "r"
        found = place(text, "r" if "mode=ro" in after else how)
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
