"""What a statement does besides computing a value: why it may not be carried along with a log.

    may come            assignments of plain expressions, imports, helper definitions, loops and conditions that only
                        compute, guards such as `torch.no_grad()`, changes of variables that come along themselves
    must stay behind    calls of flor_ray, training, mode switches, files, printing, seeds, changes of anything else,
                        also under another name: `g = opt.param_groups[0]`, `g["lr"] = 1`

A call of a function of the file is followed into it. What an imported function does is not known; only names tell, and
whether its result is used: what is called in a helper for its effect alone does something.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Set
from dataclasses import dataclass

from flor_ray.propagation.reading.calls import calls
from flor_ray.propagation.reading.names import BUILTINS
from flor_ray.propagation.reading.program import Program
from flor_ray.propagation.reading.tree import Node, Tree

TRAINING = frozenset({"backward", "fit", "load_state_dict", "partial_fit", "requires_grad_", "step", "unscale_"})
TRAINING |= {"zero_grad"}
MODES = frozenset({"eval", "train"})
_PRINTS = frozenset({"critical", "debug", "error", "info", "print", "show", "tqdm", "trange", "warn", "warning"})
_FILES = _PRINTS | {
    *("add_figure", "add_histogram", "add_image", "add_scalar", "add_scalars", "add_text", "check_call"),
    *("check_output", "exec", "exit", "fromfile", "fromtxt", "genfromtxt", "imread", "imsave", "imwrite", "input"),
    *("loadtxt", "makedirs", "mkdir", "Popen", "readline", "readlines", "remove", "rename", "rmdir", "rmtree"),
    *("savefig", "savetxt", "savez", "system", "to_csv", "to_json", "to_parquet", "to_pickle", "tofile", "unlink"),
    *("urlopen", "urlretrieve", "writelines"),
}
_TRAINING_VERBS = re.compile(r"(train|fit|step|backward|optimi[sz]e)(_|$)")
_DRAWS = frozenset({"choice", "choices", "multinomial", "normal", "permutation", "sample", "uniform"})
_DRAW_VERBS = re.compile(r"rand|bernoulli|(Conv\d|ConvTranspose\d)d$|(Linear|Bilinear|Embedding|LSTM|GRU|RNN)$")
_MAX_FUNCTIONS = 100  # that one statement may lead into
_FILE_VERBS = re.compile(r"(read|load|save|write|dump|download|open)(_|$)")
_SEEDS = frozenset({"manual_seed", "manual_seed_all", "seed", "set_rng_state", "setstate", "set_state", "shuffle"})
TAKES = frozenset({"append", "clear", "extend", "insert", "pop", "popitem", "popleft", "setdefault", "update"})
_GUARDS = frozenset({"autocast", "catch_warnings", "device", "enable_grad", "errstate", "inference_mode", "no_grad"})
_GUARDS |= {"localcontext", "nullcontext", "set_grad_enabled", "simplefilter", "suppress"}
_KINDS = frozenset({"expression_statement", "for_statement", "if_statement", "pass_statement", "with_statement"})
_KINDS |= {"while_statement", "try_statement", "break_statement", "continue_statement", "import_statement"}
_KINDS |= {"import_from_statement", "function_definition", "class_definition", "decorated_definition"}
_DEFINITIONS = frozenset({"function_definition", "class_definition", "decorated_definition"})
_SEE_THROUGH = frozenset({"enumerate", "filter", "getattr", "iter", "list", "next", "reversed", "sorted", "tuple"})
_SEE_THROUGH |= {"vars", "zip"}
"""Functions whose results hold the very things that they are given."""
_COPIES = frozenset({"clone", "copy", "deepcopy", "item", "mean", "split", "state_dict", "sum", "tolist"})
_SHOWS = frozenset(
    {"boolean_operator", "conditional_expression", "expression_list", "list", "parenthesized_expression"}
)
_SHOWS |= {"tuple", "await", "named_expression"}
_OWN_OBJECTS = frozenset({"cls", "self", "super"})
_PATTERNS = frozenset({"list_pattern", "pattern_list", "tuple_pattern"})
_UNPACKED = _PATTERNS | {"list_splat_pattern", "parenthesized_expression"}


@dataclass(frozen=True, slots=True)
class Effect:
    """One thing that a statement does; `what` completes "line 7, which ..."."""

    what: str
    node: Node


class Effects:
    """Effects of statements of one program's written tree."""

    def __init__(self, program: Program) -> None:
        self._tree, self._names = program.written, program.written_names
        self._flor = {call.node.index: call.function for call in calls(self._names)}
        self._functions = functions_by_name(self._tree)

    def of(self, statement: Node, nodes: list[Node], own: Callable[[Node], bool], allowed: Set[int]) -> Effect | None:
        """The first effect of some nodes of a statement, or None.

        `own` tells of an identifier whether its variable is carried along too, and may so be changed. Log statements
        that start at one of the bytes in `allowed` are asked for, and no effect.
        """
        if statement.kind not in _KINDS:
            return Effect(f"is more than a computation (`{statement.kind.replace('_', ' ')}`)", statement)
        if statement.kind == "expression_statement" and not self._only_computes(statement, own):
            return Effect("changes something else", statement)
        if statement.kind == "with_statement":
            for call in nodes:
                name = called_name(call) if call.kind == "call" else ""
                if name and name not in _GUARDS and _file_effect(name) is None:
                    return Effect(f"enters `{name}`", call)
        in_definition = statement.kind in _DEFINITIONS
        return self._first(nodes, own, allowed, in_definition, set())

    def in_nodes(self, nodes: list[Node], allowed: Set[int]) -> Effect | None:
        """The first effect of the calls among some nodes that change nothing of their own; `allowed` as in `of`."""
        return self._first(nodes, _nothing, allowed, False, set())

    def _only_computes(self, statement: Node, own: Callable[[Node], bool]) -> bool:
        expression = statement.children[0] if statement.children else None
        if expression is None or expression.kind in ("string", "ellipsis"):
            return True
        if expression.kind in ("assignment", "augmented_assignment"):
            target = expression.child("left")
            return target is not None and all(
                node.kind not in ("attribute", "subscript") or self._owned(node, own) for node in set_by(target)
            )
        if expression.kind != "call":
            return expression.kind not in ("await", "yield")
        function = expression.children[0]
        return self._owned(function, own) or self._local(function) != []

    def _first(
        self, nodes: list[Node], own: Callable[[Node], bool], allowed: Set[int], in_function: bool, met: set[int]
    ) -> Effect | None:
        for node in nodes:
            if node.kind in ("global_statement", "delete_statement"):
                return Effect(f"is more than a computation (`{node.kind.replace('_', ' ')}`)", node)
            if in_function and self._changes_argument(node):
                return Effect("changes something else", node)
            if node.kind != "call" or not node.children:
                continue
            what = self._call_effect(node, own, allowed, in_function)
            if what:
                return Effect(what, node)
            for function in self._local(node.children[0]):
                if len(met) > _MAX_FUNCTIONS:
                    return Effect("calls more functions than can be looked into", node)
                if function.index not in met:
                    met.add(function.index)
                    inner = self._tree.subtree(function)[1:]
                    found = self._first(inner, _nothing, allowed, True, met)
                    if found is not None:
                        return Effect(found.what, node)
        return None

    def _call_effect(self, call: Node, own: Callable[[Node], bool], allowed: Set[int], in_function: bool) -> str:
        """What a call does, in words; "" for one that only computes, as far as names tell."""
        if call.index in self._flor:
            return self._recording_effect(call, allowed)
        name, function = called_name(call), call.children[0]
        is_method, is_owned = function.kind == "attribute", self._owned(function, own)
        if self._trains(name, function):
            return f"trains (`{name}`)"
        if is_method and name in MODES and not in_function:
            return f"switches a mode (`{name}`)"
        if _file_effect(name) and not (is_method and is_owned):
            return f"prints or works with files (`{name}`)"
        if words := _random_effect(name):
            return words
        if not is_owned and _changes_in_place(name, is_method, in_function):
            return f"changes something in place (`{name}`)"
        if in_function and self._acts(call):
            return f"calls something for what that does (`{name}`)"
        return self._taking_effect(call, own, in_function)

    def _recording_effect(self, call: Node, allowed: Set[int]) -> str:
        statement, function = call.statement(), self._flor[call.index]
        is_asked_for = function == "log" and statement is not None and statement.start in allowed
        return "" if is_asked_for else f"calls flor.{function}"

    def _trains(self, name: str, function: Node) -> bool:
        """Whether a call trains: by a method's name, or by the first word of what no function of the file is."""
        if function.kind == "attribute" and name in TRAINING:
            return True
        return name not in MODES and bool(_TRAINING_VERBS.match(name)) and not self._local(function)

    def _changes_argument(self, node: Node) -> bool:
        """Whether an assignment in a function sets a part of something that comes from outside of it."""
        target = node.child("left") if node.kind in ("assignment", "augmented_assignment") else None
        if target is None or target.kind not in ("attribute", "subscript"):
            return False
        root = root_of(target)
        return root.label != "self" and self._comes_from_outside(root)

    def _acts(self, call: Node) -> bool:
        """Whether a call in a function is there for what it does to something from outside: nobody uses its result."""
        holder = call.parent if call.parent is not None and call.parent.kind == "await" else call
        function = call.children[0]
        user = holder.parent
        unused = user is not None and user.kind == "assignment" and user.children[0].label == "_"
        alone = user is not None and (user.kind == "expression_statement" or unused)
        if not alone or self._local(function) or called_name(call) in MODES:
            return False
        root = root_of(function)
        if root.kind != "identifier" or root.label in _OWN_OBJECTS:
            return root.kind == "identifier" and root is function
        return root is function or self._comes_from_outside(root)

    def _comes_from_outside(self, identifier: Node) -> bool:
        """Whether a variable of a function is a parameter or the module's, or (a part of) such a thing."""
        return self._leads_to(identifier, self._is_from_outside, set())

    def _is_from_outside(self, identifier: Node) -> bool:
        owner = self._names.owner(identifier)
        if owner is None:
            return identifier.label not in BUILTINS
        bound = owner.bindings.get(identifier.label, ())
        imported = any((s := each.statement()) is not None and s.kind.startswith("import") for each in bound)
        return owner is self._names.module or imported or any(in_parameters(each) for each in bound)

    def _owned(self, node: Node, own: Callable[[Node], bool]) -> bool:
        """Whether what a chain starts from comes along, and is no other name for something that does not."""
        root = root_of(node)
        if root.kind != "identifier" or root is node or not own(root):
            return False
        return not self._leads_to(root, lambda each: not own(each), set())

    def _is_fixed(self, identifier: Node) -> bool:
        """Whether a name is a module's, a function's or a class's, or Python's own: calling it makes something new."""
        owner = self._names.owner(identifier)
        bound = owner.bindings.get(identifier.label, ()) if owner is not None else ()
        statements = [each.statement() for each in bound]
        fixed = all(s is not None and (s.kind.startswith("import") or s.kind in _DEFINITIONS) for s in statements)
        return identifier.label in BUILTINS if owner is None else fixed

    def _leads_to(self, node: Node, is_it: Callable[[Node], bool], met: set[int]) -> bool:
        """Whether an expression is, or is a part of, a variable of some sort, whatever names it has been given."""
        if node.kind == "identifier":
            if is_it(node):
                return True
            owner = self._names.owner(node)
            bound = owner.bindings.get(node.label, ()) if owner is not None else ()
            fresh = [each for each in bound if each.index not in met]
            met.update(each.index for each in fresh)
            return any((value := _given(each)) is not None and self._leads_to(value, is_it, met) for each in fresh)
        if node.kind in ("attribute", "subscript") and node.children:
            return self._leads_to(node.children[0], is_it, met)
        if node.kind in _SHOWS:
            return any(self._leads_to(each, is_it, met) for each in node.children)
        if node.kind != "call" or not node.children:
            return False
        function = node.children[0]
        if function.kind == "attribute":
            root = root_of(function)
            is_made = called_name(node) in _COPIES or (root.kind == "identifier" and self._is_fixed(root))
            return not is_made and self._leads_to(function.children[0], is_it, met)
        given = node.child("arguments")
        parts = given.children if given is not None and function.label in _SEE_THROUGH else ()
        return any(self._leads_to(each, is_it, met) for each in parts)

    def _taking_effect(self, call: Node, own: Callable[[Node], bool], in_function: bool) -> str:
        taken = _argument(call) if called_name(call) == "next" and call.children[0].kind != "attribute" else None
        if taken is None or taken.kind != "identifier":
            return ""
        is_taken = self._comes_from_outside(taken) if in_function else not own(taken)
        return "takes the next item of something (`next`)" if is_taken else ""

    def _local(self, function: Node) -> list[Node]:
        if function.kind == "identifier":
            owner = self._names.owner(function)
            bound = owner.bindings.get(function.label, ()) if owner is not None else ()
            return [n.parent for n in bound if n.parent is not None and n.parent.kind in _DEFINITIONS]
        if function.kind == "attribute" and function.children:
            return [f for f in self._functions.get(function.children[-1].label, []) if _is_method(f)]
        return []


