"""How the checkpoint files of a run belong to its script: proposed, to be confirmed before anything is kept.

What is not certain is refused with what to say. Nothing is written here, and nothing of the script runs.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from flor_ray import redaction
from flor_ray.adopting import checkpoint_files
from flor_ray.adopting.checkpoint_files import CheckpointFile
from flor_ray.analysis.adopting.functions import ProjectCode
from flor_ray.analysis.adopting.saves import WHOLE, SaveCall, SavedPart, first_element, loop_at, saves_in, why_not_once
from flor_ray.analysis.adopting.script import AdoptedScript, AdoptedState, EpochsOf
from flor_ray.analysis.lending import read_all
from flor_ray.analysis.source import Texts
from flor_ray.errors import UsageError

MODEL = "model"  # of a Trainer's, in checkpoints of ours


@dataclass(frozen=True, slots=True)
class AdoptionTerms:
    """What is said of one run that is to be adopted."""

    commit: str
    command: tuple[str, ...]  # python train.py --lr 0.1
    checkpoints: str  # a pattern or a folder
    states: tuple[tuple[str, str], ...] = ()  # key in the files, and what it fills: ("model", "net")
    loop: int | None = None  # line of the main loop
    first: int | None = None  # number in the files' names of the first epoch
    steps: int | None = None  # in an epoch, where the numbers are of steps
    unchanged: tuple[str, ...] = ()
    run: str = ""  # its name


@dataclass(frozen=True, slots=True)
class Command:
    """A command line of Python's, in parts."""

    script: str  # relative to the repository's root, with slashes
    module: str  # under which it runs as `python -m` does; "": as a file
    argv: tuple[str, ...]
    hidden: Mapping[str, Sequence[str]]  # of its secrets, as `redaction.command_line`
    cwd: str  # relative to the repository's root


@dataclass(frozen=True, slots=True)
class AdoptionProposal:
    """What adopting a run would make of it."""

    terms: AdoptionTerms
    commit: str
    command: Command
    files: tuple[tuple[CheckpointFile, int | None], ...]  # and the epoch at whose end each is, None: not used
    adopted: AdoptedScript
    notes: tuple[str, ...] = ()

    @property
    def used(self) -> list[tuple[CheckpointFile, int]]:
        """The files that are kept, by epoch."""
        return sorted(((f, e) for f, e in self.files if e is not None), key=lambda pair: pair[1])


def proposal(terms: AdoptionTerms, commit: str, texts: Texts, root: str, pickles: bool) -> AdoptionProposal:
    """What adopting a run would make of it. `texts` are the Python files of its commit, `root` the repository's folder.

    Raises:
        UsageError: something is not clear, and the message says what to say.
    """
    command = command_of(terms.command, texts, root)
    found = [checkpoint_files.looked_at(path, pickles) for path in checkpoint_files.found_at(terms.checkpoints)]
    kind = checkpoint_files.of_one_kind(found)
    usable = [file for file in found if not file.why_not]
    if not usable:
        raise UsageError(f"None of the checkpoint files can be used: {found[0].path}: {found[0].why_not}.")
    if kind is not EpochsOf.SCRIPT:
        return _of_trainer(terms, commit, command, found, kind)
    text = texts[command.script]
    others = [each for path, each in sorted(texts.items()) if path != command.script]
    numbered = [replace(file, number=_number(file.path, terms.checkpoints)) for file in found]
    usable = [file for file in numbered if not file.why_not]
    call = _call_for(saves_in(text, others), usable, terms)
    loop = loop_at(text, call.loop)
    if loop is None:
        raise UsageError(
            f"Line {call.loop} of {command.script} has no `for` loop: name the main loop's line with --loop."
        )
    if why := why_not_once(text, call.loop, others):
        raise UsageError(
            f"The main loop (line {call.loop} of {command.script}) may run more than once, and nobody can tell of "
            f"which time the files are: {why}."
        )
    epochs = _epochs(numbered, call, text, terms)
    parts, notes = _parts(call, usable, terms)
    body_mode = ProjectCode.of(read_all(texts)).mode_after(loop.body)
    adopted = AdoptedScript(
        EpochsOf.SCRIPT,
        tuple(AdoptedState(_target(part.expression), part.expression, part.key) for part in parts if part.is_state),
        {part.key: part.expression for part in parts if not part.is_state},
        call.loop,
        call.statement,
        body_mode if isinstance(body_mode, bool) else None,
        terms.unchanged,
        commit,
    )
    _refuse_doubled(epochs)
    return AdoptionProposal(terms, commit, command, tuple(epochs), adopted, tuple(notes))


