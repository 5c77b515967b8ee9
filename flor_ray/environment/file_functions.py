"""Functions of libraries that open files past Python's own, and the folders that libraries fill for themselves.

recording   told_of(note) ── wrappers that say which file is opened ──> written_files
replaying   sandbox.overlay ── wrappers that give another path
"""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from flor_ray.environment import late_patches

KEYWORD = sys.maxsize  # the position of what is only given by name

# Functions that open files in C++ or Rust: the module that defines it, its name, position and name of the path, and
# r(ead), w(rite), a(ppend), d (write into a folder), or the position and name of a mode that says it.
FUNCTIONS: tuple[tuple[str, str, int, str, str | tuple[int, str]], ...] = (
    ("torch.serialization", "save", 1, "f", "w"),
    ("torch.serialization", "load", 0, "f", "r"),
    ("torch.jit._serialization", "save", 1, "f", "w"),
    ("torch.jit._serialization", "load", 0, "f", "r"),
    ("safetensors", "safe_open", 0, "filename", "r"),
    ("safetensors.torch", "save_file", 1, "filename", "w"),
    ("safetensors.torch", "load_file", 0, "filename", "r"),
    ("safetensors.numpy", "save_file", 1, "filename", "w"),
    ("safetensors.numpy", "load_file", 0, "filename", "r"),
    ("transformers.tokenization_utils_tokenizers", "TokenizersBackend.__init__", KEYWORD, "tokenizer_file", "r"),
    ("transformers.tokenization_utils_tokenizers", "TokenizersBackend._save_pretrained", 1, "save_directory", "d"),
    ("transformers.tokenization_utils_fast", "PreTrainedTokenizerFast.__init__", KEYWORD, "tokenizer_file", "r"),
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
CACHES = (
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

_told: list[Callable[[str, str], None]] = []


def caches(variables: Mapping[str, str], temporary: str) -> Iterator[str]:
    """Folders that libraries fill for themselves."""
    for variable, default in CACHES:
        folder = os.path.expanduser(variables.get(variable) or default)
        if os.path.isabs(folder):
            yield folder
    yield os.path.join(temporary, "ray")  # Ray's servers, which are other programs, look there


def opened_as(access: str | tuple[int, str], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> str:
    """How a call of one of FUNCTIONS opens its file: r, w, a or d."""
    if isinstance(access, str):
        return access
    mode = str((args[access[0]] if len(args) > access[0] else kwargs.get(access[1])) or "r")
    return "w" if "w" in mode else "a" if any(letter in mode for letter in "ax+") else "r"


def told_of(note: Callable[[str, str], None]) -> None:
    """From now on `note` is told each path that one of FUNCTIONS is given, and how it is opened, before it is. Once in
    a process."""
    if note in _told:
        return
    _told.append(note)
    patches: dict[str, list[late_patches.Patch]] = {}
    for module, function, position, keyword, access in FUNCTIONS:
        if keyword != "database":  # there is an audit event for these
            make = functools.partial(_telling, note, position=position, keyword=keyword, access=access)
            patches.setdefault(module, []).append(
                functools.partial(late_patches.replace, attribute=function, make=make)
            )
    late_patches.after_import(patches)


def _telling(
    note: Callable[[str, str], None],
    function: Callable[..., Any],
    position: int,
    keyword: str,
    access: str | tuple[int, str],
) -> Callable[..., Any]:
    @functools.wraps(function)
    def telling(*args: Any, **kwargs: Any) -> Any:
        given = args[position] if len(args) > position else kwargs.get(keyword)
        if isinstance(given, str | os.PathLike):
            note(os.fsdecode(given), opened_as(access, args, kwargs))
        return function(*args, **kwargs)

    return telling
