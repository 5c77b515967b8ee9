"""How ranks on other machines come to speak to their worker.

    worker ── Visit ──────────> RankHost, on another machine: the version's files, a process for each of its ranks
           <── a connection from each of these processes (its first bytes are a secret word and its rank)
           <── their tasks: where the files are there ── the worker sends each process its own, and then segments

A process whose connection is closed ends by itself; so does one whose host is gone. No orphan waits in a collective.
"""

from __future__ import annotations

import contextlib
import socket
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Protocol

from flor_ray.errors import ProcessKilled
from flor_ray.replaying.job import VersionJob
from flor_ray.replaying.task import ReplayTask

WORD_BYTES = 32  # of the secret
COMES_SECONDS = 30.0  # for a process that was started to be heard
RANK_FORMAT = struct.Struct("=I")


@dataclass(frozen=True, slots=True)
class Visit:
    """What another machine is asked to start."""

    job: VersionJob
    ranks: tuple[int, ...]
    meeting: tuple[str, int]  # where the worker waits for their connections
    word: bytes  # secret
    variables: Mapping[int, Mapping[str, str]]  # of each rank


class Hosts(Protocol):
    """The other machines on which a worker has room for ranks."""

    @property
    def address(self) -> str:
        """Of this machine, as the others reach it."""

    @property
    def layout(self) -> tuple[int, ...]:
        """How many ranks each machine has room for: this one first."""

    def visit(self, machine: int, visit: Visit) -> list[ReplayTask]:
        """As `RankHost.visit`, on one of the others (from 1).

        Raises:
            ProcessKilled: it is gone.
        """


def fitted(layout: Sequence[int], size: int) -> tuple[int, ...]:
    """How many ranks each machine gets of a version with so many; the first ones are filled first."""
    found = []
    for room in layout:
        taken = min(room, size)
        if taken:
            found.append(taken)
        size -= taken
    return tuple(found)


class Meeting:
    """Where a worker waits for the connections of ranks on other machines."""

    def __init__(self, address: str, word: bytes) -> None:
        assert len(word) == WORD_BYTES
        self.word = word
        self._socket = socket.create_server((address, 0))
        self._socket.settimeout(COMES_SECONDS)
        self.place: tuple[str, int] = (address, self._socket.getsockname()[1])

    def received(self, ranks: Sequence[int]) -> dict[int, Connection]:
        """The connections of these ranks, which have been made by now.

        Raises:
            ProcessKilled: one of them has not.
        """
        found: dict[int, Connection] = {}
        while set(ranks) - found.keys():
            try:
                came, _ = self._socket.accept()
            except TimeoutError as error:
                lacking = sorted(set(ranks) - found.keys())
                raise ProcessKilled(f"Rank {lacking[0]} was started on another machine, and not heard of.") from error
            came.settimeout(COMES_SECONDS)
            said = _read(came, WORD_BYTES + RANK_FORMAT.size)
            if said[:WORD_BYTES] != self.word:  # a stranger
                came.close()
                continue
            came.settimeout(None)
            (rank,) = RANK_FORMAT.unpack(said[WORD_BYTES:])
            found[rank] = Connection(came.detach())
        return found

    def close(self) -> None:
        """Let nobody come any more."""
        self._socket.close()


def _read(connection: socket.socket, count: int) -> bytes:
    """So many bytes, or fewer from who leaves or is silent."""
    data = b""
    with contextlib.suppress(OSError):
        while len(data) < count and (more := connection.recv(count - len(data))):
            data += more
    return data


@contextlib.contextmanager
def meeting(address: str, word: bytes) -> Iterator[Meeting]:
    """A meeting, for as long as ranks are being started."""
    found = Meeting(address, word)
    try:
        yield found
    finally:
        found.close()
