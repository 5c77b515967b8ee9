"""Warm processes: a server that has imported what versions import, and forks a replay process from itself when asked.

    worker ── Import ──────────────────────> server      (imports, and says what that brought along)
           ── Fork, output, connection ────>   │ fork
           ── Segment ... over the connection ─┴> process of a version: replaying.serve

A fork takes a tenth of a second where `import torch` alone takes three. A process that has touched a GPU, or that runs
threads of Python, is never forked: a module that does so when it is imported is left to the scripts, and the server
begins again without it.

multiprocessing.forkserver has one server per process, whose environment is that process's; versions differ in theirs.
It would import a Ray worker's `__main__`, and its children have no output, exit status and process group of their own.
"""

from __future__ import annotations

import contextlib
import fcntl
import gc
import importlib
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import IO, Any, NoReturn, Self

from flor_ray import processes
from flor_ray.analysis.early_imports import NOT_EARLY, Import, Preload
from flor_ray.errors import ProcessKilled
from flor_ray.replaying import leftovers
from flor_ray.replaying.sandbox import overlay
from flor_ray.wording import ended

_SERVER = "import sys; from flor_ray.replaying import warm; warm.serve_forks(int(sys.argv[1]), sys.argv[2])"
_START_SECONDS = 120.0  # for a server to start, on a busy machine with a slow disk
_IMPORT_SECONDS = 300.0  # for one import; what takes longer is left to the script, and to its time limit
_EXIT_SECONDS = 5.0  # for a server to leave by itself
_REAP_SECONDS = 0.01  # between two looks whether a process has ended, while somebody waits for that
_OUTPUT_BYTES = 2000  # of what a server printed before it ended, in the error


@dataclass(frozen=True, slots=True)
class _Fork:
    """A request; the descriptors of the new process's output and of its connection follow it."""

    folder: str  # removed when the process has outlived the client


@dataclass(frozen=True, slots=True)
class _Wait:
    process: int
    seconds: float


@dataclass(frozen=True, slots=True)
class _WarmImport:
    """What became of an import."""

    modules: frozenset[str]  # top-level modules that are there now, and were not before
    error: str = ""
    unforkable: str = ""  # why the server must not fork any more