def command_of(words: Sequence[str], texts: Texts, root: str) -> Command:
    """A command line in parts. Raises UsageError if it runs no Python file of the commit."""
    left = list(words)
    if left and re.fullmatch(r"python[\d.]*(\.exe)?", os.path.basename(left[0])):
        left = left[1:]
        while left and left[0].startswith("-") and left[0] not in ("-m", "-"):
            left = left[1:]
    cwd = os.path.relpath(os.getcwd(), root).replace(os.sep, "/")
    if cwd.startswith(".."):
        raise UsageError(f"{os.getcwd()} is not in the repository {root}: go where the run was started.")
    module = ""
    if left[:1] == ["-m"] and len(left) > 1:
        module, stem = left[1], left[1].replace(".", "/")
        candidates = [_below(cwd, f"{stem}.py"), _below(cwd, f"{stem}/__main__.py")]
        left = left[2:]
    else:
        candidates = [_below(cwd, left[0])] if left else []
        left = left[1:]
    script = next((path for path in candidates if path in texts), None)
    if script is None:
        what = f"{candidates[0]} is no file of that commit" if candidates else "The command line is missing"
        listed = ", ".join(sorted(texts)[:8]) or "none"
        raise UsageError(
            f"{what}. Give the command line after `--`: flor-ray adopt COMMIT -- python train.py --lr 0.1. Python "
            f"files of the commit: {listed}."
        )
    argv, hidden = redaction.command_line(left)
    return Command(script, module, tuple(argv), hidden, cwd)


def _below(cwd: str, path: str) -> str:
    return os.path.normpath(os.path.join(cwd, path)).replace(os.sep, "/")


def _number(path: str, wanted: str) -> int | None:
    """The number of a file: where the pattern has {epoch} or {step}, else the last one in its name."""
    if re.search(r"\{(epoch|step)[^{}]*\}", wanted):
        pieces = re.split(r"(\{[^{}]*\}|\*)", os.path.normpath(wanted))
        pattern = "".join(
            r"(\d+)" if re.match(r"\{(epoch|step)", piece) else ".*" if piece[:1] in ("*", "{") else re.escape(piece)
            for piece in pieces
        )
        found = re.search(f"{pattern}$", os.path.normpath(path))
        return int(found.group(1)) if found else None
    numbers = re.findall(r"\d+", os.path.basename(path).rpartition(".")[0] or os.path.basename(path))
    return int(numbers[-1]) if numbers else None


def _call_for(calls: Sequence[SaveCall], files: Sequence[CheckpointFile], terms: AdoptionTerms) -> SaveCall:
    """The call of the script that wrote these files."""
    keys = frozenset.intersection(*(frozenset({*f.states, *f.values, *f.others}) for f in files))
    names = [os.path.basename(file.path) for file in files]
    if terms.states:
        return _stated(calls, names, terms)
    fitting = [
        call
        for call in calls
        if call.loop > 0
        and any(part.is_state for part in call.parts)
        and {part.key for part in call.parts if part.is_state} <= keys
        and (terms.loop is None or call.loop == terms.loop)
    ]
    named = [c for c in fitting if c.name and all(re.fullmatch(c.name, name) for name in names)]
    chosen = named or fitting
    numbered = [call for call in chosen if call.offset is not None]
    chosen = numbered or chosen
    if len({(c.loop, c.statement, c.parts) for c in chosen}) == 1:
        if chosen[0].nested:
            raise UsageError(
                f"The files are saved in the steps of an epoch (line {chosen[0].line}): only ends of epochs can be "
                "adopted."
            )
        return chosen[0]
    if chosen:
        lines = ", ".join(f"line {call.line}" for call in chosen)
        raise UsageError(
            f"Several calls may have written these files ({lines}): name them by a pattern with {{epoch}}."
        )
    raise UsageError(
        "Nobody can tell from the script which variables the files are of (they hold "
        f"{', '.join(sorted(keys)) or 'a state'}): say it with --state model=net, and the main loop's line with "
        "--loop. Of files that are a state themselves: --state =net."
    )


