"""What a name of a source stands for, as far as we are concerned: flor_ray, something of it, something else, or nobody
knows. The rule is that of `source`; this follows the bindings that `scopes` has found. Pure.

A path says where in our package something is: () is the package, ("log",) a function, ("MTK", "log") the same function
by the paper's face.
"""

from __future__ import annotations

import ast
import builtins
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from flor_ray.analysis.scopes import Assigned, Binding, Defined, Deleted, Imported, Namespace, Scopes
from flor_ray.records import FACES, FUNCTIONS, OLDER_NAMES, PACKAGES

Path = tuple[str, ...]
Lent = Mapping[Imported, Path]  # what the imports of a file get of us from other files of the user's
_BY_STAR = FUNCTIONS | FACES  # of what `from flor_ray import *` binds, that by which we can be called
_CALLABLE = FUNCTIONS | OLDER_NAMES.keys()
_MADE_HERE = (
    *(ast.Constant, ast.List, ast.Tuple, ast.Dict, ast.Set, ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp),
    *(ast.BinOp, ast.UnaryOp, ast.Compare, ast.JoinedStr, ast.Lambda),
)  # values that are surely nothing of ours
_PARTIAL = "functools.partial"
_FINDS_MODULES = frozenset({"import_module", "__import__", "getattr", "eval", "globals", "locals", "vars"})


@dataclass(frozen=True, slots=True)
class Meaning:
    """What a name or an expression stands for."""

    path: Path | None = None  # of ours; None: it is something else
    is_sure: bool = True
    module: Imported | None = None  # the other module that it is
    given: tuple[ast.expr, ...] = ()  # what functools.partial has given it already, by position
    keywords: tuple[ast.keyword, ...] = ()  # ... and by keyword

    @property
    def function(self) -> str:
        """The public name of ours that this is, other than the package itself; "" if it is none."""
        path = [name for name in self.path or () if name not in FACES]
        return OLDER_NAMES.get(path[0], path[0]) if len(path) == 1 else ""

    @property
    def is_package(self) -> bool:
        """Whether this is flor_ray itself, or a face of it, so that its attributes are our functions."""
        return self.path is not None and not set(self.path) - FACES

    @property
    def by_face(self) -> bool:
        """Whether the way to it leads through the paper's face."""
        return bool(FACES & set(self.path or ()))


OTHER = Meaning()
UNKNOWN = Meaning(is_sure=False)


