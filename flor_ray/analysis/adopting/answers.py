"""Which statements of an adopted version the states in its checkpoint files can answer. Pure: texts in, values out.

    for epoch in flor.loop("epoch", ...):
        train(net, loader)                       changes `net`, whose state is in the file
        preds = predict(net, test_loader)        chosen: the statement reads `preds`, and it reads only `net`
        history.append(loss)                     `loss` and `history` are what the epoch computes: in no file
        torch.save(net.state_dict(), ...)        where the state was saved: nothing may change it between here
        flor.log("recall", recall(preds))  # new     and what was chosen

Of an epoch nothing is run but what was chosen. It reads what was saved, what it makes itself, and what no epoch
changes; where it reads anything else, the statement is refused with the name of that.
"""

from __future__ import annotations

import ast
import builtins
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from flor_ray.analysis import dependence
from flor_ray.analysis.adopting.functions import ProjectCode, root_of, said_mode
from flor_ray.analysis.adopting.script import AdoptedScript, EpochsOf
from flor_ray.analysis.adopting.trainers import hook_places
from flor_ray.analysis.lending import read_all
from flor_ray.analysis.nodes import walk
from flor_ray.analysis.phases.phases import phases_of
from flor_ray.analysis.source import Source, Texts
from flor_ray.analysis.uses import Uses, targets
from flor_ray.records import Region

STEPS_WHY = (
    "it is logged in the steps of an epoch, which would have to be trained again with random states that nobody kept"
)
AFTER_WHY = (
    "it is logged after the main loop, which an adopted run cannot come to: log it at the end of an epoch, and look at "
    "the last one"
)


@dataclass(frozen=True, slots=True)
class AdoptedAnswers:
    """What becomes of the features that are carried into an adopted version."""

    needs: Mapping[str, frozenset[str]] = field(default_factory=dict)  # those that an epoch's end answers
    lines: frozenset[int] = frozenset()  # of the main loop's statements that do it: first lines
    refused: Mapping[str, str] = field(default_factory=dict)  # feature -> why
    regions: Mapping[str, Region] = field(default_factory=dict)  # where that is known better than by the script's loops


def answers(adopted: AdoptedScript, script: str, files: Texts, names: Sequence[str]) -> AdoptedAnswers:
    """Of the features `names`, whose statements are in `files`. What is logged before the main loop is in neither."""
    sources = read_all(files)
    if adopted.epochs_of is not EpochsOf.SCRIPT:
        places = hook_places(adopted.epochs_of, sources, script, names, adopted.held)
        return AdoptedAnswers(
            needs={name: frozenset() for name, place in places.items() if place.region is Region.TAIL},
            refused=_given({name: place.why for name, place in places.items()}),
            regions={name: place.region for name, place in places.items() if place.region is not None},
        )
    phases = phases_of(script, files)
    inside = [name for name in names if phases.logged(name).region is not Region.PREFIX]
    body = _Body.of(adopted, sources, script)
    needs: dict[str, frozenset[str]] = {}
    lines: set[int] = set()
    refused = {}
    for name in inside:
        if phases.logged(name).region is Region.SUFFIX:
            refused[name] = AFTER_WHY
            continue
        chosen, why = body.chosen_for(name) if body is not None else ([], "its main loop cannot be found")
        refused[name] = why
        if not why:
            needs[name] = frozenset()
            lines |= {body.statements[index].lineno for index in chosen} if body else set()
    regions = dict.fromkeys(needs, Region.TAIL)
    return AdoptedAnswers(needs, frozenset(lines), _given(refused), regions)


def _given(refused: Mapping[str, str]) -> dict[str, str]:
    return {name: why for name, why in refused.items() if why}


