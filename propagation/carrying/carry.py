"""The door of propagation: sources and lines in, a patched source with placements and refusals out."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from flor_ray.propagation.adapting.adaptation import Declined
from flor_ray.propagation.adapting.doubts import Doubt, confidence
from flor_ray.propagation.adapting.edits import Carried, apply
from flor_ray.propagation.carrying.transplant import Present, Transplant
from flor_ray.propagation.matching.thresholds import MAX_CHARACTERS, MAX_HEIGHT, MAX_LINES, MIN_CONFIDENCE
from flor_ray.propagation.reading.nesting import nesting_of
from flor_ray.propagation.reading.parse import (
    collecting_later,
    decode,
    encode,
    error_count,
    has_bare_returns,
    is_python,
    parse,
)
from flor_ray.propagation.reading.program import Program, read_program
from flor_ray.propagation.reading.statements import header_end
from flor_ray.propagation.reading.tree import Node, Tree, definition_path
from flor_ray.records import Pin, Placement, Propagation, Refusal


def propagate(
    newer: str,
    older: str,
    lines: Sequence[int],
    *,
    min_confidence: float = MIN_CONFIDENCE,
    pins: Mapping[int, Pin] = MappingProxyType({}),
) -> Propagation:
    """Carry the statements at these lines (from 1) of the newer source into the older one.

    Every line gets a Placement or a Refusal. Nothing but whole lines is ever inserted; no source makes this raise.
    A placement whose confidence is below `min_confidence` is refused, with its place as `best_guess`. `pins` gives the
    place of a newer line in the older source, where the user knows it; its names are adapted as elsewhere.
    """
    wanted = sorted(set(lines))
    with collecting_later():
        problem = _unreadable(newer, "newer") or _unreadable(older, "older")
        if problem:
            return Propagation(older, refused=tuple(Refusal(line, problem) for line in wanted))
        return _propagate(read_program(newer), read_program(older), older, wanted, pins, min_confidence)


def _propagate(
    newer: Program, program: Program, older: str, wanted: Sequence[int], pins: Mapping[int, Pin], min_confidence: float
) -> Propagation:
    for careful in (False, True):  # a patch that is not Python is rare: then each line is checked by itself
        run = _Carrying(newer, program, older, wanted, pins, min_confidence, careful)
        result = run.carry()
        if careful or not result.placed or not run.is_broken():
            return result
    return result


class _Carrying:
    """One propagation, line by line."""

    def __init__(
        self,
        newer: Program,
        program: Program,
        older: str,
        lines: Sequence[int],
        pins: Mapping[int, Pin],
        min_confidence: float,
        careful: bool,
    ) -> None:
        self._found = [(line, _statements_at(newer, line)) for line in lines]
        requested = {statement.start for _, statements in self._found for statement in statements}
        self._transplant = Transplant(newer, program, requested)
        self._transplant.pinned = {s.start: pins[line] for line, found in self._found if line in pins for s in found}
        self._older, self._least, self._careful = older, min_confidence, careful
        self._refused: list[Refusal] = []
        self._done: list[tuple[int, Node, Carried | Present]] = []
        self._idle: set[int] = set()  # first bytes of statements that would only serve what was refused
        self._given_up: dict[int, Refusal] = {}  # by line: what could not be carried for a reason of its own

    def carry(self) -> Propagation:
        """Carry them all, and again without those that only served what could not be carried."""
        self._carry_all()
        while idle := self._find_idle():
            self._idle |= idle
            done = {line for line, _, _ in self._done}
            self._given_up = {each.line: each for each in self._refused if each.line not in done}
            self._refused.clear()
            self._done.clear()
            self._transplant.take_back({})
            self._carry_all()
        return self._result()

    def _find_idle(self) -> set[int]:
        """First bytes of what was carried for other statements that are requested, of which none could be carried."""
        requested = {statement.start for _, statements in self._found for statement in statements}
        logs = {log.statement.start for log in self._transplant.newer.logs}
        carried = {s.start: s for _, s, result in self._done if isinstance(result, Carried) and s.start not in logs}
        read = {start: self._readers(statement) & requested for start, statement in carried.items()}
        served = {start for start, readers in read.items() if readers and not self._is_read_there(carried[start])}
        idle = set[int]()
        there = {statement.start for _, statement, _ in self._done}
        while more := {start for start in served - idle if not read[start] & (there - idle)}:
            idle |= more
        return idle

    def _readers(self, statement: Node) -> set[int]:
        """First bytes of the newer statements that read what one of them sets, and is not read by itself."""
        names = self._transplant.newer.written_names
        found = set[int]()
        for bound in names.bound(statement):
            owner = names.owner(bound)
            readers = [read.statement() for read in owner.reads.get(bound.label, ())] if owner is not None else []
            found |= {each.start for each in readers if each is not None and each is not statement}
        return found

    def _is_read_there(self, statement: Node) -> bool:
        """Whether the older version itself knows what a statement sets, whatever it is called there."""
        names, known = self._transplant.newer.written_names, self._transplant.older.written_names.known
        carried = self._transplant.carried.get(statement.start)
        renames = carried.renames if carried is not None else {}
        return any(renames.get(each.label, each.label) in known for each in names.bound(statement))

    def _carry_all(self) -> None:
        for line, statements in self._found:
            if line in self._given_up:
                self._refused.append(self._given_up[line])
                continue
            if not statements:
                self._refused.append(Refusal(line, "no statement that could be carried stands on this line"))
            for statement in statements:
                if not self._carry(line, statement):
                    break

    def _carry(self, line: int, statement: Node) -> bool:
        transplant = self._transplant
        before = dict(transplant.carried)
        try:
            if statement.start in self._idle:
                raise Declined("what would read it in the older version could not be carried")
            result = transplant.carry(statement)
            if isinstance(result, Carried):
                self._check(result)
        except Declined as problem:
            transplant.take_back(before)
            guess = problem.guess or transplant.guess(statement)
            best = transplant.older.tree.line(guess.start) if guess is not None else None
            self._refused.append(Refusal(line, problem.reason, best, round(problem.confidence, 3)))
            return False
        self._done.append((line, statement, result))
        return True

    def _check(self, result: Carried) -> None:
        block, gap = result.place
        near = block.children[min(gap, len(block.children)) - 1] if gap and block.children else None
        if result.confidence < self._least:
            reason = f"the confidence of the best place ({result.confidence:.3g}) is below {self._least:g}"
            words = sorted(doubt.words for doubt in result.doubts if doubt.words)
            raise Declined("; ".join([reason, *words]), near, result.confidence)
        if self._careful and self.is_broken():
            raise Declined("the older version would not be valid Python with it", near, result.confidence)

    def is_broken(self) -> bool:
        """Whether what was carried so far takes away that the older version is Python."""
        tree = self._transplant.older.tree
        offsets = [each.insertion.offset for each in self._transplant.carried.values()]
        if not offsets:
            return False
        patched = encode(self._patched()[0])
        start, end = _checked_part(tree, min(offsets), max(offsets))
        part = patched[start : len(patched) - (len(tree.source) - end)]
        return not is_python(decode(part)) and _broken(self._older, decode(patched))

    def _patched(self) -> tuple[str, dict[int, int]]:
        tree = self._transplant.older.tree
        source, places = apply(tree, [each.insertion for each in self._transplant.carried.values()])
        return decode(source), places

    def _result(self) -> Propagation:
        if not self._done:
            return Propagation(self._older, refused=tuple(self._refused))
        source, places = self._patched()
        placed: dict[int, Placement] = {}
        for line, statement, result in self._done:
            if line not in placed:
                placed[line] = self._placement(line, statement, result, places)
        refused = tuple(each for each in self._refused if each.line not in placed)
        return Propagation(source, tuple(placed.values()), refused)

    def _placement(self, line: int, statement: Node, result: Carried | Present, places: dict[int, int]) -> Placement:
        if isinstance(result, Present):
            at = result.line + self._inserted_above(result.line)
            return Placement(line, at, 1.0, why="the older version has it there already", present=True)
        tree = self._transplant.newer.written
        at = next(places[n] for n in range(tree.line(statement.start), tree.last_line(statement) + 1) if n in places)
        doubts = set(result.doubts) | self._other_part(statement, result)
        why = "; ".join([result.why, *sorted(doubt.words for doubt in doubts if doubt.words)])
        return Placement(line, at, round(confidence(doubts), 3), result.renames, why)

    def _inserted_above(self, line: int) -> int:
        start = self._transplant.older.tree.starts[line - 1]
        carried = self._transplant.carried.values()
        return sum(len(each.insertion.lines) for each in carried if each.insertion.offset <= start)

    def _other_part(self, statement: Node, result: Carried) -> set[Doubt]:
        """A doubt about a statement that now runs in another part of the script.

        Between two mapped neighbours of a mapped block it cannot.
        """
        if not result.doubts & _LOST_BLOCK:
            return set()
        newer, older = nesting_of(self._transplant.newer.written), nesting_of(self._transplant.older.tree)
        path, there = newer.path(statement), older.path(result.place[0])
        if path is None or newer.main_loop is None or older.main_loop is None:
            return set()
        same = there is not None and newer.part(path, statement.start) == older.part(there, result.insertion.offset)
        return set() if same else {Doubt.OTHER_PART}


_LOST_BLOCK = frozenset({Doubt.ONE_NEIGHBOUR, Doubt.NO_NEIGHBOUR, Doubt.UNMAPPED_BLOCK, Doubt.FOLLOWED, Doubt.TORN})


def _checked_part(tree: Tree, first: int, last: int) -> tuple[int, int]:
    """Byte offsets of what has to be read to know whether a source is Python after insertions between two offsets: the
    top-level statements around them. Only of few statements does it matter what else the module says."""
    of_module = [each for each in tree.of_kind(*_OF_MODULE) if not definition_path(each)]
    if of_module:
        return 0, len(tree.source)
    top = tree.root.children
    before = bisect_left(top, first, key=lambda node: node.start) - 1
    behind = bisect_left(top, last, key=lambda node: node.end)
    start = tree.starts[tree.line(top[before].start) - 1] if before >= 0 else 0
    end = tree.end_of_line(tree.last_line(top[behind])) if behind < len(top) else len(tree.source)
    return start, end


_OF_MODULE = ("future_import_statement", "global_statement")


def _broken(older: str, patched: str) -> bool:
    """Whether a patch took away that a source is Python; where this interpreter reads neither, tree-sitter decides."""
    return not is_python(patched) and (is_python(older) or error_count(patched) > error_count(older))


def _unreadable(source: str, which: str) -> str:
    if source.count("\n") > MAX_LINES:
        return f"the {which} version has more than {MAX_LINES} lines"
    if len(source) > MAX_CHARACTERS:
        return f"the {which} version has more than {MAX_CHARACTERS} characters"
    if has_bare_returns(source):
        return f"the {which} version ends lines in bare carriage returns, which makes its line numbers ambiguous"
    tree = parse(source)
    if tree.height > MAX_HEIGHT:
        return f"the {which} version is nested more than {MAX_HEIGHT} levels deep"
    if tree.has_errors and not is_python(source):
        return f"the {which} version is not valid Python"
    return ""


def _statements_at(program: Program, line: int) -> list[Node]:
    """The statements meant by a line: the ones on it that log; on a compound statement's header, the logs inside."""
    tree = program.written
    here = []
    for node in _reaching(tree, line):
        if node.is_statement and tree.line(node.start) <= line <= tree.line(max(node.start, header_end(node) - 1)):
            here.append(node)
    logging = {log.statement.index: log.statement for log in program.logs}
    direct = [node for node in here if node.index in logging]
    if direct or not here:
        return direct
    inside = [node for _, node in sorted(logging.items()) if here[-1].contains(node)]
    return inside or here[-1:]


def _reaching(tree: Tree, line: int) -> list[Node]:
    """Nodes that start on a line, and those around the last one before its end; in preorder, and so by their starts."""
    if not 1 <= line <= len(tree.starts):
        return []
    last = bisect_left(tree.nodes, tree.end_of_line(line), key=lambda node: node.start) - 1
    found = {node.index: node for node in (tree.nodes[last], *tree.nodes[last].ancestors())} if last >= 0 else {}
    while last >= 0 and tree.nodes[last].start >= tree.starts[line - 1]:
        found[last] = tree.nodes[last]
        last -= 1
    return [node for _, node in sorted(found.items())]
