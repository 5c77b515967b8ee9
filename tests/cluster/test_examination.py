"""What the doctor finds on one machine, and in what words."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path

import pytest

from flor_ray.cluster import examination
from flor_ray.cluster.examination import Diagnosis, Examined, SoughtData, diagnoses, look
from flor_ray.store.backend import Data
from flor_ray.store.local import LocalFiles
from tests.conftest import Lab

HERE = Examined("n", {"flor_ray": "1", "python": "3.11.7", "ray": "2.60.0", "torch": "2.13"}, (), 0, "", ())


def store(url: str, probe: str = "") -> dict[str, Diagnosis]:
    return {diagnosis.check: diagnosis for diagnosis in look(url, probe).store}


def failed(found: list[Diagnosis]) -> list[tuple[str, str, str]]:
    return [(one.check, one.seen, one.advice) for one in found if not one.passed]


@pytest.fixture(autouse=True)
def no_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Importing it takes longer than all of this."""
    monkeypatch.setattr(examination, "_TORCH", "print(0)")


def test_a_folder_that_can_be_written_is_well_and_nothing_stays_in_it(tmp_path: Path) -> None:
    (tmp_path / "format.json").write_text('{"format": 2}')
    found = store(str(tmp_path))
    assert [(check, diagnosis.passed) for check, diagnosis in found.items()] == [
        (name, True) for name in ("store", "store writable", "store create-only", "clock")
    ]
    assert os.listdir(tmp_path) == ["format.json"]


def test_a_folder_that_is_not_there_is_made_by_the_first_run_or_cannot_be(tmp_path: Path) -> None:
    said = store(str(tmp_path / "a/b"))["store"]
    assert said == Diagnosis("store", True, f"{tmp_path}/a/b is not there yet: the first run makes it")
    assert not (tmp_path / "a").exists()
    (tmp_path / "file").touch()
    said = store(str(tmp_path / "file/store"))["store"]
    advice = f"See who may write to {tmp_path}/file, or choose another store."
    assert said == Diagnosis("store", False, f"{tmp_path}/file/store cannot be made", advice)


def test_a_node_that_sees_another_folder_under_the_stores_path_is_told(tmp_path: Path) -> None:
    mount = "Mount it on this node at the same path, or use a bucket."
    said = store(str(tmp_path), "doctor-1")["store"]
    assert (said.passed, said.seen, said.advice) == (
        False,
        f"{tmp_path} is another folder here than where you ask",
        mount,
    )
    said = store(str(tmp_path / "gone"), "doctor-1")["store"]
    assert (said.passed, said.seen, said.advice) == (False, f"{tmp_path}/gone is not there", mount)
    probe, remove = examination.put_probe(str(tmp_path))
    assert store(str(tmp_path), probe)["store"].passed
    remove()
    assert not (tmp_path / probe).exists()


def test_what_a_server_does_with_conditions_clocks_and_refusals(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(LocalFiles, "probe_create", lambda self: False)
    monkeypatch.setattr(LocalFiles, "modified", lambda self, path: time.time() - 90)
    found = store(str(tmp_path))
    assert [check for check, diagnosis in found.items() if not diagnosis.passed] == ["store create-only", "clock"]
    assert found["clock"].seen == "90 s away from the store's"

    def refuse(self: LocalFiles, path: str, data: Data) -> None:
        raise PermissionError(13, "no")

    monkeypatch.setattr(LocalFiles, "write", refuse)
    said = store(str(tmp_path))["store writable"]
    assert not said.passed
    assert said.seen.startswith("Cannot write doctor-")
    assert said.advice.startswith("Check that you may read and write there")


def test_a_store_that_does_not_answer_is_a_line_and_no_hang(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(examination, "_STORE_SECONDS", 0.2)
    monkeypatch.setattr(LocalFiles, "modified", lambda self, path: time.sleep(2))
    assert store(str(tmp_path))["store"].seen == f"{tmp_path} has not answered for 0 s"


def test_versions_are_compared_with_those_of_the_driver() -> None:
    node = replace(HERE, versions={"flor_ray": "", "python": "3.12.1", "ray": "2.60.0", "torch": "2.12"})
    assert [(check, seen) for check, seen, _ in failed(diagnoses(node, HERE, 0.0))] == [
        ("flor_ray", "not installed, and 1 where you ask"),
        ("python", "3.12.1, and 3.11.7 where you ask"),
        ("torch", "2.12, and 2.13 where you ask"),
    ]
    assert not failed(diagnoses(HERE, HERE, 0.0))
    without = replace(HERE, versions={**HERE.versions, "torch": ""})
    assert not failed(diagnoses(HERE, without, 0.0))  # a laptop that only asks


@pytest.mark.parametrize(
    ("gpus", "ray", "torch", "error", "seen"),
    [
        (2, 2.0, 2, "", ""),
        (0, 0.0, None, "", ""),
        (2, 2.0, 0, "", "Ray counts 2, torch sees 0"),
        (2, 0.0, 2, "", "2 are there, and Ray counts none"),
        (0, 1.0, 0, "", "Ray counts 1, torch sees 0"),
        (1, None, 0, "", "torch sees 0"),
        (0, 0.0, 0, "libcuda.so: cannot open", "torch cannot say: libcuda.so: cannot open"),
    ],
)
def test_torch_has_to_see_the_gpus_that_ray_counts(
    gpus: int, ray: float | None, torch: int | None, error: str, seen: str
) -> None:
    node = replace(HERE, gpus=("A100",) * gpus, torch_gpus=torch, torch_error=error)
    assert [said for _, said, _ in failed(diagnoses(node, HERE, ray))] == ([seen] if seen else [])


def test_why_torch_cannot_be_imported_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(examination, "_TORCH", "raise ImportError('libcudart.so.12: cannot open shared object file')")
    found = look(None)
    assert (found.torch_gpus, found.store) == (0, ())
    assert found.torch_error == "ImportError: libcudart.so.12: cannot open shared object file"


def test_data_that_versions_have_read_are_there_or_are_named(tmp_path: Path) -> None:
    lab = Lab(tmp_path / "project")
    lab.write("data.txt", "1")
    lab.write(".gitignore", "data.txt\n")
    lab.record_forked("import flor_ray as flor\nopen('data.txt').read()\nflor.log('x', 1)\n")
    sought = SoughtData("project", str(lab.root), {})

    def said() -> Diagnosis:
        return look(str(lab.root / ".flor"), sought=sought).store[-1]

    assert said() == Diagnosis("data", True, "1 file that versions have read can be had")
    lab.write("data.txt", "2")
    assert (said().passed, said().seen) == (
        False, "1 of 1 file that versions have read cannot be had as they were: data.txt"
    )  # fmt: skip
    lab.write("data.txt", "1")
    assert lab.cli("data", "push").returncode == 0
    (lab.root / "data.txt").unlink()
    assert said().passed
