"""Where a replay runs, by what was asked for, what is there, and how long it should take."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from flor_ray.cluster import places
from flor_ray.cluster.places import LOCAL, RAY, Place, choose
from flor_ray.errors import UsageError


@pytest.fixture(autouse=True)
def plain_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Without a cluster and without GPUs, whatever other tests have started."""
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    monkeypatch.setattr(places, "_connected", lambda: False)
    monkeypatch.setattr(places, "_GPUS", tmp_path / "gpus")
    return tmp_path


def start_cluster(folder: Path) -> socket.socket:
    """What a cluster of this machine leaves behind, and the port that answers for it."""
    server = socket.create_server(("127.0.0.1", 0))
    folder.joinpath("ray").mkdir()
    folder.joinpath("ray", "ray_current_cluster").write_text(f"127.0.0.1:{server.getsockname()[1]}\n")
    return server


def test_a_short_replay_without_a_cluster_runs_on_processes_of_this_machine_and_says_so() -> None:
    assert choose(None, 2, 9.9) == Place(
        LOCAL, "Running on 2 worker processes of this machine: starting Ray would take longer (--ray does so)."
    )
    assert choose(None, 1, 0.1).why.startswith("Running on 1 worker process of this machine")


def test_a_long_replay_starts_ray() -> None:
    assert choose(None, 2, 10.0) == Place(RAY)
    assert choose(None, 2, 10.0, ray_start_seconds=12.0).executor == LOCAL


def test_who_asks_for_one_gets_it_without_a_word(monkeypatch: pytest.MonkeyPatch) -> None:
    assert (choose(RAY, 2, 0.1), choose(LOCAL, 2, 9e9)) == (Place(RAY), Place(LOCAL))
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    assert choose(LOCAL, 2, 0.1) == Place(LOCAL)
    with pytest.raises(UsageError, match="executor='threads' is not known; it is 'ray' or 'local'"):
        choose("threads", 2, 0.1)


def test_a_cluster_that_is_named_or_runs_here_is_used(plain_machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with start_cluster(plain_machine):
        assert choose(None, 2, 0.1) == Place(RAY)
    assert choose(None, 2, 0.1).executor == LOCAL  # its file is still there, and nobody answers
    monkeypatch.setenv("RAY_ADDRESS", "auto")
    assert choose(None, 2, 0.1) == Place(RAY)
    monkeypatch.setenv("RAY_ADDRESS", "")
    assert choose(None, 2, 0.1).executor == LOCAL


def test_a_process_that_is_connected_to_a_cluster_uses_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "_connected", lambda: True)
    assert choose(None, 2, 0.1) == Place(RAY)


def test_a_machine_with_gpus_uses_ray(plain_machine: Path) -> None:
    plain_machine.joinpath("gpus", "0000:01:00.0").mkdir(parents=True)
    assert choose(None, 1, 0.1) == Place(
        RAY, "Starting Ray on this machine: this machine has GPUs, and only Ray gives each worker its own."
    )
    assert places.expected_crew().counted == 1
    with pytest.raises(UsageError, match="cannot run on local workers: this machine has GPUs"):
        choose(LOCAL, 1, 0.1)


def test_packages_that_have_to_be_installed_need_ray() -> None:
    assert choose(None, 1, 0.1, ["toolz==0.11.0"]) == Place(
        RAY, "Starting Ray on this machine: the recorded packages are installed by Ray."
    )
    with pytest.raises(UsageError, match="cannot run on local workers: the recorded packages are installed by Ray"):
        choose(LOCAL, 1, 0.1, ["toolz==0.11.0"])
