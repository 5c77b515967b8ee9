"""What a version imports before its code begins: what a warm process may import early, and what it must not. Pure.

Imports are read at module level, in the order in which they run: in the script, and in the modules of its repository
that it imports. Those inside functions are left to the script. A library reads the environment when it is imported, so
what the script sets before all its imports becomes part of the warm process's own environment, and after any other
change of the environment, or of `sys.path`, nothing more is imported early.
"""

from __future__ import annotations

import ast
import posixpath
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from flor_ray.analysis.nodes import walk
from flor_ray.analysis.source import read

# Modules that a process must not have imported when it is forked, and why. A module that imports one of them is left
# to the script as well.
NOT_EARLY = {
    "ray": "it starts threads that hold gRPC connections",
    "jax": "its runtime has threads that a fork does not survive",
    "tensorflow": "its runtime has threads that a fork does not survive",
}
_NEVER = frozenset({"flor_ray", "__main__", "__future__"}) | sys.stdlib_module_names
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
_BRANCHES = (ast.If, ast.For, ast.AsyncFor, ast.While, ast.Match, ast.ExceptHandler)
_CHANGING_METHODS = {"setdefault", "update", "pop", "popitem", "clear"}
_CHANGING_CALLS = {"putenv", "unsetenv", "load_dotenv"}
# Variables that change no import: they act when a process starts, or are read when a GPU, a pool or a run is begun.
_HARMLESS = (
    *("PYTHON", "LD_", "CUDA_", "CUBLAS_", "TOKENIZERS_PARALLELISM", "WANDB_"),
    *("MASTER_", "RANK", "LOCAL_RANK", "WORLD_SIZE"),
)


@dataclass(frozen=True, slots=True)
class Import:
    """A module, and a name that is taken from it: libraries load theirs when they are first asked for."""

    module: str
    name: str = ""  # "": the module alone

    def __str__(self) -> str:
        return f"{self.module}.{self.name}" if self.name else self.module


# torch imports this, and 800 modules with it, when a script makes its first optimizer: 1.5 of the 1.7 s that setting up
# a warm process took.
_FIRST_USE = Import("torch._dynamo")
_BRING_TORCH = {"torch", "torchvision", "transformers", "accelerate", "lightning", "pytorch_lightning"}


@dataclass(frozen=True, slots=True)
class Preload:
    """What to import for a version before its script begins, in this order, and in which environment."""

    imports: tuple[Import, ...]
    avoid: frozenset[str]  # top-level modules that must not be there before the script imports them
    environment: Mapping[str, str]


def preload(sources: Mapping[str, bytes], script: str, paths: Iterable[str], environment: Mapping[str, str]) -> Preload:
    """What the process of a version may import early.

    Args:
        sources: the version's Python files: repository-relative path -> content.
        script: path of the one that runs.
        paths: all files that the version sees. A name that one of them provides is never taken from a library.
        environment: variables of the process, as they are when the script begins.
    """
    importable = _importable_folders(paths := sorted(set(paths) | sources.keys()), script)
    own = _provided(paths, importable)
    reader = _ImportReader(sources, importable, own, dict(environment))
    reader.read(script)
    early = {_top(found.module) for found in reader.imports}
    late = reader.late | (reader.in_functions if reader.functions_change else set())
    if early & _BRING_TORCH and not reader.stopped and not reader.functions_change:
        reader.imports.append(_FIRST_USE)
    return Preload(tuple(dict.fromkeys(reader.imports)), frozenset(own | (late - early)), reader.environment)


def _importable_folders(paths: Iterable[str], script: str) -> tuple[str, ...]:
    """Folders that may be on `sys.path`: the script's, the root, and all others that are no packages."""
    packages = {posixpath.dirname(path) for path in paths if posixpath.basename(path) == "__init__.py"}
    first = (posixpath.dirname(script), "")
    folders = {parent for path in paths if _is_module(path) for parent in _parents(path)}
    return tuple(dict.fromkeys((*first, *sorted(folders - packages))))


