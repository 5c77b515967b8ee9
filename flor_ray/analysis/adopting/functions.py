"""What a piece of a script changes, also through the functions that it calls. Pure: trees in, names out.

Conservative: a method that is not known only to read changes what it is called on, a `.step()` changes all that is
trained, and a function that nobody knows changes the variables that it is given. The usual libraries' functions do not,
other than those that are known to.
"""

from __future__ import annotations

import ast
import builtins
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from flor_ray.analysis.nodes import walk
from flor_ray.analysis.source import Source
from flor_ray.analysis.uses import Uses, loads

Function = ast.FunctionDef | ast.AsyncFunctionDef
STEPS = frozenset({"step", "backward", "fit", "train_epoch", "minimize"})  # what they change has other names, too
_MODES = frozenset({"train", "eval"})
# Methods that leave what they are called on as it is, as far as a checkpoint file would show it.
# fmt: off
_READING = _MODES | frozenset(
    {
        "state_dict", "parameters", "named_parameters", "buffers", "named_buffers", "modules", "named_modules",
        "children", "named_children", "zero_grad", "get_last_lr", "item", "detach", "cpu", "numpy", "tolist", "clone",
        "size", "dim", "numel", "norm", "mean", "sum", "std", "var", "abs", "max", "min", "argmax", "argmin", "float",
        "double", "long", "int", "bool", "view", "reshape", "flatten", "squeeze", "unsqueeze", "transpose", "permute",
        "expand", "repeat", "split", "chunk", "softmax", "log_softmax", "sigmoid", "exp", "log", "sqrt", "pow", "eq",
        "ne", "gt", "lt", "ge", "le", "any", "all", "topk", "sort", "unique", "bincount", "gather", "index_select",
        "matmul", "dot", "items", "keys", "values", "get", "copy", "format", "join", "strip", "lower", "upper",
        "startswith", "endswith", "count", "index", "to", "cuda", "type", "contiguous", "save_pretrained", "save_state",
        "unwrap_model", "exists", "is_dir", "is_file", "mkdir", "with_suffix", "forward", "eval_step", "compute",
        "gather_for_metrics", "parse_args", "isnan", "isfinite", "nonzero", "t", "T", "new_zeros", "zeros_like",
    }
)
# fmt: on
_USUAL = frozenset({"torch", "nn", "F", "np", "numpy", "math", "os", "json", "time", "sys", "copy", "plt", "metrics"})
_KEEPING = frozenset(
    {"tqdm", "trange", "track", "deepcopy", "no_grad", "autocast", "inference_mode", "save", "save_file"}
)
_CHANGING_FUNCTIONS = frozenset({"shuffle", "heappush", "heappop", "heapify", "insort", "setattr", "delattr", "exec"})