def functions_by_name(tree: Tree) -> dict[str, list[Node]]:
    """All function definitions of a tree, methods included."""
    found: dict[str, list[Node]] = {}
    for node in tree.of_kind("function_definition"):
        name = node.child("name")
        if name is not None:
            found.setdefault(name.label, []).append(node)
    return found


def called_name(call: Node) -> str:
    """Last word of what a call calls: `step` in `opt.step()`."""
    function = call.children[0] if call.children else None
    if function is None:
        return ""
    if function.kind == "identifier":
        return function.label
    return function.children[-1].label if function.children else ""


def in_parameters(node: Node) -> bool:
    """Whether an identifier stands among the parameters of a function or lambda."""
    for ancestor in node.ancestors():
        if ancestor.kind in ("parameters", "lambda_parameters"):
            return True
        if ancestor.is_statement:
            return False
    return False


def set_by(target: Node) -> Iterator[Node]:
    """What an assignment to a target sets. What stands in an index is only read."""
    if target.kind not in _UNPACKED:
        yield target
    for child in target.children if target.kind in _UNPACKED else ():
        yield from set_by(child)


def root_of(node: Node) -> Node:
    """The identifier that a chain of attributes, subscripts and calls starts from (or what stands there instead)."""
    while node.kind in ("attribute", "subscript", "call") and node.children:
        node = node.children[0]
    return node