def _provided(paths: Iterable[str], importable: Iterable[str]) -> frozenset[str]:
    """Top-level names of modules that these files are, or are parts of."""
    folders = frozenset(importable)
    return frozenset(
        path[len(folder) + 1 if folder else 0 :].split("/")[0].split(".")[0]
        for path in paths
        if _is_module(path)
        for folder in _parents(path)
        if folder in folders
    )


def _is_module(path: str) -> bool:
    return path.endswith((".py", ".so", ".pyd"))


def _parents(path: str) -> Iterator[str]:
    while path:
        path = posixpath.dirname(path)
        yield path


def _top(module: str) -> str:
    return module.partition(".")[0]


@dataclass(slots=True)
class _ImportReader:
    """Goes through modules in the order in which they would be imported."""

    sources: Mapping[str, bytes]
    folders: tuple[str, ...]  # where modules of the repository are looked for
    own: frozenset[str]
    environment: dict[str, str]
    imports: list[Import] = field(default_factory=list)
    late: set[str] = field(default_factory=set)  # imported after something that may change what they are
    in_functions: set[str] = field(default_factory=set)  # imported when a function runs
    functions_change: bool = False  # some function changes what an import sees
    stopped: bool = False  # what is imported from here on is late
    _seen: set[str] = field(default_factory=set)

    def read(self, path: str) -> None:
        if path in self._seen or path not in self.sources:
            return
        self._seen.add(path)
        tree = read(self.sources[path].decode("utf-8", "surrogateescape")).tree
        if tree is None:  # the script will say so itself
            return
        self._functions(tree)
        aliases: dict[str, str] = {}
        for statement, certain in _statements(tree.body):
            if isinstance(statement, ast.Import):
                for alias in statement.names:
                    self._import(alias.name, "", self.folders)
                    aliases[alias.asname or _top(alias.name)] = alias.name if alias.asname else _top(alias.name)
            elif isinstance(statement, ast.ImportFrom):
                self._import_from(path, statement)
            else:
                self._may_change(statement, certain)
        self._attributes(tree, aliases)

    def _import(self, module: str, name: str, folders: Iterable[str]) -> None:
        for path in self._files(module, name, folders):
            self.read(path)
        top = _top(module)
        if top in self.own or top in _NEVER or not top:
            return
        if self.stopped or top in NOT_EARLY:
            self.late.add(top)
        else:
            self.imports += [Import(module), Import(module, name)] if name else [Import(module)]

    def _import_from(self, path: str, statement: ast.ImportFrom) -> None:
        names = [alias.name if alias.name != "*" else "" for alias in statement.names]
        if statement.level == 0:
            for name in names:
                self._import(statement.module or "", name, self.folders)
            return
        package = posixpath.dirname(path)
        for _ in range(statement.level - 1):
            package = posixpath.dirname(package)
        for name in names:
            for file in self._files(statement.module or "", name, (package,)):
                self.read(file)

    def _files(self, module: str, name: str, folders: Iterable[str]) -> Iterator[str]:
        """The repository's files that importing a name from a module runs: packages first, then the module."""
        parts = [part for part in (*module.split("."), name) if part]
        for folder in folders:
            found = []
            for count in range(1, len(parts) + 1):
                stem = posixpath.join(folder, *parts[:count])
                found += [path for path in (f"{stem}/__init__.py", f"{stem}.py") if path in self.sources][:1]
            if found:
                yield from found
                return

    def _attributes(self, tree: ast.Module, aliases: Mapping[str, str]) -> None:
        """`transformers.AutoModel` loads a library's part just as `from transformers import AutoModel` does."""
        known = {found.module for found in self.imports}
        for node in walk(tree):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                module = aliases.get(node.value.id)
                if module in known:
                    self.imports.append(Import(module, node.attr))

    def _functions(self, tree: ast.Module) -> None:
        for function in (node for node in walk(tree) if isinstance(node, _FUNCTIONS)):
            for node in walk(function):
                if isinstance(node, ast.Import):
                    self.in_functions |= {_top(alias.name) for alias in node.names}
                elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
                    self.in_functions.add(_top(node.module))
                elif isinstance(node, ast.stmt) and not _parts(node):
                    self.functions_change |= _changes_path(node) or _changes_environment(node)

    def _may_change(self, statement: ast.stmt, certain: bool) -> None:
        """After a statement that changes what a later import sees, nothing more is imported early."""
        if _changes_path(statement):
            self.stopped = True
        if self.stopped or not _changes_environment(statement):
            return
        name, text = _assigned_variable(statement, self.environment)
        if text is not None and text == self.environment.get(name):
            return
        if text is not None and certain and not self.imports:
            self.environment[name] = text
        else:
            self.stopped = True


