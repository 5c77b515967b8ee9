"""The calls that a script needs, each with a confidence and a reason, or the reason why there is none."""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from flor_ray.analysis.proposing.codebase import Codebase
from flor_ray.analysis.proposing.script_text import TextInsertion


class ProposedCall(StrEnum):
    """What a proposed call is for."""

    IMPORT = "import"
    ARGUMENTS = "arguments"
    TRAINER = "Trainer"
    STATE = "state"
    MAIN = "main loop"
    NESTED = "nested loop"


@dataclass(frozen=True, slots=True)
class Proposal:
    """One call, where it would stand, and why."""

    what: ProposedCall
    path: str
    line: int  # of the file as it is
    call: str  # what would be written
    confidence: float  # from 0 to 1
    reason: str
    insertions: tuple[TextInsertion, ...] = ()


@dataclass(frozen=True, slots=True)
class NotProposed:
    """A call that is not proposed, and why."""

    what: ProposedCall
    path: str
    line: int | None
    reason: str


@dataclass(frozen=True, slots=True)
class Proposed:
    """All of one script. `edited`: by path, the bytes of files as they would be."""

    script: str
    proposals: tuple[Proposal, ...] = ()
    refused: tuple[NotProposed, ...] = ()
    present: tuple[str, ...] = ()  # calls that stand there already
    edited: Mapping[str, bytes] = field(default_factory=dict)


class OurNames:
    """By which name each file calls us."""

    def __init__(self, code: Codebase) -> None:
        self._code = code
        self._found: dict[str, tuple[str, str]] = {}

    def ours(self, path: str) -> str:
        """The name in a file: that of an import that stands there, else of one that `import_of` gives."""
        return self._name(path)[0]

    def import_of(self, path: str) -> str:
        """The import that a file lacks; "" if it has one."""
        return self._name(path)[1]

    def _name(self, path: str) -> tuple[str, str]:
        if path not in self._found:
            self._found[path] = self._look(path)
        return self._found[path]

    def _look(self, path: str) -> tuple[str, str]:
        source = self._code.texts[path].source
        tree = self._code.texts[path].tree
        for statement in tree.body:
            for alias in statement.names if isinstance(statement, ast.Import) else ():
                if alias.name == "flor_ray":
                    return alias.asname or alias.name, ""
        taken = any("flor" in scope.bindings or "flor" in scope.reads for scope in source.scopes)
        return ("flor_ray", "import flor_ray") if taken else ("flor", "import flor_ray as flor")


def last_of_imports(body: Sequence[ast.stmt]) -> ast.stmt | None:
    """The statement below which an import of ours belongs: the last import at the top, as long as only what prepares
    imports stands between them; else the docstring; None if there is neither."""
    found: ast.stmt | None = None
    for number, statement in enumerate(body):
        is_docstring = number == 0 and isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
        if _imports(statement) or is_docstring:
            found = statement
        elif not _prepares(statement):
            break
    return found


def _imports(statement: ast.stmt) -> bool:
    if isinstance(statement, ast.Try):
        return all(isinstance(each, ast.Import | ast.ImportFrom) for each in statement.body)
    return isinstance(statement, ast.Import | ast.ImportFrom)


_PREPARING = ("environ", "sys.path", "filterwarnings", "matplotlib.use", "load_dotenv", "set_start_method")


def _prepares(statement: ast.stmt) -> bool:
    is_simple = isinstance(statement, ast.Expr | ast.Assign)
    return is_simple and any(word in ast.unparse(statement) for word in _PREPARING)
