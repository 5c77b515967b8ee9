"""A script's files in, the calls that it lacks out: each phase looks at what the ones before it have found. Pure."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from flor_ray.analysis.loops import LoopNames, iteration_names, loop_names
from flor_ray.analysis.proposing import hyperparameters
from flor_ray.analysis.proposing.choosing import ChosenLoop, NoLoop, is_ours, main_loop, nested_loop
from flor_ray.analysis.proposing.codebase import Codebase
from flor_ray.analysis.proposing.held_state import keyword_of, parts_at
from flor_ray.analysis.proposing.parts import TrainingParts
from flor_ray.analysis.proposing.proposals import (
    NotProposed,
    OurNames,
    Proposal,
    Proposed,
    ProposedCall,
    last_of_imports,
)
from flor_ray.analysis.proposing.script_text import CannotPropose, ScriptText, TextInsertion, first_line
from flor_ray.analysis.proposing.training import LoopPlace, Training, training_of
from flor_ray.analysis.proposing.unwrapping import differs_by_our_calls_only


def propose(files: Mapping[str, bytes], script: str, main: int | None = None, nested: int | None = None) -> Proposed:
    """The calls that a script lacks.

    Args:
        files: the script and the user's own modules that it imports, by path.
        script: the path of the one that is run.
        main, nested: lines of the script at which the user says that these loops begin.
    """
    texts: dict[str, ScriptText] = {}
    for path, data in sorted(files.items()):
        try:
            texts[path] = ScriptText(data)
        except CannotPropose as error:
            if path == script:
                return Proposed(script, refused=(NotProposed(ProposedCall.MAIN, path, None, str(error)),))
    search = _Proposing(Codebase(texts, script))
    search.loops(main, nested)
    search.arguments()
    search.imports()
    return search.result()


@dataclass(slots=True)
class _Proposing:
    code: Codebase
    proposals: list[Proposal] = field(default_factory=list)
    refused: list[NotProposed] = field(default_factory=list)
    present: list[str] = field(default_factory=list)
    main: ChosenLoop | None = None
    names: OurNames = field(init=False)
    parts: TrainingParts = field(init=False)
    training: Training = field(init=False)

    def __post_init__(self) -> None:
        self.names, self.parts = OurNames(self.code), TrainingParts(self.code)
        self.training = training_of(self.code, self.parts)

    # --- loops and state ----------------------------------------------------------------------------------------------

    def loops(self, main: int | None, nested: int | None) -> None:
        if self.training.trainers and not self.training.found and main is None:
            self._trainer()
            return
        try:
            self.main = main_loop(self.code, self.training, main)
            names = self._record(ProposedCall.MAIN, self.main)
        except NoLoop as error:
            place = error.place
            path, line = (place.routine.path, place.line) if place is not None else (self.code.script, None)
            self.refused.append(NotProposed(ProposedCall.MAIN, path, line, error.reason))
            self.main = None
            return
        self._nested(nested)
        self._state(names)

    def _nested(self, line: int | None) -> None:
        assert self.main is not None
        try:
            found = nested_loop(self.code, self.training, self.main, line)
            if found is not None:
                self._record(ProposedCall.NESTED, found)
        except NoLoop as error:
            place = error.place or self.main.place
            self.refused.append(NotProposed(ProposedCall.NESTED, place.routine.path, place.line, error.reason))

    def _record(self, what: ProposedCall, chosen: ChosenLoop) -> LoopNames | None:
        """Propose that a loop be recorded; what it carries, if it is not yet.

        Raises:
            NoLoop: its text cannot be changed, or what it carries could not be told.
        """
        place, text = chosen.place, self.code.texts[chosen.place.routine.path]
        if is_ours(self.code, place):
            self.present.append(what)
            return None
        try:
            call, insertions = self._call_of(place, chosen.name)
            changed = text.apply(insertions)
        except CannotPropose as error:
            raise NoLoop(str(error), place) from None
        at = first_line(place.node.body[0]) if isinstance(place.node, ast.While) else place.line
        names = (iteration_names if isinstance(place.node, ast.While) else loop_names)(changed, at)
        if names.unknown and not text.has_magics:
            raise NoLoop(f"what it carries from one round to the next cannot be told: {names.unknown}", place)
        path = place.routine.path
        self.proposals.append(
            Proposal(what, path, place.line, call, chosen.confidence, chosen.reason, tuple(insertions))
        )
        return names

    def _call_of(self, place: LoopPlace, name: str) -> tuple[str, list[TextInsertion]]:
        text, node = self.code.texts[place.routine.path], place.node
        ours = self.names.ours(place.routine.path)
        if not isinstance(node, ast.While):
            before, after = text.around(node.iter, f'{ours}.loop("{name}", ', ")")
            target = _one_line(text.written(node.target))
            iterated = _one_line(f"{before.text}{text.written(node.iter)}{after.text}")
            return f"for {target} in {iterated}", [before, after]
        call = f'with {ours}.iteration("{name}"):'
        return call, _indented_below(text, node, call)

    def _state(self, names: LoopNames | None) -> None:
        assert self.main is not None
        place = self.main.place
        path = place.routine.path
        if any(c.function == "checkpointing" for text in self.code.texts.values() for c in text.source.calls):
            self.present.append(ProposedCall.STATE)
            return
        held, unsure = parts_at(self.code, self.parts, place)
        given: dict[str, str] = {}
        for part in held:
            given.setdefault(keyword_of(part), part.name)
        words = ", ".join(f"{keyword}={name}" for keyword, name in given.items())
        call = f"{self.names.ours(path)}.checkpointing({words})"
        carried = sorted(names.carried) if names is not None else []
        reason = "; ".join(f"{part.name}: {part.kind} ({part.why})" for part in held)
        if not held:
            kept = f" ({', '.join(carried)})" if carried else ""
            reason = f"no model or optimizer was seen; kept are random states and what the loop carries{kept}"
        confidence = 0.95 if held and all(part.is_made for part in held) else 0.8 if held else 0.7
        try:
            insertion = self.code.texts[path].line_before(place.node, call, order=-1)
        except CannotPropose as error:
            self.refused.append(NotProposed(ProposedCall.STATE, path, place.line, str(error)))
            return
        self.proposals.append(Proposal(ProposedCall.STATE, path, place.line, call, confidence, reason, (insertion,)))
        for part, why in unsure:
            self.refused.append(
                NotProposed(ProposedCall.STATE, path, place.line, f"{why}; give it {part.name} where it does")
            )

    def _trainer(self) -> None:
        routine, call = self.training.trainers[0]
        started = f"{ast.unparse(call.func)}() in line {call.lineno}"
        reason = f"{started} runs a Trainer, which tells of its epochs and steps"
        self._autolog(ProposedCall.TRAINER, reason, 0.95, routine.path, call.lineno)

    # --- arguments ----------------------------------------------------------------------------------------------------

    def arguments(self) -> None:
        script = self.code.script
        routines = [self.code.top]
        if self.main is not None:
            routines += [each for each in self.training.ways.get(self.main.place, ()) if each not in routines]
        else:
            routines += [each for each in dict.fromkeys(r for r, _ in self.training.calls) if each not in routines]
        self._parsed()
        configured = list(hyperparameters.configurations(self.code, routines))
        configured += hyperparameters.started_with_options(self.code, self.training.calls)
        for found in configured:
            if found.routine.path == script or found.after is not None:
                self._configuration(found)
        here = [each for each in routines if each.path == script]
        before = self.main.place.line if self.main is not None and self.main.place.routine is here[-1] else 10**9
        for constant in hyperparameters.constants(self.code, here, before):
            text, ours = self.code.texts[script], self.names.ours(script)
            insertions = text.around(constant.value, f'{ours}.arg("{constant.name}", ', ")")
            call = f'{constant.name} = {ours}.arg("{constant.name}", {_one_line(text.written(constant.value))})'
            reason = "a constant that is set once and has a hyper-parameter's name"
            self.proposals.append(
                Proposal(ProposedCall.ARGUMENTS, script, constant.value.lineno, call, 0.9, reason, insertions)
            )

    def _parsed(self) -> None:
        found = hyperparameters.parses_arguments(self.code, self.training.calls)
        if found is None:
            return
        routine, call = found
        if isinstance(routine.node, ast.Module) and routine.path != self.code.script:
            reason = (
                f"{routine.path} reads the command line while it is imported; call flor.autolog() before that import"
            )
            self.refused.append(NotProposed(ProposedCall.ARGUMENTS, routine.path, call.lineno, reason))
            return
        reason = f"it records what {ast.unparse(call.func)}() reads in line {call.lineno}"
        self._autolog(ProposedCall.ARGUMENTS, reason, 0.95, routine.path, call.lineno)

    def _autolog(self, what: ProposedCall, reason: str, confidence: float, path: str, line: int) -> None:
        """Propose `flor.autolog()` below the imports of the script, once."""
        script = self.code.script
        text = self.code.texts[script]
        call = f"{self.names.ours(script)}.autolog()"
        if any(c.function == "autolog" and not c.node.args for t in self.code.texts.values() for c in t.source.calls):
            self.present.append(what)
            return
        earlier = next((each for each in self.proposals if each.call == call), None)
        if earlier is not None:
            self.proposals.remove(earlier)
            self.proposals.append(replace(earlier, reason=f"{earlier.reason}; {reason}"))
            return
        at = _below_imports(text)
        insertion = text.line_below(at, call, order=-5)
        self.proposals.append(Proposal(what, script, at + 1, call, confidence, reason, (insertion,)))

    def _configuration(self, found: hyperparameters.Configuration) -> None:
        path, text = found.routine.path, self.code.texts[found.routine.path]
        call = f"{self.names.ours(path)}.autolog({found.given})"
        recorded = {ast.unparse(a) for c in text.source.calls if c.function == "autolog" for a in c.node.args}
        if found.given.replace('"', "'") in {each.replace('"', "'") for each in recorded}:
            self.present.append(ProposedCall.ARGUMENTS)
            return
        try:
            if found.after is not None:
                insertion, line = text.line_after(found.after, call), found.after.end_lineno or found.after.lineno
            else:
                body = [each for each in found.routine.node.body if not _is_docstring(each)]
                insertion, line = text.line_before(body[0], call, order=-2), body[0].lineno
        except (CannotPropose, IndexError) as error:
            self.refused.append(
                NotProposed(ProposedCall.ARGUMENTS, path, found.routine.node.body[0].lineno, str(error))
            )
            return
        self.proposals.append(Proposal(ProposedCall.ARGUMENTS, path, line, call, 0.85, found.why, (insertion,)))

    # --- the rest -----------------------------------------------------------------------------------------------------

    def imports(self) -> None:
        for path in sorted({each.path for each in self.proposals}):
            written = self.names.import_of(path)
            if written:
                text = self.code.texts[path]
                at = _below_imports(text)
                insertion = text.line_below(at, written, order=-10)
                reason = "the calls need it" if written.endswith("as flor") else "`flor` is something else in this file"
                self.proposals.append(Proposal(ProposedCall.IMPORT, path, at + 1, written, 1.0, reason, (insertion,)))

    def result(self) -> Proposed:
        edited: dict[str, bytes] = {}
        kept = self.proposals
        for path in sorted({each.path for each in self.proposals}):
            text = self.code.texts[path]
            insertions = [one for each in self.proposals if each.path == path for one in each.insertions]
            try:
                data = text.encoded(text.apply(insertions))
                is_right = differs_by_our_calls_only(text.source, ScriptText(data).source)
            except (CannotPropose, UnicodeError):
                is_right = False
            if is_right:
                edited[path] = data
                continue
            kept = [each for each in kept if each.path != path]
            reason = "the calls cannot be put into this text without changing what else it says; put them in by hand"
            self.refused.append(NotProposed(ProposedCall.MAIN, path, None, reason))
        order = list(ProposedCall)
        kept.sort(key=lambda each: (each.path != self.code.script, each.path, each.line, order.index(each.what)))
        return Proposed(self.code.script, tuple(kept), tuple(self.refused), tuple(dict.fromkeys(self.present)), edited)


def _below_imports(text: ScriptText) -> int:
    """The line below which an import belongs; 0: at the top, below what must stand there."""
    last = last_of_imports(text.tree.body)
    if last is None:
        lines = text.lines[:2]
        return next(
            (
                n
                for n in range(len(lines), 0, -1)
                if lines[n - 1].startswith("#!") or ("coding" in lines[n - 1][:40] and lines[n - 1].startswith("#"))
            ),
            0,
        )
    line, grown = last.end_lineno or last.lineno, True
    while grown:  # `import a; x = f(`: what shares its last line ends there, too
        ends = [each.end_lineno or 0 for each in text.tree.body if each.lineno <= line]
        grown, line = max(ends) > line, max(ends)
    return line


def _indented_below(text: ScriptText, loop: ast.While, call: str) -> list[TextInsertion]:
    """A `with` around the whole body of a loop: a line, and its body one level deeper."""
    first, last = loop.body[0], loop.body[-1]
    outer, inner = text.indentation(loop), text.indentation(first)
    if first_line(first) == loop.lineno or not inner.startswith(outer) or inner == outer:
        raise CannotPropose(f"the body of the `while` in line {loop.lineno} does not stand on lines of its own")
    level = inner[len(outer) :]
    found = [text.line_before(first, call, order=-3)]
    for line in range(first_line(first), (last.end_lineno or last.lineno) + 1):
        if line not in text.lines_in_strings and text.lines[line - 1].strip():
            found.append(TextInsertion(text.line_start(line), level))
    return found


def _one_line(written: str) -> str:
    return " ".join(written.split())


def _is_docstring(statement: ast.stmt) -> bool:
    return (
        isinstance(statement, ast.Expr)
        and isinstance(statement.value, ast.Constant)
        and isinstance(statement.value.value, str)
    )
