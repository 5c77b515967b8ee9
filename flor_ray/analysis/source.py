"""Users' source, parsed once, and the one rule by which a call in it is a call to us. Pure: texts in, trees out.

    import flor_ray as flor                     flor         is us
    from flor_ray import MTK as Flor, log       Flor         is us, log our function
    record = flor.log                           record       is what `flor.log` is
    from common import flor                     flor         is us, if the user's common.py says so for it
    from flor_ray import *                      log          is ours, if nothing else binds it
    norm = functools.partial(flor.log, "norm")  norm         is ours, and is given a name already

**The rule.** A name stands for us where all that binds it there, by Python's scopes, are imports of us, other names of
ours put into it, and imports of such names from another file of the user's. A parameter, a loop's variable, an
attribute of any object, a function or a class of the script's own are not ours, whatever they are called; one of them
among what binds a name is enough. Only `flor = None`, for when the import fails, does not count: None cannot be called.
A call is ours if it calls our function by such a name: `flor.log(...)`, `flor_ray.MTK.log(...)`, `record(...)`.

Who must not miss a call asks for `possible` ones too: calls of what has the name of a function of ours, by a name of
which nobody knows what it holds. `hands_out` says whether we are passed on at all, so that anybody may call us.

`propagation` goes by this rule on trees of its own, as far as one file tells (`reading.calls`); tests/cases/recognition
holds both to it.
"""

from __future__ import annotations

import ast
import contextlib
import gc
import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from flor_ray.analysis.aliases import Aliases, Path
from flor_ray.analysis.constants import text_of
from flor_ray.analysis.nodes import walk
from flor_ray.analysis.scopes import Imported, Namespace, Scopes, scopes_of
from flor_ray.records import FUNCTIONS, OLDER_NAMES, PACKAGES

# Of the texts whose trees are kept: each takes some 40 bytes of a tree, and makes a full search for garbage longer.
_KEPT_CHARACTERS = 600_000
_CALLED = FUNCTIONS | OLDER_NAMES.keys()
Texts = Mapping[str, str]  # repository-relative path -> source text
Borrowed = frozenset[tuple[Imported, Path]]


@dataclass(frozen=True, slots=True, eq=False)
class FlorCall:
    """A call to us."""

    function: str  # "log", "arg", "loop", "iteration", "checkpointing", "autolog", or another public name of ours
    node: ast.Call
    within: ast.AST  # the innermost function or lambda around it, else the class or module
    is_sure: bool = True  # else it may be one
    by_face: bool = False  # MTK's loop takes its name last
    lender: str = ""  # of a possible call: the module whose name is called, if it is called by that of one
    name: str | None = None  # the name that it is given; None if only a run can tell
    before: tuple[ast.expr, ...] = ()  # what functools.partial has given it, by position
    keywords: tuple[ast.keyword, ...] = ()  # ... and by keyword

    @property
    def given_name(self) -> ast.expr | None:
        """The expression that makes the name."""
        return self.argument(1 if self.by_face and self.function == "loop" else 0, "name")

    @property
    def value(self) -> ast.expr | None:
        """What is logged; of an argument, its default."""
        return self.argument(1, "default" if self.function == "arg" else "value")

    @property
    def takes_a_value(self) -> bool:
        """Whether it is given more than one argument, or nobody can tell: `math.log(x)` is given one."""
        given = [*self.before, *self.node.args, *self.keywords, *self.node.keywords]
        return len(given) > 1 or any(isinstance(one, ast.Starred) or getattr(one, "arg", "") is None for one in given)

    def argument(self, position: int, keyword: str) -> ast.expr | None:
        """What is given at a position, else by a keyword. What `*` and `**` bring is not seen."""
        before = [*self.before, *self.node.args][: position + 1]
        if len(before) > position and not any(isinstance(each, ast.Starred) for each in before):
            return before[position]
        keywords = [*self.node.keywords, *self.keywords]
        return next((each.value for each in keywords if each.arg == keyword), None)


