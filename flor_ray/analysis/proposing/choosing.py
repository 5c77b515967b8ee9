"""Which loop is the main loop and which the nested one; or why that is not sure. Pure."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass

from flor_ray.analysis.nodes import walk
from flor_ray.analysis.proposing.codebase import Codebase
from flor_ray.analysis.proposing.training import LoopPlace, Training, own_nodes

_EPOCH = re.compile(r"(?:^|_)(?:n?_?epochs?|ep|e)(?:_?(?:idx|i|no|num))?$", re.IGNORECASE)
_ROUND = re.compile(r"epoch|^ep$|episode|update|iteration|^it$|generation|round|step", re.IGNORECASE)
_STEP = re.compile(r"step|iter|batch|idx|epoch|update|episode|^it$", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class ChosenLoop:
    """A loop, how sure it is, and why it is this one."""

    place: LoopPlace
    name: str  # that it is given
    confidence: float
    reason: str


class NoLoop(Exception):
    """Why no loop is chosen; `place` is one that might be."""

    def __init__(self, reason: str, place: LoopPlace | None = None) -> None:
        super().__init__(reason)
        self.reason, self.place = reason, place


def main_loop(code: Codebase, training: Training, line: int | None) -> ChosenLoop:
    """The main loop: the outermost one around what trains.

    Raises:
        NoLoop: none is surely that.
    """
    if line is not None:
        place = _at(code, training, line)
        _expect_recordable(place)
        return ChosenLoop(place, _name_of_main(place), 1.0, "you named its line")
    ours = [place for place in training.loops.values() if is_ours(code, place)]
    for stack in training.found:
        if (named := next((place for place in stack if place in ours), None)) is not None:
            return ChosenLoop(named, _name_of_main(named), 1.0, "it is one of ours already")
    if not training.found:
        return _by_name(training)
    outermost = list(dict.fromkeys(stack[0] for stack in training.found))
    if len(outermost) > 1:
        lines = " and ".join(_where(code, place) for place in outermost)
        raise NoLoop(
            f"several loops train one after another ({lines}), and a run has one main loop; say which it is "
            "with --main LINE",
            outermost[0],
        )
    place = outermost[0]
    stack = max((one for one in training.found if one[0] is place), key=len)
    _expect_one_training(code, training, stack)
    _expect_recordable(place)
    confidence, doubts = _confidence(training, stack)
    path, at, words = training.evidence[stack]
    where = f"line {at}" if path == code.script else f"{path}:{at}"
    reason = f"{words} runs in it ({where}), and no other loop is around it{doubts}"
    return ChosenLoop(place, _name_of_main(place), confidence, reason)


def nested_loop(code: Codebase, training: Training, main: ChosenLoop, line: int | None) -> ChosenLoop | None:
    """The nested loop: the outermost one in the main loop around what trains; None if the main loop itself steps.

    Raises:
        NoLoop: none is surely that.
    """
    if line is not None:
        place = _at(code, training, line)
        _expect_recordable(place)
        return ChosenLoop(place, _name_of_nested(place, main), 1.0, "you named its line")
    inner: dict[LoopPlace, tuple[LoopPlace, ...]] = {}
    for stack in training.found:
        if main.place in stack and (rest := stack[stack.index(main.place) + 1 :]):
            inner.setdefault(rest[0], stack)
    if not inner:
        if not training.found and any(isinstance(node, ast.For | ast.While) for node in own_nodes(main.place.node)):
            raise NoLoop("which of the loops in it trains could not be seen; name it with --nested LINE")
        return None
    if len(inner) > 1:
        lines = " and ".join(_where(code, place) for place in inner)
        raise NoLoop(
            f"several loops train in each epoch ({lines}); name the one whose passes are steps with --nested LINE",
            next(iter(inner)),
        )
    place, stack = next(iter(inner.items()))
    _expect_recordable(place)
    path, at, words = training.evidence[stack]
    where = f"line {at}" if path == code.script else f"{path}:{at}"
    deeper = "" if stack[-1] is place else "; loops in it are parts of a step"
    return ChosenLoop(
        place, _name_of_nested(place, main), min(main.confidence, 0.95), f"{words} runs in it ({where}){deeper}"
    )


def is_ours(code: Codebase, place: LoopPlace) -> bool:
    """Whether a loop is recorded already."""
    source = code.texts[place.routine.path].source
    if source.is_loop(place.node):
        return True
    return any(source.is_iteration(statement) for statement in place.node.body)


def _at(code: Codebase, training: Training, line: int) -> LoopPlace:
    here = [place for place in training.loops.values() if place.routine.path == code.script and place.line == line]
    if here:
        return here[0]
    lines = sorted(place.line for place in training.loops.values() if place.routine.path == code.script)
    known = ", ".join(map(str, lines)) or "none that runs"
    raise NoLoop(f"no loop begins in line {line} of {code.script}; loops begin in lines {known}")


def _where(code: Codebase, place: LoopPlace) -> str:
    return f"line {place.line}" if place.routine.path == code.script else f"{place.routine.path}:{place.line}"


def _expect_recordable(place: LoopPlace) -> None:
    if isinstance(place.node, ast.AsyncFor):
        raise NoLoop("it is an `async for`, which flor.loop cannot stand for", place)
    if any(isinstance(node, ast.Yield | ast.YieldFrom) for node in own_nodes(place.node)):
        raise NoLoop(
            "it yields: a part of its body is in the code that goes through this generator, where no checkpoint can "
            "see it. Have it call that code, or return instead",
            place,
        )


def _expect_one_training(code: Codebase, training: Training, stack: tuple[LoopPlace, ...]) -> None:
    place = stack[0]
    if place.node in training.makes_models:
        raise NoLoop(
            f"each round of it (`{place.label}`) makes a new model: these are several runs in one. Make "
            f"`{place.label}` an argument and run the script once for each value; or name the loop of one training "
            "with --main LINE (a replay then runs the script as a whole)",
            place,
        )
    epochs = [each for each in stack[1:-1] if _is_epochs(each)]
    if epochs and not _is_epochs(place) and not _has_work_of_its_own(stack):
        raise NoLoop(
            f"the epochs ({_where(code, epochs[0])}) run several times, once for each `{place.label}` "
            f"({_where(code, place)}); either may be the main loop. Choose with --main LINE: the outer one has "
            "checkpoints after each of its rounds, the inner one is replayed as a whole",
            place,
        )


def _has_work_of_its_own(stack: tuple[LoopPlace, ...]) -> bool:
    """Whether an outer loop does more than to begin the inner one again, such as collecting what is trained on."""
    outer, inner = stack[0].node, stack[1].node
    others = [node for node in own_nodes(outer) if isinstance(node, ast.For | ast.While) and node is not inner]
    inside = set(walk(inner))
    return any(node not in inside for node in others)


def _confidence(training: Training, stack: tuple[LoopPlace, ...]) -> tuple[float, str]:
    confidence, doubts = 0.95, ""
    if not _is_epochs(stack[0]):
        confidence -= 0.05 if len(stack) > 1 else 0.15
        doubts += "" if len(stack) > 1 else "; each of its passes is one step, and counts as an epoch"
    if not training.stacks:
        confidence -= 0.05
    if isinstance(stack[0].node, ast.While):
        confidence -= 0.05
    if not training.is_reached:
        confidence -= 0.15
        doubts += "; who calls its function could not be seen"
    return round(confidence, 2), doubts


def _is_epochs(place: LoopPlace) -> bool:
    """Whether a loop says of itself that its rounds are epochs."""
    if isinstance(place.node, ast.While):
        return False
    return bool(_EPOCH.search(place.label)) or "epoch" in ast.unparse(place.node.iter).lower()


def _by_name(training: Training) -> ChosenLoop:
    """Where no optimizer steps: the one outermost loop over epochs."""
    found = [place for place in training.loops.values() if not isinstance(place.node, ast.While) and _is_epochs(place)]
    if len(found) != 1:
        raise NoLoop(
            "no loop was seen in which something trains (optimizer.step(), loss.backward(), partial_fit(...))"
            if not found
            else "several loops are over epochs, and none was seen in which something trains"
        )
    _expect_recordable(found[0])
    reason = f"its variable is `{found[0].label}`; no optimizer was seen in it"
    return ChosenLoop(found[0], _name_of_main(found[0]), 0.7, reason)


def _name_of_main(place: LoopPlace) -> str:
    name = _first_name(place)
    return name if name and _ROUND.search(name) else "epoch"


def _name_of_nested(place: LoopPlace, main: ChosenLoop) -> str:
    name = _first_name(place)
    if not name or not _STEP.search(name):
        name = "step"
    return name if name != main.name else f"inner_{name}"


def _first_name(place: LoopPlace) -> str:
    if isinstance(place.node, ast.While):
        return ""
    target = place.node.target
    if isinstance(target, ast.Tuple) and target.elts:
        counts = isinstance(place.node.iter, ast.Call) and "enumerate" in ast.unparse(place.node.iter.func)
        target = target.elts[0] if counts else target
    return target.id if isinstance(target, ast.Name) else ""
