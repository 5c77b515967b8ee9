"""`%load_ext flor_ray`: the cell magic `%%flor`, which runs a cell as a recorded script in a process of its own.

The cell is a file in the notebook's folder while it runs, since a version is what is in the repository; then it is
removed. Nothing of git's is touched by that.
"""

from __future__ import annotations

import contextlib
import functools
import os
import shlex
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from flor_ray.errors import CellFailed, UsageError
from flor_ray.reports import notebooks

_SCRIPT = "flor_cell.py"
_END = "\n# written by %%flor while the cell runs\n"  # last, so that lines are those of the cell
_PATIENCE_SECONDS = 20.0  # for a run that was interrupted to write what it has
_BYTES = 1 << 16


def load_ipython_extension(shell: Any) -> None:
    """What IPython calls for `%load_ext flor_ray`."""
    shell.register_magic_function(flor, magic_kind="cell", magic_name="flor")
    if shell.display_formatter is not None:
        notebooks.show_marks(shell.display_formatter.formatters["text/html"])


def flor(line: str, cell: str) -> None:
    """Record the cell as a run: %%flor [--flor NAME] [--kwargs k=v ...] [--script FILE.py] [ARGUMENTS ...]

    The cell runs in a process of its own: it has none of the notebook's variables, and leaves none. --flor names the
    run and --kwargs gives values to flor.arg, as for `flor-ray run`; the rest are the script's own arguments. --script
    is the name of the script, flor_cell.py otherwise: runs of one name are versions of one script.

    Raises:
        UsageError: there is a file of that name, or the line cannot be read.
        CellFailed: the script ended with an error.
    """
    name, ours, arguments = _split(shlex.split(line))
    with _written(Path(name), cell):
        status = _run([sys.executable, "-m", "flor_ray.cli", "run", *ours, name, *arguments])
    if status:
        raise CellFailed(status)


def _split(words: Sequence[str]) -> tuple[str, list[str], list[str]]:
    """The script's name, our flags, and its own arguments."""
    name, ours, rest = _SCRIPT, list[str](), list(words)
    while rest and rest[0].partition("=")[0] in ("--flor", "--kwargs", "--script", "--capture"):
        word, _, value = rest.pop(0).partition("=")
        given = [value] if value else []
        if word == "--kwargs":
            while rest and "=" in rest[0] and not rest[0].startswith("-"):
                given.append(rest.pop(0))
        elif word != "--capture" and not given:
            if not rest:
                raise UsageError(f"%%flor: {word} needs a value.")
            given.append(rest.pop(0))
        if word == "--script":
            name = given[0]
        else:
            ours += [word, *given]
    if rest[:1] == ["--"]:
        rest.pop(0)
    if Path(name).suffix != ".py" or Path(name).name != name:
        raise UsageError(f"%%flor --script {name}: give the name of a file in this folder that ends in .py.")
    return name, ours, rest


@contextlib.contextmanager
def _written(path: Path, cell: str) -> Any:
    """The cell as a file, while the body of the `with` statement runs. A file of the user's is never overwritten."""
    data = (cell + _END).encode()
    if path.exists() and not path.read_bytes().endswith(_END.encode()):  # else a kernel was killed, and has left it
        raise UsageError(f"There is a {path} in this folder: give the cell another name with %%flor --script NAME.py.")
    path.write_bytes(data)
    try:
        yield
    finally:
        with contextlib.suppress(FileNotFoundError):
            if path.read_bytes() == data:  # else the script has put something else there
                path.unlink()


def _run(command: Sequence[str]) -> int:
    """Run it, with what it prints in the cell's output; an interrupt of the kernel is the script's."""
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
        start_new_session=True,
    )
    try:
        _copy(process)
        return process.wait()
    except KeyboardInterrupt:
        os.killpg(process.pid, signal.SIGINT)
        _end(process)
        raise
    finally:
        if process.stdout is not None:
            process.stdout.close()


def _end(process: subprocess.Popen[bytes]) -> None:
    """Let a run that was interrupted write what it has, and show what it prints until then; another interrupt, or too
    long a time, kills it."""
    kill = functools.partial(os.killpg, process.pid, signal.SIGKILL)
    late = threading.Timer(_PATIENCE_SECONDS, kill)
    late.start()
    try:
        _copy(process)  # who prints into a pipe that nobody reads never ends
        process.wait()
    except KeyboardInterrupt:
        kill()
        process.wait()
    finally:
        late.cancel()


def _copy(process: subprocess.Popen[bytes]) -> None:
    import codecs

    assert process.stdout is not None
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    while piece := os.read(process.stdout.fileno(), _BYTES):
        sys.stdout.write(decoder.decode(piece))
        sys.stdout.flush()
