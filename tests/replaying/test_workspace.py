"""A replay's folder: it reads like the user's, and nothing done in it reaches the user's files."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from flor_ray.replaying.sandbox import workspace
from tests.conftest import Lab

LARGE = b"x" * (2 << 20)  # more than is copied


@pytest.fixture
def original(lab: Lab) -> Path:
    """A user's folder with ignored data, large and small, linked folders, and another repository in it."""
    lab.write(".gitignore", "data/\nout/\nshared\nother/\n")
    lab.write("train.py", "1\n")
    lab.write("data/small.txt", "small")
    for name in ("large.bin", "append.bin", "change.bin", "truncate.bin", "replace.bin", "remove.bin", "moved.bin"):
        (lab.root / "data" / name).write_bytes(LARGE)
    outside = lab.root.parent / "outside"
    outside.mkdir()
    (outside / "set.bin").write_bytes(LARGE)
    (lab.root / "shared").symlink_to(outside)
    lab.write("other/.git/HEAD", "ref: refs/heads/main\n")
    lab.write("other/code.py", "2\n")
    return lab.root


def made(original: Path, folder: Path) -> Path:
    root = folder / "replay" / "project"
    root.mkdir(parents=True)
    files = {"train.py": (b"1\n", "100644"), "run.sh": (b"#!/bin/sh\n", "100755"), "link.py": (b"train.py", "120000")}
    workspace.materialise(root, files, original)
    return root


def test_a_versions_files_are_written_and_the_rest_is_copied_or_linked(original: Path, tmp_path: Path) -> None:
    root = made(original, tmp_path)
    assert (root / "train.py").read_text() == "1\n"
    assert (root / "run.sh").stat().st_mode & 0o777 == 0o755
    assert (root / "link.py").readlink() == Path("train.py")
    assert (root / "data/small.txt").read_text() == "small"
    assert not (root / "data/small.txt").is_symlink()
    assert (root / "data/large.bin").readlink() == original / "data/large.bin"
    assert (root / "shared/set.bin").read_bytes() == LARGE
    assert (root / "other/code.py").read_text() == "2\n"
    assert not (root / ".git").exists()
    assert not (root / "other/.git").exists()


# Links of a version. The user's own folder has `data`, which is versioned, and `ignored`; both lead out of it.
LINKS = {
    "same": "train.py",
    "folder/up": "../train.py",
    "dangling": "nowhere",
    "data": "../data",
    "renamed": "../data/set",
    "elsewhere": "{above}/data",
    "into": "data/x.txt",
    "own": "{above}/project/train.py",
    "ignored": "{above}/ignored",
}
EVIL = {
    "absolute": "/etc",
    "above": "..",
    "far": "../../..",
    "beside": "../data-2",
    "past": "data/../../etc",
    "dot": ".",
    "tricky": "dot/..",
    "trickier": "data/..",
    "deep/around": "../dot/../..",
}


@pytest.mark.parametrize("is_at_hand", [True, False])
def test_links_out_of_a_version_are_made_only_where_the_user_has_such_a_link(tmp_path: Path, is_at_hand: bool) -> None:
    user = tmp_path / "project"
    user.mkdir()
    for name in ("data", "ignored"):
        (tmp_path / name).mkdir()
        (user / name).symlink_to(f"{tmp_path}/{name}")
    places = workspace.places_outside(str(user), {"data", "train.py", "gone"})
    assert places == {str(tmp_path / "data")}
    if not is_at_hand:  # another machine
        shutil.rmtree(user)
    root = tmp_path / "replay/project"
    root.mkdir(parents=True)
    links = {name: target.format(above=tmp_path) for name, target in (LINKS | EVIL).items()}
    files = {"train.py": (b"1", "100644"), **{name: (target.encode(), "120000") for name, target in links.items()}}
    found = workspace.materialise(root, files, user, places=places)
    expected = EVIL.keys() - {"dot"} | (set() if is_at_hand else {"ignored"})
    assert found.unmade.keys() == expected
    assert not any((root / name).is_symlink() for name in expected)
    assert all((root / name).is_symlink() for name in links.keys() - expected)


def test_a_pointer_of_git_lfs_becomes_the_file_that_it_stands_for(original: Path, tmp_path: Path) -> None:
    """From the user's folder if it is still that file, else from where Git LFS keeps it, else it stays a pointer."""
    names = ("same.bin", "kept.bin", "gone.bin")
    pointers = {}
    for name in names:
        digest = hashlib.sha256(name.encode()).hexdigest()
        text = f"version https://git-lfs.github.com/spec/v1\noid sha256:{digest}\nsize {len(name)}\n"
        pointers[name] = (text.encode(), "100644")
        (original / name).write_text(name if name == "same.bin" else "other123")
        if name == "kept.bin":
            kept = original / ".git/lfs/objects" / digest[:2] / digest[2:4] / digest
            kept.parent.mkdir(parents=True)
            kept.write_text(name)
    root = tmp_path / "replay/project"
    root.mkdir(parents=True)
    workspace.materialise(root, pointers, original)
    assert [(root / name).read_bytes() for name in names] == [b"same.bin", b"kept.bin", pointers["gone.bin"][0]]


def test_a_folder_of_very_many_files_is_one_link(
    original: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workspace, "_MAX_LINKS_PER_FOLDER", 100)
    (original / "data/images").mkdir()
    for index in range(101):
        (original / f"data/images/{index}.txt").touch()
    root = made(original, tmp_path)
    assert (root / "data/images").readlink() == original / "data/images"
    assert not (root / "data").is_symlink()


