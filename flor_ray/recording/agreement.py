"""How the ranks of one run come to take their checkpoints at the same points. Pure, but for the board that is given.

    rank 0    an epoch begins ── its budget decides ──> posts yes or no for this epoch
    others    a point of that epoch is reached ──> read what is posted:  yes: take   no, or nothing yet: do not

Nobody waits for anybody: a collective of ours in a script of theirs could stop it for good. What a step's own
collective orders is enough: a rank that has come to the end of an epoch's steps got there with rank 0, which had posted
before its first. A rank that comes too early all the same lacks its part, and the checkpoint counts for none
(`planning.ranks`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from flor_ray.recording.checkpoint_budget import CheckpointDecision

_YES, _NO = "yes", "no"
_EARLY = CheckpointDecision(True, "rank 0 may take one: that is seen when the steps have run")
_TAKES = CheckpointDecision(True, "rank 0 takes one")
_SKIPS = CheckpointDecision(False, "rank 0 takes none, or had not said so")


class Board(Protocol):
    """Where a run's ranks leave words for each other. Nothing here waits for another rank."""

    def post(self, key: str, text: str) -> None:
        """Leave a word, if there is a place for it by now."""

    def read(self, key: str) -> str | None:
        """The word under a key; None: there is none yet."""


class Agreement(Protocol):
    """Which epochs get checkpoints, as one rank of several sees it."""

    def begins(self, epoch: int, decide: Callable[[], CheckpointDecision]) -> None:
        """An epoch begins; `decide` is what this rank alone would do."""

    def decision(self, epoch: int, early: bool) -> CheckpointDecision:
        """Whether an epoch gets checkpoints. `early`: its steps are still to run, and it will be asked again."""


@dataclass(slots=True)
class FirstRank:
    """Rank 0 decides, and says so before it runs the epoch."""

    board: Board
    _decided: tuple[int, CheckpointDecision] = (0, _SKIPS)

    def begins(self, epoch: int, decide: Callable[[], CheckpointDecision]) -> None:
        self._decided = epoch, decide()
        self.board.post(_key(epoch), _YES if self._decided[1].take else _NO)

    def decision(self, epoch: int, early: bool) -> CheckpointDecision:
        return self._decided[1] if self._decided[0] == epoch else _SKIPS


@dataclass(slots=True)
class OtherRank:
    """The other ranks do as rank 0 does."""

    board: Board
    _known: dict[int, str | None] = field(default_factory=dict)  # of the epoch that runs

    def begins(self, epoch: int, decide: Callable[[], CheckpointDecision]) -> None:
        self._known = {}

    def decision(self, epoch: int, early: bool) -> CheckpointDecision:
        if self._known.get(epoch) is None:
            self._known[epoch] = self.board.read(_key(epoch))
        said = self._known[epoch]
        if said is None and early:
            return _EARLY
        return _TAKES if said == _YES else _SKIPS


def _key(epoch: int) -> str:
    return f"epoch/{epoch}"
