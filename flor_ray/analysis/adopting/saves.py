"""The calls in a script that write checkpoint files. Pure: texts in, values out.

    for epoch in range(epochs):                                      epoch 0 of the loop is our epoch 1
        ...
        torch.save({"model": net.state_dict(),                       "model" of the file is the state of `net`
                    "best": best}, f"ckpt/epoch_{epoch}.pt")         "best" is the value of `best`

What a function of the script saves of its parameters is what its caller gives it. What is not said plainly is not
guessed: a part of a file of which nobody can say what fills it is of no use, and of no harm.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from flor_ray.analysis.adopting.functions import Function, arguments_of, root_of
from flor_ray.analysis.nodes import walk
from flor_ray.analysis.source import dotted_name, read

WHOLE = ""  # the key of a file that is a state itself
_SAVING = {"save": 1, "save_file": 1, "save_model": 1, "save_state": 0}  # and where the path stands
_PREPARED = (  # what the name of a maker says that it makes, and under which key Accelerate saves its state
    (re.compile(r"sched|LR$", re.IGNORECASE), "scheduler"),
    (re.compile(r"\boptim|optimizer|^(Adam\w*|SGD|RMSprop|Adagrad|Adafactor|Lion)$", re.IGNORECASE), "optimizer"),
    (re.compile(r"loader", re.IGNORECASE), None),
)
_DEPTH = 3  # of functions that save what they are given


@dataclass(frozen=True, slots=True)
class SavedPart:
    """What fills one key of a checkpoint file."""

    key: str
    expression: str  # in the scope of the main loop: `net`, `net.module`
    is_state: bool  # its state_dict(); else it is the variable's value

    @property
    def root(self) -> str:
        """The variable."""
        return self.expression.partition(".")[0]


@dataclass(frozen=True, slots=True)
class SaveCall:
    """A call that writes checkpoint files while the main loop runs."""

    line: int  # of the call, or of the call of the function that it is in
    loop: int  # line of the outermost loop around it; 0: none
    statement: int  # which statement of that loop's body it is in, from 0
    nested: bool  # it is in another loop inside of that one
    parts: tuple[SavedPart, ...]
    name: str | None  # regular expression of the files' names, with a group for the number; None: nobody can tell
    offset: int | None  # the number in the name, less what the loop yields; None: nobody can tell
    epoch_key: str = ""  # under which the file itself says the epoch
    epoch_offset: int | None = None


@dataclass(frozen=True, slots=True)
class _CallPlace:
    """Where a call is made: the loops around it in its scope, outermost first, and the function that it is in."""

    loops: tuple[ast.For | ast.While, ...]
    function: Function | None


def saves_in(text: str, others: Iterable[str] = ()) -> list[SaveCall]:
    """The calls of a script that save states, in the order of the text. `others` are the project's other files, with
    functions that it may call for that."""
    tree = read(text).tree
    more = [other for each in others if (other := read(each).tree) is not None]
    return [] if tree is None else [*dict.fromkeys(_SaveReader(tree, more).found())]


def first_element(text: str, line: int) -> int | None:
    """The first number that the main loop on this line yields; None if it cannot be seen."""
    loop = loop_at(text, line)
    if loop is None:
        return None
    inner: ast.expr = loop.iter
    while isinstance(inner, ast.Call) and dotted_name(inner.func).rpartition(".")[2] in ("tqdm", "trange", "track"):
        if dotted_name(inner.func).endswith("trange") or not inner.args:
            break
        inner = inner.args[0]
    if not isinstance(inner, ast.Call) or not inner.args:
        return None
    if dotted_name(inner.func).rpartition(".")[2] not in ("range", "trange") or len(inner.args) > 2:
        return None
    if len(inner.args) == 1:
        return 0
    first = inner.args[0]
    return first.value if isinstance(first, ast.Constant) and isinstance(first.value, int) else None


def loop_at(text: str, line: int) -> ast.For | None:
    """The `for` loop whose head begins on this line."""
    return next((n for n in read(text).nodes if isinstance(n, ast.For) and n.lineno == line), None)


def why_not_once(text: str, line: int, others: Iterable[str] = ()) -> str:
    """Why the main loop on this line may be entered more than once; "" if it surely is not."""
    tree, loop = read(text).tree, loop_at(text, line)
    if tree is None or loop is None:
        return ""
    reader = _SaveReader(tree, [other for each in others if (other := read(each).tree) is not None])
    return reader.why_repeated(loop)


class _SaveReader:
    def __init__(self, tree: ast.Module, others: Sequence[ast.Module]) -> None:
        self._tree = tree
        trees = (tree, *others)
        self._parents = {c: parent for each in trees for parent in walk(each) for c in ast.iter_child_nodes(parent)}
        self._calls = sorted((node for node in walk(tree) if isinstance(node, ast.Call)), key=lambda call: call.lineno)
        self._own = frozenset(self._calls)
        self._elsewhere = [node for each in others for node in walk(each) if isinstance(node, ast.Call)]

    def found(self) -> Iterator[SaveCall]:
        for call in (*self._calls, *self._elsewhere):
            name = dotted_name(call.func).rpartition(".")[2]
            if (name in _SAVING and len(call.args) > _SAVING[name]) or (name in _SAVING and call.keywords):
                yield from self._of(call, call, name, {}, _DEPTH)

    def why_repeated(self, node: ast.AST, depth: int = _DEPTH) -> str:
        place = self._place(node)
        if place.loops:
            return f"it stands in the loop of line {place.loops[0].lineno}"
        if place.function is None or not depth:
            return ""
        name = place.function.name
        calls = [c for c in (*self._calls, *self._elsewhere) if dotted_name(c.func).rpartition(".")[2] == name]
        if len(calls) > 1:
            return f"{name}() is called in lines {', '.join(str(call.lineno) for call in calls)}"
        return self.why_repeated(calls[0], depth - 1) if calls else ""

    def _of(
        self, save: ast.Call, at: ast.Call, kind: str, given: Mapping[str, ast.expr], depth: int
    ) -> Iterator[SaveCall]:
        """What a call saves; `at` is it, or the call that leads to it, which gives these arguments."""
        place = self._place(at)
        if place.loops:
            if at in self._own:
                yield self._described(save, at, kind, given, place)
            return
        if place.function is None or not depth:
            return
        for caller in self._calls:
            if dotted_name(caller.func).rpartition(".")[2] == place.function.name and caller is not at:
                arguments = arguments_of(caller, place.function, isinstance(caller.func, ast.Attribute))
                passed = {n: _put(v, arguments) for n, v in given.items()} if given else arguments
                yield from self._of(save, caller, kind, passed, depth - 1)

    def _place(self, node: ast.AST) -> _CallPlace:
        loops: list[ast.For | ast.While] = []
        while not isinstance(node := self._parents.get(node, self._tree), ast.Module):
            if isinstance(node, ast.For | ast.While):
                loops.append(node)
            elif isinstance(node, Function):
                return _CallPlace(tuple(loops[::-1]), node)
            elif isinstance(node, ast.ClassDef | ast.Lambda):
                return _CallPlace((), None)
        return _CallPlace(tuple(loops[::-1]), None)

    def _described(
        self, save: ast.Call, at: ast.Call, kind: str, given: Mapping[str, ast.expr], place: _CallPlace
    ) -> SaveCall:
        loop = place.loops[0]
        what, where = _arguments(save, kind)
        content = self._content(what, save) if what is not None else None
        parts = tuple(part for key, value in self._entries(content, kind) if (part := _part(key, value, given)))
        target = loop.target.id if isinstance(loop, ast.For) and isinstance(loop.target, ast.Name) else ""
        if isinstance(loop, ast.For) and isinstance(loop.target, ast.Tuple):  # for epoch, x in enumerate(...)
            target = root_of(loop.target.elts[0])
        name, offset = _file_name(self._content(where, at if given else save), given, target)
        epochs = [(k, o) for k, v in self._entries(content, kind) if (o := _offset(_put(v, given), target)) is not None]
        key, epoch_offset = next(((k, o) for k, o in epochs if k), ("", None))
        statement = next(i for i, s in enumerate(loop.body) if at in walk(s)) if _is_in_body(loop, at) else -1
        return SaveCall(
            line=at.lineno,
            loop=loop.lineno if isinstance(loop, ast.For) else -loop.lineno,
            statement=statement,
            nested=len(place.loops) > 1,
            parts=tuple(part for part in parts if part.is_state or part.expression != target),
            name=name,
            offset=offset,
            epoch_key=key,
            epoch_offset=epoch_offset,
        )

    def _content(self, node: ast.expr | None, near: ast.AST) -> ast.expr | None:
        """What a variable was assigned last before a call, in its own scope; other expressions as they are."""
        if not isinstance(node, ast.Name):
            return node
        scope = self._place(near).function or self._tree
        found = [
            each
            for each in walk(scope)
            if isinstance(each, ast.Assign)
            and any(isinstance(t, ast.Name) and t.id == node.id for t in each.targets)
            and each.lineno <= near.lineno  # type: ignore[attr-defined]
        ]
        return max(found, key=lambda each: each.lineno).value if found else node

    def _entries(self, content: ast.expr | None, kind: str) -> Iterator[tuple[str, ast.expr]]:
        if kind == "save_model" and content is not None:  # of safetensors: the module itself
            yield WHOLE, _state_dict_of(content)
        elif kind == "save_state":  # of Accelerate
            yield from self._prepared()
        elif isinstance(content, ast.Dict):
            for key, value in zip(content.keys, content.values, strict=True):
                if isinstance(key, ast.Constant) and isinstance(key.value, str):
                    yield key.value, value
        elif isinstance(content, ast.Call) and dotted_name(content.func) == "dict":
            yield from ((word.arg, word.value) for word in content.keywords if word.arg)
        elif content is not None:
            yield WHOLE, content

    def _prepared(self) -> Iterator[tuple[str, ast.expr]]:
        """What `net, optimizer = accelerator.prepare(net, optimizer)` has returned, by the keys of its states: where
        there are two of a kind, nobody can tell them apart."""
        found: dict[str, list[ast.expr]] = {}
        for call in self._calls:
            place = self._parents.get(call)
            if dotted_name(call.func).rpartition(".")[2] != "prepare" or not isinstance(place, ast.Assign):
                continue
            target = place.targets[0]
            returned = target.elts if isinstance(target, ast.Tuple) else [target]
            for given, each in zip(call.args, returned, strict=False):
                if (key := self._key_of(given, place)) is not None:
                    found.setdefault(key, []).append(each)
        return ((key, _state_dict_of(each[0])) for key, each in found.items() if len(each) == 1)

    def _key_of(self, given: ast.expr, prepared: ast.Assign) -> str | None:
        """The key of the state of what is given to `prepare`: by what made it, else it is the model."""
        name = given.id if isinstance(given, ast.Name) else ""
        makers = [
            dotted_name(each.value.func)
            for each in walk(self._tree)
            if isinstance(each, ast.Assign) and each is not prepared and isinstance(each.value, ast.Call)
            if any(isinstance(target, ast.Name) and target.id == name for target in each.targets)
        ]
        maker = makers[-1] if makers else ""
        words = (maker, maker.rpartition(".")[2])
        return next((key for pattern, key in _PREPARED if any(map(pattern.search, words))), WHOLE)


def _state_dict_of(node: ast.expr) -> ast.expr:
    call = ast.Call(ast.Attribute(node, "state_dict", ast.Load()), [], [])
    return ast.copy_location(call, node)


def _is_in_body(loop: ast.For | ast.While, node: ast.AST) -> bool:
    return any(node in walk(statement) for statement in loop.body)


def _arguments(call: ast.Call, kind: str) -> tuple[ast.expr | None, ast.expr | None]:
    """What is saved, and where."""
    words = {word.arg: word.value for word in call.keywords}
    if kind == "save_state":
        return None, call.args[0] if call.args else words.get("output_dir")
    what = call.args[0] if call.args else words.get("obj") or words.get("tensors") or words.get("model")
    place = _SAVING[kind]
    where = call.args[place] if len(call.args) > place else words.get("f") or words.get("filename")
    return what, where


def _put(node: ast.expr, given: Mapping[str, ast.expr]) -> ast.expr:
    """An expression of a function in the words of its caller."""
    if not given:
        return node

    class Puts(ast.NodeTransformer):
        def visit_Name(self, name: ast.Name) -> ast.expr:
            return given.get(name.id, name)

    copy = ast.parse(ast.unparse(node), mode="eval").body
    return Puts().visit(copy)  # type: ignore[no-any-return]


def _part(key: str, value: ast.expr, given: Mapping[str, ast.expr]) -> SavedPart | None:
    value = _put(value, given)
    if isinstance(value, ast.Call) and isinstance(value.func, ast.Attribute) and value.func.attr == "state_dict":
        owner = value.func.value
        if not value.args and not value.keywords and _is_plain(owner):
            return SavedPart(key, ast.unparse(owner), True)
        return None
    return SavedPart(key, value.id, False) if isinstance(value, ast.Name) and key else None


def _is_plain(node: ast.expr) -> bool:
    while isinstance(node, ast.Attribute):
        node = node.value
    return isinstance(node, ast.Name)


def _offset(node: ast.expr, target: str) -> int | None:
    """How much more than the main loop's variable an expression is; None if it is something else."""
    if isinstance(node, ast.Name):
        return 0 if target and node.id == target else None
    if isinstance(node, ast.BinOp) and isinstance(node.right, ast.Constant) and isinstance(node.right.value, int):
        inner = _offset(node.left, target)
        if inner is not None and isinstance(node.op, ast.Add | ast.Sub):
            return inner + (node.right.value if isinstance(node.op, ast.Add) else -node.right.value)
    return None