class Aliases:
    """The meanings of one source's names.

    Args:
        lent: what other files of the user's give this one; None: nobody has looked, so they may give anything.
    """

    def __init__(self, scopes: Scopes, lent: Lent | None) -> None:
        self._scopes, self._lent = scopes, lent
        self._known: dict[tuple[Namespace, str], Meaning | None] = {}  # None: it is being found out

    def called(self, call: ast.Call, scope: Namespace) -> Meaning:
        """What a call calls, if it is one of our functions or may be one; else something that is not ours."""
        found = self.of(call.func, scope)
        if found.path is not None:
            is_call = found.function in FUNCTIONS or (found.is_sure and found.function)
            return found if is_call else OTHER
        label = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
        return replace(found, path=(label,)) if not found.is_sure and label in _CALLABLE else OTHER

    def of(self, expression: ast.expr, scope: Namespace) -> Meaning:
        """What `a.b.c` stands for."""
        names: list[str] = []
        while isinstance(expression, ast.Attribute):
            names.insert(0, expression.attr)
            expression = expression.value
        if not isinstance(expression, ast.Name):
            return UNKNOWN
        found = self.of_name(expression.id, scope)
        for name in names:
            found = self._member(found, name)
        return found

    def of_name(self, name: str, scope: Namespace) -> Meaning:
        """What a name stands for where code of a scope reads it."""
        owner = scope.owner(name)
        if owner is None:
            return OTHER if hasattr(builtins, name) else self._by_star(name)
        key = owner, name
        if key not in self._known:
            self._known[key] = None
            self._known[key] = self._of_bound(name, owner)
        return self._known[key] or UNKNOWN  # what is bound to itself

    def _of_bound(self, name: str, owner: Namespace) -> Meaning:
        bindings = owner.bindings[name]
        found = [meaning for binding in bindings if (meaning := self._bound(binding)) is not None]
        if owner is not self._scopes.module or name not in _BY_STAR:
            return self._together(found)
        # `from torch import *` binds a `log`, too; what comes behind it is bound after it.
        if (by_star := self._by_star(name)).path is not None:
            return self._together([*found, by_star])
        last = max(_line_of(binding) for binding in bindings)
        is_sure = all(star.module in PACKAGES or star.line < last for star in self._scopes.stars)
        meaning = self._together(found)
        return meaning if is_sure else replace(meaning, is_sure=False)

    def _together(self, found: Sequence[Meaning]) -> Meaning:
        """What a name stands for that may stand for any of these."""
        ours = [meaning for meaning in found if meaning.path is not None]
        if not ours:
            return next((one for one in found if not one.is_sure), found[0] if len(found) == 1 else OTHER)
        first = ours[0]
        is_one = all(
            one.is_sure and (one.path, one.given, one.keywords) == (first.path, first.given, first.keywords)
            for one in found
        )
        return replace(ours[-1], is_sure=is_one)

    def _bound(self, binding: Binding) -> Meaning | None:
        """What one binding gives a name; None if nothing that could be called."""
        if isinstance(binding, Deleted):
            return None
        if isinstance(binding, Defined):
            return OTHER
        if isinstance(binding, Imported):
            return self._imported(binding)
        if isinstance(binding, Assigned):
            return self._assigned(binding.value, self._scopes.values[binding.value])
        return UNKNOWN

    def _assigned(self, value: ast.expr, scope: Namespace) -> Meaning | None:
        if isinstance(value, ast.Constant) and value.value is None:
            return None
        if isinstance(value, ast.Name | ast.Attribute):
            return self.of(value, scope)
        if isinstance(value, ast.Call):
            label = value.func.attr if isinstance(value.func, ast.Attribute) else getattr(value.func, "id", "")
            made_by = self.of(value.func, scope)
            if made_by.module is not None and made_by.module.module == _PARTIAL and value.args:
                called = self.of(value.args[0], scope)
                if called.function in FUNCTIONS:
                    given, keywords = (*called.given, *value.args[1:]), (*called.keywords, *value.keywords)
                    return replace(called, given=given, keywords=keywords)
            is_other = made_by.is_sure and made_by.path is None and label not in _FINDS_MODULES
            return OTHER if is_other else UNKNOWN
        return OTHER if isinstance(value, _MADE_HERE) else UNKNOWN

    def _imported(self, binding: Imported) -> Meaning:
        top, _, rest = binding.module.partition(".")
        if top in PACKAGES and not binding.level:
            return Meaning((*(rest.split(".") if rest else ()), *([binding.name] if binding.name else ())))
        if self._lent is not None and binding in self._lent:
            return Meaning(self._lent[binding])
        parts = [part for part in (binding.module, binding.name) if part]
        return Meaning(None, self._is_known(binding), Imported(".".join(parts), binding.level))

    def _member(self, whole: Meaning, name: str) -> Meaning:
        if whole.path is not None:
            return replace(whole, path=(*whole.path, name))
        if whole.module is None:
            return whole
        member = replace(whole.module, name=name)
        if self._lent is not None and member in self._lent:
            return Meaning(self._lent[member])
        return replace(whole, module=Imported(f"{whole.module.module}.{name}", whole.module.level))

    def _by_star(self, name: str) -> Meaning:
        """What a name stands for that only `from module import *` can have bound. The last one wins."""
        others: list[Imported] = []
        for star in reversed(self._scopes.stars):
            path = (self._lent or {}).get(replace(star, name=name))
            if star.module in PACKAGES and not star.level and name in _BY_STAR:
                path = (name,)
            if path is not None:
                return Meaning(path, is_sure=not others)
            if star.module not in PACKAGES:
                others.append(star)
        may_be_us = self._lent is None and not all(self._is_known(star) for star in others)
        return UNKNOWN if may_be_us else OTHER

    def _is_known(self, imported: Imported) -> bool:
        """Whether a module that is not ours surely gives nothing of us."""
        is_standard = not imported.level and imported.module.partition(".")[0] in sys.stdlib_module_names
        return self._lent is not None or is_standard


def _line_of(binding: Binding) -> int:
    """Where a name is bound that may be ours; 0 for what is not."""
    if isinstance(binding, Imported):
        return binding.line
    return binding.value.lineno if isinstance(binding, Assigned) else 0
