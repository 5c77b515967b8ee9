"""Scripts that run in forks of a process which has imported what they import: to start Python and torch takes longer
than most scripts of tests.

A fork has the environment, folder, arguments, `__main__`, `sys.path`, output and end of a script of its own. What was
imported before it began is all that it can tell apart; tests about that start an interpreter.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import json
import os
import subprocess
import sys
import threading
import types
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NoReturn, Self

# What a first call to flor imports. flor_ray itself is not: it reads its flags when it is imported, and has a state.
RECORDING = ("blake3", "cloudpickle", "git", "numpy", "pyarrow.parquet")
TRAINING = ("torch", "torch._dynamo", "sklearn.datasets", *RECORDING)


@dataclass(frozen=True, slots=True)
class Request:
    script: str  # path, as Python is given it
    arguments: Sequence[str]
    folder: str  # working directory
    environment: Mapping[str, str]
    output: str  # file for what it prints


class ScriptServer:
    """Runs one script at a time. Any thread may ask."""

    def __init__(self, imports: Sequence[str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, __file__, *imports], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._lock = threading.Lock()

    def run(self, request: Request) -> int:
        """The script's exit status, negative for a signal."""
        requests, answers = self._process.stdin, self._process.stdout
        assert requests is not None
        assert answers is not None
        with self._lock:
            requests.write(json.dumps(asdict(request)) + "\n")
            requests.flush()
            return int(answers.readline())

    def close(self) -> None:
        self._process.communicate()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


# --- the server's process -------------------------------------------------------------------------------------------


def _serve(imports: Sequence[str]) -> None:
    requests, answers = sys.stdin, os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever imports print
    for name in imports:
        importlib.import_module(name)
    gc.freeze()  # what is there now is never collected, so that forks go on sharing its memory
    for line in requests:
        process = os.fork()
        if process == 0:
            os.close(answers.fileno())
            _become(Request(**json.loads(line)))
        answers.write(f"{os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])}\n")
        answers.flush()


def _become(request: Request) -> NoReturn:
    status = 1
    try:
        nothing = os.open(os.devnull, os.O_RDONLY)
        output = os.open(request.output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        for descriptor, instead in ((0, nothing), (1, output), (2, output)):
            os.dup2(instead, descriptor)
        os.chdir(request.folder)
        os.environ.clear()
        os.environ.update(request.environment)
        status = _run(request)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _run(request: Request) -> int:
    script = Path(request.script).absolute()
    sys.argv[:] = [request.script, *request.arguments]
    own = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    sys.path[:] = [str(script.parent), *own, *(path for path in sys.path[1:] if path not in own)]
    _draw_seeds()
    for path in own:
        if (site := Path(path, "sitecustomize.py")).exists():
            exec(compile(site.read_text(), str(site), "exec"), {"__name__": "sitecustomize"})
    main = types.ModuleType("__main__")
    main.__dict__["__file__"] = str(script)
    sys.modules["__main__"] = main
    status = 0
    try:
        exec(compile(script.read_bytes(), str(script), "exec", dont_inherit=True), main.__dict__)
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException as error:  # noqa: BLE001 - as Python does with whatever ends a script
        sys.excepthook(type(error), error, error.__traceback__)
        status = 1
    threading._shutdown()  # type: ignore[attr-defined]  # tells pools to end, and waits for threads
    atexit._run_exitfuncs()
    return status


def _draw_seeds() -> None:
    """Seeds of its own for a fork, as a fresh process draws them; Python's generator does that by itself."""
    numpy, torch = sys.modules.get("numpy"), sys.modules.get("torch")
    if numpy is not None:
        numpy.random.seed()
    if torch is not None:
        torch.default_generator.seed()


if __name__ == "__main__":
    _serve(sys.argv[1:])
