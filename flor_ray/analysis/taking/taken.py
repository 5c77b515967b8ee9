"""Whether a script takes something from an object that no checkpoint can hold: an environment, a pipe, a queue. Pure.

    envs = SyncVectorEnv(...)      bar = tqdm(...)
    for epoch in flor.loop(...):
        obs = envs.step(a)         taken: an epoch that begins without the right `envs` has another `obs`
        bar.update(1)              nothing is: a replay may begin with any `bar`

All that code does with the object is followed, through variables, attributes, containers, parameters and what
functions return. What is not known to leave everything else as it is (`words`) takes something. What is taken before
the main loop is there in every replay, so it only counts once it is used later: it is followed like the object itself.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import IntEnum

from flor_ray.analysis.nodes import walk
from flor_ray.analysis.source import Texts, label_of
from flor_ray.analysis.taking import words
from flor_ray.analysis.taking.code import (
    Attribute,
    Code,
    Function,
    Place,
    Returned,
    Variable,
    call_function,
    hands_on_all,
    root_of,
)
from flor_ray.records import Region

_UNKNOWN = frozenset(Region)
_BEFORE = frozenset({Region.PREFIX, Region.WHOLE})
_PROGRESS = re.compile(r"tqdm|progress|bar\b", re.IGNORECASE)
_NO_NAMES = frozenset({"self", "__self__", "__func__", "__main__", "objects", "default"})
_EVERYTHING = frozenset({"exec", "eval", "globals", "locals"})
_ALL_ATTRIBUTES = frozenset({"vars", "asdict", "astuple"})


@dataclass(frozen=True, slots=True)
class Takings:
    """Of one object: when something is taken from it, and by which names code may come to it."""

    regions: frozenset[Region]  # none: nothing is, unless before the main loop
    names: frozenset[str]


class _StandsFor(IntEnum):
    """What an expression stands for."""

    HOLDER = 1  # a container or an object of the project's that holds it
    OBJECT = 2  # the object itself, or what was got from it


def taken_from(opaque: Iterable[str], script: str, files: Texts) -> Mapping[str, Takings]:
    """What is taken from each of these objects, which are named as a checkpoint names them. `files` are all files of
    the version by path, with the statements that are to run."""
    names = sorted(opaque)
    try:
        code = Code(script, files)
        return {name: _Following(code, name).taken() for name in names}
    except RecursionError:  # expressions may be nested deeply
        return dict.fromkeys(names, Takings(_UNKNOWN, frozenset()))


class _Following:
    """One object, followed through the code."""

    def __init__(self, code: Code, name: str) -> None:
        self._code = code
        self._regions: set[Region] = set()
        self._kinds: dict[Place, _StandsFor] = {}
        self._pending: list[Place] = []
        self._seen: set[tuple[ast.AST, _StandsFor]] = set()
        self._asked: set[Place] = set()  # variables that are being looked at
        for place in _places_of(code, name):
            self._reach(place, _StandsFor.OBJECT)

    def taken(self) -> Takings:
        """Follow it to the end."""
        if not any(True for place in self._kinds for _ in self._code.reads(place)):
            return Takings(_UNKNOWN, frozenset())  # nobody knows what it is called here
        for label in _EVERYTHING:
            for call in self._code.calls.get(label, ()):
                if not self._code.meant_by(call.func):
                    self._take(call)
        while self._pending:
            place = self._pending.pop()
            for node in [*self._code.reads(place)]:
                self._follow(node, self._kinds[place])
            if isinstance(place, Attribute):
                self._read_all_attributes()
        return Takings(frozenset(self._regions - {Region.PREFIX}), frozenset(place.name for place in self._kinds))

    def _read_all_attributes(self) -> None:
        for label in _ALL_ATTRIBUTES:
            for call in self._code.calls.get(label, ()):
                self._follow(call, _StandsFor.HOLDER)
        for node in self._code.attributes.get("__dict__", ()):
            self._follow(node, _StandsFor.HOLDER)

    def _reach(self, place: Place, kind: _StandsFor) -> None:
        if self._kinds.get(place, 0) >= kind:
            return
        self._kinds[place] = kind
        self._pending.append(place)
        if isinstance(place, Variable):
            for other in self._code.importing(place):
                self._reach(other, kind)
            if place.scope.kind == "class":
                self._reach(Attribute(place.name), kind)

    def _take(self, node: ast.expr) -> None:
        """Something is taken here, as the value of `node`."""
        regions = self._code.regions(node)
        self._regions |= regions
        if regions & _BEFORE and not (isinstance(node, ast.Call) and label_of(node.func) in words.ATOMS):
            self._follow(node, _StandsFor.OBJECT)

    # --- an expression, and what stands around it -----------------------------------------------------------------

    def _follow(self, node: ast.AST, kind: _StandsFor) -> None:
        """An expression has the object as its value, or holds it: where does that go?"""
        if (node, kind) in self._seen:
            return
        self._seen.add((node, kind))
        around = self._code.parents[node]
        if isinstance(around, ast.keyword):
            around = self._code.parents[around]
        follow = getattr(self, f"_in_{type(around).__name__}", None)
        if follow is not None:
            follow(node, around, kind)
        else:
            self._take_around(node, around)

    def _take_around(self, node: ast.AST, around: ast.AST) -> None:
        self._take(around if isinstance(around, ast.expr) else _expression(node))

    def _in_Expr(self, node: ast.AST, around: ast.Expr, kind: _StandsFor) -> None:
        """It is looked at, and left alone."""

    def _in_Attribute(self, node: ast.AST, around: ast.Attribute, kind: _StandsFor) -> None:
        if not isinstance(around.ctx, ast.Load) or around.attr in words.SETTLED:
            return
        call = self._code.parents[around]
        is_called = isinstance(call, ast.Call) and call.func is around
        if kind is _StandsFor.HOLDER:
            if isinstance(call, ast.Call) and is_called and around.attr in words.HANDS_OUT:
                holds_all = around.attr in ("values", "items", "copy", "__iter__")
                self._follow(call, _StandsFor.HOLDER if holds_all else _StandsFor.OBJECT)
            return  # its attributes are places of their own
        if isinstance(call, ast.Call) and is_called:
            self._method(around, call)
        elif around.attr in words.GIVES:
            self._follow(around, kind)
        else:
            self._deeper(around)

    def _deeper(self, part: ast.expr) -> None:
        """A part of the object: something may be given to it, as to the object."""
        outer = self._code.parents[part]
        if isinstance(outer, ast.Attribute | ast.Subscript) and outer.value is part:
            if isinstance(outer.ctx, ast.Load):
                call = self._code.parents[outer]
                if isinstance(outer, ast.Attribute) and isinstance(call, ast.Call) and call.func is outer:
                    self._method(outer, call)
                elif isinstance(outer, ast.Subscript) or outer.attr not in words.SETTLED:
                    self._deeper(outer)
            return
        self._take(part)

    def _method(self, function: ast.Attribute, call: ast.Call) -> None:
        if function.attr in words.SETTLED_METHODS:
            return
        gives = function.attr in words.GIVES or (function.attr in words.WORKS and self._works(function, call))
        if not (gives and self._is_bare(call)):
            self._take(call)

    def _works(self, function: ast.Attribute, call: ast.Call) -> bool:
        given = [*call.args, *(keyword.value for keyword in call.keywords)]
        if function.attr == "update" and _PROGRESS.search(ast.unparse(function.value)):
            return True
        if not given and function.attr == "update":
            return False  # it may update what it was given before
        return all(map(self._is_plain, given))

    def _is_plain(self, node: ast.expr) -> bool:
        """Whether nobody can change what an expression stands for, or it is the object's own."""
        if isinstance(node, ast.Constant | ast.JoinedStr | ast.Compare):
            return True
        if isinstance(node, ast.Name):
            place = self._code.place_of(node)
            return place in self._kinds or self._is_number(node)
        if isinstance(node, ast.BinOp):
            return self._is_plain(node.left) and self._is_plain(node.right)
        if isinstance(node, ast.UnaryOp):
            return self._is_plain(node.operand)
        if isinstance(node, ast.IfExp):
            return self._is_plain(node.body) and self._is_plain(node.orelse)
        if isinstance(node, ast.Subscript):
            return isinstance(node.value, ast.Attribute) and node.value.attr == "shape"
        if not isinstance(node, ast.Call):
            return False
        is_atom = isinstance(node.func, ast.Name) and node.func.id in words.ATOMS
        return is_atom or (isinstance(node.func, ast.Attribute) and node.func.attr in words.PLAIN_METHODS)

    def _is_number(self, name: ast.Name) -> bool:
        """Whether a variable is only ever bound to what cannot be changed."""
        place = self._code.place_of(name)
        if not isinstance(place, Variable) or _is_parameter(name.id, place.scope.node):
            return False
        if place in self._asked:
            return True
        self._asked.add(place)
        stores = [n for n in walk(place.scope.node) if isinstance(n, ast.Name) and n.id == name.id]
        stores = [n for n in stores if isinstance(n.ctx, ast.Store)]
        found = bool(stores) and all(map(self._stores_a_number, stores))
        self._asked.remove(place)
        return found

    def _stores_a_number(self, name: ast.Name) -> bool:
        around = self._code.parents[name]
        if isinstance(around, ast.For | ast.comprehension):
            return around.target is name and _counts(around.iter)
        if not isinstance(around, ast.Assign | ast.AnnAssign | ast.AugAssign | ast.NamedExpr):
            return False
        return around.value is not None and self._is_plain(around.value)

    def _is_bare(self, call: ast.expr) -> bool:
        """Whether nobody looks at what a call returns."""
        around = self._code.parents[call]
        if isinstance(around, ast.Await):
            around = self._code.parents[around]
        if isinstance(around, ast.Assign) and all(isinstance(target, ast.Name) for target in around.targets):
            places = [self._code.place_of(target) for target in around.targets]
            return not any(True for place in places if place is not None for _ in self._code.reads(place))
        return isinstance(around, ast.Expr)

    def _in_Subscript(self, node: ast.AST, around: ast.Subscript, kind: _StandsFor) -> None:
        if around.value is not node:
            self._take(around)  # the key of something else
        elif not isinstance(around.ctx, ast.Load):
            return
        elif kind is _StandsFor.HOLDER:
            self._follow(around, _StandsFor.OBJECT)
        else:
            self._deeper(around)

    # bound to something

    def _bind(self, target: ast.AST, kind: _StandsFor) -> None:
        if isinstance(target, ast.Starred):
            target = target.value
        if isinstance(target, ast.Tuple | ast.List):
            for each in target.elts:
                self._bind(each, kind)
        elif isinstance(target, ast.Subscript):
            root = target.value
            while isinstance(root, ast.Subscript):
                root = root.value
            self._keep(root, _StandsFor.HOLDER)
        elif isinstance(target, ast.expr):
            self._keep(target, kind)

    def _keep(self, target: ast.expr, kind: _StandsFor) -> None:
        """What an expression stands for gets it."""
        place = self._code.place_of(target)
        if place is None:  # who knows where that is read
            self._take(target)
        else:
            self._reach(place, kind)

    def _in_Assign(self, node: ast.AST, around: ast.Assign, kind: _StandsFor) -> None:
        for target in around.targets:
            if isinstance(target, ast.Tuple | ast.List) and kind is _StandsFor.OBJECT:
                self._take_around(node, around)
            if isinstance(target, ast.Tuple | ast.List) and kind is _StandsFor.HOLDER:
                self._bind(target, _StandsFor.OBJECT)
            else:
                self._bind(target, kind)

    def _in_AnnAssign(self, node: ast.AST, around: ast.AnnAssign, kind: _StandsFor) -> None:
        self._bind(around.target, kind)

    def _in_AugAssign(self, node: ast.AST, around: ast.AugAssign, kind: _StandsFor) -> None:
        if around.value is node and kind is _StandsFor.OBJECT:
            self._take_around(node, around)
        self._bind(around.target, kind)

    def _in_NamedExpr(self, node: ast.AST, around: ast.NamedExpr, kind: _StandsFor) -> None:
        self._bind(around.target, kind)
        self._follow(around, kind)

    def _in_For(self, node: ast.AST, around: ast.For | ast.comprehension, kind: _StandsFor) -> None:
        if kind is _StandsFor.OBJECT:
            self._take_around(node, around)
        if kind is _StandsFor.HOLDER or self._code.regions(_expression(node)) & _BEFORE:
            self._bind(around.target, _StandsFor.OBJECT)

    def _in_comprehension(self, node: ast.AST, around: ast.comprehension, kind: _StandsFor) -> None:
        if around.iter is node:
            self._in_For(node, around, kind)

    def _in_withitem(self, node: ast.AST, around: ast.withitem, kind: _StandsFor) -> None:
        if around.optional_vars is not None:
            self._bind(around.optional_vars, kind)

    def _in_arguments(self, node: ast.AST, around: ast.arguments, kind: _StandsFor) -> None:
        """The default of a parameter."""
        function = self._code.parents[around]
        positional = [*around.posonlyargs, *around.args]
        defaults = zip(positional[len(positional) - len(around.defaults) :], around.defaults, strict=True)
        for parameter, default in (*defaults, *zip(around.kwonlyargs, around.kw_defaults, strict=True)):
            if default is node:
                self._reach(Variable(self._code.namespace(function), parameter.arg), kind)

    # asked about

    def _in_If(self, node: ast.AST, around: ast.AST, kind: _StandsFor) -> None:
        """Whether it is there."""

    _in_While = _in_Assert = _in_If

    def _in_UnaryOp(self, node: ast.AST, around: ast.UnaryOp, kind: _StandsFor) -> None:
        if not isinstance(around.op, ast.Not):
            self._take(around)

    def _in_Compare(self, node: ast.AST, around: ast.Compare, kind: _StandsFor) -> None:
        if not all(isinstance(each, ast.Is | ast.IsNot) for each in around.ops):
            self._take(around)

    def _in_IfExp(self, node: ast.AST, around: ast.IfExp, kind: _StandsFor) -> None:
        if around.test is not node:
            self._follow(around, kind)

    def _in_BoolOp(self, node: ast.AST, around: ast.BoolOp, kind: _StandsFor) -> None:
        self._follow(around, kind)

    # handed on

    def _in_List(self, node: ast.AST, around: ast.expr, kind: _StandsFor) -> None:
        outer = self._code.parents[around]
        if isinstance(around, ast.Tuple | ast.List) and isinstance(outer, ast.Assign) and outer.value is around:
            for target in outer.targets:
                if isinstance(target, ast.Tuple | ast.List) and len(target.elts) == len(around.elts):
                    self._bind(target.elts[around.elts.index(_expression(node))], kind)
                    return
        self._follow(around, _StandsFor.HOLDER)

    _in_Tuple = _in_Set = _in_Dict = _in_ListComp = _in_SetComp = _in_DictComp = _in_GeneratorExp = _in_List

    def _in_Starred(self, node: ast.AST, around: ast.Starred, kind: _StandsFor) -> None:
        if kind is _StandsFor.OBJECT:
            self._take_around(node, around)
        self._follow(around, kind)

    def _in_Lambda(self, node: ast.AST, around: ast.Lambda, kind: _StandsFor) -> None:
        self._follow(around, _StandsFor.OBJECT)

    def _in_Return(self, node: ast.AST, around: ast.Return, kind: _StandsFor) -> None:
        function = call_function(self._code, around)
        name = getattr(function, "name", "")
        if not isinstance(function, Function) or (name.startswith("__") and name.endswith("__")):
            self._take_around(node, around)
        else:
            self._reach(Returned(function, name), kind)

    # --- calls ----------------------------------------------------------------------------------------------------

    def _in_Call(self, node: ast.AST, around: ast.Call, kind: _StandsFor) -> None:
        if around.func is node:
            gives = label_of(around.func) in words.GIVES and self._is_bare(around)
            if kind is _StandsFor.OBJECT and not gives:
                self._take(around)
            return
        ours = self._code.source_of(around).function_of(around)
        label = label_of(around.func)
        if ours:
            self._given_to_us(around, ours, kind)
        elif not self._builtin(node, around, label, kind) and not self._given_to_projects(node, around, kind):
            self._given_to_others(node, around, label, kind)

    def _given_to_us(self, call: ast.Call, function: str, kind: _StandsFor) -> None:
        if function == "loop":
            self._follow(call, kind)
        elif function != "checkpointing":
            self._take(call)

    def _builtin(self, node: ast.AST, call: ast.Call, label: str, kind: _StandsFor) -> bool:
        """Whether a builtin is called of which all is known."""
        if not isinstance(call.func, ast.Name) or not self._code.source_of(call).is_builtin(call.func):
            return False
        if label in words.LOOKS or (label == "print" and self._is_bare(call)):
            return True
        if label in words.HANDS_ON and kind is _StandsFor.HOLDER:
            self._follow(call, _StandsFor.OBJECT if label == "next" else kind)
            return True
        if label == "setattr" and len(call.args) == 3:
            said = call.args[1]
            if isinstance(said, ast.Constant) and call.args[2] is node:
                self._reach(Attribute(str(said.value)), kind)
            return isinstance(said, ast.Constant) and call.args[1] is not node
        if label == "getattr" and len(call.args) > 1 and isinstance(call.args[1], ast.Constant):
            return call.args[0] is node and (kind is _StandsFor.HOLDER or call.args[1].value in words.SETTLED)
        return False

    def _given_to_projects(self, node: ast.AST, call: ast.Call, kind: _StandsFor) -> bool:
        """Whether the project's own code gets it, and all that this does is seen."""
        if isinstance(node, ast.Starred) or any(each.value is node and each.arg is None for each in call.keywords):
            kind = _StandsFor.OBJECT  # what it holds is handed over
        found = [*self._code.run_by(call), *self._code.lambdas_of(call.func)]
        seen = bool(found) and not self._code.is_made_by_library(root_of(call.func))
        for one in found:
            if isinstance(one, ast.ClassDef):
                seen = self._made(node, call, one, kind) and seen
            else:
                self._hand_over(node, call, one, kind)
                seen = seen and (isinstance(one, ast.Lambda) or hands_on_all(one))
        return seen

    def _made(self, node: ast.AST, call: ast.Call, made: ast.ClassDef, kind: _StandsFor) -> bool:
        """An object of a class of the project's is made with it."""
        for function in self._code.initialisers(made):
            self._hand_over(node, call, function, kind)
        if not self._code.initialisers(made):  # a dataclass, or what a library's class makes of it
            for field in made.body:
                if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
                    self._reach(Attribute(field.target.id), kind)
        is_plain = self._code.is_plain(made)
        self._follow(call, _StandsFor.HOLDER if is_plain else _StandsFor.OBJECT)
        return is_plain

    def _hand_over(self, node: ast.AST, call: ast.Call, function: Function | ast.Lambda, kind: _StandsFor) -> None:
        """The parameters that get it."""
        for name, is_rest in _parameters(node, call, function.args):
            self._reach(Variable(self._code.namespace(function), name), _StandsFor.HOLDER if is_rest else kind)

    def _given_to_others(self, node: ast.AST, call: ast.Call, label: str, kind: _StandsFor) -> None:
        keyword = next((each.arg for each in call.keywords if each.value is node), None)
        is_bare = self._is_bare(call)
        if is_bare and (keyword in words.FILES or label in words.WRITERS):
            return
        if keyword in words.FILES or label in words.WRAPPERS:
            self._follow(call, _StandsFor.OBJECT)
            return
        is_method = isinstance(call.func, ast.Attribute) and not self._code.is_imported(call.func)
        receiver = call.func.value if is_method and isinstance(call.func, ast.Attribute) else None
        if receiver is not None and label in words.KEEPS:
            self._keep(receiver, _StandsFor.HOLDER)
            self._follow(call, kind)
            return
        if receiver is not None and is_bare and self._code.place_of(root_of(receiver)) in self._kinds:
            return  # it gets what is its own: its method is looked at by itself
        if label == "partial":
            self._follow(call, _StandsFor.OBJECT)
        else:
            self._take(call)
            if receiver is not None and self._code.regions(call) & _BEFORE:
                self._keep(root_of(receiver), _StandsFor.OBJECT)
        for argument in (*call.args, *(each.value for each in call.keywords)):  # it may be called with it
            for one in (*self._code.meant_by(argument), *self._code.lambdas_of(argument), *_lambdas(argument)):
                if isinstance(one, ast.ClassDef):
                    continue
                for name, is_rest in _all_parameters(one.args):
                    self._reach(
                        Variable(self._code.namespace(one), name), _StandsFor.HOLDER if is_rest else _StandsFor.OBJECT
                    )


