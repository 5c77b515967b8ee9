"""What a job on a cluster is sent: today's code and the settings, no secret, nothing that a version would not hold."""

from __future__ import annotations

from pathlib import Path

import pytest

import flor_ray
from flor_ray import settings
from flor_ray.cluster import job_package
from flor_ray.settings import Settings
from flor_ray.store.repository import Repository
from flor_ray.store.working_tree import PlainFolder
from tests.conftest import Lab

CHOSEN = Settings(
    store="s3://bucket/flor", project="six", workers=2, time_limit="30m", secrets=("HF_TOKEN",), budget=3600.0
)


@pytest.fixture
def project(lab: Lab) -> Path:
    files = {
        "train.py": "import model",
        "lib/model.py": "x = 1",
        ".gitignore": "ignored.py\n.venv/\n",
        "ignored.py": "x = 2",
        ".venv/lib.py": "x = 3",
        ".env": "KEY=planted",
        "keys/id_rsa": "planted",
        "server.pem": "planted",
        "notes.txt": "notes",
        ".aws/login.py": "planted",
        "flor.yaml": "store: ../elsewhere\n",
    }
    for name, text in files.items():
        lab.write(name, text)
    (lab.root / "out.py").symlink_to("/etc/hostname")
    (lab.root / "hidden.py").symlink_to("ignored.py")
    (lab.root / "same.py").symlink_to("train.py")
    lab.git("add", "-f", ".aws/login.py")  # which would be in a version
    return lab.root


def held(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


def test_of_a_repository_only_code_that_a_version_would_hold_is_sent(project: Path, tmp_path: Path) -> None:
    package = job_package.make(tmp_path / "sent", Repository.open(str(project)), CHOSEN, ship=False)
    sent = held(package.folder)
    assert sent.pop("flor.yaml")
    assert sent == {"train.py": "import model", "lib/model.py": "x = 1", "same.py": "import model"}
    assert not any(path.is_symlink() for path in package.folder.rglob("*"))
    assert (package.shipped, package.files) == (None, 4)


def test_of_a_plain_folder_too(project: Path, tmp_path: Path) -> None:
    package = job_package.make(tmp_path / "sent", PlainFolder(str(project)), CHOSEN, ship=False)
    assert "planted" not in "".join(held(package.folder).values())
    assert {"train.py", "lib/model.py", "flor.yaml"} <= held(package.folder).keys()


def test_the_settings_arrive_as_they_were(project: Path, tmp_path: Path) -> None:
    package = job_package.make(tmp_path / "sent", Repository.open(str(project)), CHOSEN, ship=False)
    assert settings.load(str(package.folder), {}).settings == CHOSEN


def test_equal_questions_to_equal_code_are_the_same_job(project: Path, tmp_path: Path) -> None:
    tree = Repository.open(str(project))
    first, second = (job_package.make(tmp_path / str(n), tree, CHOSEN, ship=False).digest for n in range(2))
    assert first == second
    (project / "train.py").write_text("import model  # edited")
    other = job_package.make(tmp_path / "3", tree, CHOSEN, ship=False).digest
    ids = [job_package.job_id("my project!", *of) for of in ((first, "a"), (first, "a"), (first, "b"), (other, "a"))]
    assert ids[0] == ids[1]
    assert len(set(ids)) == 3
    assert all(id.startswith("flor-my-project-") and len(id) == 26 for id in ids)


@pytest.mark.parametrize(
    ("taken", "expected"),
    [
        ({}, ("a", False)),
        ({"a": False}, ("a", True)),
        ({"a": True}, ("a-2", False)),
        ({"a": True, "a-2": False}, ("a-2", True)),
        ({"a": True, "a-2": True, "a-3": True}, ("a-4", False)),
    ],
)
def test_a_running_job_is_joined_and_an_ended_one_followed_by_the_next(
    taken: dict[str, bool], expected: tuple[str, bool]
) -> None:
    assert job_package.free_id("a", taken) == expected


def test_flor_ray_itself_is_sent_whole_if_that_is_wanted(project: Path, tmp_path: Path) -> None:
    package = job_package.make(tmp_path / "sent", Repository.open(str(project)), CHOSEN, ship=True)
    assert package.shipped is not None
    ours = Path(flor_ray.__file__).parent
    wanted = {str(p.relative_to(ours)) for name in ("", "cluster", "scheduler") for p in (ours / name).glob("*.py")}
    assert wanted <= held(package.shipped).keys()
    assert not any(path.is_symlink() or path.suffix == ".pyc" for path in package.shipped.rglob("*"))
