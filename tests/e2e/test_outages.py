"""Disks that fill up and servers that go away while a script is recorded: it trains to its end, and says what is lost.

The disk is a small tmpfs; where those cannot be mounted, a limit on the size of files stands for it. The server is the
bucket of all tests behind a TCP relay, which can refuse connections, reset them, or take them and say nothing.
"""

from __future__ import annotations

import contextlib
import os
import re
import resource
import socket
import struct
import subprocess
import sys
import threading
import time
import urllib.parse
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from flor_ray.records import Experiment, Point, Status
from flor_ray.state import snapshots
from flor_ray.store.store import Store
from tests.conftest import Lab, environment

EPOCHS = 12

# Random numbers, since a checkpoint of anything else might be compressed to nothing.
SCRIPT = """
import random
import sys
import time
import numpy as np
import flor_ray as flor

epochs, seconds = flor.arg("epochs", 12), flor.arg("seconds", 0.0)
weights = np.random.default_rng(0).random(50_000)
generator = np.random.default_rng(1)
flor.checkpointing(overhead=1)
for epoch in flor.loop("epoch", range(epochs)):
    for step in flor.loop("step", range(3)):
        time.sleep(seconds / 3)
        weights += generator.random(50_000)
        flor.log("weight", weights[step])
    flor.log("sum", weights.sum())
    print("epoch", epoch + 1, flush=True)
print("trained", flush=True)
"""
HINDSIGHT = SCRIPT.replace('    print("epoch"', '    flor.log("largest", weights.max())\n    print("epoch"')
PRINTED = [*(f"epoch {epoch}" for epoch in range(1, EPOCHS + 1)), "trained"]


@pytest.fixture(scope="module")
def truth(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[tuple[object, ...]]]:
    """What the script logs, by name, when nothing goes wrong."""
    lab = Lab(tmp_path_factory.mktemp("truth") / "project")
    lab.record(HINDSIGHT)
    return {name: lab.values(name) for name in ("weight", "sum", "largest")}


