"""From the runs of a source to experiments of the store.

    source ─> each run: read ─> new? ─> values (F), then the run itself (E), which makes it visible
                          └─> there already, grown, still going on, empty: said, and nothing is written

A run gets the version that its source's own id gives, whichever path that lies at: importing twice adds nothing. What
is in the store stays as it is.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from flor_ray import redaction
from flor_ray.errors import SourceUnreadable, UsageError
from flor_ray.importing import sources
from flor_ray.importing.found_runs import FoundRun, RunContents, Tell
from flor_ray.importing.kinds import KINDS
from flor_ray.records import IMPORTED, Experiment, Status
from flor_ray.store.imports import Collected, write_run
from flor_ray.store.store import Store
from flor_ray.wording import counted

_QUIET_SECONDS = {"tensorboard": 600.0, "wandb": 600.0, "mlflow": 86_400.0, "flordb": 0.0}


class ImportFate(StrEnum):
    """What becomes of a run of a source."""

    NEW = "new"  # it is imported
    THERE = "there already"
    CHANGED = "changed since it was imported"
    GOING_ON = "still going on"
    EMPTY = "empty"
    UNREADABLE = "unreadable"


NOT_TAKEN = frozenset({ImportFate.CHANGED, ImportFate.GOING_ON, ImportFate.UNREADABLE})


@dataclass(frozen=True, slots=True)
class RunArrival:
    """A run of a source, and what became of it."""

    run: FoundRun
    fate: ImportFate
    experiment: Experiment | None = None  # as it is, or would be, kept
    values: int = 0
    names: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()  # sentences: what was left out, and why nothing was imported


@dataclass(frozen=True, slots=True)
class ImportTerms:
    """What is to be imported, and how."""

    path: str
    project: str
    kind: str | None = None  # of KINDS
    epochs: str | None = None  # as `RunLog.collected` has it
    unfinished: bool = False  # take runs that are still going on, as they are now
    dry_run: bool = False


@dataclass(slots=True)
class ImportDone:
    """What became of all runs of a source; it fills while they are imported."""

    arrivals: list[RunArrival] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)  # of the source as a whole
    damaged: bool = False  # whether something there could not be read at all


def import_runs(store: Store, wanted: ImportTerms, done: ImportDone, tell: Tell, now: float | None = None) -> None:
    """Import the runs at a path, one after the other: those that are in `done` are in the store, whole.

    Raises:
        UsageError: there are none; or it is not clear which are meant; or they have epochs, and `wanted` says others.
    """
    now = time.time() if now is None else now
    with contextlib.ExitStack() as stack:
        source = sources.find(wanted.path, wanted.kind, stack, tell)
        done.notes += source.notes
        done.damaged = source.damaged
        known = {experiment.version: experiment for experiment in store.experiments(wanted.project)}
        if wanted.epochs is not None and any(run.kind == "flordb" for run in source.runs):
            raise UsageError("FlorDB's runs have loops, which say what their epochs are: leave out --epochs.")
        for number, run in enumerate(source.runs):
            tell("Reading runs", number, len(source.runs))
            done.arrivals.append(_arrival(store, wanted, run, known, now))
        tell("Reading runs", len(source.runs), len(source.runs))


def _arrival(
    store: Store, wanted: ImportTerms, run: FoundRun, known: Mapping[str, Experiment], now: float
) -> RunArrival:
    try:
        contents = run.read()
        for name, value in sorted(contents.args.items()):  # arguments are values too, as those of flor.arg are
            contents.log.add(name, redaction.hide(name, value), contents.started or 0.0)
        collected = contents.log.collected(wanted.epochs)
    except (SourceUnreadable, OSError, UsageError) as error:
        return RunArrival(run, ImportFate.UNREADABLE, notes=(f"{run.where}: {error}",))
    notes = tuple(_notes(run, contents, collected))
    experiment = _experiment(wanted, run, contents, collected)
    fate, why = _fate(wanted, run, contents, collected, known.get(run.version), now)
    if fate is ImportFate.NEW and not wanted.dry_run:
        write_run(store, experiment, collected)
    names = tuple(collected.names)
    return RunArrival(
        run, fate, experiment, collected.values, names, (*notes, *why) if fate is not ImportFate.THERE else ()
    )


def _fate(
    wanted: ImportTerms,
    run: FoundRun,
    contents: RunContents,
    collected: Collected,
    there: Experiment | None,
    now: float,
) -> tuple[ImportFate, tuple[str, ...]]:
    """What becomes of a run, and what its user should know of that."""
    if there is not None:
        return _compared(wanted, run, contents, collected, there)
    if not collected.values:
        return ImportFate.EMPTY, ()
    if contents.is_going_on and not wanted.unfinished:
        quiet = now - (contents.ended or 0.0)
        if quiet < _QUIET_SECONDS[run.kind]:
            return ImportFate.GOING_ON, (
                f"{run.where} may still be going on: {KINDS[run.kind]} does not say that it has ended, and its last "
                f"value is {max(quiet, 0.0) / 60:.0f} minutes old. Import it when it has ended, or as it is now with "
                "--unfinished; what it logs later is not added then.",
            )
    return ImportFate.NEW, ()


def _compared(
    wanted: ImportTerms, run: FoundRun, contents: RunContents, collected: Collected, there: Experiment
) -> tuple[ImportFate, tuple[str, ...]]:
    """A run that is in the store: as it is now, or not."""
    about = there.environment.get(IMPORTED)
    had = about if isinstance(about, Mapping) else {}
    if had.get("epochs") != wanted.epochs:
        why = f"was imported with {f'--epochs {epochs}' if (epochs := had.get('epochs')) else 'its steps as they are'}"
    elif had.get("digest") != collected.digest:
        why = f"had {had.get('values')} values when it was imported, and has {collected.values} now, or others"
    elif there.status is not contents.status:
        why = "has ended since it was imported"
    else:
        return ImportFate.THERE, ()
    return ImportFate.CHANGED, (
        f"{run.where} {why}. What is in the store stays as it is; to have it anew, import it into another project: "
        "--as NAME.",
    )


def _experiment(wanted: ImportTerms, run: FoundRun, contents: RunContents, collected: Collected) -> Experiment:
    started = contents.started or 0.0
    about = {
        "from": KINDS[run.kind],
        "path": os.path.abspath(run.where),
        "values": collected.values,
        "digest": collected.digest,
        "epochs": wanted.epochs,
        "about": contents.about,
    }
    return Experiment(
        project=wanted.project,
        version=run.version,
        parent=None,
        script="",
        run=redaction.redacted(contents.name),
        started=started,
        ended=contents.ended if contents.ended is not None else started,
        status=contents.status,
        args={name: redaction.hide(name, value) for name, value in contents.args.items()},
        main_loop=(contents.main_loop or "epoch") if collected.epochs else None,
        nested_loop=(contents.nested_loop or "step") if collected.steps else None,
        epochs=collected.epochs,
        environment={IMPORTED: about},
        error=contents.error if contents.status is Status.FAILED else None,
    )


def _notes(run: FoundRun, contents: RunContents, collected: Collected) -> Iterator[str]:
    yield from contents.notes
    if collected.superseded:
        yield (
            f"{run.where}: {counted(collected.superseded, 'value')} of steps that were run again, after a restart: the "
            "newest are taken."
        )
    if contents.log.out_of_range:
        count = counted(contents.log.out_of_range.total(), "value")
        names = ", ".join(sorted(contents.log.out_of_range)[:_NAMED])
        yield f"{run.where}: {count} ({names}) at steps below 0, or beyond all that are counted, and left out."
    if contents.log.untimed:
        yield f"{run.where}: {counted(contents.log.untimed, 'value')} with a time that there cannot be: it is 0."
    if contents.log.not_kept:
        names = ", ".join(sorted(contents.log.not_kept)[:_NAMED])
        yield f"{run.where}: {counted(contents.log.not_kept.total(), 'value')} ({names}) that cannot be kept."
    if contents.left_out:
        listed = ", ".join(f"{what} ({count})" for what, count in sorted(contents.left_out.items()))
        yield f"{run.where}: without {listed}."


_NAMED = 5
