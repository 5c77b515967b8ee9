"""In which phases of a run the statements of a version's files are executed, through calls from file to file.

The script is walked in the order in which it would run, entering every function where it is called. A state is where
the program may be; at each place it is a set of them, because branches, loops and several methods of one name leave
several possible:

    PREFIX --main loop--> HEAD --nested loop--> INNER --its end--> TAIL --main loop's end--> SUFFIX
       └─ OUTSIDE: in a loop that is not the main one      └─ BETWEEN, STEPS: in the `while` around flor.iteration

Only runs that had a main loop are replayed so. So a state before it counts only where the main loop can still be
entered from there: after `if args.train: ...loop...`, nothing stands before the loop any more.

What runs at times that nobody knows (`Graph.loose`), or is met in several phases, belongs to all that covers them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto

from flor_ray.analysis.phases.callgraph import Graph, UnitId
from flor_ray.analysis.phases.outline import Block, Branch, Do, Jump, Record, Repeat, Step, Try, steps
from flor_ray.analysis.source import calls_checkpointing
from flor_ray.records import Region


class _At(Enum):
    PREFIX = auto()
    OUTSIDE = auto()
    BETWEEN = auto()
    HEAD = auto()
    STEPS = auto()
    INNER = auto()
    TAIL = auto()
    SUFFIX = auto()
    UNKNOWN = auto()


_BEFORE = frozenset({_At.PREFIX, _At.OUTSIDE, _At.BETWEEN})
_REGIONS = {
    _At.PREFIX: Region.PREFIX,
    _At.OUTSIDE: Region.PREFIX,
    _At.BETWEEN: Region.WHOLE,
    _At.HEAD: Region.HEAD,
    _At.STEPS: Region.INNER,
    _At.INNER: Region.INNER,
    _At.TAIL: Region.TAIL,
    _At.SUFFIX: Region.SUFFIX,
    _At.UNKNOWN: Region.WHOLE,
}
_State = tuple[_At, bool]  # where, and whether the next outermost loop is the main one
_States = frozenset[_State]
_NONE: _States = frozenset()
StatementId = tuple[str, int]


@dataclass(slots=True)
class _Left:
    """How a block was left: at its end, or by a jump."""

    out: _States = _NONE
    returned: _States = _NONE
    broken: _States = _NONE
    continued: _States = _NONE

    def jumps(self, other: _Left) -> None:
        self.returned |= other.returned
        self.broken |= other.broken
        self.continued |= other.continued


class Running:
    """A walk through all that a script may run. `problem`: why the phases cannot be known, or ""."""

    def __init__(self, script: str, files: Mapping[str, str]) -> None:
        self._script = script
        self.graph = Graph(script, files)
        self.met: dict[StatementId, set[Region]] = {}
        self.sites: dict[tuple[UnitId, Region], str] = {}  # from where a function was first called in a phase
        self.mains: dict[tuple[str, int], tuple[UnitId, Record]] = {}  # loops that may be the main loop, by place
        self.nested: dict[tuple[str, int], tuple[UnitId, Record]] = {}
        self._done: dict[tuple[UnitId, _State, bool], _States] = {}
        self.problem = self.graph.problem or self._walk_script(files)

    def _walk_script(self, files: Mapping[str, str]) -> str:
        """Walk all that the script runs; what keeps its phases from being known, or ""."""
        graph, top = self.graph, (self._script, 0)
        if self._script not in graph.outlines:
            return f"{self._script} is not among the version's files"
        for path, outline in graph.outlines.items():
            for line in outline.odd_loops:
                return f"a recorded loop is not the head of a `for` of its function ({path}:{line})"
            for each in outline.units:
                for step in steps(each.flow):
                    if isinstance(step, Record) and step.is_lonely:
                        return f"flor.iteration stands in no `while` of its function ({path}:{step.line})"
        if graph.recording and (own := graph.overrides_training()) is not None:
            return f"`{graph.name_of(own)}` takes the place of what runs the main loop"
        if (again := graph.recursive()) is not None:
            return f"`{graph.name_of(again)}`, which comes to a recorded loop, calls itself"
        loose = sorted(unit for unit in graph.loose if unit in graph.recording)
        if loose:
            return f"`{graph.name_of(loose[0])}`, which comes to the main loop, {graph.loose[loose[0]]}"
        waits = calls_checkpointing(files[self._script])
        try:
            self._run(top, (_At.PREFIX, not waits), False, "")
            if not self.mains and (root := self._root()) is not None:
                for met in self.met.values():  # who knows on which side of the call that starts it
                    met |= {Region.PREFIX, Region.SUFFIX}
                self._run(root, (_At.PREFIX, not waits), False, "")
            if not self.mains:
                return f"{self._script} is not seen to come to a main loop"
            for unit in sorted(graph.loose):
                self._run(unit, (_At.UNKNOWN, True), False, "")
        except RecursionError:
            return "its functions call each other too deeply"
        return ""

    def _root(self) -> UnitId | None:
        """The one function of the script that comes to a recorded loop and that nothing calls: a library does."""
        graph, path = self.graph, self._script
        numbers = range(len(graph.outlines[path].units))
        called = {
            callee for p, o in graph.outlines.items() for n in range(len(o.units)) for callee in graph.callees((p, n))
        }
        roots = [(path, n) for n in numbers if n and (path, n) in graph.recording - called]
        return roots[0] if len(roots) == 1 else None

    def _run(self, unit: UnitId, state: _State, later: bool, site: str) -> _States:
        """Run a function once from one state; where the program may be when it has returned."""
        region = _REGIONS[state[0]]
        self.sites.setdefault((unit, region), site)
        key = unit, state, later
        if key in self._done:
            return self._done[key]
        self._done[key] = frozenset({state})  # what calls itself comes to no recorded loop
        path, number = unit
        left = self._block(unit, self.graph.outlines[path].units[number].flow, frozenset({state}), later)
        self._done[key] = left.out | left.returned if unit in self.graph.changing else frozenset({state})
        return self._done[key]

    def _block(self, unit: UnitId, block: Block, states: _States, later: bool) -> _Left:
        left = _Left(states)
        enters = [self._enters(unit[0], step) for step in block]
        for number, step in enumerate(block):
            if not left.out:
                break
            after = self._step(unit, step, left.out, later or any(enters[number + 1 :]), later or any(enters[number:]))
            left.out = after.out
            left.jumps(after)
        return left

    def _enters(self, path: str, step: Step) -> bool:
        """Whether a recorded loop may be entered in a step."""
        graph = self.graph
        return any(
            isinstance(each, Record)
            or (isinstance(each, Do) and any(unit in graph.recording for unit in graph.done_by(path, each)))
            or (isinstance(each, Do) and graph.training(path, each) is not None)
            for each in steps((step,))
        )

    def _step(self, unit: UnitId, step: Step, states: _States, later: bool, now: bool) -> _Left:
        """`later`: a main loop may be entered after the step; `now`: in it, or after it."""
        if isinstance(step, Do):
            training = self.graph.training(unit[0], step)
            done = self._do(unit, step, states, later or training is not None, now)
            return _Left(done) if training is None else self._training(unit, training, done, later, now)
        if isinstance(step, Branch):
            left = _Left() if step.is_exhaustive else _Left(states)
            for block in step.blocks:
                after = self._block(unit, block, states, later)
                left.out |= after.out
                left.jumps(after)
            return left
        if isinstance(step, Repeat):
            return self._repeat(unit, step, states, later, now)
        if isinstance(step, Record):
            return self._record(unit, step, states, later, now)
        if isinstance(step, Try):
            return self._try(unit, step, states, later)
        return self._jump(step, states)

    def _training(
        self, unit: UnitId, training: tuple[Do, Record, Do], states: _States, later: bool, now: bool
    ) -> _Left:
        """A library's Trainer trains: nothing else than its loop leaves the statement."""
        before, record, after = training
        ready = self._do(unit, before, states, True, True)
        over = self._record(unit, record, ready, later, now)
        return _Left(self._do(unit, after, over.out, later, now))

    def _jump(self, step: Jump, states: _States) -> _Left:
        if step.kind in ("return", "raise"):
            return _Left(returned=states)
        return _Left(broken=states) if step.kind == "break" else _Left(continued=states)

    def _do(self, unit: UnitId, step: Do, states: _States, later: bool, now: bool) -> _States:
        path, graph = unit[0], self.graph
        site = f"{path}:{graph.outlines[path].statements[step.statement].line}"
        before = states
        groups = [([callee], True) for ref in step.imports for callee in graph.imported(path, ref)]
        groups += [(list(graph.called(path, call)), call.optional) for call in step.calls]
        groups.append((list(graph.read_by(path, step)), True))
        enter = [any(callee in graph.recording for callee in callees) for callees, _ in groups]
        begin = len(groups) - len(step.calls) - 1
        again = [begin + n for n, call in enumerate(step.calls) if call.repeated]  # of a comprehension: as in a loop
        for number, (callees, is_optional) in enumerate(groups):
            if callees:
                rest = enter[again[0] if number in again else number + 1 :]
                after = self._run_all(callees, states, later or any(rest), site)
                states = states | after if is_optional else after
            if again and number == again[-1]:
                states = self._run_again([groups[each][0] for each in again], states, later or any(enter), site)
        self._meet((path, step.statement), states, later)
        if states != before:  # part of it may have run before what it calls
            self._meet((path, step.statement), before, now)
        if step.arms:
            states = frozenset((at, True) for at, _ in states)
        return states

    def _run_again(self, groups: Sequence[Sequence[UnitId]], states: _States, later: bool, site: str) -> _States:
        """Where the program may be after any number of further rounds of these calls."""
        while True:
            new = states
            for callees in groups:
                new |= self._run_all(callees, new, later, site)
            if new == states:
                return states
            states = new

    def _run_all(self, callees: Iterable[UnitId], states: _States, later: bool, site: str) -> _States:
        return frozenset(
            after for callee in callees for state in states for after in self._run(callee, state, later, site)
        )

    def _meet(self, statement: StatementId, states: _States, later: bool) -> None:
        met = self.met.setdefault(statement, set())
        for at, _ in states:
            if later or at not in _BEFORE:
                met.add(_REGIONS[at])

    def _repeat(self, unit: UnitId, step: Repeat, states: _States, later: bool, now: bool) -> _Left:
        """A loop that is not recorded: none, one or many rounds."""
        around = {_At.PREFIX: _At.BETWEEN, _At.HEAD: _At.STEPS} if step.around_iteration else {}
        out_of = {_At.BETWEEN: (_At.PREFIX, _At.SUFFIX), _At.STEPS: (_At.HEAD, _At.TAIL)} if around else {}

        def outside(inner: _States) -> _States:
            return frozenset((place, armed) for at, armed in inner for place in out_of.get(at, (at,)))

        known = frozenset((around.get(at, at), armed) for at, armed in states)
        while True:
            after = self._block(unit, step.body, known, now)
            new = known | after.out | after.continued
            if new == known:
                break
            known = new
        ended = self._block(unit, step.orelse, outside(known), later)
        ended.out |= outside(after.broken)
        ended.returned |= outside(after.returned)
        return ended

    def _record(self, unit: UnitId, step: Record, states: _States, later: bool, now: bool) -> _Left:
        left = _Left()
        for state in states:
            inner = self._entered(unit, step, state)
            if inner is None:
                continue
            known = frozenset({inner})
            while True:
                after = self._block(unit, step.body, known, now)
                new = known if step.is_iteration or inner[0] is _At.HEAD else known | after.out | after.continued
                if new == known:
                    break
                known = new
            ends = after.out | after.broken | after.continued | known
            left.out |= self._left(step, state, inner, ends)
            left.returned |= self._left(step, state, inner, after.returned)
            if step.is_iteration:  # these jumps mean the loop around it
                left.broken |= self._left(step, state, inner, after.broken)
                left.continued |= self._left(step, state, inner, after.continued)
        ended = self._block(unit, step.orelse, left.out, later)
        ended.returned |= left.returned
        ended.broken |= left.broken
        ended.continued |= left.continued
        return ended

    def _entered(self, unit: UnitId, step: Record, state: _State) -> _State | None:
        """The state in which a recorded loop's body runs first; None: it cannot be reached so."""
        at, armed = state
        if at is _At.PREFIX or (at is _At.BETWEEN and step.is_iteration):
            if not armed:
                return _At.OUTSIDE, False
            self.mains[unit[0], step.line] = unit, step
            return _At.HEAD, True
        if at is _At.BETWEEN:
            return _At.UNKNOWN, True
        if at in (_At.HEAD, _At.STEPS):
            self.nested[unit[0], step.line] = unit, step
            return _At.INNER, True
        return state

    def _left(self, step: Record, entered: _State, inner: _State, ends: _States) -> _States:
        if not ends:
            return _NONE
        at = entered[0]
        if inner[0] is _At.HEAD:
            return frozenset({(_At.BETWEEN if at is _At.BETWEEN else _At.SUFFIX, True)})
        if at is _At.HEAD:
            return frozenset({(_At.TAIL, True)})
        if at is _At.STEPS:
            return frozenset({(_At.STEPS, True)})
        if at in (_At.PREFIX, _At.BETWEEN):
            return frozenset((at, armed) for _, armed in ends)
        return ends | {entered}

    def _try(self, unit: UnitId, step: Try, states: _States, later: bool) -> _Left:
        rest = (*step.handlers, step.orelse, step.final)
        body_later = later or any(self._enters(unit[0], each) for block in rest for each in block)
        body = self._block(unit, step.body, states, body_later)
        raised = states | body.out | body.returned | body.broken | body.continued
        if any(self._changes(unit[0], each) for each in step.body):
            raised |= frozenset(ended for state in states for ended in _after_raising(state))
        left = _Left()
        left.jumps(body)
        ways = [self._block(unit, step.orelse, body.out, later)]
        ways += [self._block(unit, handler, raised, later) for handler in step.handlers]
        for way in ways:
            left.out |= way.out
            left.jumps(way)
        if step.final:
            self._block(unit, step.final, raised | left.returned | left.broken | left.continued, body_later)
            after = self._block(unit, step.final, left.out, later)
            left.out = after.out
            left.jumps(after)
        return left

    def _changes(self, path: str, step: Step) -> bool:
        graph = self.graph
        return any(
            isinstance(each, Record)
            or (isinstance(each, Do) and (each.arms or any(u in graph.changing for u in graph.done_by(path, each))))
            for each in steps((step,))
        )


def _after_raising(state: _State) -> _States:
    """Where the program may be when an exception has left what entered recorded loops from this state."""
    at = state[0]
    found = {state, (at, True)}
    if at in (_At.PREFIX, _At.BETWEEN):
        found.add((_At.SUFFIX, True))
    if at in (_At.HEAD, _At.STEPS):
        found.add((_At.TAIL, True))
    return frozenset(found)
