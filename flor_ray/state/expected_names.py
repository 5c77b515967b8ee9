"""What a pickle of a state may name: what states are made of, and nothing that runs programs or other code.

A version's checkpoints are read in the process that runs the version's code, so this keeps out no one who can change
that code. It stops what a checkpoint alone could do: whoever can only add objects to a store, or damages one.
"""

from __future__ import annotations

import io
import pickle
import re
import sys
import sysconfig
import types
from typing import Any

from flor_ray.errors import StoreError

# Of these only classes of values are expected, such as os.stat_result.
_OF_THE_SYSTEM = frozenset({"os", "posix", "nt", "shutil", "subprocess", "_posixsubprocess"})
_VALUES = frozenset({"stat_result", "terminal_size", "times_result", "uname_result", "sched_param", "statvfs_result"})
_VALUES |= {"CompletedProcess", "CalledProcessError", "TimeoutExpired", "Error", "SameFileError"}
_NEVER = frozenset(
    [
        "pty",
        "runpy",
        "importlib",
        "_frozen_importlib",
        "_frozen_importlib_external",
        "imp",
        "code",
        "codeop",
        "marshal",
        "ctypes",
        "_ctypes",
        "webbrowser",
        "pdb",
        "bdb",
        "timeit",
        "profile",
        "cProfile",
        "trace",
        "pickle",
        "_pickle",
        "cloudpickle",
        "socketserver",
        "ensurepip",
        "venv",
        "pydoc",
        "doctest",
        "site",
    ]
)
_BUILTINS = frozenset({"eval", "exec", "compile", "__import__", "open", "input", "breakpoint", "setattr", "delattr"})
_BUILTINS |= {"globals", "locals", "vars", "exit", "quit", "help"}
_RANDOM = re.compile(  # what random states are made of, besides numbers and bytes
    r"numpy\.(ndarray|dtype)|numpy\._?core\.(multiarray\.(_reconstruct|scalar)|numeric\._frombuffer)|_codecs\.encode"
)


def expect(found: object, module: str, name: str) -> None:
    """Raise StoreError if what a checkpoint's pickle names is nothing that a state is made of."""
    home = getattr(found, "__module__", None) or module  # an alias, such as random._os.system, hides nothing
    tops = {str(each).partition(".")[0] for each in (home, module)}
    last = getattr(found, "__name__", None) or name.rpartition(".")[2]
    is_system = not tops.isdisjoint(_OF_THE_SYSTEM) and last not in _VALUES
    is_builtin = home in ("builtins", "io", "_io") and last in _BUILTINS
    is_code = found is types.FunctionType or found is types.CodeType or isinstance(found, types.ModuleType)
    if is_system or is_builtin or is_code or any(top in _NEVER and not _is_users(top) for top in tops):
        raise StoreError(
            f"A checkpoint names {module}.{name}, which no state is made of: it is damaged, or somebody has changed "
            "it. Drop it, and replay from an earlier one."
        )


def _is_users(top: str) -> bool:
    """Whether a module is no library's, but one of the version's that has the name of one."""
    file = getattr(sys.modules.get(top), "__file__", None) or ""
    return bool(file) and not file.startswith(sysconfig.get_path("stdlib")) and "site-packages" not in file


def random_state(data: bytes) -> Any:
    """The state of random generators in a pickle. Raises StoreError if anything else is in it."""
    try:
        return _RandomUnpickler(io.BytesIO(data)).load()
    except StoreError:
        raise
    except Exception as error:
        raise StoreError(f"A recorded random state cannot be read ({type(error).__name__}: {error}).") from error


class _RandomUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if not _RANDOM.fullmatch(f"{module}.{name}"):
            raise StoreError(f"A recorded random state names {module}.{name}, which no generator is made of.")
        return super().find_class(module, name)
