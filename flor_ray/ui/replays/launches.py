"""Replays that the page has started: processes of their own, which neither a closed browser nor a killed server ends.

    <folder>/<id>.json      what was asked for, by which process it runs, and what was wished of it last: a PageReplay
    <folder>/<id>.log       what it prints
    <folder>/<id>.ended     its exit status, written by itself

The folder is `page/<project>` in a store that is a folder, else `.flor/page/<project>` of the project. Everything that
counts is in the store (`heartbeats`): whoever loses this folder loses what replays have printed, and the button that
goes on with one that was paused.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from flor_ray import processes
from flor_ray.errors import UsageError
from flor_ray.store import checks, typed_json
from flor_ray.store.fragments import quote
from flor_ray.store.project import Project
from flor_ray.ui.replays.plans import ReplayAsked

PAUSED, CANCELLED = "paused", "cancelled"
_TAIL_BYTES = 20_000  # of a log that are shown
_ID = "page-"


@dataclass(frozen=True, slots=True)
class PageReplay:
    """A replay that the page has started."""

    id: str
    asked: ReplayAsked
    host: str
    pid: int
    pid_started: int | None
    began: float  # unix seconds
    wish: str = ""  # PAUSED or CANCELLED, if somebody has ended it

    @property
    def lives(self) -> bool:
        """Whether its process runs; of another machine's nobody here can say, and it counts as running."""
        return self.host != socket.gethostname() or processes.is_running(self.pid, self.pid_started)


class Launches:
    """The replays of one project that the page has started. For any threads, and any number of servers."""

    def __init__(self, project: Project, path: str) -> None:
        self._project, self._path = project, os.path.abspath(path)
        url = project.store.url
        self._above = Path(url) if os.path.isabs(url) else Path(project.tree.root, ".flor")
        self.folder = self._above / "page" / quote(project.name)

    def start(self, asked: ReplayAsked) -> PageReplay:
        """Start a replay. Raises UsageError for what cannot be asked for."""
        asked.expect_sound()
        self.folder.mkdir(parents=True, exist_ok=True)
        if not (ignored := self._above / ".gitignore").exists():
            ignored.write_text("*\n", encoding="utf-8")
        now = time.time()
        id = f"{_ID}{time.strftime('%Y%m%dT%H%M%S', time.gmtime(now))}-{secrets.token_hex(3)}"
        arguments = ["replay", "--yes", f"--store={self._project.store.url}", *asked.arguments()]
        command = [sys.executable, "-m", "flor_ray.ui.replays.process", str(self._file(id, "ended")), *arguments]
        variables = {**os.environ, "PYTHONUNBUFFERED": "1", "FLOR_RAY_PROJECT": self._project.name}
        with self._file(id, "log").open("wb") as log:
            process = subprocess.Popen(
                command,
                cwd=self._path,
                env=variables,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # a signal to the server's group, such as Ctrl-C, is none to the replay
            )
        threading.Thread(target=process.wait, name="flor-page-replay", daemon=True).start()  # leaves no zombie
        made = PageReplay(id, asked, socket.gethostname(), process.pid, processes.started(process.pid), now)
        self._write(made)
        return made

    def every(self) -> list[PageReplay]:
        """All that are known here, oldest first; what cannot be read is left out."""
        found = []
        for path in sorted(self.folder.glob(f"{_ID}*.json")):
            with contextlib.suppress(OSError, ValueError):  # a damaged note costs its buttons, and no value
                one = typed_json.from_plain(checks.parsed(path.read_bytes()), PageReplay)
                if one.id == path.stem:  # a name of another file would be read in its place
                    found.append(one)
        return found

    def find(self, id: str) -> PageReplay:
        """Raises UsageError if there is none of this id."""
        for one in self.every():
            if one.id == id:
                return one
        raise UsageError(f"There is no replay {id!r} that this page has started.")

    def wish(self, launch: PageReplay, wish: str) -> None:
        """Keep what was wished of a replay."""
        self._write(replace(launch, wish=wish))

    def interrupt(self, launch: PageReplay) -> None:
        """Ctrl-C, for one that has not come to where it would hear of it through the store."""
        if launch.host != socket.gethostname():
            raise UsageError(f"{launch.id} was started on {launch.host}: it is ended there.")
        is_ours = str(self._file(launch.id, "ended")) in processes.command_line(launch.pid)
        if is_ours and processes.is_running(launch.pid, launch.pid_started):  # whatever a note says
            with contextlib.suppress(ProcessLookupError):
                os.kill(launch.pid, signal.SIGINT)

    def status(self, launch: PageReplay) -> int | None:
        """Its exit status; None while it runs, and of one that was killed."""
        with contextlib.suppress(OSError, ValueError):
            return int(self._file(launch.id, "ended").read_text(encoding="utf-8"))
        return None

    def output(self, launch: PageReplay) -> str:
        """The end of what it has printed."""
        with contextlib.suppress(OSError), self._file(launch.id, "log").open("rb") as log:
            length = log.seek(0, os.SEEK_END)
            log.seek(max(0, length - _TAIL_BYTES))
            return log.read().decode("utf-8", "replace")
        return ""

    def _file(self, id: str, suffix: str) -> Path:
        return self.folder / f"{id}.{suffix}"

    def _write(self, launch: PageReplay) -> None:
        written = self._file(launch.id, f"{secrets.token_hex(3)}.part")
        written.write_text(json.dumps(typed_json.to_plain(launch)), encoding="utf-8")
        written.replace(self._file(launch.id, "json"))


def run(ended: str, main: Callable[[], object]) -> None:
    """Run a replay in this process, and write its exit status to the file `ended`, whatever it is."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a server in the background may have left it ignored
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    status = 1
    try:
        main()
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
        raise
    finally:
        Path(ended).write_text(str(status), encoding="utf-8")
