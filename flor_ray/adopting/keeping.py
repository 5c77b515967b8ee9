"""From a proposal to a version: its files on the shadow branch, its states in the store, and then the run itself.

Files are copied, tensor by tensor and by content, so that what two epochs or two runs have in common is there once; the
files themselves are not needed afterwards. What is interrupted leaves no version, and goes on when it is done again.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from flor_ray import redaction
from flor_ray.adopting import checkpoint_files
from flor_ray.adopting.proposing import AdoptionProposal
from flor_ray.analysis.adopting.script import AdoptedScript, EpochsOf
from flor_ray.environment.surroundings import MODULE_KEY
from flor_ray.errors import UsageError
from flor_ray.records import ADOPTED, HIDDEN_ARGV, NOT_KEPT, Checkpoint, Experiment, Point, Status
from flor_ray.state.pickling import Findable, StatePickler
from flor_ray.state.snapshots import Arenas, Snapshot, SnapshotWriter, gather
from flor_ray.store import typed_json
from flor_ray.store.project import Project

Tell = Callable[[str, int, int], None]


class AdoptionFate(StrEnum):
    """What becomes of a run."""

    NEW = "adopted"
    THERE = "there already"
    CHANGED = "has other checkpoint files than when it was adopted"


@dataclass(frozen=True, slots=True)
class Adoption:
    """A run, and what became of it."""

    fate: AdoptionFate
    experiment: Experiment
    bytes: int = 0  # of the states that were kept


def fate_of(project: Project, proposal: AdoptionProposal) -> tuple[AdoptionFate, AdoptedScript, Experiment | None]:
    """What adopting would do, with the digests of the files."""
    files = tuple((epoch, file.path, checkpoint_files.digest_of(file.path)) for file, epoch in proposal.used)
    command = proposal.command
    which = json.dumps([proposal.commit, command.script, command.module, command.argv, files[0][0], files[0][2]])
    digest = hashlib.blake2b(which.encode(), digest_size=16).hexdigest()
    adopted = replace(proposal.adopted, digest=digest, files=files)
    for there in project.store.experiments(project.name):
        had = there.environment.get(ADOPTED)
        if isinstance(had, Mapping) and had.get("digest") == digest:
            same = [(f[0], f[2]) for f in had["files"]] == [(f[0], f[2]) for f in files]
            return (AdoptionFate.THERE if same else AdoptionFate.CHANGED), adopted, there
    return AdoptionFate.NEW, adopted, None


def what_would_be(project: Project, proposal: AdoptionProposal) -> Adoption:
    """What adopting a run would come to. Writes nothing."""
    fate, adopted, there = fate_of(project, proposal)
    return Adoption(fate, there or _experiment(project, proposal, adopted, "", None))


def adopt(
    project: Project, proposal: AdoptionProposal, pickles: bool, tell: Tell = lambda what, done, total: None
) -> Adoption:
    """Make a version of a run. Doing it again changes nothing.

    Raises:
        GitError: git refused.
        StoreError: the store cannot be written.
        UsageError: a file cannot be read any more.
    """
    fate, adopted, there = fate_of(project, proposal)
    if there is not None:
        return Adoption(fate, there)
    project.store.allow_compaction()
    commit = project.repository.commit_again(proposal.commit, f"flor: adopted run {adopted.digest}")
    experiment = _experiment(project, proposal, adopted, commit.version, commit.parent)
    known = project.store.known_sources(project.name, commit.parent) if commit.parent else {}
    sources = project.repository.sources(commit.version, frozenset(known))
    project.store.write_sources(project.name, commit.version, commit.parent, sources, known)
    writer, total = SnapshotWriter(project.store.objects), 0
    for done, (file, epoch) in enumerate(proposal.used):
        tell("Copying checkpoints", done, len(proposal.used))
        snapshot = snapshot_of(checkpoint_files.loaded(file.path, pickles), adopted)
        key = writer.write(snapshot)
        total += snapshot.bytes
        row = Checkpoint(
            version=commit.version,
            filename=proposal.command.script,
            line=adopted.loop,
            epoch=epoch,
            point=Point.EPOCH_END,
            key=key,
            bytes=snapshot.bytes,
            seconds=0.0,
            captured=snapshot.captured,
            uncaptured=snapshot.uncaptured,
            opaque=snapshot.opaque,
            why=f"adopted: {file.path}",
        )
        project.store.append_checkpoint(project.name, row, None)
    project.store.end_run(experiment)
    project.store.merge_checkpoints(project.name, commit.version)
    tell("Copying checkpoints", len(proposal.used), len(proposal.used))
    return Adoption(fate, experiment, total)


def snapshot_of(content: Mapping[str, Any], adopted: AdoptedScript) -> Snapshot:
    """A checkpoint file as a checkpoint of ours. Raises UsageError if it lacks a state that others of its run have."""
    states = {}
    for state in adopted.states:
        if state.key not in content:
            raise UsageError(f"A checkpoint file lacks {state.key!r}, which the others have.")
        states[state.name] = {
            "state_dict": _plain(content[state.key]),
            ADOPTED: adopted.mode,
            "loose": {},
            "gradients": {},
        }
    values = {variable: content[key] for key, variable in (adopted.values or {}).items() if key in content}
    pickler = StatePickler(Findable(), {}, with_gradients=False)
    places = {"main": values} if adopted.epochs_of is EpochsOf.SCRIPT else {}
    pickler.dump({"rng": {}, "objects": states, "places": places, "same": {}, "lost": {}, "known": {}})
    skeleton = pickler.close({})
    return Snapshot(
        skeleton,
        gather(pickler.sources, Arenas(), []),
        tuple(pickler.buffers),
        adopted.held,
        frozenset({NOT_KEPT}),
        frozenset({NOT_KEPT}),
        0.0,
        True,
    )


def _plain(state: Any) -> Any:
    """A state with plain dicts: what libraries' own kinds of dict remember of it is not part of it."""
    if isinstance(state, Mapping):
        return {key: _plain(value) for key, value in state.items()}
    if isinstance(state, list):
        return [_plain(value) for value in state]
    return state.detach() if hasattr(state, "detach") else state


def _experiment(
    project: Project, proposal: AdoptionProposal, adopted: AdoptedScript, version: str, parent: str | None
) -> Experiment:
    command, used = proposal.command, proposal.used
    environment: dict[str, object] = {ADOPTED: typed_json.to_plain(adopted)}
    if command.module:
        environment[MODULE_KEY] = command.module
    if command.hidden:
        environment[HIDDEN_ARGV] = dict(command.hidden)
    times = [file.modified for file, _ in used]
    return Experiment(
        project=project.name,
        version=version,
        parent=parent,
        script=command.script,
        run=redaction.redacted(proposal.terms.run),
        started=min(times, default=time.time()),
        ended=max(times, default=time.time()),
        status=Status.FINISHED,
        argv=command.argv,
        cwd=command.cwd,
        main_loop="epoch",
        epochs=used[-1][1],
        environment=environment,
    )
