"""What a replay puts into a version's files, and where: lines, read off the text. Pure: texts in, lines out.

    for epoch in flor.loop("epoch", ...):
        train(net)                                 stops: an epoch may end after this statement
        flor.log("norm", net.weight.norm())        hindsight: the recorded version did not have it; quiet: it only reads
        flor.log("acc", evaluate(net))             hindsight, and it may change something: the observer guards it

`flor_ray.replaying.marked_code` puts the marks into syntax trees, and knows no more of a file than these lines.
"""

from __future__ import annotations

import ast
import difflib
import functools
from dataclasses import dataclass

from flor_ray.analysis.source import Source, Texts, label_of, read

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
        "getattr", "min", "max", "print", "range",
    }
)
# these go through what they are given
_CONSUMING_BUILTINS = frozenset(
    {
        "sum", "sorted", "list", "tuple", "set", "dict", "enumerate", "zip", "any", "all",
    }
)
# fmt: on
_COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.GeneratorExp, ast.DictComp)


@dataclass(frozen=True, slots=True)
class Marks:
    """Where a file is marked; all lines from 1."""

    hindsight: frozenset[int] = frozenset()  # lines that the recorded version did not have
    stops: frozenset[int] = frozenset()  # last lines of statements of the main loop's body, after which it may be left
    at_end: frozenset[int] = frozenset()  # first lines of the statements that the state of an epoch's end can answer
    quiet: frozenset[int] = frozenset()  # first lines of hindsight statements that only read: nobody need guard them
    loops: frozenset[int] = frozenset()  # of `for` statements over flor.loop
    iterations: frozenset[int] = frozenset()  # of `with flor.iteration(...)` statements
    guards_end: bool = False  # statements that the end of an epoch answers are guarded too, each by itself


def marks_of(
    source: Source,
    own: Own,
    hindsight: frozenset[int] = frozenset(),
    stops: frozenset[int] = frozenset(),
    at_end: frozenset[int] = frozenset(),
) -> Marks:
    """A file's marks.

    Args:
        own: what the project itself defines.
        hindsight: lines that were added; `stops` and `at_end` are as in `Marks`.
    """
    reading = Reading(source, own)
    added = [node for node in source.nodes if isinstance(node, ast.stmt) and is_inserted(node, hindsight)]
    changing = {first_line(statement) for statement in added if not reading.only_reads(statement)}
    return Marks(
        hindsight,
        stops,
        at_end,
        frozenset(first_line(statement) for statement in added) - changing,
        frozenset(node.lineno for node in source.nodes if isinstance(node, ast.For) and source.is_loop(node)),
        frozenset(node.lineno for node in source.nodes if isinstance(node, ast.With) and source.is_iteration(node)),
    )


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


def without_inserted(text: str, lines: frozenset[int]) -> str:
    """A text in which the statements on inserted lines do nothing; all others stand where they did."""
    shown = text.split("\n")
    pending: list[ast.AST] = [tree] if (tree := read(text).tree) is not None else []
    while pending:
        node = pending.pop()
        if isinstance(node, ast.stmt) and is_inserted(node, lines):
            begin, end = first_line(node) - 1, node.end_lineno or node.lineno
            indent = shown[begin][: len(shown[begin]) - len(shown[begin].lstrip())]
            shown[begin:end] = [f"{indent}pass", *[""] * (end - begin - 1)]
        else:
            pending += ast.iter_child_nodes(node)
    return "\n".join(shown)


def line_now(before: str, after: str, line: int) -> int | None:
    """Where a line of `before` is in `after`; None if it is there no more."""
    old, new = ([each.rstrip("\r") for each in text.split("\n")] for text in (before, after))
    added = inserted_lines(before, after)
    if len(old) + len(added) == len(new):
        kept = [number for number in range(1, len(new) + 1) if number not in added]
        return kept[line - 1] if 0 < line <= len(kept) and new[kept[line - 1] - 1] == old[line - 1] else None
    blocks = difflib.SequenceMatcher(None, old, new, autojunk=False).get_matching_blocks()
    return next((b + line - a for a, b, size in blocks if a < line <= a + size), None)


def is_inserted(statement: ast.stmt, lines: frozenset[int]) -> bool:
    """Whether all lines of a statement are among those that were added."""
    return lines.issuperset(range(first_line(statement), (statement.end_lineno or statement.lineno) + 1))


def first_line(statement: ast.stmt) -> int:
    """Where a statement begins, with its decorators."""
    decorators = getattr(statement, "decorator_list", [])
    return int(min([statement.lineno, *(decorator.lineno for decorator in decorators)]))


@dataclass(frozen=True, slots=True)
class Own:
    """Names that a project itself defines."""

    callables: frozenset[str] = frozenset()  # functions, methods and classes
    properties: frozenset[str] = frozenset()


def own_names(files: Texts) -> Own:
    """What the files of a project define."""
    found = [_defined_in(text) for text in files.values()]
    return Own(
        frozenset().union(*(one.callables for one in found)), frozenset().union(*(one.properties for one in found))
    )


