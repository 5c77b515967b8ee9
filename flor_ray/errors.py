"""Every error that a user can meet, in one hierarchy.

    FlorError
    ├── UsageError              you asked for something that cannot be
    │   ├── NoRepository        no git repository here
    │   ├── UnknownFeature      nobody ever logged that name
    │   ├── UnknownVersion      no version's id begins so, or several do
    │   ├── BadWhere            `where` does not parse, or names an unknown column
    │   ├── BadStatement        a statement in SQL is not one that is answered here
    │   ├── BadArgument         a --kwargs value does not fit the default's type
    │   ├── ClusterRefused      no Ray cluster can be joined at an address
    │   ├── DashboardRefused    no job can be submitted to a Ray cluster at an address
    │   ├── SecretsMissing      a secret that settings name is not in the environment
    │   └── NothingRecorded     the store has no version of this project
    ├── StoreError              the store cannot be read or written
    │   ├── StoreAway           it does not answer, and may be back soon
    │   ├── Damaged             a file does not hold what it should
    │   ├── ObjectMissing       a blob that is referred to is not there
    │   └── ObjectCorrupt       a blob's bytes do not have the hash in its name
    ├── SourceUnreadable        a file of another program does not hold what that program writes
    ├── GitError                git refused what we asked of it
    ├── CellFailed              a notebook's cell that ran as a script ended with an error
    └── ReplayError             a replayed script, or the process that runs it, failed
        ├── ScriptFailed        the user's script raised; carries its last output
        │   ├── LimitExceeded   it took more time or memory than it was allowed to
        │   ├── SegmentHung     it did not go on; once more elsewhere it may
        │   └── MemoryShort     its machine had not enough memory; alone there it may be enough
        ├── RestoreFailed       a recorded state cannot be put back; what comes before it may lead there
        ├── NotOnThisNode       a worker's machine lacks files that the version read
        ├── ProcessKilled       the process that ran it was killed
        └── ReplayStopped       somebody has asked it to end

A message says what was seen, what was expected and what to do next. A refusal to propagate is a returned value
(`flor_ray.records.Refusal`), not an error. Warnings that a user must not miss are `FlorWarning`s.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from flor_ray.redaction import shown

if TYPE_CHECKING:
    from flor_ray.records import LackingFile


class FlorError(Exception):
    """Base of all errors that flor_ray raises on purpose. They travel between processes: type, text and attributes.
    What they say has no secrets in it, and no escape codes."""

    def __str__(self) -> str:
        return shown(super().__str__())

    def __reduce__(self) -> tuple[Callable[..., FlorError], tuple[type[FlorError], tuple[object, ...], dict[str, Any]]]:
        return _travelled, (type(self), self.args, vars(self))


def _travelled(kind: type[FlorError], args: tuple[object, ...], attributes: dict[str, Any]) -> FlorError:
    """The error as it was. Its `__init__` is not called again: it takes what the text was made of, and not the text."""
    error = kind.__new__(kind, *args)
    vars(error).update(attributes)
    return error


class FlorWarning(UserWarning):
    """Something the user should know about recorded or replayed values; nothing was lost."""

    def __str__(self) -> str:
        return shown(super().__str__())


class UsageError(FlorError):
    """What was asked for cannot be; the message says what can."""


class NoRepository(UsageError):
    """There is no git repository at `path` or above it."""

    def __init__(self, path: str) -> None:
        self.path = path
        super().__init__(
            f"{path} is not inside a git repository, and flor_ray keeps every recorded version in git. "
            "Run `git init` in your project's folder, then try again. To ask for what is recorded elsewhere, name its "
            "store: `store:` in flor.yaml, the environment variable FLOR_RAY_STORE, or --store."
        )


class UnknownFeature(UsageError):
    """Nothing logs `name`: no version and no file of the working tree. `known` are the features that there are,
    `unclear` the places of the working tree where only a run tells what is logged: "train.py:12"."""

    def __init__(self, name: str, known: Iterable[str], unclear: Iterable[str] = ()) -> None:
        self.name, self.known, self.unclear = name, tuple(sorted(known)), tuple(unclear)
        close = difflib.get_close_matches(name, self.known, n=3)
        hint = f"Did you mean {', '.join(map(repr, close))}? " if close else ""
        listing = ", ".join(self.known) if self.known else "none yet"
        super().__init__(
            f"No version and no file in the working tree logs {name!r}. {hint}Known features: {listing}. "
            + (
                f"Under which name {_some(self.unclear)} logs, only a run can tell: a string is needed there, or a "
                "variable that one assignment binds to a string. "
                if self.unclear
                else ""
            )
            + f'Add `flor.log("{name}", ...)` to your newest code, then ask again.'
        )


class UnknownVersion(UsageError):
    """No version's id begins with `prefix`, or those of several do: `matching`. `known` are all versions."""

    def __init__(self, prefix: str, known: Iterable[str], matching: Iterable[str] = ()) -> None:
        self.prefix, self.known, self.matching = prefix, tuple(known), tuple(matching)
        if self.matching:
            shown = _some(version[: max(12, len(prefix) + 4)] for version in self.matching)
            super().__init__(f"{len(self.matching)} versions begin with {prefix!r}: {shown}. Give more of the id.")
        else:
            shown = _some(version[:8] for version in reversed(self.known))
            super().__init__(
                f"No version begins with {prefix!r}. The newest are {shown}; `flor-ray versions` lists all."
            )


