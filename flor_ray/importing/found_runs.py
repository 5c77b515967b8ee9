"""What readers of other programs' files answer: runs, not read yet, and what was in them."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from flor_ray.records import Status
from flor_ray.store import checks
from flor_ray.store.imports import RunLog

LARGEST_RECORD = 64 << 20  # bytes of one record or text that are read into memory

Tell = Callable[[str, int, int], None]  # what is being done, how much of it, of how much


@dataclass(slots=True)
class RunContents:
    """All that a run's files say; it fills while they are read."""

    log: RunLog = field(default_factory=RunLog)
    name: str = ""
    started: float | None = None  # unix seconds
    ended: float | None = None
    status: Status = Status.FINISHED
    error: str | None = None
    args: dict[str, object] = field(default_factory=dict)  # what it was configured with
    main_loop: str | None = None
    nested_loop: str | None = None
    about: dict[str, object] = field(default_factory=dict)  # what else is known of it, as JSON
    left_out: Counter[str] = field(default_factory=Counter)  # what was not taken, in the plural -> how many
    notes: list[str] = field(default_factory=list)  # sentences
    is_going_on: bool = False  # as far as the source can tell

    def seen(self, timestamp: float) -> None:
        """Count a moment in at which the run was alive."""
        if 0 < timestamp < _LAST_SECOND:
            self.started = timestamp if self.started is None else min(self.started, timestamp)
            self.ended = timestamp if self.ended is None else max(self.ended, timestamp)


@dataclass(frozen=True, slots=True)
class FoundRun:
    """A run of a source. Reading it changes nothing there."""

    kind: str  # of KINDS
    where: str  # a path, for messages
    key: tuple[str, ...]  # what no other run has, wherever the files lie
    read: Callable[[], RunContents]
    files: tuple[str, ...] = ()  # those that are read

    @property
    def version(self) -> str:
        """The id that it gets: as long as git's, and always the same."""
        said = "\0".join((self.kind, *self.key))
        return hashlib.sha1(said.encode("utf-8", "backslashreplace"), usedforsecurity=False).hexdigest()


_LAST_SECOND = 253_000_000_000.0  # as `checks.expect_run` has it


def parsed(data: bytes | str) -> object:
    """A JSON text. Raises ValueError if it is none, or nests deeper than anything that a run logs."""
    said = data if isinstance(data, str) else data.decode()  # json.loads would guess the encoding
    found = checks.parsed(said)
    if said.count("[") + said.count("{") <= _DEEPEST:
        return found
    level = [found]
    for _ in range(_DEEPEST):
        level = [item for each in level for item in _items(each) if isinstance(item, dict | list)]
        if not level:
            return found
    raise ValueError("it nests too deep")


def _items(value: object) -> Iterable[object]:
    return value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()


_DEEPEST = 100


def from_text(text: str) -> object:
    """What Python prints as exactly this text, if that is a number, a truth value, None, or a list or mapping of these;
    else the text. Some programs keep all values as texts."""
    if text in _WORDS:
        return _WORDS[text]
    if not text or len(text) > _LONGEST_READ or text[0] not in "-0123456789ni[{":
        return text
    for read in (parsed,) if text[0] in "[{" else (int, float):
        try:
            value: object = read(text)
            if str(value) == text:
                return value
        except ValueError:
            continue
    return text


_WORDS: Mapping[str, object] = {"True": True, "False": False, "None": None}
_LONGEST_READ = 4000  # characters; Python reads numbers of up to 4300
