"""Replays on a Ray cluster of several nodes of this machine, of which processes, nodes, the driver and the store are
killed, stopped, drained or added while they run.

The nodes are raylets with a fake GPU each; the head has none, so that a node's loss never takes the driver's. A store
in a bucket is moto's, in a process of its own that can be stopped.
"""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from random import Random
from types import MappingProxyType
from typing import Any, Self

from clustering.faulty_runs import Template, Verdict, kill, run, run_killed, scripts, servers, stop_for
from flor_ray.cluster.executors import Executor
from flor_ray.store.project import Project
from tests.ray_heads import free_port

NODES = 2
KINDS = ("node", "worker", "drain", "script", "join", "hang", "server", "stall")
_OBJECT_STORE_BYTES = 100 << 20
_PAUSE_SECONDS = 1.5
_SILENT_SECONDS, _SILENT_QUICK_SECONDS = 70.0, 4.0  # of the store
_START_SECONDS = 60.0
_BUCKET = "flor"


class Bucket:
    """An S3 server in a process of its own."""

    def __enter__(self) -> Self:
        port = free_port()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self.url = f"http://127.0.0.1:{port}"
        self.environment = {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": "testing",
            "AWS_SECRET_ACCESS_KEY": "testing",
            "AWS_DEFAULT_REGION": "us-east-1",
        }
        os.environ.update(self.environment)
        end = time.monotonic() + _START_SECONDS
        while True:
            try:
                urllib.request.urlopen(f"{self.url}/moto-api/", timeout=2).close()
                break
            except OSError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.2)
        self._client().create_bucket(Bucket=_BUCKET)
        return self

    def __exit__(self, *error: object) -> None:
        self._process.kill()
        self._process.wait()
        for name in self.environment:
            os.environ.pop(name, None)

    def take(self, folder: Path, name: str) -> str:
        """Put a store's files there; its URL."""
        client = self._client()
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                client.upload_file(str(path), _BUCKET, f"{name}/{path.relative_to(folder)}")
        return f"s3://{_BUCKET}/{name}"

    def stop_for(self, seconds: float) -> bool:
        return stop_for(self._process.pid, seconds)

    def _client(self) -> Any:
        import boto3

        return boto3.client("s3")


class Nodes:
    """A Ray cluster of this machine, to which this process is connected. Its files are below `folder`, so that no other
    Ray of the machine is met; nor does it matter whether one has left a token in the user's home. `environment` is what
    other processes need that join it."""

    def __init__(self, folder: Path, variables: Mapping[str, str] = MappingProxyType({})) -> None:
        token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(16)}
        self.environment = {"RAY_TMPDIR": str(folder), "TMPDIR": str(folder), **token, **variables}
        self._before = {name: os.environ.get(name) for name in self.environment}

    def __enter__(self) -> Self:
        os.environ.update(self.environment)
        import ray
        from ray.cluster_utils import Cluster

        self._ray = ray
        self._cluster = Cluster(
            initialize_head=True,
            head_node_args={"num_cpus": 0, "object_store_memory": _OBJECT_STORE_BYTES, "include_dashboard": False},
        )
        for _ in range(NODES):
            self.add()
        self.address = self.environment["RAY_ADDRESS"] = self._cluster.address
        ray.init(address=self.address, log_to_driver=False, logging_level=logging.ERROR)
        return self

    def __exit__(self, *error: object) -> None:
        self._ray.shutdown()
        self._cluster.shutdown()  # type: ignore[no-untyped-call]
        for name, value in self._before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value

    def add(self) -> None:
        self._cluster.add_node(num_cpus=1, num_gpus=1, object_store_memory=_OBJECT_STORE_BYTES)

    # Ray starts nodes in the main thread only, so that the driver hears and tells nothing meanwhile.

    def lose(self, chance: Random) -> bool:
        """A node is gone at once, and another one comes."""
        nodes = sorted(self._cluster.worker_nodes, key=lambda node: str(node.node_id))
        if len(nodes) < NODES:
            return False
        self._cluster.remove_node(chance.choice(nodes), allow_graceful=False)
        self.add()
        return True

    def drain(self, chance: Random) -> bool:
        """A node is to be preempted in a few seconds: Ray's head is told so. Another one comes."""
        from ray._raylet import GcsClient  # type: ignore[attr-defined]

        nodes = sorted(self._cluster.worker_nodes, key=lambda node: str(node.node_id))
        if len(nodes) < NODES:
            return False
        node = chance.choice(nodes)
        preemption, deadline = 2, int((time.time() + 20) * 1000)
        accepted, why = GcsClient(address=self.address).drain_node(node.node_id, preemption, "preempted", deadline)
        if not accepted:
            raise RuntimeError(f"the node could not be drained: {why}")
        self.add()
        return True

    def join(self) -> bool:
        """One more."""
        self.add()
        return True

    def restore(self) -> None:
        """As at first: so many nodes, none of which is drained."""
        from flor_ray.cluster.joining import draining_nodes

        draining = draining_nodes()
        for node in list(self._cluster.worker_nodes):
            if node.node_id in draining or not node.remaining_processes_alive():
                self._cluster.remove_node(node, allow_graceful=False)
        while len(self._cluster.worker_nodes) > NODES:
            self._cluster.remove_node(next(iter(self._cluster.worker_nodes)), allow_graceful=False)
        while len(self._cluster.worker_nodes) < NODES:
            self.add()
        self._cluster.wait_for_nodes()


