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

The marks are put into the syntax tree, so that the files stay as they are and line numbers hold. What may live here:
trees and code objects. What the marks do is up to `flor_ray.replaying.process`.
"""

from __future__ import annotations

import ast
import builtins
import difflib
import importlib.abc
import importlib.machinery
import os
import sys
import types
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

OBSERVE, DONE, AT_END, RUNS = "__flor_observe__", "__flor_done__", "__flor_at_end__", "__flor_runs__"

# Calls that leave everything as it is. Of methods the names are all that can be seen: those of tensors, arrays,
# numbers, strings, dicts and modules that only read.
# fmt: off
_READING_METHODS = frozenset(
    {
        "item", "detach", "cpu", "numpy", "tolist", "norm", "mean", "sum", "abs", "max", "min", "std", "var",
        "argmax", "argmin", "clone", "size", "dim", "numel", "double", "float", "long", "int", "half", "sqrt",
        "square", "pow", "exp", "median", "nanmean", "flatten", "ravel", "squeeze", "unsqueeze", "reshape",
        "view", "transpose", "any", "all", "isnan", "isfinite", "parameters", "named_parameters", "buffers",
        "named_buffers", "items", "keys", "values", "format", "join", "split", "strip", "upper", "lower",
        "startswith", "endswith", "count", "index", "get_last_lr", "total_seconds", "matmul", "dot",
    }
)
_READING_BUILTINS = frozenset(
    {
        "len", "float", "int", "str", "bool", "round", "abs", "repr", "isinstance", "type", "hasattr",
        "getattr", "min", "max",
    }
)
# these go through what they are given
_CONSUMING_BUILTINS = frozenset(
    {
        "sum", "sorted", "list", "tuple", "set", "dict", "enumerate", "zip", "any", "all",
    }
)
# fmt: on


@dataclass(frozen=True, slots=True)
class Marks:
    """Where a file is marked; all lines from 1."""

    hindsight: frozenset[int] = frozenset()  # lines that the recorded version did not have
    stops: frozenset[int] = frozenset()  # last lines of statements of the main loop's body, after which it may be left
    at_end: frozenset[int] = frozenset()  # first lines of the statements that the state of an epoch's end can answer


def inserted_lines(before: str, after: str) -> frozenset[int]:
    """Lines of `after` that were put between those of `before`. A line that took another one's place is none of them:
    what it does belongs to the script."""
    old, new = ([line.rstrip("\r") for line in text.split("\n")] for text in (before, after))
    wanted, found = 0, set()
    for number, line in enumerate(new, start=1):
        if wanted < len(old) and line == old[wanted]:
            wanted += 1
        else:
            found.add(number)
    if wanted == len(old):
        return frozenset(found)
    changes = difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes()
    return frozenset(n + 1 for tag, _, _, begin, end in changes if tag == "insert" for n in range(begin, end))


def is_inserted(statement: ast.stmt, lines: frozenset[int]) -> bool:
    return lines.issuperset(range(_first_line(statement), (statement.end_lineno or statement.lineno) + 1))


def is_flor_loop(node: ast.AST) -> bool:
    """Whether this is `for ... in flor.loop(...)`, with or without something around the call."""
    return isinstance(node, ast.For) and any(
        isinstance(call, ast.Call) and _called(call) == "loop" for call in ast.walk(node.iter)
    )


def is_iteration(node: ast.AST) -> bool:
    """Whether this is `with flor.iteration(...):`."""
    return isinstance(node, ast.With) and any(
        isinstance(item.context_expr, ast.Call) and _called(item.context_expr) == "iteration" for item in node.items
    )


def only_reads(node: ast.AST) -> bool:
    """Whether a statement surely changes nothing that the script could see, besides the names that it binds."""
    if isinstance(node, ast.Expr):
        return only_reads(node.value)
    if isinstance(node, ast.Assign):
        return all(isinstance(target, ast.Name) for target in node.targets) and only_reads(node.value)
    if isinstance(node, ast.If):
        return only_reads(node.test) and all(only_reads(child) for child in [*node.body, *node.orelse])
    if isinstance(node, ast.Pass | ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return True
    if isinstance(node, ast.Call):
        return _call_reads(node)
    if isinstance(node, ast.ListComp | ast.SetComp | ast.GeneratorExp | ast.DictComp):
        made = [node.key, node.value] if isinstance(node, ast.DictComp) else [node.elt]
        tests = [test for generator in node.generators for test in generator.ifs]
        return all(_is_iterated_safely(g.iter) for g in node.generators) and all(map(only_reads, [*made, *tests]))
    if isinstance(node, ast.Await | ast.Yield | ast.YieldFrom | ast.NamedExpr | ast.Lambda) or not isinstance(
        node, ast.expr | ast.keyword | ast.FormattedValue | ast.Slice
    ):
        return False
    inner = (ast.expr, ast.keyword, ast.Slice)
    return all(only_reads(child) for child in ast.iter_child_nodes(node) if isinstance(child, inner))


def _call_reads(call: ast.Call) -> bool:
    arguments: list[ast.expr] = [*call.args, *(keyword.value for keyword in call.keywords)]
    if not all(map(only_reads, arguments)):
        return False
    if isinstance(call.func, ast.Attribute):
        known = _called(call) in _READING_METHODS | {"log"}
        return known and only_reads(call.func.value)
    if not isinstance(call.func, ast.Name):
        return False
    if call.func.id in _CONSUMING_BUILTINS or (call.func.id in ("min", "max") and len(arguments) == 1):
        return all(map(_is_iterated_safely, arguments))
    return call.func.id in _READING_BUILTINS | {"log", "print"}


def _is_iterated_safely(node: ast.expr) -> bool:
    """Iterating over a variable may draw random numbers (a loader) or use it up (an iterator): only displays and the
    views of methods are sure to come to no harm."""
    if isinstance(node, ast.List | ast.Tuple | ast.Set | ast.Dict | ast.Constant):
        return only_reads(node)
    if isinstance(node, ast.ListComp | ast.SetComp | ast.GeneratorExp | ast.DictComp):
        return only_reads(node)
    if not isinstance(node, ast.Call) or not only_reads(node):
        return False
    return isinstance(node.func, ast.Attribute) or _called(node) in {"range", *_CONSUMING_BUILTINS}


def _called(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")


def _first_line(statement: ast.stmt) -> int:
    decorators = getattr(statement, "decorator_list", [])
    return int(min([statement.lineno, *(decorator.lineno for decorator in decorators)]))


# --- the tree -------------------------------------------------------------------------------------------------------


def instrumented(source: bytes, filename: str, marks: Marks) -> types.CodeType:
    """The file's code with the marks in it. Raises SyntaxError as `compile` does."""
    tree = ast.parse(source, filename)
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
            found += _observed(run)
            run = []
            found.append(_inside(statement, marks))
        if statement.end_lineno in stops:
            found += _observed(run)
            run = []
            found.append(_at(_check(DONE, statement.end_lineno), statement))
    return found + _observed(run)


