"""How a training script ends: well, or by what. Python tells nobody of a SystemExit, so this looks for itself.

If the main module's last instruction is a return, it ran through. If not, sys.last_value has what it raised, whoever
owns sys.excepthook: if the module's frame is in its traceback. Else it was a SystemExit, whose code was given to
sys.exit, exit or quit, or is looked for in the script's text.
"""

from __future__ import annotations

import _sitebuiltins
import ast
import functools
import opcode
import os
import sys
import threading
from collections.abc import Callable, Iterator
from types import FrameType, TracebackType
from typing import Any

from flor_ray.analysis.source import read
from flor_ray.redaction import redacted
from flor_ray.wording import printable

_MOST = 500  # characters of an error


class ScriptEnding:
    """Watches how a script ends whose main module runs in `frame` (None: it has none) and has this text."""

    def __init__(self, frame: FrameType | None, text: str) -> None:
        # A cell of a notebook is no script: its errors end nothing.
        is_script = frame is not None and ("__file__" in frame.f_globals or frame.f_back is None)
        self._frame = frame if is_script else None
        self._text = text
        self._codes: list[object] = []  # what sys.exit was last called with
        self._told: list[BaseException] = []  # what it ended by, if somebody caught it for us

    def watch(self, at_once: Callable[[str | None], None]) -> None:
        """From now on note exits. `at_once` is called, with what went wrong, when os._exit is about to end the
        process."""
        leave: Any = os._exit
        quit_: Any = _sitebuiltins.Quitter

        @functools.wraps(leave)
        def leaving(status: int) -> None:
            try:
                at_once(self._by_leaving(status))
            finally:
                leave(status)

        sys.exit = self._noting(sys.exit)
        quit_.__call__ = self._noting(quit_.__call__)
        vars(os)["_exit"] = leaving

    def _noting(self, exits: Any) -> Any:
        """A function that does what `exits` does, and notes what it was called with."""

        @functools.wraps(exits)
        def noting(*arguments: Any, **named: Any) -> None:
            if threading.current_thread() is threading.main_thread():  # in others it ends a thread, and no process
                codes = [*named.values(), *(a for a in arguments if not isinstance(a, _sitebuiltins.Quitter))]
                self._codes = codes[:1] or [None]
            exits(*arguments, **named)

        return noting

    def tell(self, error: BaseException) -> None:
        """The script has raised this, and it was caught outside of it."""
        self._told = [error]

    def error(self) -> str | None:
        """What the script ended by, now that it is over; None: it ended well."""
        if self._told:
            return described(self._told[0])
        frame = self._frame
        if frame is None or _returned(frame):
            return None
        raised = self._raised()
        if raised is not None:
            return described(raised)
        codes = self._codes or list(_codes_in(self._text, frame.f_lineno))
        if not codes:
            return "an exception that is not known"
        bad = [code for code in codes if not _is_good(code)]
        known = [code for code in bad if code is not ...]
        return None if not bad else described(SystemExit(*known[:1] if len(bad) == 1 else ()))

    def _raised(self) -> BaseException | None:
        """What Python printed, or left to a hook, of an exception that came out of the main module."""
        error = getattr(sys, "last_value", None)
        return error if error is not None and self._frame in list(_frames(error.__traceback__)) else None

    def _by_leaving(self, status: int) -> str | None:
        error = sys.exc_info()[1] or self._raised()
        if error is not None and not (isinstance(error, SystemExit) and _is_good(error.code)):
            return described(error)
        return None if status == 0 else f"os._exit({status})"


def described(error: BaseException) -> str | None:
    """One line for what a script raised; None for a SystemExit that means success."""
    if isinstance(error, SystemExit) and _is_good(error.code):
        return None
    try:
        text = str(error)
    except Exception as second:  # noqa: BLE001 - any user's class may raise anything
        text = f"its text cannot be had ({type(second).__name__})"
    line = f"{type(error).__name__}: {text}".removesuffix(": ").splitlines()[0]
    return printable(redacted(line)[:_MOST])


def _is_good(code: object) -> bool:
    return code is None or (isinstance(code, int) and code == 0)


def _returned(frame: FrameType) -> bool:
    """Whether a frame that is over has returned."""
    return opcode.opname[frame.f_code.co_code[frame.f_lasti]].startswith("RETURN_")


def _frames(trace: TracebackType | None) -> Iterator[FrameType]:
    while trace is not None:
        yield trace.tb_frame
        trace = trace.tb_next


def _codes_in(text: str, line: int) -> Iterator[object]:
    """Codes with which a script can have exited whose main module was left from `line`; ... for one that only the run
    can tell."""
    tree = read(text).tree
    if tree is None:
        return
    statements = (ast.Raise, ast.Call)
    exits = [(n, code) for n in ast.walk(tree) if isinstance(n, statements) for code in _exit_codes(n, tree)]
    here = [code for node, code in exits if node.lineno <= line <= (node.end_lineno or node.lineno)]
    yield from here or [code for _, code in exits]


def _exit_codes(node: ast.Raise | ast.Call, tree: ast.AST) -> Iterator[object]:
    """Codes that `raise SystemExit(...)` may have, or `exit(...)` where it was imported from sys."""
    raised = node.exc if isinstance(node, ast.Raise) else node
    call = raised.func if isinstance(raised, ast.Call) else raised
    if not isinstance(call, ast.Name):
        return
    is_raise = isinstance(node, ast.Raise) and call.id == "SystemExit"
    if is_raise or (isinstance(node, ast.Call) and call.id in _imported_exits(tree)):
        arguments = raised.args if isinstance(raised, ast.Call) else []
        yield from _values(arguments[0], tree) if arguments else [None]


def _imported_exits(tree: ast.AST) -> set[str]:
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module == "sys"]
    return {alias.asname or alias.name for node in imports for alias in node.names if alias.name == "exit"}


def _values(node: ast.expr, tree: ast.AST) -> list[object]:
    """What an expression can be: a constant, or what the function of this script returns that it calls."""
    if isinstance(node, ast.Constant):
        return [node.value]
    if isinstance(node, ast.JoinedStr):
        return [_UNKNOWN_TEXT]
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
        return [...]
    called = [f for f in ast.walk(tree) if isinstance(f, ast.FunctionDef) and f.name == node.func.id]
    returned = [r.value for f in called for r in ast.walk(f) if isinstance(r, ast.Return) and r.value is not None]
    constants: list[object] = [value.value if isinstance(value, ast.Constant) else ... for value in returned]
    return (constants or [None]) if called else [...]


_UNKNOWN_TEXT = "a message"