def test_small_files_are_copied_up_to_a_limit_and_linked_beyond_it(
    original: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workspace, "_ALL_COPIED_BYTES", 10)
    for index in range(4):
        (original / f"data/{index}.txt").write_text("1234")
    root = made(original, tmp_path)
    assert [(root / f"data/{index}.txt").is_symlink() for index in range(4)] == [False, False, True, True]


ACTIONS = """
import json, os, pathlib, shutil, sqlite3, sys
from pathlib import Path
from flor_ray.replaying.sandbox import overlay
root, original = Path(sys.argv[1]), Path(sys.argv[2])
overlay.install(root, original)
os.chdir(root)
outcomes = {}
def act(name, action):
    try:
        outcomes[name] = str(action() or "done")
    except PermissionError as error:
        outcomes[name] = "refused"
def write(path, mode="w"):
    with open(path, mode) as file:
        file.write(b"new" if "b" in mode else "new")
def read_plus(path):
    with open(path, "r+b") as file:
        file.write(b"new")
act("write a link", lambda: write("data/large.bin", "wb"))
act("append to a link", lambda: write("data/append.bin", "ab"))
act("change a link", lambda: read_plus("data/change.bin"))
act("truncate a link", lambda: os.truncate("data/truncate.bin", 1))
act("os.open a link", lambda: os.close(os.open("data/replace.bin", os.O_WRONLY | os.O_TRUNC)))
act("remove a link", lambda: os.remove("data/remove.bin"))
act("rename a link", lambda: os.replace("data/moved.bin", "data/elsewhere.bin"))
act("new files", lambda: (os.makedirs("out/deep"), Path("out/deep/a.txt").write_text("new"), None)[-1])
act("remove a folder", lambda: shutil.rmtree("out"))
act("write an absolute path", lambda: write(original / "train.py"))
act("make an absolute folder", lambda: os.makedirs(original / "out" / "x"))
act("make one that is there", lambda: os.makedirs(original / "data", exist_ok=True))
act("rename out of it", lambda: os.rename(original / "train.py", "mine.py"))
act("rename into it", lambda: os.replace("mine.py", original / "train.py"))
act("link into it", lambda: os.symlink("train.py", original / "new.py"))
act("change its mode", lambda: os.chmod(original / "train.py", 0o600))
act("a database in it", lambda: sqlite3.connect(original / "new.db").close())
act("write through a linked folder", lambda: write("shared/new.txt"))
act("read it", lambda: open("shared/new.txt").read() + open(original.parent / "outside/new.txt").read())
act("list it", lambda: sorted(os.listdir("shared")))
act("read an absolute path", lambda: open(original / "new.py").read())
act("read through a link", lambda: len(open("shared/set.bin", "rb").read()))
act("outside of both", lambda: write(str(root.parent / "elsewhere.txt")))
import numpy
act("numpy.save", lambda: numpy.save(original / "data/array.npy", numpy.zeros(1)))
# stands for a library that opens files past Python
Path("cv2.py").write_text("def imwrite(filename, image):\\n    return filename\\n")
import cv2
act("past Python", lambda: cv2.imwrite(str(original / "data/image.png"), None))
act("past Python, elsewhere", lambda: cv2.imwrite(filename="image.png", image=None))
act("remove an absolute path", lambda: os.remove(original / "new.py"))
act("remove an absolute folder", lambda: shutil.rmtree(original / "other"))
act("other code", lambda: sorted(name for name in os.listdir(original) if name in ("new.py", "other", "data")))
print(json.dumps(outcomes))
"""


def contents(folder: Path) -> dict[str, bytes | str]:
    return {
        str(path.relative_to(folder)): str(path.readlink()) if path.is_symlink() else path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() or path.is_symlink()
    }


def test_scripts_may_overwrite_what_they_see_and_nothing_of_the_users_changes(original: Path, tmp_path: Path) -> None:
    root = made(original, tmp_path)
    before = contents(original) | contents(original.parent / "outside")
    done = subprocess.run(
        [sys.executable, "-c", ACTIONS, str(root), str(original)], capture_output=True, text=True, check=True
    )
    outcomes = json.loads(done.stdout)
    assert "refused" not in outcomes.values()
    assert outcomes["read an absolute path"] == "new"
    assert outcomes["read it"] == "newnew"
    assert outcomes["list it"] == "['new.txt', 'set.bin']"
    assert outcomes["read through a link"] == str(len(LARGE))
    assert outcomes["past Python"] == str(root / "data/image.png")
    assert outcomes["past Python, elsewhere"] == "image.png"
    assert outcomes["other code"] == "['data']"
    assert contents(original) | contents(original.parent / "outside") == before
    assert (root / "data/large.bin").read_bytes() == b"new"
    assert (root / "data/append.bin").read_bytes() == LARGE + b"new"
    assert (root / "data/change.bin").read_bytes() == b"new" + LARGE[3:]
    assert (root / "data/truncate.bin").read_bytes() == b"x"
    assert (root / "data/replace.bin").read_bytes() == b""
    assert (root / "data/elsewhere.bin").is_symlink()
    assert [path.name for path in (root / "out").rglob("*")] == ["x"]  # the absolute folder
