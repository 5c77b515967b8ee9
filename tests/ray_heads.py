"""A head node of Ray on this machine, with token authentication and a dashboard to which jobs are submitted."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

from tests.conftest import environment

_START_SECONDS = 90.0
_STOP_SECONDS = 20.0


class RayHead:
    """From `with` to the end of its block. `environment` is what a user has who may join it."""

    def __enter__(self) -> RayHead:
        self._folder = Path(tempfile.mkdtemp(prefix="flor-"))  # a short path: sockets of Ray's are in it
        port, dashboard, agent, clients = (_free_port() for _ in range(4))
        self.address, self.dashboard = f"127.0.0.1:{port}", f"http://127.0.0.1:{dashboard}"
        folder = str(self._folder)
        token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(16)}
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # where jobs find their Python
        self.environment = environment(**token, TMPDIR=folder, RAY_TMPDIR=folder, PATH=path)
        command = [*RAY, "start", "--head", "--block", "--num-cpus=2", "--node-ip-address=127.0.0.1"]
        # Ray's usual ports may be another cluster's: without its own, the agent that runs jobs would be none.
        ports = [f"--port={port}", f"--dashboard-port={dashboard}"]
        ports += [f"--dashboard-agent-listen-port={agent}", f"--ray-client-server-port={clients}"]
        with open(self._folder / "head.log", "wb") as log:
            self._process = subprocess.Popen(
                [*command, *ports],
                env=self.environment,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            self._wait()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        self._process.terminate()  # it ends those that it has started
        try:
            self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _wait(self) -> None:
        """Until jobs can be submitted."""
        end = time.monotonic() + _START_SECONDS
        while time.monotonic() < end and self._process.poll() is None:
            try:
                urllib.request.urlopen(self.dashboard + "/api/version", timeout=2).close()
            except urllib.error.HTTPError:  # it is there, and asks for the token
                return
            except OSError:
                time.sleep(0.5)
            else:
                return
        raise AssertionError(f"No head node of Ray: {(self._folder / 'head.log').read_text()[-3000:]}")

    def submit(self, folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
        """What `ray job submit --working-dir . -- COMMAND` says, to the job's end."""
        submit = [*RAY, "job", "submit", f"--address={self.dashboard}", "--working-dir=.", "--", *command]
        deadline = time.monotonic() + 90
        while True:  # the node's agent, which runs jobs, comes a little after the dashboard
            done = subprocess.run(
                submit, cwd=folder, env=self.environment, capture_output=True, text=True, timeout=200, check=False
            )
            if "No available agent to submit job" not in done.stderr or time.monotonic() > deadline:
                return done
            time.sleep(2)


RAY = (sys.executable, "-m", "ray.scripts.scripts")


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port