def _file_name(path: ast.expr | None, given: Mapping[str, ast.expr], target: str) -> tuple[str | None, int | None]:
    """A regular expression for the last part of a path, and how its number differs from the main loop's variable."""
    if path is None:
        return None, None
    pieces = [*_pieces(_put(path, given))]
    words, offset, numbers = "", None, 0
    for piece in pieces:
        if isinstance(piece, str):
            words = re.escape(piece.rpartition("/")[2]) if "/" in piece else words + re.escape(piece)
            numbers = 0 if "/" in piece else numbers
            continue
        found = _offset(piece, target)
        if found is not None and not numbers:
            words, offset, numbers = words + r"(?P<number>\d+)", found, 1
        else:
            words += ".*"
    return (words or None), offset if numbers else None


def _pieces(node: ast.expr) -> Iterator[str | ast.expr]:
    """A path as texts and what is put between them; what stands for a folder ends with a slash."""
    if isinstance(node, ast.Constant):
        yield str(node.value)
    elif isinstance(node, ast.JoinedStr):
        for value in node.values:
            yield from _pieces(value.value if isinstance(value, ast.FormattedValue) else value)
    elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
        yield from _pieces(node.left)
        yield "/"
        yield from _pieces(node.right)
    elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add) and _is_text(node):
        yield from _pieces(node.left)
        yield from _pieces(node.right)
    elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mod) and isinstance(node.left, ast.Constant):
        values = list(node.right.elts) if isinstance(node.right, ast.Tuple) else [node.right]
        yield from _filled(re.split(r"%[-+ #0]*\d*\.?\d*[sdifgr]", str(node.left.value)), values)
    elif isinstance(node, ast.Call) and dotted_name(node.func).rpartition(".")[2] in ("join", "joinpath", "Path"):
        for number, argument in enumerate(node.args):
            yield from ["/"] if number else []
            yield from _pieces(argument)
    elif isinstance(node, ast.Call) and dotted_name(node.func) in ("str", "os.fspath") and len(node.args) == 1:
        yield from _pieces(node.args[0])
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "format":
        if isinstance(node.func.value, ast.Constant):
            values = [*node.args, *(word.value for word in node.keywords)]
            yield from _filled(re.split(r"\{[^{}]*\}", str(node.func.value.value)), values)
    else:
        yield node


def _is_text(node: ast.expr) -> bool:
    return any(isinstance(n, ast.JoinedStr) or (isinstance(n, ast.Constant) and isinstance(n.value, str))
               for n in walk(node))  # fmt: skip


def _filled(texts: list[str], values: list[ast.expr]) -> Iterator[str | ast.expr]:
    for number, text in enumerate(texts):
        yield text
        if number < len(texts) - 1:
            yield values[number] if number < len(values) else ast.Name("_", ast.Load())
