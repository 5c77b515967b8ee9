"""Drawn programs: whatever a main loop carries from epoch to epoch, a replay from every checkpoint shows it again.

Hypothesis draws which variables a script has, where its loop stands (module, function, method), and which statements
change them in which epochs: in place, by rebinding, through aliases, closures and helpers. The script logs what all of
it looks like, with the references that its objects share; `doubled` logs the same again under other names, and every
checkpoint must lead to the recorded values in all later epochs, with the nested loop's steps and with its exit state.

Each example records and replays inside this process (tests.e2e.state_lab). To run many, with other seeds each time:

    FLOR_RAY_EXAMPLES=1000 python -m pytest tests/state/test_loop_state.py --timeout 3600
"""

from __future__ import annotations

import os
import tempfile
import textwrap
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, note, settings
from hypothesis import strategies as st

from flor_ray.records import Operator, Point, Segment, Variant
from tests.e2e.state_lab import VERSION, Key, Run, StateLab, doubled, values_of

_MANY = os.environ.get("FLOR_RAY_EXAMPLES")
EPOCHS = 4

PRELUDE = '''
import collections
import dataclasses
import random

import numpy as np
import torch

import flor_ray as flor


@dataclasses.dataclass
class Meter:
    best: float = 0.0
    seen: list = dataclasses.field(default_factory=list)
    child: object = None


@dataclasses.dataclass(frozen=True)
class Frozen:
    count: int
    inside: list


@dataclasses.dataclass(slots=True)
class Slotted:
    total: int = 0
    last: object = None


class Shared:
    registry = []
    calls = 0


def counter():
    n, history = 0, []

    def bump(by):
        nonlocal n, history
        n += by
        history = [*history[-2:], n]
        return n, history

    return bump


def remember(value):
    remember.calls += 1
    Shared.registry.append(value)
    del Shared.registry[:-3]


remember.calls = 0
total = 0


def add_up(value):
    global total
    total += value


def show(*values):
    """What values look like; an object that was seen before is shown by its number: shared references matter."""
    seen, kept = {}, []

    def of(value):
        if value is None or isinstance(value, bool | int | str | bytes):
            return repr(value)
        if isinstance(value, float):
            return value.hex()
        if isinstance(value, tuple):
            return "(" + ",".join(map(of, value)) + ")"
        if isinstance(value, frozenset):
            return f"frozenset{sorted(map(of, value))}"
        if isinstance(value, Frozen):
            return f"Frozen({value.count},{of(value.inside)})"
        if isinstance(value, np.generic):
            return f"{value.dtype}:{value!r}"
        if id(value) in seen:
            return f"#{seen[id(value)]}"
        number = seen[id(value)] = len(seen)
        kept.append(value)
        return f"{type(value).__name__}#{number}" + inside(value)

    def inside(value):
        if isinstance(value, list | collections.deque):
            return "[" + ",".join(map(of, value)) + "]"
        if isinstance(value, dict):
            return "{" + ",".join(f"{of(key)}:{of(item)}" for key, item in value.items()) + "}"
        if isinstance(value, set):
            return f"{sorted(map(of, value))}"
        if isinstance(value, bytearray):
            return repr(bytes(value))
        if isinstance(value, torch.Tensor):
            return f"{value.dtype}{tuple(value.shape)}{value.requires_grad}{value.tolist()!r}"
        if isinstance(value, np.ndarray):
            return f"{value.dtype}{value.shape}{value.tolist()!r}"
        if isinstance(value, Meter):
            return "(" + ",".join(map(of, (value.best, value.seen, value.child))) + ")"
        if isinstance(value, Slotted):
            return "(" + ",".join(map(of, (value.total, value.last))) + ")"
        if isinstance(value, random.Random):
            return f"{hash(value.getstate())}"
        if isinstance(value, np.random.Generator):
            return f"{value.bit_generator.state['state']}"
        if callable(value):
            return "(" + ",".join(of(cell.cell_contents) for cell in value.__closure__) + ")"
        raise TypeError(type(value))

    return "; ".join(map(of, values))
'''

