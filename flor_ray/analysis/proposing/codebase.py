"""The user's files, and which of their functions a call runs, as far as names tell. What they do not tell is nobody."""

from __future__ import annotations

import ast
import posixpath
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

from flor_ray.analysis.nodes import walk
from flor_ray.analysis.proposing.script_text import ScriptText
from flor_ray.analysis.scopes import Assigned, Defined, Imported, Namespace
from flor_ray.analysis.source import label_of

Function = ast.FunctionDef | ast.AsyncFunctionDef
# Methods that objects of libraries have as well: a call of one by an unknown object is not taken for the user's.
_COMMON = frozenset(
    {
        *("step", "train", "eval", "fit", "forward", "reset", "close", "update", "backward", "zero_grad", "to", "run"),
        *("state_dict", "load_state_dict", "parameters", "items", "get", "append", "add", "log", "sample", "save"),
    }
)


@dataclass(frozen=True, slots=True)
class Routine:
    """A function of the user's, or a module's own lines."""

    path: str
    node: ast.Module | Function
    owner: ast.ClassDef | None = None  # of a method: its class

    @property
    def name(self) -> str:
        return getattr(self.node, "name", "")

    @property
    def parameters(self) -> list[str]:
        """Names of its parameters, by position, `self` of a method left out."""
        if isinstance(self.node, ast.Module):
            return []
        names = [each.arg for each in (*self.node.args.posonlyargs, *self.node.args.args)]
        return names[1:] if self.owner is not None and names[:1] in (["self"], ["cls"]) else names


