"""The board of a run's ranks: the key-value store by which torch.distributed brings them together.

Every script that trains with ranks has one, on whatever launcher and network. Words are left and looked up under keys
of our own; no call waits for another rank, and none is a collective.
"""

from __future__ import annotations

import json
import sys
import time
import warnings
from dataclasses import dataclass
from typing import Any

from flor_ray.errors import FlorWarning
from flor_ray.processes import start_background

_PREFIX = "flor_ray/"
IDENTITY = "run"  # the key under which rank 0 says which run this is
_LOOK_SECONDS = 0.02  # between two looks whether there is a board


class TorchBoard:
    """That of this process's default process group, once there is one; it outlives the group."""

    def __init__(self) -> None:
        self._store: Any = None
        self._broken = False

    @property
    def is_there(self) -> bool:
        """Whether the ranks have been brought together by now."""
        if self._store is None:
            distributed: Any = sys.modules.get("torch.distributed")
            if distributed is not None and distributed.is_available() and distributed.is_initialized():
                # No public function gives it; a store of our own would have to be told an address that is free.
                self._store = sys.modules["torch.distributed.distributed_c10d"]._get_default_store()
        return self._store is not None

    def post(self, key: str, text: str) -> None:
        if self.is_there and not self._broken:
            try:
                self._store.set(_PREFIX + key, text)
            except Exception as error:  # noqa: BLE001 - a server that is gone raises what it likes; training goes on
                self._broke(error)

    def read(self, key: str) -> str | None:
        if not self.is_there or self._broken:
            return None
        try:
            if self._store.check([_PREFIX + key]):
                return bytes(self._store.get(_PREFIX + key)).decode()
        except Exception as error:  # noqa: BLE001 - as above
            self._broke(error)
        return None

    def _broke(self, error: Exception) -> None:
        self._broken = True
        warnings.warn(
            "The ranks of this run can no longer tell each other when to take checkpoints "
            f"({type(error).__name__}: {error}): from here on their states are not kept, and replays begin earlier. "
            "Training goes on.",
            FlorWarning,
            stacklevel=4,
        )


@dataclass(frozen=True, slots=True)
class Identity:
    """Which run this is, as rank 0 says it."""

    url: str
    project: str
    version: str

    @property
    def text(self) -> str:
        return json.dumps([self.url, self.project, self.version])

    @classmethod
    def of(cls, text: str) -> Identity:
        return cls(*json.loads(text))


@dataclass(frozen=True, slots=True)
class Announcement:
    """Rank 0 says which run this is, as soon as there is a board: a script may call us before it makes its group."""

    board: TorchBoard
    identity: Identity

    def begin(self) -> None:
        start_background(self._wait, name="flor-announce")

    def _wait(self) -> None:
        while not self.board.is_there:
            time.sleep(_LOOK_SECONDS)
        self.board.post(IDENTITY, self.identity.text)


def backend() -> str:
    """The backend of this process's default group; "": there is none now."""
    distributed: Any = sys.modules.get("torch.distributed")
    if distributed is None or not distributed.is_available() or not distributed.is_initialized():
        return ""
    return str(distributed.get_backend())
