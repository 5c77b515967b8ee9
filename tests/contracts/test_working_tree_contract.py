"""Where the newest code is: one suite for a git repository and for a plain folder."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from flor_ray.store.repository import Repository
from flor_ray.store.working_tree import PlainFolder, WorkingTree

IGNORED = ".venv/\nenv/\n__pycache__/\nstore/\n"


@pytest.fixture(params=["repository", "folder"])
def tree(request: pytest.FixtureRequest, tmp_path: Path) -> WorkingTree:
    root = tmp_path / "project"
    root.mkdir()
    if request.param == "folder":
        return PlainFolder(str(root), [str(root / "store")])
    subprocess.run(["git", "init", "--quiet", str(root)], check=True)
    (root / ".gitignore").write_text(IGNORED)
    return Repository.open(str(root))


def write(tree: WorkingTree, name: str, data: bytes = b"1\n") -> Path:
    path = Path(tree.root, name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def seen(folder: Path) -> list[tuple[str, int, int]]:
    """All that is in a folder, but for git's own, and when it was changed."""
    found = [(path, path.lstat()) for path in sorted(folder.rglob("*")) if ".git" not in path.parts]
    return [(str(path), status.st_mtime_ns, status.st_size) for path, status in found]


def test_python_files_are_found_wherever_they_are(tree: WorkingTree) -> None:
    for name in ("train.py", "package/__init__.py", "package/deep/er/model.py", "data.csv", "with space/ö.py"):
        write(tree, name, name.encode())
    names = ("package/__init__.py", "package/deep/er/model.py", "train.py", "with space/ö.py")
    assert tree.working_sources() == {name: name.encode() for name in names}
    assert list(tree.working_sources()) == sorted(names)
    assert set(names) <= set(tree.working_paths())
    assert list(tree.working_paths()) == sorted(tree.working_paths())
    assert tree.working_sources(".rs") == {}


def test_the_root_is_where_the_folder_really_is(tree: WorkingTree, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tree.root)
    write(tree, "train.py")
    other: WorkingTree
    if isinstance(tree, Repository):
        other = Repository.open(str(tmp_path / "link"))
    else:
        other = PlainFolder(str(tmp_path / "link"))
    assert other.root == tree.root == os.path.realpath(tree.root)
    assert other.working_sources() == tree.working_sources() == {"train.py": b"1\n"}


def test_edits_and_removals_are_seen_at_once(tree: WorkingTree) -> None:
    path = write(tree, "train.py")
    write(tree, "gone.py").unlink()
    assert tree.working_sources() == {"train.py": b"1\n"}
    path.write_bytes(b"2\n")
    assert tree.working_sources() == {"train.py": b"2\n"}
    path.unlink()
    path.mkdir()
    write(tree, "train.py/inner.py")
    assert tree.working_sources() == {"train.py/inner.py": b"1\n"}


def test_what_is_installed_compiled_or_stored_there_is_no_code_of_the_users(tree: WorkingTree) -> None:
    write(tree, "env/pyvenv.cfg")
    for folder in (".venv/lib", "env/lib", "__pycache__", "package/__pycache__", "store/objects"):
        write(tree, f"{folder}/installed.py")
    write(tree, "stores/code.py")
    assert list(tree.working_sources()) == ["stores/code.py"]


def test_names_and_texts_that_are_no_utf8_are_kept(tree: WorkingTree) -> None:
    name = os.fsdecode(b"caf\xe9.py")
    Path(tree.root, name).write_bytes(b"# \xe9")
    assert tree.working_sources() == {name: b"# \xe9"}


def test_a_link_is_read_and_a_linked_folder_is_not_entered(tree: WorkingTree, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/there.py").write_bytes(b"there")
    Path(tree.root, "folder").symlink_to(tmp_path / "outside")
    Path(tree.root, "link.py").symlink_to(tmp_path / "outside/there.py")
    Path(tree.root, "around").symlink_to(tree.root)
    Path(tree.root, "broken.py").symlink_to("nowhere")
    assert tree.working_sources() == {"link.py": b"there"}
    assert "broken.py" in tree.working_paths()


def test_an_empty_folder_has_no_code(tree: WorkingTree) -> None:
    assert tree.working_sources() == {}


def test_looking_writes_nothing(tree: WorkingTree) -> None:
    write(tree, "package/train.py")
    before = seen(Path(tree.root))
    tree.working_sources()
    tree.working_paths()
    assert seen(Path(tree.root)) == before


def test_of_a_folder_that_cannot_be_read_there_is_no_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "shut").mkdir()
    (tmp_path / "train.py").write_text("1\n")
    real = os.scandir

    def scandir(path: str) -> object:
        if path.endswith("shut"):
            raise PermissionError(path)
        return real(path)

    monkeypatch.setattr("os.scandir", scandir)
    assert PlainFolder(str(tmp_path)).working_paths() == ("train.py",)
