"""The process in which a version is replayed, and the warm servers that such processes are forked from."""

from __future__ import annotations

import contextlib
import functools
import os
import platform
import re
import secrets
import signal
import socket
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from multiprocessing.connection import Connection
from typing import IO

from flor_ray import processes
from flor_ray.analysis.early_imports import Preload
from flor_ray.environment import data_places
from flor_ray.environment.inputs import Change
from flor_ray.environment.packages import installed
from flor_ray.environment.surroundings import Expected, accounts_missed, of_accounts
from flor_ray.errors import Cancelled, MemoryShort, ProcessKilled, ReplayError, RestoreFailed, ScriptFailed, StoreAway
from flor_ray.records import Launch, Segment
from flor_ray.replaying import leftovers, results, whereabouts
from flor_ray.replaying.causes import Evidence
from flor_ray.replaying.claims import Claims
from flor_ray.replaying.data import DataFinder
from flor_ray.replaying.fidelity import RecordedValues
from flor_ray.replaying.job import VersionJob
from flor_ray.replaying.limits import Breach, Watch
from flor_ray.replaying.meeting import WORD_BYTES, Hosts, Visit, fitted, meeting
from flor_ray.replaying.output_log import OutputLog
from flor_ray.replaying.process import ScriptError
from flor_ray.replaying.rank_group import Member, RankGroup, free_port
from flor_ray.replaying.rank_places import variables
from flor_ray.replaying.rank_tasks import tasks_for
from flor_ray.replaying.results import SegmentResult
from flor_ray.replaying.version_folder import VersionFolder
from flor_ray.replaying.warm import WarmProcess, WarmServer, describe_status
from flor_ray.settings import FILE
from flor_ray.store.store import Store
from flor_ray.wording import place

_OUTPUT_BYTES = 4000  # of a failing script's output that go into the error
_EXIT_SECONDS = 5.0  # for a replay process to leave by itself once it has nothing to do
_POLL_SECONDS = 0.25  # between two looks whether a segment keeps its limits
_KILLED_FOR_MEMORY = (
    "The kernel has killed a process meanwhile, since this machine had no memory left, and most likely it was the "
    "script's. Have fewer workers on one machine (memory: in flor.yaml, or --workers), or larger machines."
)
_ABOUT_KEYS = re.compile(r"credential|access.?denied|forbidden|unauthorized", re.IGNORECASE)
_LOOPBACK = "127.0.0.1"
_MAX_SERVERS = 2  # that a worker keeps: each holds the libraries of an environment in memory


class WarmServers:
    """Warm servers by environment; the one that was not used for longest makes room for another. `folder` is removed
    by them when this process is killed."""

    def __init__(self, folder: str = "") -> None:
        self._folder = folder
        self._by_environment: dict[frozenset[tuple[str, str]], WarmServer] = {}  # least recently used first
        self.seconds = 0.0  # that `prepared` took since this was last set to 0

    def prepared(self, wanted: Preload) -> WarmServer:
        """A server with the environment and the imports that are wanted."""
        began = time.perf_counter()
        key = frozenset(wanted.environment.items())
        server = self._by_environment.pop(key, None)
        if server is not None and not server.alive:
            server.close()
            server = None
        if server is None:
            while len(self._by_environment) >= _MAX_SERVERS:
                self._by_environment.pop(next(iter(self._by_environment))).close()
            server = WarmServer(wanted.environment, self._folder)
        self._by_environment[key] = server
        server.preload(wanted)
        self.seconds += time.perf_counter() - began
        return server

    def close(self) -> None:
        """End all servers. Processes that were forked from them end too."""
        for server in self._by_environment.values():
            server.close()
        self._by_environment.clear()