def _stated(calls: Sequence[SaveCall], names: Sequence[str], terms: AdoptionTerms) -> SaveCall:
    """The call that wrote files of which it is said what they fill. Without one, they are of the ends of epochs."""
    stated = tuple(SavedPart(key, expression, True) for key, expression in terms.states)
    loops = [call for call in calls if call.loop == (terms.loop or call.loop) and call.loop > 0]
    loops = [c for c in loops if c.name and all(re.fullmatch(c.name, name) for name in names)] or loops
    if len({(call.loop, call.statement) for call in loops}) > 1 or not (loops or terms.loop):
        raise UsageError(
            f"{'Several calls may have written these files' if loops else 'Nothing in the script saves them'}: name "
            "the main loop's line with --loop LINE too, and files that one call has written by a pattern."
        )
    whole = loops[0] if loops else SaveCall(terms.loop or 0, terms.loop or 0, -1, False, (), None, None)
    return replace(whole, parts=stated)


def _epochs(
    files: Sequence[CheckpointFile], call: SaveCall, text: str, terms: AdoptionTerms
) -> list[tuple[CheckpointFile, int | None]]:
    """The epoch, from 1, at whose end each file was saved."""
    usable = [file for file in files if not file.why_not]
    begins = first_element(text, call.loop)
    if terms.steps is not None:
        return [(f, _by_steps(f, terms.steps)) for f in files]
    less: int | None = None  # what a file's number has to be lessened by
    if terms.first is not None:
        less = terms.first - 1
    elif call.offset is not None and begins is not None:
        less = begins + call.offset - 1
    elif call.epoch_key and call.epoch_offset is not None and begins is not None:
        more = begins + call.epoch_offset - 1
        said = {f.path: f.values.get(call.epoch_key) for f in usable}
        if all(isinstance(value, int) for value in said.values()):
            return [(f, int(str(said[f.path])) - more if f.path in said else None) for f in files]
    if less is None and any(file.number == 0 for file in usable):
        less = -1
    lacking = [file.path for file in usable if file.number is None]
    if less is None or lacking:
        which = f"{lacking[0]} has no number" if lacking else "nobody can tell which number the first epoch has"
        raise UsageError(f"Of which epochs these files are is not clear: {which}. Say it with --first-epoch 0 or 1.")
    return [(f, None if f.why_not or f.number is None else f.number - less) for f in files]


def _by_steps(file: CheckpointFile, steps: int) -> int | None:
    if file.why_not or file.number is None or file.number % steps:
        return None
    return file.number // steps


def _refuse_doubled(files: Sequence[tuple[CheckpointFile, int | None]]) -> None:
    seen: dict[int, str] = {}
    for file, epoch in files:
        if epoch is None:
            continue
        if epoch < 1:
            raise UsageError(
                f"{file.path} would be of epoch {epoch}: say with --first-epoch which number the first has."
            )
        if epoch in seen:
            raise UsageError(
                f"{seen[epoch]} and {file.path} are both of epoch {epoch}: name one of them by the pattern."
            )
        seen[epoch] = file.path
    if not seen:
        raise UsageError("None of the files is of the end of an epoch.")


def _parts(call: SaveCall, files: Sequence[CheckpointFile], terms: AdoptionTerms) -> tuple[list[SavedPart], list[str]]:
    """What of the files is put where, and what of them nobody uses."""
    keys = frozenset.intersection(*(frozenset(f.states) for f in files))
    plain = frozenset.intersection(*(frozenset(f.values) for f in files))
    if terms.states and (unknown := sorted({key for key, _ in terms.states} - keys)):
        raise UsageError(f"No state {unknown[0]!r} is in all files; they hold {', '.join(sorted(keys)) or 'none'}.")
    found = [part for part in call.parts if part.key in (keys if part.is_state else plain)]
    used = {part.key for part in found}
    left = sorted((keys | plain) - used - {call.epoch_key})
    notes = [f"Nothing of the script is known to be filled by {', '.join(map(repr, left))}."] if left else []
    return found, notes


def _target(expression: str) -> str:
    """The name of a state in checkpoints of ours."""
    return expression.replace(".", "_")


def _of_trainer(
    terms: AdoptionTerms, commit: str, command: Command, found: Sequence[CheckpointFile], kind: EpochsOf
) -> AdoptionProposal:
    files = [(file, None if file.why_not else file.epoch) for file in found]
    _refuse_doubled(files)
    key = WHOLE if kind is EpochsOf.HUGGING_FACE else "state_dict"
    inall = frozenset.intersection(*(frozenset(file.states) for file, epoch in files if epoch is not None))
    states = [AdoptedState(MODEL, MODEL, key), *(AdoptedState(each, each, each) for each in sorted(inall - {key}))]
    return AdoptionProposal(terms, commit, command, tuple(files), AdoptedScript(kind, tuple(states), commit=commit))