def _statements(body: Iterable[ast.stmt], certain: bool = True) -> Iterator[tuple[ast.stmt, bool]]:
    """Simple statements that run when a module is imported, in order, and whether they are certain to run."""
    for statement in body:
        if isinstance(statement, _FUNCTIONS) or (isinstance(statement, ast.If) and _is_type_checking(statement.test)):
            continue
        parts = _parts(statement)
        if not parts:
            yield statement, certain
        for part in parts:
            inside = certain and not isinstance(statement, _BRANCHES) and not isinstance(part, _BRANCHES)
            yield from _statements([part] if isinstance(part, ast.stmt) else part.body, inside)


def _parts(statement: ast.stmt) -> list[ast.stmt | ast.ExceptHandler | ast.match_case]:
    """What a compound statement is made of, besides expressions; nothing for a simple one."""
    kinds = (ast.stmt, ast.ExceptHandler, ast.match_case)
    return [node for node in ast.iter_child_nodes(statement) if isinstance(node, kinds)]


def _is_type_checking(test: ast.expr) -> bool:
    return isinstance(test, ast.Name | ast.Attribute) and ast.unparse(test).endswith("TYPE_CHECKING")


def _is_environ(node: ast.AST) -> bool:
    return (isinstance(node, ast.Name) and node.id == "environ") or (
        isinstance(node, ast.Attribute) and node.attr == "environ"
    )


def _changes_environment(statement: ast.stmt) -> bool:
    if _assigned_variable(statement, {})[0].startswith(_HARMLESS):
        return False
    for node in walk(statement):
        if isinstance(node, ast.Subscript) and _is_environ(node.value) and not isinstance(node.ctx, ast.Load):
            return True
        if isinstance(node, ast.AugAssign) and _is_environ(node.target):
            return True
        if isinstance(node, ast.Call):
            called = node.func
            name = called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", "")
            on_environ = isinstance(called, ast.Attribute) and _is_environ(called.value)
            if name in _CHANGING_CALLS or (on_environ and name in _CHANGING_METHODS):
                return True
    return False


def _assigned_variable(statement: ast.stmt, environment: Mapping[str, str]) -> tuple[str, str | None]:
    """The variable that a statement sets, "" if it cannot be read off it, and its text, None likewise."""
    match statement:
        case ast.Assign(targets=[ast.Subscript(value=place, slice=ast.Constant(value=str(name)))], value=value):
            if _is_environ(place):
                text = value.value if isinstance(value, ast.Constant) else None
                return name, text if isinstance(text, str) else None
        case ast.Expr(
            value=ast.Call(
                func=ast.Attribute(value=place, attr="setdefault"),
                args=[ast.Constant(value=str(name)), ast.Constant(value=str(text))],
            )
        ) if _is_environ(place):
            return name, environment.get(name, text)
    return "", None


def _changes_path(statement: ast.stmt) -> bool:
    """Whether libraries may be found elsewhere from here on. What is put last or lies in the repository hides none."""
    for node in walk(statement):
        if isinstance(node, ast.Attribute) and node.attr == "path" and ast.unparse(node) == "sys.path":
            text = ast.unparse(statement)
            if "__file__" in text or "sys.path.append(" in text:
                continue
            return isinstance(statement, ast.Assign | ast.AugAssign | ast.Delete) or "sys.path." in text
    return False
