"""Running a version's script with marks in it: around hindsight statements, and where an epoch may end.

    the file                                  what runs
    for epoch in flor.loop("epoch", ...):     for epoch in flor.loop("epoch", ...):
                                                  if __flor_at_end__():                  epoch's end was restored:
                                                      flor.log("norm", norm(net))        only what reads that state
                                                      continue
        train(net)                                train(net)
        flor.log("acc", evaluate(net))  # new     with __flor_observe__("net"):          the observer does not disturb
                                                      flor.log("acc", evaluate(net))
                                                  if __flor_done__(3):                   nothing more is wanted of
                                                      continue                           this epoch
        save(net)                                 save(net)

The marks are put into the syntax tree, so that the files stay as they are and line numbers hold. `marks` says
where; what they do is up to `flor_ray.replaying.process`. What may live here: trees and code objects.
"""

from __future__ import annotations

import ast
import builtins
import importlib.abc
import importlib.machinery
import importlib.util
import os
import sys
import types
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from flor_ray.analysis.marks import Marks, first_line, is_inserted
from flor_ray.analysis.source import parse

OBSERVE, DONE, AT_END, RUNS = "__flor_observe__", "__flor_done__", "__flor_at_end__", "__flor_runs__"

# --- the tree -------------------------------------------------------------------------------------------------------


def instrumented(source: bytes, filename: str, marks: Marks) -> types.CodeType:
    """The file's code with the marks in it. Raises SyntaxError as `compile` does."""
    tree = parse(source, filename)
    tree.body = _block(tree.body, marks, stops=frozenset())
    code: types.CodeType = compile(ast.fix_missing_locations(tree), filename, "exec", dont_inherit=True)
    return code


def _block(statements: Sequence[ast.stmt], marks: Marks, stops: frozenset[int]) -> list[ast.stmt]:
    """A block with its marks. `stops` are the lines after which the loop that has this body may go on to its next
    epoch."""
    found: list[ast.stmt] = []
    run: list[ast.stmt] = []
    for statement in statements:
        if is_inserted(statement, marks.hindsight):
            run.append(statement)
        else:
            found += _observed(run, marks)
            run = []
            found.append(_inside(statement, marks))
        if statement.end_lineno in stops:
            found += _observed(run, marks)
            run = []
            found.append(_at(_check(DONE, statement.end_lineno), statement))
    return found + _observed(run, marks)


def _inside(statement: ast.stmt, marks: Marks) -> ast.stmt:
    """A compound statement with marks in its blocks."""
    for field in ("body", "orelse", "finalbody"):
        block = getattr(statement, field, None)
        if not isinstance(block, list) or not block:
            continue
        is_body = field == "body" and isinstance(statement, ast.For) and statement.lineno in marks.loops
        new = _block(block, marks, marks.stops if is_body else frozenset())
        if is_body and (chosen := [s for s in block if first_line(s) in marks.at_end]):
            chosen = [one for s in chosen for one in _at_end(s, marks)]
            new.insert(0, _at(ast.If(_call(AT_END), [*chosen, ast.Continue()], []), statement))
        if field == "body" and isinstance(statement, ast.With) and statement.lineno in marks.iterations:
            new = [_at(ast.If(_call(RUNS), new, []), block[0])]
        setattr(statement, field, new)
    for part in [*getattr(statement, "handlers", ()), *getattr(statement, "cases", ())]:
        part.body = _block(part.body, marks, frozenset())
    return statement


def _observed(run: list[ast.stmt], marks: Marks) -> list[ast.stmt]:
    """Hindsight statements in a row, guarded if they might change anything."""
    if all(first_line(statement) in marks.quiet for statement in run):
        return run
    names = sorted({n.id for s in run for n in ast.walk(s) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)})
    guard = ast.withitem(_call(OBSERVE, *names))
    return [_at(ast.With([guard], run), run[0])]


def _at_end(statement: ast.stmt, marks: Marks) -> list[ast.stmt]:
    """A statement where the end of an epoch answers it."""
    return (
        _observed([statement], marks) if marks.guards_end and is_inserted(statement, marks.hindsight) else [statement]
    )


def _check(name: str, line: int | None) -> ast.If:
    return ast.If(_call(name, line), [ast.Continue()], [])


def _call(name: str, *arguments: str | int | None) -> ast.Call:
    return ast.Call(ast.Name(name, ast.Load()), [ast.Constant(argument) for argument in arguments], [])


def _at(new: ast.stmt, statement: ast.stmt) -> ast.stmt:
    return ast.copy_location(new, statement)


# --- running --------------------------------------------------------------------------------------------------------


def run_main(
    script: Path, marks: Mapping[str, Marks], functions: Mapping[str, Callable[..., Any]], name: str = ""
) -> None:
    """Run a script as `__main__`, with the marks in it and in the modules that it imports.

    Args:
        marks: by absolute path.
        functions: what the marks call, by name; for the whole process from now on.
        name: of the module that the script is, to run it as `python -m` does; "": as a file.
    """
    vars(builtins).update(functions)
    finder = _MarkedFinder(marks)
    sys.meta_path.insert(0, finder)
    package = name.rpartition(".")[0]
    if package:
        importlib.import_module(package)
    module = types.ModuleType("__main__")
    file = str(script)
    loader = importlib.machinery.SourceFileLoader(name or file, file)
    spec = importlib.util.spec_from_file_location(name, file, loader=loader) if name else None
    vars(module).update(
        __file__=file, __cached__=None, __package__=package if name else None, __loader__=loader, __spec__=spec
    )
    vars(module)["__builtins__"] = builtins
    sys.modules["__main__"] = module
    exec(instrumented(script.read_bytes(), file, finder.marks_of(file) or Marks()), vars(module))


class _MarkedFinder(importlib.abc.MetaPathFinder):
    """Finds modules as usual, and has the marked ones loaded with their marks."""

    def __init__(self, marks: Mapping[str, Marks]) -> None:
        self._marks = {os.path.realpath(path): found for path, found in marks.items()}
        self._names = {os.path.basename(path) for path in marks}

    def marks_of(self, path: str | None) -> Marks | None:
        """The marks of a file, by whatever path it was found."""
        if path is None or os.path.basename(path) not in self._names:
            return None
        return self._marks.get(os.path.realpath(path))

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: types.ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if not self._names & {f"{name.rpartition('.')[2]}.py", "__init__.py"}:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        marks = None if spec is None else self.marks_of(spec.origin)
        if spec is None or marks is None:
            return None
        spec.loader = _MarkedLoader(name, str(spec.origin), marks)
        return spec


class _MarkedLoader(importlib.machinery.SourceFileLoader):
    """Compiles a file with its marks, past the byte code that may be kept of it."""

    def __init__(self, name: str, path: str, marks: Marks) -> None:
        super().__init__(name, path)
        self._file_marks = marks

    def get_code(self, fullname: str) -> types.CodeType:
        return instrumented(self.get_data(self.path), self.path, self._file_marks)