# What a variable begins as, and what may be done to it: {v} is its name, {o} that of any variable.
KINDS: dict[str, tuple[list[str], list[str]]] = {
    "integer": (["0", "2**70"], ["{v} += epoch", "{v} = {v} * 3 % 1001", "{v} -= int(10 * random.random())"]),
    "number": (
        ["0.5", "float('inf')", "-0.0"],
        ["{v} = {v} * 0.5 + random.random()", "{v} = max({v}, torch.rand(()).item())", "{v} = float(epoch)"],
    ),
    "text": (["''", "'ü'"], ["{v} += chr(97 + epoch)", "{v} = {v}[::-1][:9]", "{v} = f'{{epoch}}{{ {v}[:3] }}'"]),
    "flag": (["None", "True"], ["{v} = not {v}", "{v} = None if {v} else epoch", "{v} = (epoch, {v})[:1]"]),
    "items": (
        ["[]", "[1, [2], 3]", "[[]] * 2"],
        [
            "{v}.append(epoch)", "{v}.insert(0, random.random())", "{v} = {v}[-3:] + [epoch]", "{v}.reverse()",
            "{v}[:] = {v}[1:]", "{v} += [epoch, [epoch]]", "del {v}[:2]", "{v}.append({o}); del {v}[:-4]",
            "{v}.extend([[epoch]] * 2)", "{v} = list({v})",
        ],
    ),
    "table": (
        ["{{}}", "{{'a': [1], 'b': {{'c': []}}}}", "collections.defaultdict(list)", "collections.OrderedDict(x=1)"],
        [
            "{v}[epoch] = random.random()", "{v}.setdefault('k', []).append(epoch)", "{v} = {{**{v}, 'n': epoch}}",
            "{v}.pop(next(iter({v})), None) if {v} else None", "{v}.update(last={o})", "{v}['a'] = {v}.pop('a', 0)",
            "{v}.get('b', {{}}).get('c', []).append(epoch) if isinstance({v}.get('b'), dict) else None",
        ],
    ),
    "group": (
        ["set()", "{{1, 'a', (2, 3)}}"],
        ["{v}.add(epoch)", "{v}.discard(1)", "{v} |= {{(epoch, 'x')}}", "{v} = {v} ^ {{2, 3}}", "{v}.clear()"],
    ),
    "row": (
        ["([], 1)", "([1], [2])"],
        ["{v}[0].append(epoch)", "{v} = ({v}[0], epoch)", "{v} = ([*{v}[0]][-2:], {v}[1])", "{v} = ({v}[0], {v}[0])"],
    ),
    "queue": (
        ["collections.deque(maxlen=3)", "collections.deque([[1], 2])"],
        ["{v}.append(epoch)", "{v}.appendleft([epoch])", "{v}.rotate()", "{v}.append({o})"],
    ),
    "tally": (["collections.Counter()"], ["{v}.update('abc'[epoch % 3])", "{v}[epoch] += 2", "{v} = {v} + {v}"]),
    "bytes_": (["bytearray(b'ab')"], ["{v}.append(65 + epoch)", "{v}[0] = epoch", "{v} = {v}[::-1]"]),
    "tensor": (
        ["torch.zeros(3)", "torch.arange(4)", "torch.ones(2, 2, dtype=torch.float64)", "torch.tensor([1 + 2j])"],
        [
            "{v}.add_(epoch)", "{v} = {v} * 2", "{v}[0] = epoch", "{v}.mul_(torch.randint(1, 4, ()))",
            "{v} = {v}.clone()", "{v}.data = {v}.data + 1", "{v} = torch.cat([{v}, {v}[:1]])[-4:]",
        ],
    ),
    "weight": (
        ["torch.ones(3, requires_grad=True)", "torch.nn.Parameter(torch.zeros(2))"],
        ["{v}.data.add_(torch.rand({v}.shape))", "{v}.data[0] = epoch", "{v} = ({v}.detach() * 2).requires_grad_()"],
    ),
    "tensors": (
        ["[torch.zeros(2), torch.ones(2)]", "[torch.zeros(2)] * 2"],
        ["{v}[0].add_(1)", "{v}[0] = {v}[1]", "{v}[1] = {v}[1] + torch.rand(2)", "{v}.append({v}.pop(0))"],
    ),
    "array": (
        ["np.zeros(3)", "np.arange(4)", "np.ones((2, 2), np.float32)", "np.array(['a', None], dtype=object)[:0]"],
        ["{v}[:1] = epoch", "{v} = {v} + 1", "{v} += 1", "{v} = np.append({v}, epoch)[-4:]", "{v} = {v}.copy()"],
    ),
    "meter": (
        ["Meter()", "Meter(seen=[[1]])"],
        [
            "{v}.best += random.random()", "{v}.seen.append(epoch)", "{v}.seen = {v}.seen[-2:]", "{v}.child = {o}",
            "{v}.child = Meter({v}.best)", "{v} = dataclasses.replace({v})", "{v}.extra = epoch",
        ],
    ),
    "frozen": (["Frozen(0, [])"], ["{v}.inside.append(epoch)", "{v} = dataclasses.replace({v}, count=epoch)"]),
    "slotted": (["Slotted()"], ["{v}.total += epoch", "{v}.last = [epoch, {v}.last][:1]", "{v} = Slotted({v}.total)"]),
    "bump": (["counter()"], ["{v}(epoch)", "{v}(1)", "{v} = counter()"]),
    "chance": (["random.Random(3)", "np.random.default_rng(3)"], ["{v}.random()", "{v}.random(); {v}.random()"]),
}  # fmt: skip
ANYWHERE = ["add_up(epoch)", "remember({o})", "Shared.calls += 1", "{v}, {w} = {w}, {v}", "{w} = {v}"]
PLACES = ("head", "inner", "tail", "after")  # before the nested loop, in it, after it, behind the epoch's log