# Iterators around flor.loop that only show progress: they hold no position that the loop's body could see.
PROGRESS = ("tqdm", "trange", "track", "progress", "alive_it")
# Functions whose values are gone through while what they were given is.
_LAZY = frozenset({"enumerate", "zip", "map", "filter", "iter", "islice", "chain", "takewhile", "dropwhile", "starmap"})
_WHOLE = (ast.ListComp, ast.SetComp, ast.DictComp, ast.Lambda)  # at their end before they have a value, or not begun
# Builtins that go through what they are given before they return.
_AT_ONCE = frozenset({"list", "tuple", "set", "frozenset", "dict", "sorted", "sum", "min", "max", "any", "all"})


class Source:
    """One text, parsed when that is first needed. All who read it share its tree: nobody may change it."""

    def __init__(self, text: _Text, borrowed: Borrowed | None) -> None:
        self.borrowed = borrowed  # what it gets of us from other files; None: nobody has looked
        self._text = text
        self._is_about_us = bool(borrowed) or "flor" in text.text
        self._may_call_us = self._is_about_us or any(name in text.text for name in _CALLED)

    def borrowing(self, borrowed: Borrowed) -> Source:
        """This text where other files give it this."""
        return self if borrowed == self.borrowed else Source(self._text, borrowed)

    @property
    def text(self) -> str:
        """What the file says."""
        return self._text.text

    @property
    def tree(self) -> ast.Module | None:
        """None if it is no Python."""
        return self._text.tree

    # --- calls to us ----------------------------------------------------------------------------------------------

    @property
    def calls(self) -> tuple[FlorCall, ...]:
        """Calls that surely are to us, in the order of the text."""
        return self._calls[0] if self._is_about_us else ()

    @property
    def possible(self) -> tuple[FlorCall, ...]:
        """Calls that may be to us, and not surely."""
        return self._calls[1] if self._may_call_us else ()

    def call_at(self, node: ast.AST | None) -> FlorCall | None:
        """The call to us that a node surely is."""
        return self._by_node.get(node) if node is not None else None

    def function_of(self, node: ast.AST | None) -> str:
        """The function of ours that a node surely calls; "" if none."""
        found = self.call_at(node)
        return found.function if found is not None else ""

    def calls_in(self, node: ast.AST, *functions: str) -> Iterator[FlorCall]:
        """Sure calls of these functions in a part of the tree."""
        for each in walk(node) if self._by_node else ():
            found = self._by_node.get(each)
            if found is not None and found.function in functions:
                yield found

    def is_loop(self, node: ast.AST) -> bool:
        """Whether this is `for ... in flor.loop(...)`, with or without something around the call."""
        return isinstance(node, ast.For) and any(self.loops_through(node.iter))

    def loops_through(self, expression: ast.AST) -> Iterator[FlorCall]:
        """Sure calls of flor.loop whose epochs run while somebody goes through the value of an expression. Nobody can
        tell what a function makes of flor.loop(...) that is not known, or that this source defines."""
        pending = [expression] if self._by_node else []
        while pending:
            node = pending.pop()
            found = self._by_node.get(node)
            if found is not None and found.function == "loop":
                yield found
            elif not isinstance(node, _WHOLE) and (not isinstance(node, ast.Call) or self._is_lazy(node)):
                pending += ast.iter_child_nodes(node)

    def _is_lazy(self, call: ast.Call) -> bool:
        name = label_of(call.func)
        if name in self.defines:
            return False
        return name in _LAZY or any(word in ast.unparse(call.func).lower() for word in PROGRESS)

    def gone_through(self, expression: ast.AST) -> Iterator[ast.AST]:
        """Parts of an expression, without those that are at their end before it has a value: `[f(x) for x in y]` and
        `sorted(y)` have gone through y by then."""
        pending = [expression]
        while pending:
            node = pending.pop()
            if isinstance(node, _WHOLE):
                continue
            yield node
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in _AT_ONCE:
                pending += [] if self.is_builtin(node.func) else ast.iter_child_nodes(node)
            else:
                pending += ast.iter_child_nodes(node)

    def is_iteration(self, node: ast.AST) -> bool:
        """Whether this is `with flor.iteration(...):`."""
        return isinstance(node, ast.With) and any(
            self.function_of(item.context_expr) == "iteration" for item in node.items
        )

    @cached_property
    def hands_out(self) -> bool:
        """Whether something of ours is passed on as a value, or found by its name: whoever has it may call it."""
        if not self._is_about_us:
            return False
        if any(isinstance(node, ast.Constant) and node.value in PACKAGES for node in self.nodes):
            return True
        for scope in self._scopes.scopes:
            for name, reads in scope.reads.items():
                if self._aliases.of_name(name, scope).path is not None:
                    passed = [self._chains.get(node, node) for node in reads if node not in self._scopes.plain]
                    found = [self._aliases.of(chain, scope) for chain in passed]
                    if any(one.is_package or one.function in FUNCTIONS for one in found):
                        return True
        return False

    # --- the script's own -----------------------------------------------------------------------------------------

    @property
    def nodes(self) -> tuple[ast.AST, ...]:
        """All nodes of the tree, outer ones first."""
        return self._text.nodes

    @cached_property
    def defines(self) -> frozenset[str]:
        """Names of the functions, methods and classes that are defined here."""
        kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
        return frozenset(node.name for node in self.nodes if isinstance(node, kinds))

    def is_builtin(self, node: ast.Name) -> bool:
        """Whether nothing in this source binds a name that is read here, so that it is Python's own."""
        scope = self._scopes_of_reads.get(node)
        return scope is not None and scope.owner(node.id) is None and not self._scopes.stars

    @property
    def stars(self) -> Sequence[Imported]:
        """Modules of which all names are taken."""
        return self._scopes.stars

    @property
    def imports(self) -> Sequence[Imported]:
        """All that is imported here, "*" where all names are taken."""
        return self._scopes.imports

    @cached_property
    def exports(self) -> Mapping[str, Path]:
        """Names by which files that import this one get something of us."""
        if not self._is_about_us:
            return {}
        module = self._scopes.module
        names = {*module.bindings, *(FUNCTIONS if self._scopes.stars else ())}
        found = {name: self._aliases.of_name(name, module) for name in sorted(names)}
        given = {name for name, one in found.items() if one.given or one.keywords}  # a path says nothing of it
        return {n: one.path for n, one in found.items() if one.is_sure and one.path is not None and n not in given}

    @property
    def scopes(self) -> Sequence[Namespace]:
        """All scopes, outer ones first."""
        return self._scopes.scopes

    def namespace(self, node: ast.AST) -> Namespace:
        """What is bound in a function, class, lambda or comprehension, or in the module."""
        return self._namespaces[node]

    # --- how it is found out --------------------------------------------------------------------------------------

    @cached_property
    def _namespaces(self) -> Mapping[ast.AST, Namespace]:
        return {scope.node: scope for scope in self._scopes.scopes}

    @property
    def _scopes(self) -> Scopes:
        return self._text.scopes

    @cached_property
    def _aliases(self) -> Aliases:
        return Aliases(self._scopes, None if self.borrowed is None else dict(self.borrowed))

    @cached_property
    def _calls(self) -> tuple[tuple[FlorCall, ...], tuple[FlorCall, ...]]:
        sure, possible = list[FlorCall](), list[FlorCall]()
        for scope in self._scopes.scopes:
            for node in scope.calls:
                called = self._aliases.called(node, scope)
                if called.path is not None:
                    lender = called.module.module if called.module is not None else ""
                    call = FlorCall(
                        called.function,
                        node,
                        scope.function,
                        called.is_sure,
                        called.by_face,
                        lender,
                        before=called.given,
                        keywords=called.keywords,
                    )
                    call = replace(call, name=text_of(call.given_name, scope, self._scopes))
                    (sure if called.is_sure else possible).append(call)
        for found in (sure, possible):
            found.sort(key=lambda call: (call.node.lineno, call.node.col_offset, -(call.node.end_lineno or 0)))
        return tuple(sure), tuple(possible)

    @cached_property
    def _by_node(self) -> Mapping[ast.AST, FlorCall]:
        return {call.node: call for call in self.calls}

    @cached_property
    def _scopes_of_reads(self) -> Mapping[ast.AST, Namespace]:
        return {node: scope for scope in self._scopes.scopes for reads in scope.reads.values() for node in reads}

    @cached_property
    def _chains(self) -> Mapping[ast.AST, ast.expr]:
        """By the name that it begins with, the longest chain `a.b.c`."""
        found: dict[ast.AST, ast.expr] = {}
        for node in self.nodes:
            if isinstance(node, ast.Attribute):
                base: ast.expr = node
                while isinstance(base, ast.Attribute):
                    base = base.value
                found.setdefault(base, node)
        return found