# --- the disk -------------------------------------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A folder for 5 MB in which 2.5 MB are taken by `ballast`, and a store has room for about six checkpoints."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=5m", "tmpfs", str(folder)]
    try:
        mounted = subprocess.run(command, capture_output=True, check=False).returncode == 0
    except OSError:
        mounted = False
    if not mounted:
        pytest.skip("only root may mount a small disk; see the test with a limit on the size of files")
    (folder / "ballast").write_bytes(bytes(2_500_000))
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_disk_that_fills_up_ends_no_training_and_what_is_missing_is_named(
    lab: Lab, small_disk: Path, truth: dict[str, list[tuple[object, ...]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    url = str(small_disk / "store")
    monkeypatch.setenv("FLOR_RAY_STORE", url)
    lab.write("train.py", SCRIPT)
    done = lab.python("train.py", "--kwargs", "seconds=0.1", FLOR_RAY_STORE=url)
    assert done.stdout.splitlines() == PRINTED
    assert "No space left on device" in done.stderr
    assert "The disk is full: free some space" in done.stderr
    full = lab.experiments()[-1]
    kept = checkpoints(lab.project.store, full)
    lost, skipped = lost_epochs(done.stderr), skipped_epochs(lab.project.store, full)
    assert 2 <= len(kept) < EPOCHS
    assert lost
    assert EPOCHS in lost
    assert kept | lost | skipped == set(range(EPOCHS + 1)) or "the times of" in done.stderr
    assert not kept & lost
    values = lab.values("weight", full.version)
    assert values == truth["weight"][: len(values)]
    assert len(values) + lost_records(done.stderr) == len(truth["weight"]) + len(truth["sum"]) - len(
        lab.values("sum", full.version)
    )

    (small_disk / "ballast").unlink()
    lab.write("train.py", SCRIPT)
    again = lab.python("train.py", "--kwargs", "epochs=3", FLOR_RAY_STORE=url)
    assert "could not" not in again.stderr
    run = lab.experiments()[-1]
    assert (run.status, run.epochs, checkpoints(lab.project.store, run)) == (Status.FINISHED, 3, {0, 1, 2, 3})

    lab.write("train.py", HINDSIGHT)
    first = max(kept)
    _, outcome = lab.replay(["largest"], f"version == '{full.version}' and epoch in [1, {first}]")
    assert outcome.failures == []
    wanted = [row for row in truth["largest"] if row[0] in (1, first)]
    assert [row for row in lab.values("largest", full.version) if row[0] in (1, first)] == wanted


def test_files_that_may_not_grow_lose_the_checkpoints_and_keep_the_records(
    lab: Lab, truth: dict[str, list[tuple[object, ...]]]
) -> None:
    """A quota as RLIMIT_FSIZE: files of more than 100 kB are refused, which is every checkpoint."""
    lab.write("train.py", SCRIPT)
    lab.git("add", "train.py")
    done = subprocess.run(
        [sys.executable, "train.py"],
        cwd=lab.root,
        env=environment(),
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000)),
        check=False,
    )
    assert (done.returncode, done.stdout.splitlines()) == (0, PRINTED)
    assert "File too large" in done.stderr
    run = lab.experiments()[-1]
    assert (run.status, run.epochs, checkpoints(lab.project.store, run)) == (Status.FINISHED, EPOCHS, set())
    assert lost_epochs(done.stderr) | skipped_epochs(lab.project.store, run) == set(range(EPOCHS + 1))
    assert {name: lab.values(name) for name in ("weight", "sum")} == {k: truth[k] for k in ("weight", "sum")}
    lab.write("train.py", HINDSIGHT)
    _, outcome = lab.replay(["largest"])
    assert outcome.failures == []
    assert lab.values("largest", run.version) == truth["largest"]  # the whole version ran again


# --- the server -----------------------------------------------------------------------------------------------------


class Relay:
    """A TCP port that leads to the server while `open`."""

    def __init__(self, target: tuple[str, int]) -> None:
        self._target = target
        self._listener: socket.socket | None = None
        self._mode = "open"
        self._connections: list[socket.socket] = []
        self.port = 0
        self._listen()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def turn(self, mode: str) -> None:
        """open; refuse: nobody listens; reset: connections are answered by RST; hang: they are never answered."""
        self._mode = mode
        for connection in self._connections[:]:
            if mode != "hang":
                with contextlib.suppress(OSError):
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
        if mode == "refuse":
            self._stop_listening()
        elif self._listener is None:
            self._listen()

    def close(self) -> None:
        self.turn("refuse")

    def _listen(self) -> None:
        listener = socket.create_server(("127.0.0.1", self.port), reuse_port=False)
        self.port = listener.getsockname()[1]
        self._listener = listener
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()

    def _stop_listening(self) -> None:
        listener, self._listener = self._listener, None
        if listener is not None:
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            listener.close()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            if self._mode == "reset":
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                client.close()
                continue
            self._connections.append(client)
            server = socket.create_connection(self._target)
            for source, sink in ((client, server), (server, client)):
                threading.Thread(target=self._pump, args=(source, sink), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                while self._mode == "hang":
                    time.sleep(0.05)
                sink.sendall(data)
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def relay(bucket: str) -> Iterator[Relay]:
    address = urllib.parse.urlsplit(os.environ["AWS_ENDPOINT_URL"])
    assert address.hostname is not None
    assert address.port is not None
    relay = Relay((address.hostname, address.port))
    try:
        yield relay
    finally:
        relay.close()


def trained(
    lab: Lab, text: str, meanwhile: Callable[[str], None], **variables: str
) -> tuple[int, list[str], str, float]:
    """Run a script, telling `meanwhile` each line that it prints. Status, lines, stderr, seconds after the last one."""
    lab.write("train.py", text)
    with (lab.root.parent / "stderr").open("w+") as errors:
        process = subprocess.Popen(
            [sys.executable, "train.py", "--kwargs", "seconds=0.5"],
            cwd=lab.root,
            env=environment(**variables),
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
        assert process.stdout is not None
        lines = []
        for line in map(str.strip, process.stdout):
            lines.append(line)
            meanwhile(line)
            if line == "trained":
                break
        ended = time.perf_counter()
        try:
            status = process.wait(100)
        finally:
            process.kill()
            process.stdout.close()
        seconds = time.perf_counter() - ended
        errors.seek(0)
        return status, lines, errors.read(), seconds


@pytest.mark.parametrize("mode", ["refuse", "reset", "hang"])
def test_a_server_that_goes_away_and_returns_has_every_record_and_checkpoint(
    lab: Lab,
    bucket: str,
    relay: Relay,
    mode: str,
    truth: dict[str, list[tuple[object, ...]]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    url = f"s3://{bucket}/{uuid.uuid4().hex}"
    monkeypatch.setenv("FLOR_RAY_STORE", url)
    turns = {"epoch 3": mode, "epoch 8": "open"}

    def meanwhile(line: str) -> None:
        if line in turns:
            relay.turn(turns[line])

    status, lines, errors, _ = trained(lab, SCRIPT, meanwhile, FLOR_RAY_STORE=url, AWS_ENDPOINT_URL=relay.url)
    assert (status, lines) == (0, PRINTED)
    assert "Of this run" not in errors
    run = lab.experiments()[-1]
    assert (run.status, run.epochs) == (Status.FINISHED, EPOCHS)
    assert {name: lab.values(name) for name in ("weight", "sum")} == {k: truth[k] for k in ("weight", "sum")}
    assert checkpoints(lab.project.store, run) == set(range(EPOCHS + 1))
    lab.write("train.py", HINDSIGHT)
    _, outcome = lab.replay(["largest"], "epoch in [4, 12]")
    assert outcome.failures == []
    found = {row[0]: row for row in lab.values("largest", run.version)}
    assert [found[4], found[12]] == [row for row in truth["largest"] if row[0] in (4, 12)]


def test_a_server_that_goes_away_for_good_holds_the_script_up_for_a_bounded_time_and_what_is_lost_is_named(
    lab: Lab,
    bucket: str,
    relay: Relay,
    truth: dict[str, list[tuple[object, ...]]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A run goes on trying for a minute after its end (here: for 4 s), and for as long as its last requests take."""
    url = f"s3://{bucket}/{uuid.uuid4().hex}"
    monkeypatch.setenv("FLOR_RAY_STORE", url)
    impatient = SCRIPT + "import flor_ray.recording.journal\nflor_ray.recording.journal._LAST_TRIES_SECONDS = 4.0\n"

    def meanwhile(line: str) -> None:
        if line == "epoch 6":
            relay.turn("refuse")

    variables = {"FLOR_RAY_STORE": url, "AWS_ENDPOINT_URL": relay.url}
    status, lines, errors, seconds = trained(lab, impatient, meanwhile, **variables)
    assert (status, lines) == (0, PRINTED)
    assert seconds < 15  # 4 s, and the requests that were under way
    assert "How this run ended could not be written" in errors
    run = lab.experiments()[-1]
    assert run.status is Status.CRASHED
    kept = checkpoints(lab.project.store, run)
    assert {0, 1, 2} <= kept <= set(range(7))
    assert EPOCHS in lost_epochs(errors)
    assert not lost_epochs(errors) & kept
    weights, sums = lab.values("weight"), lab.values("sum")
    assert weights == truth["weight"][: len(weights)]
    assert sums == truth["sum"][: len(sums)]
    assert len(weights) >= 3 * 3
    # a request whose answer was lost may have been carried out: more may be there than is said
    assert lost_records(errors) >= 4 * EPOCHS - len(weights) - len(sums) > 0


def checkpoints(store: Store, run: Experiment) -> set[int]:
    """Epochs whose end has a checkpoint; all of them are read whole."""
    found = store.checkpoints(run.project, run.version)
    for checkpoint in found:
        snapshots.read(store.objects, checkpoint.key)
    return {checkpoint.epoch for checkpoint in found if checkpoint.point is Point.EPOCH_END}


def skipped_epochs(store: Store, run: Experiment) -> set[int]:
    return {skip.epoch for skip in store.skips(run.project, run.version)}


def lost_epochs(errors: str) -> set[int]:
    """What the last warning says."""
    found = re.search(r"Of this run, .*the checkpoints of epochs ([0-9, ]+)", errors)
    return {int(epoch) for epoch in found.group(1).split(",")} if found else set()


def lost_records(errors: str) -> int:
    found = re.search(r"Of this run, .*?(\d+) log records?", errors)
    return int(found.group(1)) if found else 0