class WarmServer:
    """The client's end. `environment` is that of the server and all processes forked from it; when the client is
    killed the server removes its `folder`. For one thread only."""

    def __init__(self, environment: Mapping[str, str], folder: str = "") -> None:
        self._environment, self._folder = dict(environment), folder
        self._imported: list[Import] = []
        self._modules: set[str] = set()  # top-level modules that the imports have brought along
        self._left: dict[Import, tuple[frozenset[str], str]] = {}  # not imported: modules that were in the way, and why
        self._failed: dict[Import, str] = {}
        self._start()

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences on what is not imported early, and why."""
        left = (f"{one} is imported by the scripts themselves: {why}." for one, (_, why) in self._left.items())
        return (*left, *(f"{one} could not be imported early: {ended(why)}" for one, why in self._failed.items()))

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def preload(self, wanted: Preload) -> None:
        """Import what is wanted, and be free of what is to be avoided. No process of this server may be alive.

        Raises:
            ProcessKilled: the server has ended.
        """
        if self._modules & wanted.avoid:
            self._restart()
        pending = [one for one in wanted.imports if one not in self._imported and not self._leaves(one, wanted.avoid)]
        while pending:
            one = pending.pop(0)
            reason = self._import(one, wanted.avoid)
            if reason is not None:
                self._left[one] = reason
                pending = [other for other in (*self._imported, *pending) if not self._leaves(other, wanted.avoid)]
                self._restart()

    def fork(self, output: IO[bytes], connection: socket.socket, folder: str) -> WarmProcess:
        """A process that runs `replaying.serve(connection)` and prints to `output`, in a process group of its own.

        When the client is gone the server kills that group and removes `folder`.

        Raises:
            ProcessKilled: the server has ended.
        """
        return WarmProcess(self, self._ask(_Fork(folder), _START_SECONDS, [output.fileno(), connection.fileno()]))

    def close(self) -> None:
        """End the server, and whatever runs in the process groups of its processes."""
        with contextlib.suppress(OSError):  # it has ended
            self._connection.send(None)
        self._connection.close()
        self._socket.close()
        self._status()
        self._output.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def wait(self, process: int, seconds: float) -> int | None:
        """Exit status of a process once it has ended, negative for a signal; None if it has not within the time."""
        status: int | None = self._ask(_Wait(process, seconds), seconds + _START_SECONDS)
        return status

    def _start(self) -> None:
        ours, theirs = socket.socketpair()
        self._output = tempfile.TemporaryFile()  # noqa: SIM115 - closed by close
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-c", _SERVER, str(theirs.fileno()), self._folder],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=self._output,
                stderr=subprocess.STDOUT,
                cwd="/",  # holds no modules, unlike folders of users
                env=self._environment,
                start_new_session=True,  # Ctrl-C in the terminal is for the client, which then cleans up
            )
        self._socket = ours
        self._connection = Connection(os.dup(ours.fileno()))
        try:
            self._answer(_START_SECONDS)
        except ProcessKilled:
            self.close()
            raise

    def _restart(self) -> None:
        self.close()
        self._imported.clear()
        self._modules.clear()
        self._start()

    def _leaves(self, wanted: Import, avoid: frozenset[str]) -> bool:
        """Whether an import is left to the script: always, or since this version has the name of what it brings."""
        parts = wanted.module.split(".")
        packages = [Import(".".join(parts[:count])) for count in range(1, len(parts) + 1)]
        found = [self._left[one][0] for one in (wanted, *packages) if one in self._left]
        return any(not in_the_way or in_the_way & avoid for in_the_way in found)

    def _import(self, wanted: Import, avoid: frozenset[str]) -> tuple[frozenset[str], str] | None:
        """Import something. Answers why the server has to begin again without it: the modules in the way, and words."""
        try:
            answer: _WarmImport = self._ask(wanted, _IMPORT_SECONDS)
        except ProcessKilled as killed:
            return frozenset(), f"importing it ended the server, or took over {_IMPORT_SECONDS:.0f} s ({killed})"
        if answer.unforkable:
            return frozenset(), answer.unforkable
        for name in sorted(answer.modules & NOT_EARLY.keys()):
            return frozenset(), f"it imports {name}, and {NOT_EARLY[name]}"
        if in_the_way := answer.modules & avoid:
            names = ", ".join(sorted(in_the_way))
            return in_the_way, f"it imports {names}, a name that a version's own files have, or that it imports later"
        if answer.error:
            self._failed[wanted] = answer.error
        self._left.pop(wanted, None)  # it was in the way of another version
        self._imported.append(wanted)
        self._modules |= answer.modules
        return None

    def _ask(self, request: Import | _Fork | _Wait, seconds: float, descriptors: Sequence[int] = ()) -> Any:
        try:
            self._connection.send(request)
            if descriptors:
                socket.send_fds(self._socket, [b"f"], descriptors)
        except OSError as error:
            raise self._ended() from error
        return self._answer(seconds)

    def _answer(self, seconds: float) -> Any:
        try:
            if self._connection.poll(seconds):
                return self._connection.recv()
        except (EOFError, OSError) as error:
            raise self._ended() from error
        self._process.kill()
        raise self._ended()

    def _status(self) -> int:
        try:
            return self._process.wait(_EXIT_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()

    def _ended(self) -> ProcessKilled:
        status = self._status()
        self._output.seek(max(0, self._output.seek(0, os.SEEK_END) - _OUTPUT_BYTES))
        text = self._output.read().decode(errors="replace").strip()
        said = f" Its last output:\n{text}" if text else ""
        return ProcessKilled(f"The process that replays are forked from {describe_status(status)}.{said}")


@dataclass(slots=True)
class WarmProcess:
    """A process that was forked for a version; its process group has its id."""

    server: WarmServer
    pid: int
    status: int | None = None  # how it ended

    def wait(self, seconds: float) -> int | None:
        """Exit status, negative for a signal; None if it is still running after so many seconds.

        When it has ended, the rest of its process group is killed; so is all of it when the server has ended.

        Raises:
            ProcessKilled: the server has ended.
        """
        if self.status is None:
            try:
                self.status = self.server.wait(self.pid, seconds)
            except ProcessKilled:
                self.kill()
                raise
        return self.status

    @property
    def pids(self) -> tuple[int, ...]:
        """Ids of process groups: its own."""
        return (self.pid,)

    def kill(self) -> None:
        """Kill its process group."""
        if self.status is None:  # afterwards its id may be another process's
            _kill_group(self.pid)


def describe_status(status: int) -> str:
    """How a process ended, for messages: its exit status, negative for a signal."""
    return f"was killed by {signal.Signals(-status).name}" if status < 0 else f"ended with exit status {status}"


# --- the server's process -------------------------------------------------------------------------------------------


def serve_forks(descriptor: int, folder: str) -> NoReturn:
    """Body of a server: answer requests until the client wants no more or is gone, then end with all processes that
    were forked. `folder` is the client's, for whom it is removed in the second case."""
    if sys.path[0] == "":
        sys.path[0] = os.devnull  # a script's folder takes this place; until then nothing is found here
    importlib.import_module("flor_ray.replaying.process")
    processes.age_seconds()  # imports what it asks: each fork asks it first
    gc.freeze()  # what is there now is never collected, so that forks go on sharing its memory
    server = _Server(socket.socket(fileno=descriptor), Connection(os.dup(descriptor)))
    try:
        server.connection.send(None)
        while (request := server.connection.recv()) is not None:
            server.answer(request)
    except (EOFError, ConnectionError):  # the client is gone
        server.end(folder)
    server.end()


