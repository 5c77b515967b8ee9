"""Replaying: the same four calls as in recording, in a process that runs one patched version. No Ray here.

    worker ── ReplayTask, Segment ──> PipeChannel ──> Replayer ── epochs ──> PipeChannel ── SegmentResult ──> worker

The script runs from its top, in the folder and the random state in which it was recorded, with marks around the
statements that were added (`marked_code`). It stays at its main loop for as long as there are segments, so data
preparation is paid once per process.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import sys
import threading
import time
import traceback
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NoReturn

from flor_ray import processes
from flor_ray.analysis.source import calls_checkpointing
from flor_ray.environment.surroundings import replayed_path
from flor_ray.errors import ReplayError, RestoreFailed, StoreAway
from flor_ray.recording import script as scripts
from flor_ray.recording import session
from flor_ray.recording.launch import RAY_TRAIN
from flor_ray.records import Segment
from flor_ray.redaction import restored
from flor_ray.replaying import leftovers, marked_code, train_ranks, trainers
from flor_ray.replaying.claims import Claims
from flor_ray.replaying.replayer import Replayer
from flor_ray.replaying.results import SegmentResult
from flor_ray.replaying.sandbox import overlay
from flor_ray.replaying.sandbox.laid_files import LaidFiles
from flor_ray.replaying.task import Channel, ReplayTask
from flor_ray.replaying.whereabouts import Lookout
from flor_ray.settings import FILE
from flor_ray.store import cache
from flor_ray.store.files import Files
from flor_ray.store.objects import Objects
from flor_ray.store.outages import Patience

_PARENT_SECONDS = 1.0  # how often a replay process looks whether its worker is still there


@dataclass(slots=True)
class PipeChannel:
    """The channel to a worker in another process. If that is gone, this process has nothing left to do."""

    connection: Connection
    task: ReplayTask
    claims: Claims | None
    lookout: Lookout

    def claim(self, epoch: int) -> bool:
        is_ours = self.claims is None or self.claims.claim(epoch)
        if is_ours:
            self.lookout.begins(epoch)
        return is_ours

    @property
    def last(self) -> int | None:
        return None if self.claims is None else self.claims.last

    def next(self) -> Segment | None:
        self.lookout.rests()
        try:
            segment: Segment | None = self.connection.recv()
        except (EOFError, OSError):
            _abandon(self.task, self.connection.fileno())
        self.lookout.begins(0)
        return segment

    def waits(self, begins: bool) -> None:
        if self.claims is not None:
            self.claims.waits(begins)
        self.lookout.waits(begins)

    def done(self, result: SegmentResult | ScriptError | RestoreFailed | StoreAway) -> None:
        try:
            self.connection.send(result)
        except OSError:
            _abandon(self.task, self.connection.fileno())

    def failed(self, error: RestoreFailed | StoreAway) -> None:
        self.done(error)
        _end(1)


@dataclass(frozen=True, slots=True)
class ScriptError:
    """What a replay process sends instead of a result when its script, or the replay of it, fails."""

    message: str
    trace: str
    at: float = 0.0  # unix seconds


def serve(given: Connection) -> None:
    """Body of a replay process: receive a ReplayTask, run its script, and answer its segments until there are none."""
    started = scripts.process_started()
    with processes.out_of_reach(), given:
        connection = Connection(os.dup(given.fileno()))
        task: ReplayTask = connection.recv()
        lookout = Lookout(task.folder, task.root, task.late_seconds)
        claims = None if task.claims is None else Claims(task.claims)
    lookout.begins(0)
    watched = os.getppid(), connection.fileno(), task, lookout
    # It takes signals: the one that asks where a script hangs, whose own threads may let none in, is for this one too.
    threading.Thread(target=_look_after, args=watched, name="flor-lookout", daemon=True).start()
    os.environ.update(task.variables)
    channel = PipeChannel(connection, task, claims, lookout)
    try:
        run_script(task, channel, started)
    except StoreAway as error:
        channel.failed(error)
    except BaseException as error:  # noqa: BLE001 - whatever the script raised is the answer
        channel.done(ScriptError(f"{type(error).__name__}: {error}".strip(), traceback.format_exc(), time.time()))
        _end(1)
    os._exit(0)


def run_script(task: ReplayTask, channel: Channel, started: float) -> None:
    """Run a version's script under a Replayer. Most often this does not return: the process ends with its segments."""
    patience = Patience(task.outage_seconds, lambda error: channel.waits(error is not None))
    files = Files(task.store_url, account=task.account, patience=patience)
    task = replace(task, account={})  # not for the script
    objects = Objects(files)
    installed = overlay.install(Path(task.root), Path(task.original_root), _kept(files), Path(task.folder), task.data)
    laid = LaidFiles(installed.layers, task.files, task.newer, objects.get)
    laid.lay()
    script = Path(task.root, task.script)
    os.chdir(Path(task.root, task.cwd))
    sys.argv = [str(script) if task.module else os.path.relpath(script), *_command_line(task)]
    sys.path[0] = os.getcwd() if task.module else str(script.parent)
    sys.path[:] = replayed_path(sys.path, task.sys_path, Path(task.root))
    waits = calls_checkpointing(script.read_text(errors="replace"))
    replayer = Replayer(task, channel, objects, waits, started, marked=True, files=laid)
    session.install(replayer)
    replayer.watch_seeding()
    if task.adopted:
        trainers.stand_in(task.adopted, task.epochs, replayer, script.read_text(errors="replace"))
    marks = {str(Path(task.root, path)): found for path, found in task.marks.items()}
    if task.launch is not None and task.launch.launcher == RAY_TRAIN:
        inserted = {path: found.hindsight for path, found in marks.items()}
        train_ranks.stand_in(task.launch, Path(task.root), Path(task.folder), inserted, replayer.warn)
    try:
        marked_code.run_main(script, marks, replayer.marks, task.module)
    except SystemExit as leaving:
        if leaving.code not in (None, 0):
            raise ReplayError(f"the script called sys.exit({leaving.code!r})") from leaving
    except Exception as error:
        if isinstance(error, FileNotFoundError) and isinstance(error.filename, str):
            laid.missed(os.path.abspath(error.filename))
        if not replayer.may_end_with(error):
            raise
    replayer.script_ended()