@functools.lru_cache(maxsize=8192)
def _defined_in(text: str) -> Own:
    if "def " not in text and "class " not in text:
        return Own()
    functions = [node for node in read(text).nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    properties = {f.name for f in functions if any("property" in ast.unparse(d) for d in f.decorator_list)}
    return Own(read(text).defines, frozenset(properties))


class Reading:
    """Which statements of a source surely change nothing that its script could see.

    A call is trusted by its name alone: `loss.item()`, `float(x)`, `flor.log(...)`. So it is not where the project
    itself defines a function, method or class of that name, where a variable has the name of a builtin, and where
    `log` is not ours. Operators, subscripts and attributes are taken to read, whatever class they belong to, other
    than properties that the project defines.
    """

    def __init__(self, source: Source, own: Own) -> None:
        self._source, self._own = source, own

    def only_reads(self, node: ast.AST) -> bool:
        """Whether a statement or expression changes nothing, besides the names that it binds."""
        if isinstance(node, ast.stmt):
            return self._statement_reads(node)
        if isinstance(node, ast.Call):
            return self._call_reads(node)
        if isinstance(node, _COMPREHENSIONS):
            return self._comprehension_reads(node)
        if isinstance(node, ast.Await | ast.Yield | ast.YieldFrom | ast.NamedExpr | ast.Lambda):
            return False
        if isinstance(node, ast.Attribute) and node.attr in self._own.properties:
            return False
        if not isinstance(node, ast.expr | ast.keyword | ast.FormattedValue | ast.Slice):
            return False
        inner = (ast.expr, ast.keyword, ast.Slice)
        return all(self.only_reads(child) for child in ast.iter_child_nodes(node) if isinstance(child, inner))

    def leaves_all(self, statement: ast.stmt) -> bool:
        """Whether a statement changes nothing at all: it binds no names either."""
        if isinstance(statement, ast.If):
            inner = [*statement.body, *statement.orelse]
            return self.only_reads(statement.test) and all(map(self.leaves_all, inner))
        if isinstance(statement, ast.Break | ast.Continue | ast.Pass):
            return True
        return isinstance(statement, ast.Expr) and self.only_reads(statement.value)

    def _statement_reads(self, statement: ast.stmt) -> bool:
        if isinstance(statement, ast.Expr):
            return self.only_reads(statement.value)
        if isinstance(statement, ast.Assign):
            to_names = all(isinstance(target, ast.Name) for target in statement.targets)
            return to_names and self.only_reads(statement.value)
        if isinstance(statement, ast.If):
            inner = [*statement.body, *statement.orelse]
            return self.only_reads(statement.test) and all(map(self.only_reads, inner))
        if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef):
            given = [*statement.args.defaults, *(default for default in statement.args.kw_defaults if default)]
            return not statement.decorator_list and all(map(self.only_reads, given))
        if isinstance(statement, ast.ClassDef):
            parts: list[ast.AST] = [*statement.bases, *statement.keywords, *statement.body]
            return not statement.decorator_list and all(map(self.only_reads, parts))
        return isinstance(statement, ast.Pass)

    def _comprehension_reads(self, node: ast.ListComp | ast.SetComp | ast.GeneratorExp | ast.DictComp) -> bool:
        made = [node.key, node.value] if isinstance(node, ast.DictComp) else [node.elt]
        tests = [test for generator in node.generators for test in generator.ifs]
        is_safe = all(self._is_iterated_safely(generator.iter) for generator in node.generators)
        return is_safe and all(map(self.only_reads, [*made, *tests]))

    def _call_reads(self, call: ast.Call) -> bool:
        arguments: list[ast.expr] = [*call.args, *(keyword.value for keyword in call.keywords)]
        if not all(map(self.only_reads, arguments)):
            return False
        if self._source.function_of(call) == "log":
            return True
        if isinstance(call.func, ast.Attribute):
            is_known = call.func.attr in _READING_METHODS - self._own.callables
            return is_known and self.only_reads(call.func.value)
        name = self._builtin(call)
        if name in _CONSUMING_BUILTINS or (name in ("min", "max") and len(arguments) == 1):
            return all(map(self._is_iterated_safely, arguments))
        return name in _READING_BUILTINS

    def _builtin(self, call: ast.Call) -> str:
        """The name of the builtin that is called; "" if it is, or may be, another function."""
        is_builtin = isinstance(call.func, ast.Name) and self._source.is_builtin(call.func)
        return label_of(call.func) if is_builtin and label_of(call.func) not in self._own.callables else ""

    def _is_iterated_safely(self, node: ast.expr) -> bool:
        """Iterating over a variable may draw random numbers (a loader) or use it up (an iterator): only displays and
        the views of methods are sure to come to no harm."""
        if isinstance(node, (ast.List, ast.Tuple, ast.Set, ast.Dict, ast.Constant, *_COMPREHENSIONS)):
            return self.only_reads(node)
        if not isinstance(node, ast.Call) or not self.only_reads(node):
            return False
        return isinstance(node.func, ast.Attribute) or self._builtin(node) in {"range", *_CONSUMING_BUILTINS}