@dataclass(frozen=True)
class Program:
    variables: tuple[tuple[str, str], ...]  # name, what it begins as
    statements: tuple[tuple[str, str, int], ...]  # place, statement, only in epochs from here on
    scope: str  # module, function, method
    nested: bool

    @property
    def may_hold_local_functions(self) -> bool:
        """Functions made by a function, which can be kept only as long as they are not replaced by others."""
        return any("counter()" in value for _, value in self.variables)

    @property
    def text(self) -> str:
        names = [name for name, _ in self.variables]
        shown = f"show({', '.join(names)}, total, Shared.registry, Shared.calls, remember.calls)"
        first = [f"{name} = {value}" for name, value in (*self.variables, ("total_here", "0"))]
        # A generator that is replaced in a closure is a known defect; tests/e2e/test_traps.py has it.
        resettable = next((v for v in self.variables if not v[0].startswith("chance")), ("total_here", "0"))
        if self.scope == "function":  # a function inside the function that changes a variable of the loop
            first += ["def reset():", f"    nonlocal {resettable[0]}", f"    {resettable[0]} = {resettable[1]}"]
        lines = [*first, "flor.checkpointing()", f"for epoch in flor.loop('epoch', range({EPOCHS})):"]
        lines += self._at("head")
        if self.nested:
            lines += ["    for step in flor.loop('step', range(2)):", "        pass"]
            lines += [f"    {line}" for line in self._at("inner")]
            lines += [f'        flor.log("inner", {shown})']
        lines += self._at("tail")
        if self.scope == "function":
            lines += ["    if epoch == 2:", "        reset()"]
        lines += [f'    flor.log("state", {shown})', *self._at("after")]
        body = "\n".join(lines)
        if self.scope == "function":
            return f"{PRELUDE}\ndef main():\n{textwrap.indent(body, '    ')}\n\nmain()\n"
        if self.scope == "method":
            method = textwrap.indent(f"def fit(self):\n{textwrap.indent(body, '    ')}", "    ")
            return f"{PRELUDE}\nclass Trainer:\n{method}\n\nTrainer().fit()\n"
        return f"{PRELUDE}\n{body}\n"

    def _at(self, place: str) -> list[str]:
        found = []
        for where, statement, since in self.statements:
            if where == place:
                found.append(f"    if epoch >= {since}:\n        {statement}" if since else f"    {statement}")
        return "\n".join(found).splitlines()