def label_of(node: ast.AST) -> str:
    """The last name in what is called: `log` of `flor.log`; "" of what has none."""
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def dotted_name(node: ast.AST) -> str:
    """`os.environ` of that expression; "" of what is no chain of names."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return ".".join([node.id, *reversed(parts)]) if isinstance(node, ast.Name) else ""


# --- reading --------------------------------------------------------------------------------------------------------


def parse(source: bytes | str, filename: str = "<unknown>") -> ast.Module:
    """A tree of one's own, which may be changed. Raises SyntaxError or ValueError as `ast.parse` does."""
    data = source.encode("utf-8", "surrogateescape") if isinstance(source, str) else source
    return ast.parse(data, filename)  # bytes: what the file says of its encoding holds


def read(text: str, borrowed: Borrowed | None = None) -> Source:
    """A text by itself. `borrowed`: what other files give it of us, as `lending` finds it; None: maybe anything."""
    return _known.source(text, borrowed)


def calls_checkpointing(text: str) -> bool:
    """Whether a script calls checkpointing somewhere: then loops before that call are not its main loop.

    A running script asks this of its own text alone, so what a module lends it counts; what a parameter may be does
    not, for a script that waits for a call which never comes has no main loop at all.
    """
    source = read(text)
    possible = [call for call in source.possible if call.lender]
    return any(call.function == "checkpointing" for call in (*source.calls, *possible))