def _command_line(task: ReplayTask) -> list[str]:
    """The words that followed the script's name, with the secrets that this process's environment has."""
    words, lacking = restored(task.argv, task.hidden_argv, os.environ)
    if lacking:
        raise ReplayError(
            f"This version was started with secrets in its command line ({' '.join(task.argv)}), which are not "
            f"recorded. Set {', '.join(lacking)} in the environment of the workers, and replay it again. (Variables of "
            f"accounts, such as AWS_*, have to be named under `secrets` in {FILE} too.)"
        )
    return words


def _kept(files: Files) -> list[str]:
    """Folders that this process itself reads and fills: a local store, and the cache of a remote one."""
    folders = [files.url] if files.shared and not files.remote else []
    cached = os.environ.get(cache.FOLDER_VARIABLE)
    return [*folders, os.path.abspath(os.path.expanduser(cached))] if cached else folders


def _look_after(parent: int, connection: int, task: ReplayTask, lookout: Lookout) -> None:
    """End this process when who started it is gone; meanwhile see where it is. A rank whose worker is on another
    machine also ends when that is gone, or has closed its connection: the script may be waiting for a rank that has
    ended."""
    hangs_up = select.poll()
    if task.launch is not None and task.claims is None:
        hangs_up.register(connection, select.POLLRDHUP)
    while os.getppid() == parent and not hangs_up.poll(_PARENT_SECONDS * 1000):
        lookout.look()
    _abandon(task, connection)


def _end(status: int) -> NoReturn:
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def _abandon(task: ReplayTask, connection: int) -> NoReturn:
    """End now, with all that the script has started, and remove the files that the worker would have removed.

    Other threads go on meanwhile. What the script then says of files that are gone is no answer, so that the worker,
    which may be there although the server is not, gets none.
    """
    with contextlib.suppress(OSError), socket.socket(fileno=os.dup(connection)) as hung_up:
        hung_up.shutdown(socket.SHUT_RDWR)
    leftovers.remove(task.folder)
    if os.getpgrp() == os.getpid():
        os.killpg(os.getpid(), signal.SIGKILL)
    os._exit(1)