class Codebase:
    """Files by path; `script` is the one that is run."""

    def __init__(self, texts: Mapping[str, ScriptText], script: str) -> None:
        self.texts, self.script = texts, script
        self._stems = {path.removesuffix(".py").removesuffix("/__init__"): path for path in texts}

    @property
    def top(self) -> Routine:
        """The script's own lines."""
        return Routine(self.script, self.texts[self.script].tree)

    @cached_property
    def routines(self) -> list[Routine]:
        """All functions, in the order of the files and lines."""
        found = []
        for path, text in sorted(self.texts.items()):
            owners = {f: c for c in walk(text.tree) if isinstance(c, ast.ClassDef) for f in c.body}
            nodes = [node for node in walk(text.tree) if isinstance(node, Function)]
            found += [Routine(path, node, owners.get(node)) for node in sorted(nodes, key=lambda each: each.lineno)]
        return found

    @cached_property
    def _by_node(self) -> Mapping[ast.AST, Routine]:
        return {each.node: each for each in self.routines}

    def scope(self, routine: Routine) -> Namespace:
        """The variables of a routine."""
        return self.texts[routine.path].source.namespace(routine.node)

    # --- calls ----------------------------------------------------------------------------------------------------

    def callees(self, routine: Routine, call: ast.Call) -> list[Routine]:
        """Functions that a call in a routine runs: the one called, and those that are handed over."""
        found = list(self._called(routine, call.func))
        for each in (*call.args, *(keyword.value for keyword in call.keywords)):
            if isinstance(each, ast.Name | ast.Attribute):
                found += [one for one in self._called(routine, each) if isinstance(each, ast.Name)]
        return list(dict.fromkeys(found))

    def _called(self, routine: Routine, function: ast.expr) -> Iterator[Routine]:
        if isinstance(function, ast.Name):
            defined = self.defined(routine.path, self.scope(routine), function.id)
            if isinstance(defined, tuple):
                path, node = defined
                if isinstance(node, ast.ClassDef):
                    yield from self.methods(path, node, "__init__")
                elif node in self._by_node:
                    yield self._by_node[node]
        elif isinstance(function, ast.Attribute):
            yield from self._of_attribute(routine, function)

    def _of_attribute(self, routine: Routine, function: ast.Attribute) -> Iterator[Routine]:
        base = function.value
        if isinstance(base, ast.Name) and base.id in ("self", "cls") and routine.owner is not None:
            yield from self.methods(routine.path, routine.owner, function.attr)
            return
        if isinstance(base, ast.Name):
            path = self._module(routine, base.id)
            if path is not None:
                top = self.texts[path].source.namespace(self.texts[path].tree)
                found = self.defined(path, top, function.attr)
                if found is not None and found[1] in self._by_node:
                    yield self._by_node[found[1]]
                return
            made = self._class_of(routine, base.id)
            if made is not None:
                yield from self.methods(*made, function.attr)
                return
        elif isinstance(base, ast.Call) and isinstance(base.func, ast.Name):  # Runner(model).fit()
            maker = self.class_named(routine, base.func.id)
            if maker is not None:
                yield from self.methods(*maker, function.attr)
                return
        named = [each for each in self.routines if each.owner is not None and each.name == function.attr]
        if len(named) == 1 and function.attr not in _COMMON:
            yield named[0]

    def methods(
        self, path: str, made: ast.ClassDef, name: str, seen: frozenset[ast.AST] = frozenset()
    ) -> list[Routine]:
        """The method of a class that has a name, of its bases where it has none itself."""
        own = [each for each in made.body if isinstance(each, Function) and each.name == name]
        if own:
            return [self._by_node[own[-1]]]
        top = self.texts[path].source.namespace(self.texts[path].tree)
        for base in made.bases:
            found = self.defined(path, top, base.id) if isinstance(base, ast.Name) else None
            if found is not None and isinstance(found[1], ast.ClassDef) and found[1] not in seen:
                return self.methods(found[0], found[1], name, seen | {made})
        return []

    def _class_of(self, routine: Routine, name: str) -> tuple[str, ast.ClassDef] | None:
        scope = self.scope(routine).owner(name)
        for binding in scope.bindings[name] if scope is not None else ():
            if isinstance(binding, Assigned) and isinstance(binding.value, ast.Call):
                function = binding.value.func
                found = self.class_named(routine, self.dotted(routine, function))
                if found is not None:
                    return found
        return None

    # --- names ----------------------------------------------------------------------------------------------------

    def defined(
        self, path: str, scope: Namespace | None, name: str, depth: int = 0
    ) -> tuple[str, Function | ast.ClassDef] | None:
        """The function or class of the user's that a name stands for, with its file."""
        owner = scope.owner(name) if scope is not None else None
        for binding in reversed(owner.bindings[name]) if owner is not None else ():
            if isinstance(binding, Defined):
                return path, binding.node
            if isinstance(binding, Imported) and depth < 8:
                other = self.file(path, binding.module, binding.level) if binding.name else None
                if other is not None and other != path:
                    top = self.texts[other].source.namespace(self.texts[other].tree)
                    return self.defined(other, top, binding.name, depth + 1)
        return None

    def class_named(self, routine: Routine, dotted: str) -> tuple[str, ast.ClassDef] | None:
        """The class of the user's that a routine calls by a name, or by `module.name` as `dotted` answers it."""
        module, _, last = dotted.rpartition(".")
        if not module:
            found = self.defined(routine.path, self.scope(routine), last)
        else:
            path = self.file(routine.path, module, 0)
            found = self.defined(path, self.scope(self.top_of(path)), last) if path is not None else None
        return (found[0], found[1]) if found is not None and isinstance(found[1], ast.ClassDef) else None

    def top_of(self, path: str) -> Routine:
        """A module's own lines."""
        return Routine(path, self.texts[path].tree)

    def _module(self, routine: Routine, name: str) -> str | None:
        """The file that a name stands for: `import engine`, `from . import engine`."""
        owner = self.scope(routine).owner(name)
        for binding in owner.bindings[name] if owner is not None else ():
            if isinstance(binding, Imported):
                module = f"{binding.module}.{binding.name}".strip(".") if binding.name else binding.module
                found = self.file(routine.path, module, binding.level)
                if found is not None:
                    return found
        return None

    def file(self, importer: str, module: str, level: int) -> str | None:
        """The file of a module: beside its importer, beside the script, or at the top."""
        return next(
            (self._stems[each] for each in places(importer, self.script, module, level) if each in self._stems), None
        )

    def modules_of(self, routine: Routine, statement: ast.Import | ast.ImportFrom) -> list[Routine]:
        """The own lines of the user's modules that an import runs, packages before what is in them."""
        if isinstance(statement, ast.Import):
            wanted = [(each.name, 0) for each in statement.names]
        else:
            module = statement.module or ""
            names = ("", *(each.name for each in statement.names))
            wanted = [(f"{module}.{name}".strip("."), statement.level) for name in names]
        found = []
        for dotted, level in wanted:
            parts = dotted.split(".")
            for length in range(1, len(parts) + 1):
                path = self.file(routine.path, ".".join(parts[:length]), level)
                if path is not None and path != self.script:
                    found.append(self.top_of(path))
        return list(dict.fromkeys(found))

    def dotted(self, routine: Routine, function: ast.expr) -> str:
        """What is called, with the module that its first name is imported from: `torch.optim.Adam` of `optim.Adam`."""
        parts: list[str] = []
        while isinstance(function, ast.Attribute):
            parts.append(function.attr)
            function = function.value
        if not isinstance(function, ast.Name):
            return ".".join(reversed(parts))
        owner = self.scope(routine).owner(function.id)
        first = function.id
        for binding in owner.bindings[function.id] if owner is not None else ():
            if isinstance(binding, Imported):
                first = f"{binding.module}.{binding.name}".strip(".") if binding.name else binding.module
        return ".".join([first, *reversed(parts)])


def places(importer: str, script: str, module: str, level: int) -> list[str]:
    """Paths, without `.py`, at which a module may be: relative ones, else beside the script and at the top."""
    inner = module.replace(".", "/")
    folder = importer
    for _ in range(level):
        folder = posixpath.dirname(folder)
    if level:
        return [posixpath.join(folder, inner) if inner else folder]
    return list(
        dict.fromkeys(
            posixpath.join(base, inner) for base in (posixpath.dirname(script), posixpath.dirname(importer), "")
        )
    )


def imported(importer: str, script: str, text: ScriptText) -> list[str]:
    """Paths, without `.py`, at which modules may be that a file imports."""
    found: list[str] = []
    for each in text.source.imports:
        found += places(importer, script, each.module, each.level)
        if each.name and each.name != "*":
            found += places(importer, script, f"{each.module}.{each.name}".strip("."), each.level)
    return list(dict.fromkeys(path for path in found if path))


def is_of_main(statement: ast.If) -> bool:
    """Whether this is `if __name__ == "__main__":`, whose lines run in the script alone."""
    return "__name__" in ast.unparse(statement.test)


def label(call: ast.Call) -> str:
    """The last name of what is called."""
    return label_of(call.func)