def receivers(nodes: Iterable[Node], methods: Set[str]) -> Iterator[tuple[Node, Node]]:
    """Calls of some methods, each with the identifier that its receiver starts from."""
    for node in nodes:
        if node.kind == "call" and node.children and node.children[0].kind == "attribute":
            root = root_of(node.children[0]) if called_name(node) in methods else None
            if root is not None and root.kind == "identifier":
                yield node, root


def _file_effect(name: str) -> str | None:
    return name if name in _FILES or _FILE_VERBS.match(name) else None


def _random_effect(name: str) -> str:
    if name in _SEEDS:
        return f"disturbs random numbers (`{name}`)"
    return f"draws random numbers (`{name}`)" if name in _DRAWS or _DRAW_VERBS.match(name) else ""


def _changes_in_place(name: str, is_method: bool, in_function: bool) -> bool:
    """Whether a name is one of a change in place: `add_`, or outside of functions of its own, `append`."""
    if name.endswith("_") and not name.startswith("_"):
        return not in_function or (is_method and not name.endswith("__"))
    return is_method and name in TAKES and not in_function


def _given(bound: Node) -> Node | None:
    """What an identifier is given where it is bound: a value, what a loop goes through, what a `with` enters."""
    holder = bound.parent
    while holder is not None and holder.kind in _PATTERNS:
        holder = holder.parent
    if holder is None or holder.kind == "augmented_assignment":
        return None
    if holder.kind == "as_pattern_target":
        return holder.parent.children[0] if holder.parent is not None else None
    return holder.child("right") or holder.child("value")


def _nothing(node: Node) -> bool:
    return False


def _argument(call: Node) -> Node | None:
    given = call.child("arguments")
    return given.children[0] if given is not None and given.children else None


def _is_method(function: Node) -> bool:
    return any(node.kind == "class_definition" for node in function.ancestors())