class _Text:
    """A text and its tree."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._tree: ast.Module | None = None
        self._is_parsed = False
        self._lock = threading.Lock()

    @property
    def tree(self) -> ast.Module | None:
        with self._lock:
            if not self._is_parsed:
                with _no_collection():
                    self._tree, self._is_parsed = _parsed(self.text), True
            return self._tree

    @cached_property
    def nodes(self) -> tuple[ast.AST, ...]:
        return tuple(walk(self.tree)) if self.tree is not None else ()

    @cached_property
    def scopes(self) -> Scopes:
        with _no_collection():
            return scopes_of(self.tree if self.tree is not None else ast.Module([], []))


@contextlib.contextmanager
def _no_collection() -> Iterator[None]:
    """Trees are many objects without a cycle: looking for garbage while they are made takes longer than making them."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _parsed(text: str) -> ast.Module | None:
    try:
        return parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None  # whoever runs it will say so


class _Known:
    """The texts that were asked for last, and what was found in them for each way to borrow."""

    def __init__(self) -> None:
        self._texts: OrderedDict[str, tuple[_Text, dict[Borrowed | None, Source]]] = OrderedDict()
        self._characters = 0
        self._lock = threading.Lock()

    def source(self, text: str, borrowed: Borrowed | None) -> Source:
        with self._lock:
            if text not in self._texts:
                self._texts[text] = _Text(text), {}
                self._characters += len(text)
            self._texts.move_to_end(text)
            while self._characters > _KEPT_CHARACTERS and len(self._texts) > 1:
                dropped, _ = self._texts.popitem(last=False)
                self._characters -= len(dropped)
            parsed, sources = self._texts[text]
            return sources.setdefault(borrowed, Source(parsed, borrowed))


_known = _Known()