class VersionProcess:
    """A version's script in a process of its own, in a folder of its own."""

    def __init__(
        self,
        job: VersionJob,
        store: Store,
        servers: WarmServers,
        without_gpu: bool,
        claims: Claims,
        data: DataFinder,
        log: OutputLog,
        waited: Callable[[], float] = lambda: 0.0,
        hosts: Hosts | None = None,
    ) -> None:
        self.job, self._log = job, log
        self._waited = waited  # seconds for a store that was away
        self.segments = 0  # that it was given
        self._claims, self._without_gpu, self._hosts = claims, without_gpu, hosts
        self._process: WarmProcess | RankGroup
        self._connection: Connection | RankGroup
        self._output_begin = 0  # where the output of the segment that runs begins
        self._longest_seconds = 0.0  # that a step has taken
        self._began: float | None = None  # of the first segment, whose time includes the set-up; None once it has run
        located = data.find(job, store) if job.original_root else None
        self._changes = None if located is None else data_places.differences(located)
        self._warnings = (*_surprises(job.expected), *_unsure(self._changes or ()))  # told with the first segment
        self.recorded = RecordedValues.read(store, job.experiment.project, job.experiment.version)
        self._folder = VersionFolder(job, store, located or ())
        self._unmade = _unmade_links(self._folder.made.unmade)
        self._warnings += self._unmade
        missed = accounts_missed(job.experiment.environment, job.secrets)
        self._warnings += (_withheld(missed, "the run read {}"),) if missed else ()
        self._output = self._folder.path / "output.txt"
        try:
            self._start(servers.prepared(self._folder.preload(without_gpu)))
        except BaseException as error:
            abandoned = isinstance(error, FileNotFoundError) and not self._folder.path.exists()
            self._folder.remove()
            if abandoned or isinstance(error, BrokenPipeError | ConnectionResetError):  # before it was told its task
                who = "its server" if abandoned else "it"
                raise ProcessKilled(f"The replay process has ended: {who} was killed.") from error
            raise

    @functools.cached_property
    def evidence(self) -> Evidence:
        """What its replays are judged by."""
        root = self.job.original_root or str(self._folder.root)
        files = self._folder.written_files
        texts, changes = self._folder.texts, self._changes
        return results.evidence(self.job.experiment, self.job.checkpoints, texts, root, files, changes=changes)

    def run(
        self, segment: Segment, is_cancelled: Callable[[], bool], keep: Callable[[SegmentResult], None]
    ) -> SegmentResult:
        """Replay one segment, and wait for it; what is returned is all of it, or what follows the parts that `keep` was
        given meanwhile. `is_cancelled` is asked several times a second.

        Raises:
            Cancelled: `is_cancelled` said so.
            LimitExceeded: the segment took more than its limits allow.
            SegmentHung: its script did not go on for far longer than it should take.
            RestoreFailed: a recorded state could not be put back. The process has ended.
            ScriptFailed: the script raised an exception.
            ReplayError: the process has ended in another way.
        """
        self.segments += 1
        began, self._began = self._began or time.monotonic(), None
        watch = Watch(self.job.limits, self._process.pids, began, self._longest_seconds, self._waited)
        kills = processes.kills_for_memory()
        try:
            self._output_begin = self._output.stat().st_size
            self._log.begins(segment, self._output)
        except FileNotFoundError as error:  # its server was killed: then it removes its folder, and ends
            raise self._ended(False) from error
        try:
            self._connection.send(segment)
        except OSError as error:
            raise self._ended(processes.kills_for_memory() > kills) from error
        while (result := self._answer(segment, watch, kills, is_cancelled)).goes_on:
            keep(result)
        return result

    def _answer(self, segment: Segment, watch: Watch, kills: int, is_cancelled: Callable[[], bool]) -> SegmentResult:
        """The next that the process says of its segment. `kills` for want of memory were counted before it ran."""
        try:
            while not self._connection.poll(_POLL_SECONDS):
                if self._process.wait(0) is not None and not self._connection.poll(0):
                    raise EOFError  # it has ended; something that it left behind holds the connection open
                self._log.follow()
                if self._log.begin_again():
                    self._output_begin = 0
                if is_cancelled():
                    self._process.kill()
                    raise Cancelled("Another worker was faster.")
                if (breach := watch.breach(self._claims.claimed)) is not None:
                    raise self._put_down(segment, breach)
            answer = self._connection.recv()
            watch.ends()
            self._log.copy()
            self._longest_seconds = watch.longest_seconds
        except (EOFError, OSError) as error:
            raise self._ended(processes.kills_for_memory() > kills) from error
        if isinstance(answer, RestoreFailed | StoreAway):
            raise answer
        if isinstance(answer, ScriptError):
            notes = [f"Note: {one}." for one in (*self._unmade, *self._hints(answer))]
            message, output = self._failure("\n".join([answer.message, *notes]))
            if processes.kills_for_memory() > kills:  # one that the script had started, as it seems
                raise MemoryShort(f"{_KILLED_FOR_MEMORY} {message}", output)
            raise ScriptFailed(message, f"{answer.trace}{output}")
        assert isinstance(answer, SegmentResult)  # the other end is ours
        warnings, self._warnings = (*self._warnings, *answer.warnings), ()
        return replace(answer, warnings=warnings)

    def place(self, epoch: int) -> str:
        """Where the script is in this epoch; "" while that takes no longer than it should."""
        return whereabouts.place(self._folder.path, epoch)

    def _put_down(self, segment: Segment, breach: Breach) -> ReplayError:
        """End the process, and say why; of one that hangs also where it is."""
        told, at = "", ""
        if breach.hangs:
            told, at = whereabouts.stack(self._process.pids[0], self._folder.path, self._folder.root)
        self._process.kill()
        where = f"{place(segment).capitalize()}{f', at {at}' if at else ''}. " if breach.hangs else ""
        message, output = self._failure(f"{where}{breach.sentence}" + (f"\nIts stack:\n{told}" if told else ""))
        return breach.error(message, output)

    def close(self) -> None:
        """End the process, by force if it does not leave by itself, and remove its folder."""
        with contextlib.suppress(OSError):  # it has ended by itself
            self._connection.send(None)
        self._connection.close()
        with contextlib.suppress(ProcessKilled):  # its server has ended, and it with that
            if self._process.wait(_EXIT_SECONDS) is None:
                self._process.kill()
                self._process.wait(_EXIT_SECONDS)
        self._folder.remove()

    def _ended(self, killed_for_memory: bool) -> ReplayError:
        """The process has closed its connection instead of answering."""
        status = self._process.wait(_EXIT_SECONDS)
        if status is None:
            self._process.kill()
            return ScriptFailed(*self._failure("The script closed the replay process's connection to its worker."))
        if status == -signal.SIGKILL and killed_for_memory:
            return MemoryShort(*self._failure(_KILLED_FOR_MEMORY))
        if status < 0:
            return ProcessKilled(self._failure(f"The replay process {describe_status(status)}.")[0])
        return ScriptFailed(*self._failure(f"The script's process {describe_status(status)}."))

    def _start(self, server: WarmServer) -> None:
        launch = self.job.launch
        if launch is not None:
            self._process = self._connection = self._ranks(server, launch)
        else:
            with self._output.open("ab") as output:  # which may be emptied while the script prints
                self._process, self._connection = self._forked(server, output)
            self._began = time.monotonic()
            (task,) = tasks_for(self.job, self._folder, str(self._claims.path))
            self._connection.send(task)
        for pid in self._process.pids:
            leftovers.note_process(self._folder.path, pid)

    def _forked(self, server: WarmServer, output: IO[bytes]) -> tuple[WarmProcess, Connection]:
        ours, theirs = socket.socketpair()
        with theirs:
            return server.fork(output, theirs, str(self._folder.path)), Connection(ours.detach())

    def _ranks(self, server: WarmServer, launch: Launch) -> RankGroup:
        """All ranks, of which the first are on this machine."""
        layout = (launch.size,) if self._hosts is None else fitted(self._hosts.layout, launch.size)
        address = _LOOPBACK if self._hosts is None or len(layout) == 1 else self._hosts.address
        files = {*launch.exchanged, *(path for part in self.job.parts for path in part.record.exchanged)}
        if files and len(layout) > 1:
            raise ReplayError(
                f"Its ranks exchanged files ({', '.join(sorted(files)[:3])}), which they cannot from machine to "
                f"machine: it needs a machine with room for all {launch.size} of them."
            )
        port, gpus = free_port(), not self._without_gpu
        told = {rank: variables(launch, rank, layout, address, port, gpus) for rank in range(launch.size)}
        here = range(layout[0])
        with self._output.open("ab") as output:
            forked = [self._forked(server, output) for _ in here]
        self._began = time.monotonic()
        members = [Member(rank, *each[::-1]) for rank, each in zip(here, forked, strict=True)]
        tasks = tasks_for(self.job, self._folder, str(self._claims.path), here, told)
        try:
            for member, task in zip(members, tasks, strict=True):
                member.connection.send(task)
            if self._hosts is not None and len(layout) > 1:
                members += self._elsewhere(self._hosts, layout, told)
        except BaseException:
            RankGroup(members).kill()
            raise
        return RankGroup(members)

    def _elsewhere(
        self, hosts: Hosts, layout: Sequence[int], told: Mapping[int, Mapping[str, str]]
    ) -> Iterator[Member]:
        """The ranks on other machines."""
        begin = layout[0]
        with meeting(hosts.address, secrets.token_bytes(WORD_BYTES)) as place:
            for machine, count in enumerate(layout[1:], start=1):
                ranks = tuple(range(begin, begin + count))
                its = {rank: told[rank] for rank in ranks}
                tasks = hosts.visit(machine, Visit(self.job, ranks, place.place, place.word, its))
                connections = place.received(ranks)
                for rank, task in zip(ranks, tasks, strict=True):
                    connections[rank].send(task)
                    yield Member(rank, connections[rank], None)
                begin += count

    def _hints(self, error: ScriptError) -> tuple[str, ...]:
        """What the script may have lacked, if it failed for want of it."""
        withheld = of_accounts(os.environ).keys() - {*self.job.secrets}
        said = f"{error.message}\n{error.trace}"
        found = sorted(withheld if _ABOUT_KEYS.search(said) else {name for name in withheld if name in said})
        return (_withheld(found, "this worker has {}"),) if found else ()

    def _failure(self, sentence: str) -> tuple[str, str]:
        """A message that ends with the segment's last output, or the last of all if it has none; and that output."""
        try:
            with self._output.open("rb") as file:
                end = file.seek(0, os.SEEK_END)
                begin = self._output_begin if end > self._output_begin else 0
                file.seek(max(begin, end - _OUTPUT_BYTES))
                text = file.read().decode(errors="replace").strip()
        except OSError:  # the script has removed it
            text = ""
        kept = self._log.kept()
        return (f"{sentence}\nIts last output:\n{text}\n(All of it is in {kept}.)" if text else sentence), text


def _withheld(names: Sequence[str], sentence: str) -> str:
    listed = ", ".join(names)
    return (
        f"{sentence.format(listed)}, which scripts do not get when they are replayed: name what they need under "
        f"`secrets` in {FILE}"
    )


def _unmade_links(unmade: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(
        f"its link {name!r} leads out of the version's folder, to {target!r:.200}, and was not made here: who "
        "writes the store could let it lead anywhere. Where that place is meant, have a link to it in your project's "
        "folder, and replay again"
        for name, target in sorted(unmade.items())
    )


def _unsure(changes: Iterable[Change]) -> tuple[str, ...]:
    """Of large files, all of which nobody has compared."""
    host = socket.gethostname()
    return tuple(
        f"{change} since it was recorded (on {host}): replayed values may differ"
        for change in changes
        if not change.surely
    )


def _surprises(expected: Expected) -> tuple[str, ...]:
    """What the driver did not know of this environment when it said how a version's was another one."""
    unlike = expected.unlike(platform.python_version(), installed())
    if not unlike:
        return ()
    return (f"the worker on {socket.gethostname()} that replayed it has {unlike}: replayed values may differ",)
