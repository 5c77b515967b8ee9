"""Which attributes of libraries' modules, classes and functions a text may set. Pure: text in, names out.

    F.relu = g      del torch.Tensor.twice      setattr(np, "x", 1)      vars(math)["tau"] = 3      pairs
    setattr(np, name, x)      vars(math).update(table)                                             wholes: any name
    owner.relu = g      patch(owner, "relu", g)      setattr(owner, name, g)                       names, of any owner

An owner is called by its whole path, `torch.nn.functional` for that `F`. Where the text does not say whose attribute is
set, it may be that of each library that is mentioned anywhere: `owners` has the paths of all that are. What is only
mentioned is looked for without parsing: a project may have hundreds of files, and they are read while a script trains.
"""

from __future__ import annotations

import ast
import functools
import itertools
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from flor_ray.analysis.nodes import walk
from flor_ray.analysis.source import label_of, read

_SETTERS = frozenset({"setattr", "delattr", "__setattr__", "__delattr__", "object"})  # `mock.patch.object`
_IMPORTERS = frozenset({"import_module", "__import__"})
_OF_DICTS = frozenset({"update", "setdefault", "pop", "popitem", "clear", "__setitem__", "__delitem__"})
_GIVEN_BY_KEYWORD = frozenset({"update", "multiple"})  # `mock.patch.multiple`
_OWN = frozenset({"self", "cls"})  # what methods call their own object is no library's
_TARGETS = r"(?:(?!\bin\b)[\w., ()*\[\]])*"
_PART = r"(?<!\bself)\.\w+"
_MAY_SET = re.compile(
    rf"{_PART}\s*(?:[-+*/%@&|^]|//|\*\*|<<|>>)?=(?!=)"  # owner.name = value
    rf"|^{_TARGETS}{_PART}\s*(?::[^\n=]*|[,)\]]{_TARGETS})=(?!=)"  # owner.name: int = 1, and a.b, c = 1, 2
    rf"|\b(?:del|for)\s{_TARGETS}{_PART}|\bas\s+\w+{_PART}[\w.]*\s*[:,)]"
    r"|\b(?:setattr|delattr|__setattr__|__delattr__|vars)\(|\b(?:__dict__|patch\.object|multiple)\b",
    re.MULTILINE,
)
_CHAIN = re.compile(r"(?<![\w.])[^\W\d]\w*(?:\.[^\W\d]\w*)*")
_STRING = re.compile(r"""["']([^\W\d]\w*(?:\.[^\W\d]\w*)*)["']""")
_COMMENT = re.compile(r"#.*")
_IMPORT = re.compile(r"\bfrom[ \t]+([\w.]+)[ \t]+import[ \t]*(?:\(([^)]*)\)|([^\n#;(]+))|\bimport[ \t]+([^\n#;]+)")


@dataclass(frozen=True, slots=True)
class ForeignAttributes:
    """What a text may set."""

    pairs: frozenset[tuple[str, str]] = frozenset()  # path of the owner, and name
    wholes: frozenset[str] = frozenset()  # paths of owners of which any attribute may be set
    names: frozenset[str] = frozenset()  # of attributes that may be set on any owner
    owners: frozenset[str] = frozenset()  # paths
    put: frozenset[str] = frozenset()  # of `names`, those that a statement says are set on something

    def __or__(self, other: ForeignAttributes) -> ForeignAttributes:
        return ForeignAttributes(
            self.pairs | other.pairs,
            self.wholes | other.wholes,
            self.names | other.names,
            self.owners | other.owners,
            self.put | other.put,
        )


@functools.lru_cache(maxsize=1024)
def foreign_attributes(text: str) -> ForeignAttributes:
    """What this text may set."""
    mentioned = _mentioned(text)
    tree = read(text).tree if _MAY_SET.search(text) else None
    return mentioned if tree is None else mentioned | _Reader(tree).found()


def _mentioned(text: str) -> ForeignAttributes:
    """Paths of libraries' parts, and strings that may be paths or names: `mock.patch("torch.nn.functional.relu")`."""
    imported = _imported_names(text.replace("\\\n", " "))
    owners = set[str]()
    names = set[str]()
    for chain in set(_CHAIN.findall(text)):
        root, _, rest = chain.partition(".")
        for module in (*imported.get(root, ()), *(f"{star}.{root}" for star in imported.get("*", ()))):
            owners.update(itertools.accumulate([module, *rest.split(".")] if rest else [module], "{}.{}".format))
    for string in set(_STRING.findall(text)):
        path, _, name = string.rpartition(".")
        owners |= {string, path} - {""}
        names.add(name)
    return ForeignAttributes(names=frozenset(names), owners=frozenset(owners))