def _some(words: Iterable[str], limit: int = 5) -> str:
    listed = list(words)
    return ", ".join(listed[:limit]) + (", ..." if len(listed) > limit else "")


class BadWhere(UsageError):
    """A `where` that pandas cannot evaluate over `columns`."""

    def __init__(self, where: str, why: str, columns: Iterable[str]) -> None:
        self.where, self.columns = where, tuple(columns)
        super().__init__(
            f"Cannot evaluate where={where!r}: {why.rstrip('. ')}. It is a pandas query string over these columns: "
            f'{", ".join(self.columns)}. Example: "accuracy < 95 and epoch >= 3".'
        )


class BadStatement(UsageError):
    """A statement in SQL that is not answered here, because of what was `seen`."""

    def __init__(self, seen: str, advice: str) -> None:
        self.seen = seen
        super().__init__(f"This statement is not answered: {seen.rstrip('.! ')}. {advice}")


class BadArgument(UsageError):
    """`--kwargs name=text` on the command line does not fit the type of the default in the script."""

    def __init__(self, name: str, text: str, expected: str) -> None:
        self.name, self.text = name, text
        super().__init__(
            f"--kwargs {name}={text} is not {expected}, which the default in flor.arg({name!r}, ...) asks for."
        )


class ClusterRefused(UsageError):
    """No Ray cluster can be joined at `address`."""

    def __init__(self, address: str, seen: str, advice: str) -> None:
        self.address, self.seen, self.advice = address, seen, advice
        super().__init__(
            f"No Ray cluster can be joined at {address!r}: {seen.rstrip('. ')}. {advice}; or unset RAY_ADDRESS, or "
            'replay with --local (executor="local" in Python).'
        )


class DashboardRefused(UsageError):
    """No Ray cluster takes jobs at `address`."""

    def __init__(self, address: str, seen: str, advice: str) -> None:
        self.address, self.seen = address, seen
        super().__init__(f"No Ray cluster takes jobs at {address!r}: {seen.rstrip('. ')}. {advice}.")


class SecretsMissing(UsageError):
    """Of the secrets that settings name, these are not in the environment of who replays."""

    def __init__(self, names: Iterable[str]) -> None:
        self.names = tuple(names)
        super().__init__(
            f"Replays need {', '.join(self.names)} in their environment (`secrets` in the settings), and here it is "
            "not. Secrets go by name: set them where the replay is started; for a job that is where the cluster's head "
            "node is started (`ray start`, or the pod's secrets)."
        )