def _parameters(node: ast.AST, call: ast.Call, parameters: ast.arguments) -> Iterator[tuple[str, bool]]:
    """The parameters that get an argument of a call, and whether they hold it among others. Whether the first one is
    the object of a method is not known: both may."""
    keyword = next((each.arg for each in call.keywords if each.value is node), None)
    is_named = any(each.value is node for each in call.keywords)
    named = [*parameters.posonlyargs, *parameters.args, *parameters.kwonlyargs]
    if is_named and keyword is not None:
        if any(each.arg == keyword for each in named):
            yield keyword, False
        elif parameters.kwarg is not None:
            yield parameters.kwarg.arg, True
        return
    at = next((number for number, each in enumerate(call.args) if each is node), None)
    if is_named or at is None or any(isinstance(each, ast.Starred) for each in call.args[: at + 1]):
        yield from _all_parameters(parameters)
        return
    positional = [*parameters.posonlyargs, *parameters.args]
    first = positional[0].arg if positional else ""
    shifts = (1,) if first in ("self", "cls") else (0,)
    for shift in shifts:
        if at + shift < len(positional):
            yield positional[at + shift].arg, False
        elif parameters.vararg is not None:
            yield parameters.vararg.arg, True


def _all_parameters(parameters: ast.arguments) -> Iterator[tuple[str, bool]]:
    for each in (*parameters.posonlyargs, *parameters.args, *parameters.kwonlyargs):
        if each.arg not in ("self", "cls"):
            yield each.arg, False
    for rest in (parameters.vararg, parameters.kwarg):
        if rest is not None:
            yield rest.arg, True


