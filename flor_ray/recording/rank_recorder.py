"""The session of a rank that is not the first: its state is kept at the points at which rank 0's is, and nothing else.

Values, arguments, sources and how the run ended are rank 0's to say: it is one version.
"""

from __future__ import annotations

import base64
import contextlib
import os
import pickle
import signal
import socket
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any, TypeVar

from flor_ray.analysis.source import calls_checkpointing
from flor_ray.environment import opened
from flor_ray.environment.inputs import InputFiles
from flor_ray.environment.surroundings import RunSurroundings
from flor_ray.recording import flags, script, session
from flor_ray.recording.agreement import OtherRank
from flor_ray.recording.board import TorchBoard
from flor_ray.recording.endings import ScriptEnding
from flor_ray.recording.launch import rank_of
from flor_ray.recording.rank_journal import RankJournal
from flor_ray.recording.recorder import Recorder, folders_of_ours
from flor_ray.records import Experiment, RankRecord, Status
from flor_ray.state import random_states
from flor_ray.state.driven import DrivenLoop
from flor_ray.store.project import Project
from flor_ray.store.store import Store

T = TypeVar("T")


class RankRecorder(Recorder):
    """Keeps what is one rank's own. Create it with `start`."""

    _is_over = False  # the main loop is: nothing is kept after it

    @classmethod
    def start(cls) -> RankRecorder:
        """Begin; what run this is, rank 0 will say.

        Raises:
            NoRepository: the script is not inside a git repository.
            StoreError: the store cannot be opened.
        """
        frame, path = script.frame_and_file(sys._getframe(1))
        with opened.paused():
            project = Project.open(str(path.parent) if path else ".")
        root = Path(project.repository.root)
        sources = script.LoopSources()
        text = sources.remember(str(path)) if path is not None else ""
        rank, board = rank_of(os.environ), TorchBoard()
        states = base64.b64encode(pickle.dumps(random_states.global_state())).decode()
        inputs = InputFiles(project.repository.root, folders_of_ours(project.store.url))
        first_call = script.users_place(sys._getframe(1), root.resolve())
        record = RankRecord(rank, states, socket.gethostname(), first_call)
        journal = RankJournal(record, board, Store, inputs)
        name = path.relative_to(root).as_posix() if path is not None and path.is_relative_to(root) else ""
        environment = {"worker": "ray"} if script.in_ray_worker() else {}
        unnamed = Experiment(
            project.name, "", None, name, "", time.time(), None, Status.RUNNING, environment=environment
        )
        surroundings = RunSurroundings(root, text, script.users_code(root))
        waits, ending = calls_checkpointing(text), ScriptEnding(frame, text)
        recorder = cls(unnamed, journal, root, surroundings, waits, ending, OtherRank(board))
        recorder._sources = sources
        recorder._attach()
        return recorder

    # the calls

    def arg(self, name: str, default: object) -> Any:
        text = flags.current().kwargs.get(name)
        return default if text is None else flags.convert(name, text, default)

    def log(self, name: str, value: T) -> T:
        if self._held and self._context.is_loops_thread:
            self._confirm()
        return value

    def add_targets(self, targets: Any, options: Any) -> None:
        if not self._is_over:
            super().add_targets(targets, options)

    def loop(
        self, name: str | None, iterable: Iterable[T], frame: FrameType, driven: DrivenLoop | None = None
    ) -> Iterator[T]:
        return iter(iterable) if self._is_over else super().loop(name, iterable, frame, driven)

    def _confirm(self) -> None:
        super()._confirm()
        self._is_over = self._context.main_seen and not self._context.stack and self._context.iterations is None

    def _tell_once(self, message: str) -> None:
        """Rank 0 says it for all."""

    # the end

    def _after_fork(self) -> None:
        session.install(session.Passive())
        opened.stop()
        with contextlib.suppress(ValueError):  # forked from another thread than the main one
            if signal.getsignal(signal.SIGTERM) == self._on_sigterm:
                signal.signal(signal.SIGTERM, signal.SIG_DFL)

    def _close(self, error: str | None) -> None:
        if self._closed or os.getpid() != self._pid:
            return
        self._closed, self._error = True, error
        if error is None:
            self._confirm()
        self._journal.close(self.experiment)

    def _ended(self, suffix_seconds: float) -> Experiment:
        """Rank 0 says how the run ended."""
        return self.experiment