class NothingRecorded(UsageError):
    """The project has no version in `store`, which holds the projects `others`."""

    def __init__(self, project: str, store: str, others: Iterable[str] = ()) -> None:
        self.project, self.store, self.others = project, store, tuple(others)
        known = f" (it has {', '.join(map(repr, self.others))})" if self.others else ""
        super().__init__(
            f"No version of project {project!r} is recorded in {store}{known}. Run your training script once with "
            "`import flor_ray as flor` in it (or `flor-ray run train.py`), then ask again."
        )


class StoreError(FlorError):
    """The store cannot be read or written."""


class StoreAway(StoreError):
    """The store does not answer, or says that it cannot serve just now. What was to be done can be done later."""


class Damaged(StoreError):
    """A file of the store does not hold what it should; other files are not concerned."""


class SourceUnreadable(FlorError):
    """A file of another program, of which runs should be imported, does not hold what that program writes."""


class ObjectMissing(StoreError):
    """The store refers to an object, by `key`, that it does not have."""

    def __init__(self, key: str, store: str) -> None:
        self.key = key
        super().__init__(
            f"Object {key} is referred to but is not in {store}. It was deleted, or the run that wrote it was "
            "killed before its upload ended. Replay from an earlier checkpoint, or restore the store from a backup."
        )


class SourcesMissing(StoreError):
    """A version's files are not mirrored in the store."""

    def __init__(self, version: str, where: str) -> None:
        self.version = version
        super().__init__(
            f"{where} is not there: the run of version {version} ended before its source files were written. They are "
            "in git, on the branch flor.shadow."
        )


class ObjectCorrupt(StoreError):
    """An object whose bytes do not have the hash that is its `key`."""

    def __init__(self, key: str, seen: str) -> None:
        self.key = key
        super().__init__(
            f"Object {key} is corrupt: its bytes hash to {seen}. Delete it and replay from an earlier checkpoint, or "
            "restore the store from a backup."
        )


class GitError(FlorError):
    """git refused; the message carries its own words."""


class CellFailed(FlorError):
    """A notebook's cell that %%flor ran as a script ended with an exit status other than 0."""

    def __init__(self, status: int) -> None:
        self.status = status
        how = f"was killed by signal {-status}" if status < 0 else f"ended with exit status {status}"
        super().__init__(f"The cell's script {how}; what it printed is above. What it logged until then is recorded.")


class ReplayError(FlorError):
    """A replay could not deliver its segment; other segments are not concerned."""


class ScriptFailed(ReplayError):
    """The user's script raised while it was replayed. `output` is the end of what it printed."""

    def __init__(self, message: str, output: str = "") -> None:
        self.output = output
        super().__init__(message, output)

    def __str__(self) -> str:
        return shown(str(self.args[0]))


class LimitExceeded(ScriptFailed):
    """A segment was ended because it took more time or memory than its limits allow."""


class SegmentHung(ScriptFailed):
    """A segment was ended because its script did not go on for far longer than it should take."""


class MemoryShort(ScriptFailed):
    """A segment was ended because its machine was running out of memory."""


class RestoreFailed(ReplayError):
    """The state that was kept at a `point` of an epoch cannot be put back: the process is in a state that is neither.

    What follows it can be replayed in a process that has replayed nothing, or from further back.
    """

    def __init__(self, epoch: int, point: str, why: str) -> None:
        self.epoch, self.point, self.why = epoch, point, why
        where = f"at the end of epoch {epoch}" if epoch else "at the main loop's entry"
        where = where if point == "epoch_end" else f"after the nested loop of epoch {epoch}"
        super().__init__(f"The state {where} cannot be put back: {why}")


class Cancelled(ReplayError):
    """A worker was told to leave the segment that it ran; nothing of it was written."""


class NotOnThisNode(ReplayError):
    """The worker's machine lacks files that the version's run read. Nothing has run; another machine may have them."""

    def __init__(self, version: str, lacking: tuple[LackingFile, ...]) -> None:
        self.version, self.lacking = version, lacking
        files = ", ".join(file.path for file in lacking)
        super().__init__(f"Version {version[:8]} cannot be replayed on this machine, which lacks {files}.")


class ReplayStopped(ReplayError):
    """Somebody has asked this replay to end."""


class ProcessKilled(ReplayError):
    """The process that replayed a segment was killed; the segment can be run again."""