@dataclass(slots=True)
class ProjectCode:
    """The functions and classes of a version's files, by name. Of several with one name, each may be meant."""

    sources: Mapping[str, Source]
    functions: dict[str, list[Function]] = field(default_factory=dict)
    classes: dict[str, list[ast.ClassDef]] = field(default_factory=dict)
    modules: frozenset[str] = frozenset()  # names under which modules are imported
    _changed: dict[Function, frozenset[str]] = field(default_factory=dict)
    _free: dict[ast.AST, frozenset[str]] = field(default_factory=dict)

    @classmethod
    def of(cls, sources: Mapping[str, Source]) -> ProjectCode:
        """All that these files define."""
        found = cls(sources)
        modules: set[str] = set()
        for source in sources.values():
            for node in source.nodes:
                if isinstance(node, Function):
                    found.functions.setdefault(node.name, []).append(node)
                elif isinstance(node, ast.ClassDef):
                    found.classes.setdefault(node.name, []).append(node)
                elif isinstance(node, ast.Import | ast.ImportFrom):
                    modules |= {alias.asname or alias.name.partition(".")[0] for alias in node.names}
        found.modules = frozenset(modules)
        return found

    def changed(self, parts: Iterable[ast.AST], trusts: bool = False) -> frozenset[str]:
        """Variables that code may bind or change, by itself or in the functions that it calls. `trusts` that functions
        which nobody knows only read what the code itself gives them, as somebody who adds a statement will."""
        found: set[str] = set()
        for part in parts:
            uses = Uses()
            uses.visit(part)
            found |= uses.bound | uses.changed
            for node in walk(part):
                if isinstance(node, ast.Call):
                    found |= self._by_call(node, trusts)
        return frozenset(found - self.modules)

    def trains(self, parts: Iterable[ast.AST]) -> bool:
        """Whether code makes a step of training, by itself or in the functions that it calls."""
        return any(
            isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in STEPS
            for node in self.reached(parts)
        )

    def reached(self, parts: Iterable[ast.AST]) -> Iterator[ast.AST]:
        """All nodes of code, and of the functions and classes that it may come to."""
        pending, seen = list(parts), set[str]()
        while pending:
            words = set()
            for node in walk(pending.pop()):
                yield node
                if isinstance(node, ast.Name | ast.Attribute):
                    words.add(node.id if isinstance(node, ast.Name) else node.attr)
            for word in sorted(words - seen):
                pending += [*self.functions.get(word, ()), *self.classes.get(word, ())]
            seen |= words

    def reads(self, parts: Sequence[ast.AST]) -> frozenset[str]:
        """Variables of the enclosing scopes that code reads, also in the functions that it may come to."""
        found: set[str] = set().union(*map(loads, parts)) if parts else set()
        for node in self.reached(parts):
            if isinstance(node, Function | ast.ClassDef):
                found |= self._free_of(node)
        return frozenset(found - self.functions.keys() - self.classes.keys() - self.modules)

    def _free_of(self, node: Function | ast.ClassDef) -> frozenset[str]:
        if node not in self._free:
            self._free[node] = frozenset(loads(node))
        return self._free[node]

    def _by_call(self, call: ast.Call, trusts: bool = False) -> set[str]:
        found: set[str] = set()
        name = call.func.id if isinstance(call.func, ast.Name) else getattr(call.func, "attr", "")
        if isinstance(call.func, ast.Attribute):
            root = root_of(call.func.value)
            if root and root not in self.modules and (name not in _READING or name in self.functions):
                found.add(root)
        if name in _CHANGING_FUNCTIONS or (not trusts and self._may_change(call, name)):
            given = (*call.args, *(keyword.value for keyword in call.keywords))
            found |= {root for argument in given if (root := root_of(argument))}
        for function in self.functions.get(name, ()):
            changed = self._changed_in(function)
            by_name = arguments_of(call, function, isinstance(call.func, ast.Attribute))
            found |= {root for parameter, node in by_name.items() if parameter in changed and (root := root_of(node))}
            found |= changed - parameters_of(function)
        return found

    def _may_change(self, call: ast.Call, name: str) -> bool:
        """Whether a function may change what it is given, as far as its name tells: it is none of the project's."""
        if name in self.functions or name in self.classes or name in _KEEPING or not name or name[0].isupper():
            return False
        if name.startswith(("update", "train", "fit", "reset")) or (name.endswith("_") and name[0] != "_"):
            return True
        if isinstance(call.func, ast.Name):
            return name in self.modules and not hasattr(builtins, name)
        root = root_of(call.func)
        return root in self.modules and root not in _USUAL

    def _changed_in(self, function: Function) -> frozenset[str]:
        """Parameters that a function may change in place, and variables outside of it that it may."""
        if function in self._changed:
            return self._changed[function]
        self._changed[function] = frozenset()  # one that calls itself
        uses = Uses()
        for statement in function.body:
            uses.visit(statement)
        outer = {n for node in walk(function) if isinstance(node, ast.Global | ast.Nonlocal) for n in node.names}
        changed = set(uses.changed)
        for node in walk(function):
            if isinstance(node, ast.Call):
                changed |= self._by_call(node)
        own = uses.bound - outer
        found = frozenset((changed - (own - parameters_of(function))) | outer) - self.modules
        self._changed[function] = found
        return found

    def mode_after(self, body: Sequence[ast.stmt], depth: int = 4) -> bool | str | None:
        """Whether what a piece of code trains is in training mode behind it: True, False, None if it does not say, or
        "unknown"."""
        for statement in reversed(body):
            found = self._mode_of(statement, depth)
            if found is not None:
                return found
        return None

    def _mode_of(self, statement: ast.AST, depth: int) -> bool | str | None:
        if not depth:
            return None
        if isinstance(statement, ast.With | ast.AsyncWith | ast.For | ast.AsyncFor):
            return self.mode_after(statement.body, depth)
        if isinstance(statement, ast.If | ast.While | ast.Try | ast.TryStar | ast.Match):
            says = any(said_mode(node) is not None for node in self.reached([statement]))
            return "unknown" if says else None
        if isinstance(statement, Function | ast.ClassDef | ast.Lambda):
            return None
        if isinstance(statement, ast.Expr) and (mode := said_mode(statement.value)) is not None:
            return mode
        for call in reversed([node for node in walk(statement) if isinstance(node, ast.Call)]):
            name = call.func.id if isinstance(call.func, ast.Name) else getattr(call.func, "attr", "")
            for function in self.functions.get(name, ()):
                found = self.mode_after(function.body, depth - 1)
                if found is not None:
                    return found if len(self.functions[name]) == 1 else "unknown"
        return None


def said_mode(node: ast.AST) -> bool | str | None:
    """The mode that `x.train()` or `x.eval()` puts a module into; None if this is no such call."""
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute) or node.func.attr not in _MODES:
        return None
    if node.func.attr == "eval":
        return None if node.args else False
    if not node.args and not node.keywords:
        return True
    first = node.args[0] if node.args else node.keywords[0].value
    return bool(first.value) if isinstance(first, ast.Constant) and isinstance(first.value, bool) else "unknown"


def root_of(node: ast.AST) -> str:
    """The variable at the root of `a.b[c].d`; "" if there is none."""
    while isinstance(node, ast.Attribute | ast.Subscript | ast.Starred):
        node = node.value
    return node.id if isinstance(node, ast.Name) else ""


def parameters_of(function: Function) -> frozenset[str]:
    """Names of a function's parameters."""
    return frozenset(each.arg for each in walk(function.args) if isinstance(each, ast.arg))


def arguments_of(call: ast.Call, function: Function, is_method: bool) -> dict[str, ast.expr]:
    """What a call gives to each parameter, as far as it can be seen."""
    names = [each.arg for each in (*function.args.posonlyargs, *function.args.args)]
    if is_method and names[:1] in (["self"], ["cls"]):
        names = names[1:]
    given = dict(zip(names, (a for a in call.args if not isinstance(a, ast.Starred)), strict=False))
    return given | {keyword.arg: keyword.value for keyword in call.keywords if keyword.arg is not None}