class _Body:
    """The body of an adopted version's main loop."""

    def __init__(self, adopted: AdoptedScript, project: ProjectCode, source: Source, loop: ast.For) -> None:
        self._adopted, self._project, self._source = adopted, project, source
        self.statements = loop.body
        self._targets = targets(loop.target)
        self._changes = [project.changed([s], trusts=any(source.calls_in(s, "log"))) for s in loop.body]
        self._trains = [project.trains([statement]) for statement in loop.body]
        harmless = {*adopted.unchanged, *self._targets}
        self._touched = frozenset().union(*self._changes) - harmless
        self._saved = self._index_of_save()

    @classmethod
    def of(cls, adopted: AdoptedScript, sources: Mapping[str, Source], script: str) -> _Body | None:
        source = sources.get(script)
        loops = [n for n in source.nodes if isinstance(n, ast.For) and source.is_loop(n)] if source else []
        return cls(adopted, ProjectCode.of(sources), source, loops[0]) if source and len(loops) == 1 else None

    def _index_of_save(self) -> int:
        """The statement that saves: statements that were added before it have moved it."""
        own = [i for i, s in enumerate(self.statements) if not any(self._source.calls_in(s, "log"))]
        return own[self._adopted.saved] if 0 <= self._adopted.saved < len(own) else len(self.statements)

    def chosen_for(self, name: str) -> tuple[list[int], str]:
        """The statements that answer a feature; or why none do."""
        logging, why = self._logging(name)
        if why or not logging:
            return [], why or "it is not logged in the main loop's own file, or nobody can tell where"
        chosen = self._with_what_they_need(logging)
        parts = [self.statements[index] for index in chosen]
        return chosen, self._why_not(chosen, parts, max(logging))

    def _logging(self, name: str) -> tuple[list[int], str]:
        """Which statements of the body log a feature, by themselves or in functions that they call."""
        found: list[int] = []
        for index, statement in enumerate(self.statements):
            direct = [c.node for c in self._source.calls_in(statement, "log") if c.name == name]
            if any(_is_repeated(statement, call, self._is_added(statement)) for call in direct):
                return [], STEPS_WHY
            if direct or self._comes_to(statement, name):
                found.append(index)
        return found, ""

    def _is_added(self, statement: ast.stmt) -> bool:
        """A loop that only logs was added with the statement."""
        return not self._project.trains([statement])

    def _comes_to(self, statement: ast.stmt, name: str) -> bool:
        calls = {
            call.node for s in self._project.sources.values() for call in s.calls if call.name == name
        }  # fmt: skip
        return not calls.isdisjoint(self._project.reached([statement]))

    def _with_what_they_need(self, logging: Sequence[int]) -> list[int]:
        """These statements, and those before them that make what they read and nobody has saved."""
        chosen = set(logging)
        needed = set(self._reads(self.statements[i] for i in logging))
        for index in range(max(logging) - 1, -1, -1):
            makes = self._changes[index] & needed - self._adopted.held - set(self._adopted.unchanged)
            if index in chosen or (makes and not self._trains[index]):
                chosen.add(index)
                needed -= _surely_bound(self.statements[index])
                needed |= self._reads([self.statements[index]])
        mode = self._mode_statement(min(chosen))
        return sorted(chosen | ({mode} if mode is not None else set()))

    def _mode_statement(self, first: int) -> int | None:
        """The statement right before that says whether the model trains, if it is the last word on that."""
        for index in range(first - 1, -1, -1):
            if self._says_mode(index):
                return index
            if self._project.mode_after([self.statements[index]]) is not None:
                return None
        return None

    def _says_mode(self, index: int) -> bool:
        statement = self.statements[index]
        return isinstance(statement, ast.Expr) and said_mode(statement.value) is not None

    def _reads(self, parts: Iterable[ast.AST]) -> set[str]:
        return set(self._project.reads(list(parts))) - self._targets

    def _why_not(self, chosen: Sequence[int], parts: Sequence[ast.stmt], last: int) -> str:
        if any(self._trains[index] for index in chosen):
            line = next(self.statements[i].lineno for i in chosen if self._trains[i])
            return f"{STEPS_WHY} (line {line})"
        if dependence.may_read_gradients(_words(self._project.reached(parts))):
            return "it reads gradients, which no checkpoint file holds"
        free, bound = set[str](), set[str]()
        for index in sorted(chosen):
            free |= self._reads([self.statements[index]]) - bound
            bound |= _surely_bound(self.statements[index])
        lacking = sorted((free & self._touched) - self._adopted.held - bound)
        if lacking:
            names = ", ".join(f"`{name}`" for name in lacking)
            them = "it" if len(lacking) == 1 else "them"
            return (
                f"it reads {names}, which the epochs themselves compute or change, and no checkpoint file holds. (If "
                f"no epoch changes {them}, adopt the run with --unchanged {lacking[0]}.)"
            )
        return self._why_changed(free & self._adopted.held, chosen, parts) or self._why_no_mode(chosen, parts, last)

    def _why_changed(self, held: Iterable[str], chosen: Sequence[int], parts: Sequence[ast.stmt]) -> str:
        """Whether what was saved is what there was where the statement stands."""
        where = [self._saved, *(index for index in chosen if not self._says_mode(index))]
        low, high = min(where), max(where)
        for index in range(low, min(high + 1, len(self.statements))):
            if index == self._saved and index not in chosen:
                continue
            for name in sorted(held):
                if name in self._changes[index] or self._trains[index]:
                    line = self.statements[index].lineno
                    return f"`{name}` is changed (line {line}) between the statement and where it was saved"
        for state in self._adopted.states:
            if "." in state.expression and state.root in held and not _only_through(state.expression, parts):
                return f"it reads `{state.root}`, of which the checkpoint files hold only `{state.expression}`"
        return ""

    def _why_no_mode(self, chosen: Sequence[int], parts: Sequence[ast.stmt], last: int) -> str:
        """Whether it matters if the model is in training mode, and nobody can tell."""
        reached = list(self._project.reached(parts))
        if any(said_mode(node) is not None for node in reached) or not self._runs_a_model(reached):
            return ""
        mode = self._project.mode_after(self.statements[:last])
        if mode is None:
            mode = self._project.mode_after(self.statements)
        if mode == "unknown" or (mode is not None and mode is not self._adopted.mode):
            return (
                "whether the model is in training mode there depends on what the epoch does: call `.eval()` or "
                "`.train()` in the statement"
            )
        return ""

    def _runs_a_model(self, reached: Iterable[ast.AST]) -> bool:
        known = {*self._project.functions, *self._project.classes, *self._project.modules}
        for node in reached:
            name = node.func if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) else None
            if name is not None and name.id not in known and not hasattr(builtins, name.id):
                return True
        return False


