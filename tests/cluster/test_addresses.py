"""An address at which no cluster can be is one clear error within seconds, whatever is there instead."""

from __future__ import annotations

import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from flor_ray.cluster import addresses
from flor_ray.errors import ClusterRefused
from tests.conftest import Lab, environment

SETTINGS = b"\0\0\0\4\0\0\0\0\0"
TOKEN = "a" * 32


@contextmanager
def server(answer: bytes | None) -> Iterator[str]:
    """Something that answers so to whoever connects (None: it says nothing)."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listening.accept()
                except OSError:
                    return
                with connection:
                    connection.recv(100)
                    if answer is None:
                        time.sleep(2)
                    else:
                        connection.sendall(answer)

        threading.Thread(target=serve, daemon=True).start()
        yield f"127.0.0.1:{listening.getsockname()[1]}"
        listening.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize(
    ("address", "seen"),
    [
        ("ray://10.0.0.1:10001", "it is the address of a Ray Client server"),
        ("http://127.0.0.1:8265", "it is no host:port"),
        ("somewhere", "it is no host:port"),
        ("10.0.0.1", "it is no host:port"),
        ("10.0.0.1:", "it is no host:port"),
        (":6379", "it is no host:port"),
        ("10.0.0.1:0", "it is no host:port"),
        ("10.0.0.1:65536", "it is no host:port"),
        ("10.0.0.1:６３７９", "it is no host:port"),
        ("127.0.0.1:1", "it cannot be reached (connection refused)"),
        ("[::1]:1", "it cannot be reached ("),
        ("no such host.invalid:6379", "the host 'no such host.invalid' is not known ("),
        (f"{'a' * 70}.invalid:6379", "is not known ("),
    ],
)
def test_what_cannot_be_an_address_or_is_not_there_says_what_was_seen_and_what_to_do(address: str, seen: str) -> None:
    with pytest.raises(ClusterRefused) as told:
        addresses.check(address)
    assert seen in str(told.value)
    assert repr(address) in str(told.value)
    assert "unset RAY_ADDRESS" in str(told.value)
    assert told.value.__cause__ is None


@pytest.mark.parametrize(
    ("answer", "seen"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "a web server answers there, which may be the cluster's dashboard"),
        (b"<!DOCTYPE HTML>", "a web server answers there"),
        (b"SSH-2.0-OpenSSH_9.2p1 Debian\r\n", "what answers there is no Ray cluster"),
        (b"-ERR unknown command", "what answers there is no Ray cluster"),
        (b"\0\0", "what answers there is no Ray cluster"),
        (b"", "what answers there is no Ray cluster"),
        (None, "what answers there is no Ray cluster"),
    ],
)
def test_what_is_there_instead_of_a_cluster_is_told(
    answer: bytes | None, seen: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(addresses, "_ANSWER_SECONDS", 0.5)
    with server(answer) as address, pytest.raises(ClusterRefused, match=seen):
        addresses.check(address)


def test_what_begins_as_ray_does_may_be_a_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    with server(SETTINGS) as address:
        addresses.check(address)
    monkeypatch.setenv("RAY_USE_TLS", "1")
    with server(b"\x15\x03\x03") as address:  # nothing is said in plain words there
        addresses.check(address)


# --- as users see it --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def asking(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    """A project with a question."""
    script = 'import flor_ray as flor\nfor epoch in flor.loop("epoch", range(2)):\n    flor.log("loss", epoch)\n'
    lab = Lab(tmp_path_factory.mktemp("addresses") / "project")
    lab.record(script)
    lab.write("train.py", script + '    flor.log("more", epoch * epoch)\n')
    return lab


def refusal(lab: Lab, **variables: str) -> str:
    """What `replay` says: one line and the status of users' errors, within 15 s, and nothing of Ray's own."""
    began = time.monotonic()
    done = lab.cli("replay", "more", "--yes", check=False, **variables)
    assert time.monotonic() - began < 15
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("Error: No Ray cluster can be joined at ")
    return line


def test_a_dead_address_and_a_server_that_is_no_head_node_are_one_line_for_users(asking: Lab) -> None:
    assert "connection refused" in refusal(asking, RAY_ADDRESS="127.0.0.1:1")
    with server(SETTINGS) as address:  # and then it hangs up
        assert "what answers there is not the cluster's head node" in refusal(asking, RAY_ADDRESS=address)


def test_a_dead_address_is_nothing_to_local_workers(asking: Lab) -> None:
    done = asking.cli("replay", "more", "--yes", "--local", "--again", check=False, RAY_ADDRESS="127.0.0.1:1")
    assert (done.returncode, done.stderr) == (0, "")


def test_a_cluster_that_is_said_to_run_here_and_does_not_is_told(asking: Lab, tmp_path: Path) -> None:
    assert "no cluster runs on this machine" in refusal(asking, RAY_ADDRESS="auto", RAY_TMPDIR=str(tmp_path))


HEAD = """
import logging, ray
found = ray.init("local", num_cpus=1, include_dashboard=False, logging_level=logging.ERROR)
print(found.address_info["gcs_address"], ray.nodes()[0]["NodeManagerPort"], flush=True)
input()
"""


@pytest.fixture(scope="module")
def guarded() -> Iterator[tuple[str, str, str]]:
    """A cluster that wants a token: the addresses of its head node, of another of its servers, and the folder by which
    it is found on this machine."""
    with tempfile.TemporaryDirectory(prefix="flor-") as folder:  # names of sockets are short
        variables = environment(RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=TOKEN, RAY_TMPDIR=folder, HOME=folder)
        head = subprocess.Popen(
            [sys.executable, "-c", HEAD], env=variables, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert head.stdout is not None
        address, port = head.stdout.readline().split()
        Path(folder, "ray", "ray_current_cluster").write_text(address)  # as `ray start` does
        yield address, f"{address.rpartition(':')[0]}:{port}", folder
        head.communicate("\n", timeout=60)


def test_a_cluster_that_wants_another_token_or_another_port_is_told(
    asking: Lab, guarded: tuple[str, str, str], tmp_path: Path
) -> None:
    head, other, folder = guarded
    tokens = {"HOME": str(tmp_path), "RAY_AUTH_MODE": "token"}
    assert "got none or another one" in refusal(asking, RAY_ADDRESS=head, RAY_AUTH_MODE="disabled")
    assert "got none or another one" in refusal(asking, RAY_ADDRESS=head, **tokens, RAY_AUTH_TOKEN="b" * 32)
    assert "there is none here" in refusal(asking, RAY_ADDRESS=head, **tokens)
    assert "got none or another one" in refusal(asking, RAY_ADDRESS="", RAY_TMPDIR=folder, HOME=str(tmp_path))
    assert "is not the cluster's head node" in refusal(asking, RAY_ADDRESS=other, **tokens, RAY_AUTH_TOKEN=TOKEN)