@st.composite
def programs(draw: st.DrawFn) -> Program:
    kinds = draw(st.lists(st.sampled_from(sorted(KINDS)), min_size=1, max_size=5))
    names = [f"{kind}{number}" for number, kind in enumerate(kinds)]
    variables = [
        (name, draw(st.sampled_from(KINDS[kind][0])).format()) for name, kind in zip(names, kinds, strict=True)
    ]
    nested = draw(st.booleans())
    statements = []
    for _ in range(draw(st.integers(1, 8))):
        number = draw(st.integers(0, len(names) - 1))
        statement = draw(st.sampled_from(KINDS[kinds[number]][1] + ANYWHERE))
        # Names change hands only among variables of one kind, else the other statements would not fit any more.
        same = [name for name, kind in zip(names, kinds, strict=True) if kind == kinds[number]]
        filled = statement.format(v=names[number], w=draw(st.sampled_from(same)), o=draw(st.sampled_from(names)))
        place = draw(st.sampled_from(PLACES if nested else tuple(p for p in PLACES if p != "inner")))
        statements.append((place, filled, draw(st.sampled_from((0, 0, 1, 2)))))
    scope = draw(st.sampled_from(("module", "function", "method")))
    return Program(tuple(variables), tuple(statements), scope, nested)


@pytest.mark.timeout(300)
@pytest.mark.filterwarnings("ignore")
@settings(
    max_examples=int(_MANY) if _MANY else 25,
    derandomize=not _MANY,
    database=None,
    deadline=None,
    print_blob=False,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.generate, Phase.shrink],
)
@given(program=programs())
def test_a_replay_from_every_checkpoint_shows_the_state_that_was(program: Program) -> None:
    with tempfile.TemporaryDirectory() as folder:
        lab = StateLab(Path(folder))
        body = program.text.removeprefix(PRELUDE)
        note(body)
        run = lab.record(program.text)
        newest, names = doubled(program.text)
        recorded: dict[Key, object] = {key: value for name in names for key, value in run.values(name).items()}
        ends = [c for c in run.checkpoints if c.point is Point.EPOCH_END]
        assert [c.epoch for c in ends] == list(range(EPOCHS + 1))
        assert program.may_hold_local_functions or not any(c.uncaptured for c in ends)
        exits = {c.epoch for c in run.checkpoints if c.point is Point.NESTED_EXIT and not c.uncaptured}
        for restored in [c.epoch for c in ends[:-1] if not c.uncaptured]:  # from the others nobody starts
            segment = Segment(
                VERSION, restored + 1, EPOCHS, Operator.DP_I, Variant.INNER, restored, False,
                tuple(f"again_{name}" for name in names),
            )  # fmt: skip
            _check(lab, run, newest, recorded, segment)
            if exits >= set(range(restored + 1, EPOCHS + 1)):
                _check(lab, run, newest, recorded, replace(segment, variant=Variant.OUTER, names=("again_state",)))


def _check(lab: StateLab, run: Run, newest: str, recorded: dict[Key, object], segment: Segment) -> None:
    """The segment gives the recorded values of its epochs."""
    records = lab.replay(run, newest, [segment])
    found = values_of([record for record in records if record.name in segment.names], lab.objects)
    wanted = {k: v for k, v in recorded.items() if (k[0] or 0) >= segment.first and f"again_{k[2]}" in segment.names}
    assert wanted
    assert found == wanted, segment