def verdicts(of: Template, folder: Path, runs: int, chance: Random, quick: bool) -> Iterator[Verdict]:
    """Each run in a copy of its own. In turn: two or three faults of any kind, a store that is silent, a driver that
    is killed."""
    with Bucket() as bucket, Nodes(folder / "ray", bucket.environment) as nodes:
        for number in range(runs):
            root = of.copy(folder / f"ray-{number}")
            moments = sorted(chance.sample(range(2, of.rows // 2), chance.randint(2, 3)))
            if number % 6 == 2:
                yield run_killed(of, root, "ray", [moments[0] // 2], **nodes.environment)
            else:
                yield _disturbed(of, root, number, moments, nodes, bucket, chance, quick)
            if number + 1 < runs:
                nodes.restore()
            shutil.rmtree(root.parent)


def _disturbed(
    of: Template,
    root: Path,
    number: int,
    moments: list[int],
    nodes: Nodes,
    bucket: Bucket,
    chance: Random,
    quick: bool,
) -> Verdict:
    from flor_ray.cluster.actors import RayExecutor

    url = None
    kinds = [KINDS[(2 * number + place) % len(KINDS)] for place in range(len(moments))]
    if number % 6 == 1:
        url = bucket.take(Path(Project.open(str(root)).store.url), f"run-{number}")
        kinds[0] = "store"
    silent = _SILENT_QUICK_SECONDS if quick else _SILENT_SECONDS
    pick = Random(chance.random())

    def do(kind: str, executor: Executor) -> bool:
        return bucket.stop_for(silent) if kind == "store" else done(kind, executor, nodes, pick)

    return run(of, root, RayExecutor(), list(zip(moments, kinds, strict=True)), do, url, NODES)


def done(kind: str, executor: Executor, nodes: Nodes, chance: Random) -> bool:
    """Whether it could be done now."""
    if kind in ("node", "drain", "join"):
        return {"node": lambda: nodes.lose(chance), "drain": lambda: nodes.drain(chance), "join": nodes.join}[kind]()
    workers = sorted(executor.pids.values())  # type: ignore[attr-defined]
    if not workers:
        return False
    worker = chance.choice(workers)
    if kind == "worker":
        return kill(worker)
    if kind == "stall":
        return stop_for(worker, _PAUSE_SECONDS)
    own = servers(worker) if kind == "server" else scripts(worker)
    with contextlib.suppress(IndexError):
        return stop_for(own[0], _PAUSE_SECONDS) if kind == "hang" else kill(own[0])
    return False
