"""A training script of parts, as choices say: what it holds, how its loops are written, what is asked in hindsight.

Pure: equal choices make equal scripts. Every number of a choice is taken modulo what there is to choose from, so that
any numbers make a script, and smaller numbers a simpler one.
"""

from __future__ import annotations

import json
import re
import string
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from trusting.cases import TrustCase
from trusting.parts import REGIONS, Part, preamble

_LAYOUTS = ("module", "function", "method", "sweep for", "sweep list", "sweep map", "sweep dict")
_EPOCHS = {  # how the main loop is written, `{e}` epochs
    "range": 'for epoch in flor.loop("epoch", range({e})):',
    "list": 'for epoch in flor.loop("epoch", list(range({e}))):',
    "generator": 'for epoch in flor.loop("epoch", (e for e in range({e}))):',
    "enumerate": 'for number, epoch in enumerate(flor.loop("epoch", range({e}))):',
    "zip": 'for epoch, letter in zip(flor.loop("epoch", range({e})), "abcdefgh"):',
    "wrapped": 'for epoch in progress(flor.loop("epoch", range({e}))):',
    "held": "for epoch in epochs:",
    "while": "while (epoch := next(epochs, None)) is not None:",
    "count": 'for epoch in flor.loop("epoch", itertools.count()):',
}
_HELD = ("held", "while")
_STEPS = {
    "range": 'for step in flor.loop("step", range(2)):',
    "more later": 'for step in flor.loop("step", range(1 + epoch % 3)):',
    "enumerate": 'for step, letter in enumerate(flor.loop("step", "abc")):',
    "loader": 'for step, batch in enumerate(flor.loop("step", torch.utils.data.DataLoader(X, 3, shuffle=True))):',
    "plain": "for step in range(2):",
}
_WRAPPED = """
def progress(iterable):
    for element in iterable:
        yield element

"""
_IGNORED = "*.pt\n*.npy\n*.csv\n*.json\n*.log\n*.db\n"
_SEEDS = ("torch.manual_seed(0)\nnp.random.seed(0)\nrandom.seed(0)\n", "torch.manual_seed(0)\n", "")
_PLACE = re.compile(r"^( *)#\? (.*)\n", re.MULTILINE)
_IN_EPOCH = ("head", "step", "tail")


@dataclass(frozen=True, slots=True)
class Statement:
    """A statement that logs. One that is recorded stands in the script from the start."""

    region: int
    after: int  # how many of the parts' blocks in the region stand before it
    expression: int
    form: int = 0  # alone, with a name in between, under a condition, with the epoch
    recorded: bool = False


@dataclass(frozen=True, slots=True)
class Choices:
    parts: tuple[int, ...]
    statements: tuple[Statement, ...]
    places: tuple[int, ...]  # which of the places within parts are used
    order: tuple[int, ...] = ()  # per part: before which others its lines stand
    layout: int = 0
    epochs: int = 0
    steps: int = 0
    length: int = 0  # epochs beyond three
    seeds: int = 0
    checkpointing: int = 0
    where: tuple[tuple[int, ...], ...] = ()  # epochs of each question before the last, which is for all
    ignores: bool = True  # the files that it writes are none of the repository's
    versions: int = 0  # beyond one


def composed(choices: Choices, table: Sequence[Part], name: str = "train") -> TrustCase:
    """The script, with its hindsight statements behind "#H "."""
    return _Script(choices, _chosen(choices, table)).case(name)


def _chosen(choices: Choices, table: Sequence[Part]) -> Sequence[Part]:
    chosen: list[Part] = []
    unkept = False
    for number in choices.parts:
        part = table[number % len(table)]
        if part.family == "unkept":
            if unkept:
                continue
            unkept = True
        chosen.append(part.lettered(string.ascii_lowercase[len(chosen)]))
    return chosen