def _imported_names(text: str) -> Mapping[str, set[str]]:
    """What names stand for that are imported anywhere; "*" for the modules of which all names are taken."""
    found: dict[str, set[str]] = {"__builtins__": {"builtins"}}
    for module, in_brackets, in_line, modules in _IMPORT.findall(text):
        for part in _COMMENT.sub("", in_brackets or in_line or modules).split(","):
            words = part.split()
            if not words or module.startswith("."):
                continue
            name = words[-1] if len(words) == 3 else words[0] if module else words[0].partition(".")[0]
            path = f"{module}.{words[0]}" if module else words[0] if len(words) == 3 else name
            found.setdefault(name, set()).add(module if name == "*" else path)
    return found


class _Reader:
    """Finds what is set, where it may be."""

    def __init__(self, tree: ast.Module) -> None:
        self._nodes = list(walk(tree))
        self._paths: dict[str, set[str]] = {"__builtins__": {"builtins"}}  # by the name that stands for them
        self._stars: set[str] = set()
        for node in self._nodes:
            self._import(node)
        for _ in range(2):  # an alias of an alias
            for node in self._nodes:
                if isinstance(node, ast.Assign):
                    for target in node.targets:
                        self._alias(target, node.value)
                elif isinstance(node, ast.NamedExpr):
                    self._alias(node.target, node.value)

    def _import(self, node: ast.AST) -> None:
        if isinstance(node, ast.Import):
            for alias in node.names:
                name = alias.asname or alias.name.partition(".")[0]
                self._paths.setdefault(name, set()).add(alias.name if alias.asname else name)
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
            for alias in node.names:
                if alias.name == "*":
                    self._stars.add(node.module)
                else:
                    self._paths.setdefault(alias.asname or alias.name, set()).add(f"{node.module}.{alias.name}")

    def _alias(self, target: ast.expr, value: ast.expr) -> None:
        if isinstance(target, ast.Name) and (paths := self._of(value)):
            self._paths[target.id] = self._paths.get(target.id, set()) | set(paths)

    def found(self) -> ForeignAttributes:
        pairs, names, wholes = set[tuple[str, str]](), set[str](), set[str]()
        for node in self._nodes:
            for owner, name in self._set_by(node):
                paths = self._of(owner)
                if name is None:
                    wholes.update(paths)
                elif paths:
                    pairs |= {(path, name) for path in paths}
                elif not isinstance(owner, ast.Name) or owner.id not in _OWN:
                    names.add(name)
        return ForeignAttributes(frozenset(pairs), frozenset(wholes), frozenset(names), put=frozenset(names))

    def _set_by(self, node: ast.AST) -> Iterator[tuple[ast.expr, str | None]]:
        """Owners and names of attributes that a node sets; None: any name."""
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store | ast.Del):
            yield node.value, node.attr
        elif isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Store | ast.Del):
            if (owner := _whose_dict(node.value)) is not None:
                yield owner, _text(node.slice)
        elif isinstance(node, ast.AugAssign) and (owner := _whose_dict(node.target)) is not None:
            yield owner, None  # vars(m) |= {...}
        elif isinstance(node, ast.Call):
            yield from self._set_by_call(node)

    def _set_by_call(self, call: ast.Call) -> Iterator[tuple[ast.expr, str | None]]:
        label, given = label_of(call.func), call.args
        owner = _whose_dict(call.func.value) if isinstance(call.func, ast.Attribute) else None
        if owner is not None and label in _OF_DICTS:
            yield owner, _text(given[0]) if given and label not in ("update", "clear", "popitem") else None
        elif label in _SETTERS:
            if isinstance(call.func, ast.Attribute) and label.startswith("__"):
                given = [call.func.value, *given]
            for whose, name in itertools.pairwise(given):
                if self._of(whose):
                    yield whose, _text(name)
        if label in _GIVEN_BY_KEYWORD:
            for keyword in call.keywords:
                if keyword.arg is not None:
                    yield ast.Constant(None), keyword.arg

    def _of(self, node: ast.expr) -> tuple[str, ...]:
        """Paths that an expression may stand for; none if it is not seen to stand for anything of a library."""
        if isinstance(node, ast.Name) and node.id not in _OWN:
            return (*self._paths.get(node.id, ()), *(f"{module}.{node.id}" for module in sorted(self._stars)))
        if isinstance(node, ast.Attribute):
            return tuple(f"{path}.{node.attr}" for path in self._of(node.value))
        if isinstance(node, ast.Subscript):  # sys.modules["math"]
            text = _text(node.slice)
            return (text,) if text and "sys.modules" in self._of(node.value) else ()
        if isinstance(node, ast.Call) and node.args:
            label, text = label_of(node.func), _text(node.args[-1 if label_of(node.func) == "getattr" else 0])
            if text and label in _IMPORTERS:
                return (text,)
            if text and label == "getattr" and len(node.args) == 2:
                return tuple(f"{path}.{text}" for path in self._of(node.args[0]))
        return ()


def _whose_dict(node: ast.expr) -> ast.expr | None:
    """`m` of `vars(m)` and `m.__dict__`."""
    if isinstance(node, ast.Attribute) and node.attr == "__dict__":
        return node.value
    is_vars = isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "vars"
    return node.args[0] if is_vars and isinstance(node, ast.Call) and node.args else None


def _text(node: ast.expr) -> str | None:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None