def _lambdas(node: ast.expr) -> tuple[ast.Lambda, ...]:
    return (node,) if isinstance(node, ast.Lambda) else ()


def _expression(node: ast.AST) -> ast.expr:
    if not isinstance(node, ast.expr):
        raise TypeError(f"{type(node).__name__} is no expression")
    return node


def _is_parameter(name: str, scope: ast.AST) -> bool:
    given = getattr(scope, "args", None)
    return isinstance(given, ast.arguments) and name in {each.arg for each in walk(given) if isinstance(each, ast.arg)}


def _counts(iterable: ast.expr) -> bool:
    """Whether what is gone through are numbers."""
    while isinstance(iterable, ast.Call):
        if label_of(iterable.func) == "range":
            return True
        iterable = iterable.args[-1] if iterable.args else ast.Constant(None)
    return False


def _places_of(code: Code, name: str) -> Iterator[Place]:
    """Where an object is that a checkpoint names so: `envs`, `Agent.envs`, `module.envs`, or a way through objects."""
    if name.isidentifier():
        yield from code.variables(name)
        return
    if ".<default " in name:  # of a parameter
        function = name.partition(".<default ")[0].rpartition(".")[2].rpartition(":")[2]
        for found in (*code.functions.get(function, ()), *code.methods.get(function, ())):
            for parameter, _ in _all_parameters(found.args):
                yield Variable(code.namespace(found), parameter)
        return
    is_way = name.startswith("objects.")
    parts = [part for part in re.findall(r"[A-Za-z_]\w*", name) if part not in _NO_NAMES]
    for part in parts if is_way else parts[-1:]:
        yield from code.variables(part)
        yield Attribute(part)
