"""A head node of Ray on this machine, with token authentication and a dashboard to which jobs are submitted."""

from __future__ import annotations

import contextlib
import json
import os
import random
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

import psutil

from tests.conftest import environment

_START_SECONDS = 90.0
_STOP_SECONDS = 20.0


class RayHead:
    """From `with` to the end of its block. `environment` is what a user has who may join it. `options` are
    further ones of `ray start`. `starts`: what each of the two nodes has that Ray's autoscaler may start."""

    def __init__(self, *options: str, cpus: int = 2, starts: Mapping[str, float] | None = None) -> None:
        self._options, self._cpus, self._starts = options, cpus, starts
        self._nodes: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> RayHead:
        self._folder = Path(tempfile.mkdtemp(prefix="flor-"))  # a short path: sockets of Ray's are in it
        port, dashboard, agent, clients = (free_port() for _ in range(4))
        self.address, self.dashboard = f"127.0.0.1:{port}", f"http://127.0.0.1:{dashboard}"
        folder = str(self._folder)
        token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(16)}
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # where jobs find their Python
        self.environment = environment(**token, TMPDIR=folder, RAY_TMPDIR=folder, PATH=path)
        command = [*RAY, "start", "--head", "--block", f"--num-cpus={self._cpus}", "--node-ip-address=127.0.0.1"]
        # Ray's usual ports may be another cluster's: without its own, the agent that runs jobs would be none.
        ports = [f"--port={port}", f"--dashboard-port={dashboard}"]
        ports += [f"--dashboard-agent-listen-port={agent}", f"--ray-client-server-port={clients}"]
        if self._starts is not None:
            file = self._folder / "autoscaling.json"
            file.write_text(json.dumps(_autoscaling(self._starts, self._cpus, self.address)))
            ports += ["--num-gpus=0", f"--autoscaling-config={file}"]
        with open(self._folder / "head.log", "wb") as log:
            self._process = subprocess.Popen(
                [*command, *ports, *self._options],
                env=self.environment | {"RAY_FAKE_CLUSTER": "1", "AUTOSCALER_UPDATE_INTERVAL_S": "1"},
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
        started = psutil.Process(self._process.pid).children(recursive=True) if self._process.poll() is None else []
        for process in [*self._nodes, self._process]:
            process.terminate()  # it ends those that it has started
            try:
                process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        for child in started:  # nodes that the autoscaler has started outlive it
            with contextlib.suppress(psutil.NoSuchProcess):
                child.kill()
        shutil.rmtree(self._folder, ignore_errors=True)

    def add_node(self, *options: str, cpus: int = 1, mounts: Mapping[Path, Path] = MappingProxyType({})) -> None:
        """Another node, as if it were another machine: where `mounts` has a folder, it has another one in its place."""
        pairs = [(shlex.quote(str(there)), shlex.quote(str(at))) for at, there in mounts.items()]
        bind = "".join(f"mount --bind {there} {at} && " for there, at in pairs)
        apart = ["unshare", "--mount", "sh", "-c", f'{bind}exec "$@"', "sh"] if mounts else []
        command = [*RAY, "start", f"--address={self.address}", "--block", f"--num-cpus={cpus}"]
        command += ["--node-ip-address=127.0.0.1", f"--dashboard-agent-listen-port={free_port()}", *options]
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


def _autoscaling(resources: Mapping[str, float], cpus: int, address: str) -> dict[str, object]:
    """What Ray's autoscaler works by, with nodes that are processes of this machine."""
    lists = "cluster_synced_files initialization_commands setup_commands head_setup_commands worker_setup_commands"
    lists += " head_start_ray_commands worker_start_ray_commands"
    provider = {
        "type": "fake_multinode",
        "gcs_address": address,
        "launch_multiple": True,
        "disable_node_updaters": True,
    }
    head = {"resources": {"CPU": cpus}, "node_config": {}, "max_workers": 0}
    node = {"resources": {**resources, "object_store_memory": 80_000_000}, "node_config": {}, "max_workers": 2}
    return {
        "cluster_name": "flor",
        "max_workers": 2,
        "upscaling_speed": 2.0,
        "idle_timeout_minutes": 5,
        "provider": provider,
        "available_node_types": {"ray.head.default": head, "started": node},
        "head_node_type": "ray.head.default",
        **{name: {} for name in ("auth", "file_mounts", "docker")},
        "file_mounts_sync_continuously": False,
        **{name: [] for name in lists.split()},
    }


def free_port() -> int:
    """One for a server that starts later. Meanwhile neither the system gives it to a connection nor Ray to a worker: an
    agent of Ray's whose port is taken is none, and nobody is told."""
    while True:
        port = random.randrange(20_000, 32_000)
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