class _Script:
    def __init__(self, choices: Choices, parts: Sequence[Part]) -> None:
        self._choices, self._parts = choices, parts
        self._names = {"recorded": 0, "hindsight": 0}  # how many were given
        self._layout = _LAYOUTS[choices.layout % len(_LAYOUTS)]
        self._epochs = tuple(_EPOCHS)[choices.epochs % len(_EPOCHS)]
        self._steps = tuple(_STEPS)[choices.steps % len(_STEPS)]
        self._length = 3 + choices.length % 4
        self._used = self._used_places()

    def case(self, name: str) -> TrustCase:
        files = {"train.py": self._text()}
        for part in self._parts:
            files |= part.files
        if self._choices.ignores:
            files[".gitignore"] = _IGNORED
        names = [f"hindsight{number}" for number in range(self._names["hindsight"])]
        where = [
            " or ".join(f"epoch == {1 + e % self._length}" for e in asked) for asked in self._choices.where if asked
        ]
        commands = (("train.py",),) * (1 + self._choices.versions % 2)
        return TrustCase(name, files, tuple(names), commands, (*where, None), ".", False)

    def _text(self) -> str:
        top = [self._block(i, "top") for i, part in enumerate(self._parts) if "top" in part.code]
        if self._epochs == "count":
            top.insert(0, "import itertools\n")
        if self._epochs == "wrapped":
            top.append(_WRAPPED)
        return preamble() + "\n" + _SEEDS[self._choices.seeds % len(_SEEDS)] + "".join(top) + "\n" + self._laid_out()

    def _laid_out(self) -> str:
        body, call = self._body(), ""
        if self._layout == "module":
            return body
        if self._layout == "function":
            return f"\ndef main():\n{_indented(body)}\n\nmain()\n"
        if self._layout == "method":
            return f"\nclass Run:\n    def main(self):\n{_indented(body, 2)}\n\nRun().main()\n"
        call = {
            "sweep for": "for seed in (1, 2):\n    main(seed)\n",
            "sweep list": "results = [main(seed) for seed in (1, 2)]\n",
            "sweep map": "results = list(map(main, (1, 2)))\n",
            "sweep dict": "results = {seed: main(seed) for seed in (1, 2)}\n",
        }[self._layout]
        return f"\ndef main(seed):\n    torch.manual_seed(seed)\n{_indented(body)}    return seed\n\n\n{call}"

    def _body(self) -> str:
        epochs = _EPOCHS[self._epochs].format(e=self._length)
        head, step, tail = (self._region(region) for region in _IN_EPOCH)
        epoch = f"{head}{_STEPS[self._steps]}\n{_indented(step)}{tail}"
        if self._epochs == "count":
            epoch += f"if epoch >= {self._length - 1}:\n    break\n"
        loop = f"{epochs}\n{_indented(epoch)}"
        held = f'epochs = flor.loop("epoch", range({self._length}))\n' if self._epochs in _HELD else ""
        return self._region("setup") + held + self._checkpointed(loop) + self._region("after")

    def _checkpointed(self, loop: str) -> str:
        listed = [f"{name}={name}" for part in self._parts for name in part.listed]
        every = ", ".join(listed)
        few = ", ".join([*listed, "overhead=1e-9"])
        return (
            f"with flor.checkpointing({every}):\n{_indented(loop)}",
            f"flor.checkpointing({every})\n{loop}",
            f"with flor.checkpointing({few}):\n{_indented(loop)}",
            f"flor.checkpointing()\n{loop}",
            loop,
        )[self._choices.checkpointing % 5]

    def _region(self, region: str) -> str:
        """The parts' blocks in an order of their own, and statements between them."""
        ranks = self._choices.order or (0,)
        order = sorted(range(len(self._parts)), key=lambda i: ranks[i % len(ranks)] if region in _IN_EPOCH else 0)
        blocks = [i for i in order if region in self._parts[i].code]
        lines = []
        for place in range(len(blocks) + 1):
            if place > 0:
                lines.append(self._block(blocks[place - 1], region))
            for statement in self._choices.statements:
                here = REGIONS[statement.region % len(REGIONS)] == region
                if here and statement.after % (len(blocks) + 1) == place:
                    lines.append(self._line(statement, region, set(blocks[:place])))
        if region == "step" and not blocks:
            lines.append("pass\n")
        return "".join(lines)

    def _block(self, i: int, section: str) -> str:
        """A part's lines, with a statement in each place that is used."""

        def placed(match: re.Match[str]) -> str:
            if (i, section, match.start()) not in self._used:
                return ""
            return self._log(match[2], Statement(0, 0, 0), "", match[1])

        return _PLACE.sub(placed, self._parts[i].code[section])

    def _line(self, statement: Statement, region: str, run: set[int]) -> str:
        """`run`: the parts whose block in this region stands before the statement."""
        can = [text for i, part in enumerate(self._parts) for text in _visible(part, region, i in run)]
        can.append("epoch" if region in _IN_EPOCH else "float(X.sum())")
        return self._log(can[statement.expression % len(can)], statement, region)

    def _log(self, expression: str, statement: Statement, region: str, indent: str = "") -> str:
        kind = "recorded" if statement.recorded else "hindsight"
        name = f"{kind}{self._names[kind]}"
        self._names[kind] += 1
        epoch = "epoch" if region in _IN_EPOCH else "0"
        plain = f'flor.log("{name}", {expression})'
        lines = (
            [plain],
            [f"noted_{name} = {expression}", f'flor.log("{name}", noted_{name})'],
            [f"if {epoch} % 2 == 0:", f"    {plain}"],
            [f'flor.log("{name}", [{expression}, {epoch}])'],
        )[statement.form % 4]
        mark = "" if statement.recorded else "#H "
        return "".join(f"{mark}{indent}{line}\n" for line in lines)

    def _used_places(self) -> set[tuple[int, str, int]]:
        found = [
            (i, section, match.start())
            for i, part in enumerate(self._parts)
            for section, text in part.code.items()
            for match in _PLACE.finditer(text)
        ]
        return {found[place % len(found)] for place in self._choices.places} if found else set()


def _visible(part: Part, region: str, has_run: bool) -> tuple[str, ...]:
    """What may be logged of a part. `has_run`: its lines of this region stand before."""
    seen = part.seen if region != "setup" or has_run or "setup" not in part.code else ()
    last = max((where for where in _IN_EPOCH if where in part.code), key=REGIONS.index, default="head")
    bound = REGIONS.index(region) > REGIONS.index(last) or (region == last and has_run)
    return seen + (part.seen_in_step if bound else ())


def _indented(text: str, times: int = 1) -> str:
    """Hindsight lines keep their mark at the line's start."""
    lines = []
    for line in text.splitlines():
        mark = "#H " if line.startswith("#H ") else ""
        rest = line.removeprefix("#H ")
        lines.append(f"{mark}{textwrap.indent(rest, '    ' * times)}\n")
    return "".join(lines)


def folder_of(case: TrustCase) -> Mapping[str, str]:
    """The files of the folder in tests/cases/trust that would be this case."""
    conditions = {"where": case.where, "commands": [f"PY {' '.join(words)}" for words in case.commands]}
    return {**case.marked, "conditions.json": json.dumps(conditions) + "\n"}
