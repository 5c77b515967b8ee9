"""The process in which a version is replayed, and the warm servers that such processes are forked from."""

from __future__ import annotations

import contextlib
import functools
import os
import platform
import re
import socket
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from multiprocessing.connection import Connection

from flor_ray.analysis.early_imports import Preload
from flor_ray.environment import data_places
from flor_ray.environment.inputs import Change
from flor_ray.environment.packages import installed
from flor_ray.environment.surroundings import Expected, accounts_missed, of_accounts, path_of
from flor_ray.errors import Cancelled, LimitExceeded, ProcessKilled, ReplayError, RestoreFailed, ScriptFailed
from flor_ray.records import Segment
from flor_ray.replaying import results
from flor_ray.replaying.causes import Evidence
from flor_ray.replaying.data import DataFinder
from flor_ray.replaying.fidelity import RecordedValues
from flor_ray.replaying.job import VersionJob
from flor_ray.replaying.limits import Watch
from flor_ray.replaying.process import ScriptError
from flor_ray.replaying.results import SegmentResult
from flor_ray.replaying.task import ReplayTask
from flor_ray.replaying.version_folder import VersionFolder
from flor_ray.replaying.warm import WarmServer, describe_status
from flor_ray.settings import FILE
from flor_ray.store.store import Store

_OUTPUT_BYTES = 4000  # of a failing script's output that go into the error
_EXIT_SECONDS = 5.0  # for a replay process to leave by itself once it has nothing to do
_POLL_SECONDS = 0.25  # between two looks whether a segment keeps its limits
_ABOUT_KEYS = re.compile(r"credential|access.?denied|forbidden|unauthorized", re.IGNORECASE)
_MAX_SERVERS = 2  # that a worker keeps: each holds the libraries of an environment in memory


class WarmServers:
    """Warm servers by environment; the one that was not used for longest makes room for another."""

    def __init__(self) -> None:
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
            server = WarmServer(wanted.environment)
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
        self, job: VersionJob, store: Store, servers: WarmServers, without_gpu: bool, claims: str, data: DataFinder
    ) -> None:
        self.job = job
        self.segments = 0  # that it was given
        self._claims = claims
        self._output_begin = 0  # where the output of the segment that runs begins
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
        except BaseException:
            self._folder.remove()
            raise

    @functools.cached_property
    def evidence(self) -> Evidence:
        """What its replays are judged by."""
        root = self.job.original_root or str(self._folder.root)
        files = self._folder.written_files
        texts, changes = self._folder.texts, self._changes
        return results.evidence(self.job.experiment, self.job.checkpoints, texts, root, files, changes=changes)

    def run(self, segment: Segment, is_cancelled: Callable[[], bool]) -> SegmentResult:
        """Replay one segment, and wait for it. `is_cancelled` is asked several times a second.

        Raises:
            Cancelled: `is_cancelled` said so.
            LimitExceeded: the segment took more than its limits allow.
            RestoreFailed: a recorded state could not be put back. The process has ended.
            ScriptFailed: the script raised an exception.
            ReplayError: the process has ended in another way.
        """
        self.segments += 1
        began, self._began = self._began or time.monotonic(), None
        watch = Watch(self.job.limits, self._process.pid, began)
        self._output_begin = self._output.stat().st_size
        try:
            self._connection.send(segment)
            while not self._connection.poll(_POLL_SECONDS):
                if self._process.wait(0) is not None and not self._connection.poll(0):
                    raise EOFError  # it has ended; something that it left behind holds the connection open
                if is_cancelled():
                    self._process.kill()
                    raise Cancelled("Another worker was faster.")
                if (sentence := watch.breach()) is not None:
                    self._process.kill()
                    raise LimitExceeded(*self._failure(sentence))
            answer = self._connection.recv()
        except (EOFError, OSError) as error:
            raise self._ended() from error
        if isinstance(answer, RestoreFailed):
            raise answer
        if isinstance(answer, ScriptError):
            notes = [f"Note: {one}." for one in (*self._unmade, *self._hints(answer))]
            message, output = self._failure("\n".join([answer.message, *notes]))
            raise ScriptFailed(message, f"{answer.trace}{output}")
        assert isinstance(answer, SegmentResult)  # the other end is ours
        warnings, self._warnings = (*self._warnings, *answer.warnings), ()
        return replace(answer, warnings=warnings)

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

    def _ended(self) -> ReplayError:
        """The process has closed its connection instead of answering."""
        status = self._process.wait(_EXIT_SECONDS)
        if status is None:
            self._process.kill()
            return ScriptFailed(*self._failure("The script closed the replay process's connection to its worker."))
        if status < 0:
            return ProcessKilled(self._failure(f"The replay process {describe_status(status)}.")[0])
        return ScriptFailed(*self._failure(f"The script's process {describe_status(status)}."))

    def _start(self, server: WarmServer) -> None:
        task = self._task()
        ours, theirs = socket.socketpair()
        with theirs, self._output.open("wb") as output:
            self._process = server.fork(output, theirs, str(self._folder.path))
        self._began = time.monotonic()
        self._connection = Connection(ours.detach())
        self._connection.send(task)

    def _task(self) -> ReplayTask:
        job, root = self.job, str(self._folder.root)
        return replace(
            ReplayTask.of(job.store_url, root, job.experiment, job.checkpoints, job.marking),
            folder=str(self._folder.path),
            files=self._folder.written_files,
            data=self._folder.data,
            newer=self._folder.made.newer,
            original_root=job.original_root or root,
            first_call=self._folder.first_call,
            compares_entry=job.compares_entry,
            sys_path=path_of(job.experiment.environment),
            leave=job.leave,
            claims=self._claims,
            account=of_accounts(os.environ) if "://" in job.store_url else {},
        )

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
        return (f"{sentence}\nIts last output:\n{text}" if text else sentence), text


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