def _inside(statement: ast.stmt, marks: Marks) -> ast.stmt:
    """A compound statement with marks in its blocks."""
    for field in ("body", "orelse", "finalbody"):
        block = getattr(statement, field, None)
        if not isinstance(block, list) or not block:
            continue
        is_body = field == "body" and is_flor_loop(statement)
        new = _block(block, marks, marks.stops if is_body else frozenset())
        if is_body and (chosen := [s for s in block if _first_line(s) in marks.at_end]):
            new.insert(0, _at(ast.If(_call(AT_END), [*chosen, ast.Continue()], []), statement))
        if field == "body" and is_iteration(statement):
            new = [_at(ast.If(_call(RUNS), new, []), block[0])]
        setattr(statement, field, new)
    for part in [*getattr(statement, "handlers", ()), *getattr(statement, "cases", ())]:
        part.body = _block(part.body, marks, frozenset())
    return statement


def _observed(run: list[ast.stmt]) -> list[ast.stmt]:
    """Hindsight statements in a row, guarded if they might change anything."""
    if all(map(only_reads, run)):
        return run
    names = sorted({n.id for s in run for n in ast.walk(s) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)})
    guard = ast.withitem(_call(OBSERVE, *names))
    return [_at(ast.With([guard], run), run[0])]


def _check(name: str, line: int | None) -> ast.If:
    return ast.If(_call(name, line), [ast.Continue()], [])


def _call(name: str, *arguments: str | int | None) -> ast.Call:
    return ast.Call(ast.Name(name, ast.Load()), [ast.Constant(argument) for argument in arguments], [])


def _at(new: ast.stmt, statement: ast.stmt) -> ast.stmt:
    return ast.copy_location(new, statement)


# --- running --------------------------------------------------------------------------------------------------------


def run_main(script: Path, marks: Mapping[str, Marks], functions: Mapping[str, Callable[..., Any]]) -> None:
    """Run a script as `__main__`, with the marks in it and in the modules that it imports.

    Args:
        marks: by absolute path.
        functions: what the marks call, by name; for the whole process from now on.
    """
    vars(builtins).update(functions)
    finder = _MarkingFinder(marks)
    sys.meta_path.insert(0, finder)
    module = types.ModuleType("__main__")
    name = str(script)
    vars(module).update(
        __file__=name, __cached__=None, __package__=None, __loader__=importlib.machinery.SourceFileLoader(name, name)
    )
    vars(module)["__builtins__"] = builtins
    sys.modules["__main__"] = module
    exec(instrumented(script.read_bytes(), name, finder.marks_of(name) or Marks()), vars(module))


class _MarkingFinder(importlib.abc.MetaPathFinder):
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
        spec.loader = _Loader(name, str(spec.origin), marks)
        return spec


class _Loader(importlib.machinery.SourceFileLoader):
    """Compiles a file with its marks, past the byte code that may be kept of it."""

    def __init__(self, name: str, path: str, marks: Marks) -> None:
        super().__init__(name, path)
        self._file_marks = marks

    def get_code(self, fullname: str) -> types.CodeType:
        return instrumented(self.get_data(self.path), self.path, self._file_marks)