def _is_repeated(statement: ast.stmt, call: ast.AST, added: bool) -> bool:
    """Whether a call stands in a loop of the epoch's."""
    if added:
        return False
    loops = [n for n in walk(statement) if isinstance(n, ast.For | ast.While)]
    return any(call in walk(loop) for loop in loops)


def _surely_bound(statement: ast.stmt) -> set[str]:
    """Variables that a statement makes, whatever happens."""
    if isinstance(statement, ast.Assign | ast.AnnAssign | ast.Import | ast.ImportFrom | ast.FunctionDef | ast.ClassDef):
        uses = Uses()
        uses.visit(statement)
        return uses.bound
    if isinstance(statement, ast.With):
        return set().union(*map(_surely_bound, statement.body))
    return set()


def _words(nodes: Iterable[ast.AST]) -> frozenset[str]:
    return frozenset(
        n.id if isinstance(n, ast.Name) else n.attr for n in nodes if isinstance(n, ast.Name | ast.Attribute)
    )


def _only_through(expression: str, parts: Sequence[ast.AST]) -> bool:
    """Whether code reads a variable only in this attribute of it."""
    root = expression.partition(".")[0]
    inside = [n for part in parts for n in walk(part) if isinstance(n, ast.Attribute)]
    through = {
        name for node in inside if ast.unparse(node) == expression for name in walk(node) if isinstance(name, ast.Name)
    }
    names = [n for part in parts for n in walk(part) if isinstance(n, ast.Name) and n.id == root]
    return all(name in through for name in names) and bool(root_of(ast.Name(root, ast.Load())))