@dataclass(slots=True)
class _Server:
    socket: socket.socket
    connection: Connection
    folders: dict[int, str] = field(default_factory=dict)  # of processes that have not been waited for

    def answer(self, request: Import | _Fork | _Wait) -> None:
        if isinstance(request, Import):
            with self._ends_with_client():
                imported = _import(request)
            self.connection.send(imported)
        elif isinstance(request, _Wait):
            self.connection.send(self._wait(request))
        else:
            _, (output, connection), _, _ = socket.recv_fds(self.socket, 1, 2)
            self.connection.send(self._fork(request, output, connection))

    def end(self, clients: str = "") -> NoReturn:
        for process in self.folders:
            _kill_group(process)
        for folder in filter(None, (*self.folders.values(), clients)):
            leftovers.remove(folder)
        os._exit(0)

    @contextlib.contextmanager
    def _ends_with_client(self) -> Iterator[None]:
        """Meanwhile nobody looks whether the client is there, and an import may hang: the kernel ends this process when
        it closes its end, since nobody handles the signal. (A thread would keep this process from being forked.)"""
        before = fcntl.fcntl(self.socket, fcntl.F_GETFL)
        fcntl.fcntl(self.socket, fcntl.F_SETOWN, os.getpid())
        fcntl.fcntl(self.socket, fcntl.F_SETFL, before | os.O_ASYNC)
        try:
            yield
        finally:
            fcntl.fcntl(self.socket, fcntl.F_SETFL, before)

    def _fork(self, request: _Fork, output: int, connection: int) -> int:
        sys.stdout.flush()
        sys.stderr.flush()
        ready, tell = os.pipe()
        with warnings.catch_warnings():  # libraries for linear algebra have threads, and look after them in a fork
            warnings.simplefilter("ignore", DeprecationWarning)
            process = os.fork()
        if process == 0:
            self._become(output, connection, (ready, tell))
        os.close(tell)
        os.read(ready, 1)  # returns when the process has its own group, which can be killed from then on
        for descriptor in (ready, output, connection):
            os.close(descriptor)
        self.folders[process] = request.folder
        return process

    def _become(self, output: int, connection: int, pipe: tuple[int, int]) -> NoReturn:
        """In the forked process: leave nothing of the server but its imports, and serve segments."""
        try:
            os.setsid()
            os.dup2(output, 1)
            os.dup2(output, 2)
            os.set_inheritable(connection, False)  # programs that the script runs must not hold it open
            for descriptor in (*pipe, output):
                os.close(descriptor)
            self.connection.close()
            self.socket.close()
            _draw_seeds()
            sys.modules["flor_ray.replaying.process"].serve(Connection(connection))
        except BaseException:  # noqa: BLE001 - its worker sees that it ended, and shows its output
            traceback.print_exc()
        finally:
            os._exit(1)

    def _wait(self, request: _Wait) -> int | None:
        deadline = time.monotonic() + request.seconds
        while True:
            process, status = os.waitpid(request.process, os.WNOHANG)
            if process:
                _kill_group(process)  # what it started and left behind
                self.folders.pop(process, None)
                return os.waitstatus_to_exitcode(status)
            left = deadline - time.monotonic()
            if left <= 0 or select.select([self.socket], [], [], min(left, _REAP_SECONDS))[0]:  # the client is gone
                return None


def _import(wanted: Import) -> _WarmImport:
    modules, threads = _top_level_modules(), set(threading.enumerate())
    error = ""
    try:
        module = importlib.import_module(wanted.module)
        if wanted.name and not hasattr(module, wanted.name):
            importlib.import_module(f"{wanted.module}.{wanted.name}")
    except BaseException as failure:  # noqa: BLE001 - the script will meet it too, and say so
        error = f"{type(failure).__name__}: {failure}"
    overlay.prepare()
    gc.freeze()
    new_threads = sorted(thread.name for thread in set(threading.enumerate()) - threads)
    return _WarmImport(frozenset(_top_level_modules() - modules), error, _unforkable(new_threads))


def _top_level_modules() -> set[str]:
    return {name.partition(".")[0] for name in sys.modules}


def _unforkable(threads: Sequence[str]) -> str:
    """Why this process must not be forked after an import that started `threads`; "" if it may be."""
    torch = sys.modules.get("torch")
    if torch is not None and hasattr(torch, "cuda") and torch.cuda.is_initialized():
        return "importing it initialises CUDA, which a forked process cannot use"
    if device := next((path for path in _open_files() if path.startswith("/dev/nvidia")), None):
        return f"importing it opens a GPU ({device}), which a forked process cannot use"
    if threads:
        return f"importing it starts threads ({', '.join(threads)}), which a forked process does not have"
    return ""


def _open_files() -> Sequence[str]:
    found = []
    with contextlib.suppress(FileNotFoundError):  # no /proc, or a file that was closed meanwhile
        for name in os.listdir("/proc/self/fd"):
            with contextlib.suppress(FileNotFoundError):
                found.append(os.readlink(f"/proc/self/fd/{name}"))
    return found


def _draw_seeds() -> None:
    """Seeds of its own for a forked process, as a fresh one draws them; Python's generator does that by itself."""
    numpy, torch = sys.modules.get("numpy"), sys.modules.get("torch")
    if numpy is not None and hasattr(numpy, "random"):
        numpy.random.seed()
    if torch is not None and hasattr(torch, "default_generator"):
        torch.default_generator.seed()


def _kill_group(process: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process, signal.SIGKILL)
