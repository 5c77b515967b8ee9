"""The command that proposes calls for a script: init. What it reads and writes is here, what it proposes is not."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from flor_ray.cli.saying import say
from flor_ray.errors import UsageError

if TYPE_CHECKING:
    from flor_ray.analysis.proposing.proposals import Proposed

_FILES = 500  # of the user's own that a script imports; nobody reads a diff of more
_SCRIPTS = (".py", ".ipy", ".pyw")


@click.command(short_help="Propose the calls that a script needs, as a diff.")
@click.argument("words", nargs=-1, required=True, type=click.UNPROCESSED, metavar="SCRIPT | -- COMMAND...")
@click.option("--write", is_flag=True, help="Put the calls into the files.")
@click.option("--main", type=click.IntRange(1), metavar="LINE", help="The main loop begins in this line of the script.")
@click.option("--nested", type=click.IntRange(1), metavar="LINE", help="The nested loop begins in this line.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON: proposals, refusals, and how many lines change.")
def init(words: tuple[str, ...], write: bool, main: int | None, nested: int | None, as_json: bool) -> None:
    """Propose the calls with which a training script is recorded: import, main loop, nested loop, state, arguments.

    Reads the script and those of your own modules that it imports, and runs nothing. Prints a unified diff; each call
    has its confidence and its reason, and what is not sure is left out, with the reason. Only --write changes files: by
    insertions, so that comments, line ends and encoding stay as they are. Arguments that argparse, click, dataclasses
    and the like hold are recorded whole, with flor.autolog; a Trainer's script needs that one line.

    Exits with 1 if no main loop could be told.

    \b
    Examples:
      flor-ray init train.py                            what would be added, and why
      flor-ray init train.py --write                    add it
      flor-ray init train.py --main 41                  the loop in line 41 is the main loop
      flor-ray init -- python -m lab.train --lr 0.1     the script that this command starts
      flor-ray init train.py | git apply                the same as --write
    """
    from flor_ray.analysis.proposing.proposals import ProposedCall
    from flor_ray.analysis.proposing.proposing import propose
    from flor_ray.cli import terminal
    from flor_ray.reports import proposed_calls

    script, here = Path(os.path.abspath(_script_of(words))), Path.cwd()  # a link keeps its name
    folder = here if script.is_relative_to(here) else script.parent
    files = _files_of(script, folder)
    found = propose(files, script.relative_to(folder).as_posix(), main, nested)
    if as_json:
        import json

        say(json.dumps(proposed_calls.as_json(found, files), indent=1))
    else:
        terminal.print_diff(proposed_calls.text(found, files))
    if write:
        _write(folder, files, found)
    say(proposed_calls.summary(found, files, write), err=True)
    if any(each.what is ProposedCall.MAIN for each in found.refused):
        raise SystemExit(1)


def _script_of(words: Sequence[str]) -> Path:
    """The script that a command starts: a file, or the module behind `-m`."""
    for number, word in enumerate(words):
        if number and words[number - 1] == "-m":
            place = Path(*word.split("."))
            for path in (place.with_suffix(".py"), place / "__main__.py"):
                if path.is_file():
                    return path
        if word.endswith(_SCRIPTS) and Path(word).is_file():
            return Path(word)
        if word.endswith(".ipynb"):
            raise UsageError(
                f"{word} is a notebook: put %%flor above a cell to record what it runs (docs/notebook.md)."
            )
    raise UsageError(
        f"There is no script in `{' '.join(words)}`: give a file, as in flor-ray init train.py, or behind -- the "
        "command that starts it."
    )


def _files_of(script: Path, folder: Path) -> dict[str, bytes]:
    """By path below a folder: the script, and the modules of the user's that it imports."""
    from flor_ray.analysis.proposing.codebase import imported
    from flor_ray.analysis.proposing.script_text import CannotPropose, ScriptText

    first = script.relative_to(folder).as_posix()
    files = {first: script.read_bytes()}
    pending = [first]
    while pending and len(files) < _FILES:
        path = pending.pop(0)
        try:
            text = ScriptText(files[path])
        except CannotPropose:
            continue
        for stem in imported(path, first, text):
            for name in (f"{stem}.py", f"{stem}/__init__.py"):
                file = folder / name
                if name not in files and not stem.startswith("..") and file.is_file():
                    files[name] = file.read_bytes()
                    pending.append(name)
    return files


def _write(folder: Path, files: Mapping[str, bytes], found: Proposed) -> None:
    """Put the edited files in the place of the others, each whole or not at all."""
    for path, data in sorted(found.edited.items()):
        file = (folder / path).resolve()  # a link stays one
        if file.read_bytes() != files[path]:
            raise UsageError(f"{path} was changed meanwhile, and is left as it is now. Run flor-ray init again.")
        handle, temporary = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
        try:
            with os.fdopen(handle, "wb") as stream:
                stream.write(data)
            shutil.copymode(file, temporary)
            os.replace(temporary, file)
        except BaseException:
            os.unlink(temporary)
            raise
