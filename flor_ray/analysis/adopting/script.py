"""What is kept with an adopted version of its script, and that script's text with our calls in it. Pure.

    the version's own text                      what is read and replayed
                                                import flor_ray as flor
    net = Net()                                 net = Net()
                                                flor.checkpointing(net=net)
    for epoch in range(epochs):                 for epoch in flor.loop("epoch", range(epochs)):

git has the text as it was. The calls are those that its user would have written.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from flor_ray.analysis.adopting.saves import loop_at
from flor_ray.analysis.source import read


class EpochsOf(StrEnum):
    """Who runs the epochs of an adopted run."""

    SCRIPT = "script"  # a `for` loop of its script
    HUGGING_FACE = "transformers"  # Trainer.train()
    LIGHTNING = "lightning"  # Trainer.fit(...)


@dataclass(frozen=True, slots=True)
class AdoptedState:
    """What the states in the checkpoint files are put into."""

    name: str  # in checkpoints of ours
    expression: str  # in the scope of the main loop: `net`, `net.module`
    key: str  # in the files; "": a file is that state

    @property
    def root(self) -> str:
        """The variable."""
        return self.expression.partition(".")[0]


@dataclass(frozen=True, slots=True)
class AdoptedScript:
    """How the checkpoint files of an adopted run belong to its script [an entry of E's environment]."""

    epochs_of: EpochsOf
    states: tuple[AdoptedState, ...] = ()
    values: Mapping[str, str] | None = None  # key in the files -> variable
    loop: int = 0  # line of the main loop in the script as it was
    saved: int = -1  # which statement of its body saves them, from 0
    mode: bool | None = None  # whether what is trained is in training mode when an epoch ends; None: it is not said
    unchanged: tuple[str, ...] = ()  # variables that the user says no epoch changes
    commit: str = ""
    digest: str = ""  # of the commit, the command line and the first checkpoint file: which run it is
    files: tuple[tuple[int, str, str], ...] = ()  # epoch, path as it was given, digest of its content

    @property
    def held(self) -> frozenset[str]:
        """Variables that the files hold, wholly or in parts."""
        return frozenset({state.root for state in self.states} | set((self.values or {}).values()))


def with_our_calls(text: str, adopted: AdoptedScript) -> str:
    """The script's text with our calls in it. Where something else runs its epochs, it is as it was."""
    loop = loop_at(text, adopted.loop) if adopted.epochs_of is EpochsOf.SCRIPT else None
    tree = read(text).tree
    if loop is None or tree is None:
        return text
    end = "\r\n" if "\r\n" in text else "\n"
    lines = text.split("\n")
    name = "flor" if not re.search(r"\bflor\b", text) else "flor_ray"
    first, last = loop.iter, (loop.iter.end_lineno or loop.iter.lineno, loop.iter.end_col_offset or 0)
    lines[last[0] - 1] = _inserted(lines[last[0] - 1], last[1], ")")
    lines[first.lineno - 1] = _inserted(lines[first.lineno - 1], first.col_offset, f'{name}.loop("epoch", ')
    indent = lines[loop.lineno - 1][: len(lines[loop.lineno - 1]) - len(lines[loop.lineno - 1].lstrip())]
    listed = ", ".join(f"{state.name}={state.expression}" for state in adopted.states)
    carriage = end.removesuffix("\n")
    lines.insert(loop.lineno - 1, f"{indent}{name}.checkpointing({listed}){carriage}")
    imported = "import flor_ray as flor" if name == "flor" else "import flor_ray"
    lines.insert(_after_docstring(tree.body), f"{imported}{carriage}")
    return "\n".join(lines)


def _inserted(line: str, offset: int, what: str) -> str:
    """A line with something in it at an offset, which `ast` counts in bytes of UTF-8."""
    data = line.encode("utf-8", "surrogateescape")
    return (data[:offset] + what.encode() + data[offset:]).decode("utf-8", "surrogateescape")


def _after_docstring(body: Sequence[ast.stmt]) -> int:
    """How many lines come before the first statement that may be preceded by an import."""
    last = 0
    for number, statement in enumerate(body):
        is_docstring = number == 0 and isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
        is_future = isinstance(statement, ast.ImportFrom) and statement.module == "__future__"
        if not (is_docstring or is_future):
            break
        last = statement.end_lineno or statement.lineno
    return last
