"""A head node of Ray on this machine, with token authentication and a dashboard to which jobs are submitted."""

from __future__ import annotations

import os
import secrets
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from tests.conftest import environment

_START_SECONDS = 90.0
_STOP_SECONDS = 20.0


class RayHead:
    """From `with` to the end of its block. `environment` is what a user has who may join it. `options` are
    further ones of `ray start`."""

    def __init__(self, *options: str, cpus: int = 2) -> None:
        self._options, self._cpus = options, cpus
        self._nodes: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> RayHead:
        self._folder = Path(tempfile.mkdtemp(prefix="flor-"))  # a short path: sockets of Ray's are in it
        port, dashboard, agent, clients = (_free_port() for _ in range(4))
        self.address, self.dashboard = f"127.0.0.1:{port}", f"http://127.0.0.1:{dashboard}"
        folder = str(self._folder)
        token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(16)}
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # where jobs find their Python
        self.environment = environment(**token, TMPDIR=folder, RAY_TMPDIR=folder, PATH=path)
        command = [*RAY, "start", "--head", "--block", f"--num-cpus={self._cpus}", "--node-ip-address=127.0.0.1"]
        # Ray's usual ports may be another cluster's: without its own, the agent that runs jobs would be none.
        ports = [f"--port={port}", f"--dashboard-port={dashboard}"]
        ports += [f"--dashboard-agent-listen-port={agent}", f"--ray-client-server-port={clients}"]
        with open(self._folder / "head.log", "wb") as log:
            self._process = subprocess.Popen(
                [*command, *ports, *self._options],
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
        for process in [*self._nodes, self._process]:
            process.terminate()  # it ends those that it has started
            try:
                process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        shutil.rmtree(self._folder, ignore_errors=True)

    def add_node(self, cpus: int = 1, mounts: Mapping[Path, Path] = MappingProxyType({})) -> None:
        """Another node, as if it were another machine: where `mounts` has a folder, it has another one in its place."""
        pairs = [(shlex.quote(str(there)), shlex.quote(str(at))) for at, there in mounts.items()]
        bind = "".join(f"mount --bind {there} {at} && " for there, at in pairs)
        apart = ["unshare", "--mount", "sh", "-c", f'{bind}exec "$@"', "sh"] if mounts else []
        command = [*RAY, "start", f"--address={self.address}", "--block", f"--num-cpus={cpus}"]
        command += ["--node-ip-address=127.0.0.1", f"--dashboard-agent-listen-port={_free_port()}"]
        log = self._folder / f"node-{len(self._nodes)}.log"
        with open(log, "wb") as output:
            process = subprocess.Popen(
                [*apart, *command],
                env=self.environment,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._nodes.append(process)
        end = time.monotonic() + _START_SECONDS
        while b"--block" not in log.read_bytes():  # which is said once it has joined
            assert process.poll() is None, log.read_text()[-3000:]
            assert time.monotonic() < end, log.read_text()[-3000:]
            time.sleep(0.3)

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
