"""A replayed script writes where it likes, and sees what it wrote; the user's files stay as they were.

Every script has a process of its own: what `overlay.install` puts in place stays for a process's whole life.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

LARGE = b"x" * (2 << 20)
HEAD = """
import json, os, shutil, sys
from pathlib import Path
from flor_ray.replaying.sandbox import overlay
root, original, outside = map(Path, sys.argv[1:4])
kept = outside / "kept"
user, home = original / "out", outside / "out"
installed = overlay.install(root, original, [kept])
os.chdir(root)
seen = {}
def attempt(action):
    try:
        return action() or "done"
    except OSError as error:
        return type(error).__name__
"""
FOOT = "\nprint(json.dumps(seen, default=str))\n"
Replayed = Callable[[str], dict[str, Any]]


@pytest.fixture
def folders(tmp_path: Path) -> Iterator[tuple[Path, Path, Path]]:
    """A workspace, the user's folder that it stands for, and another folder of the user's."""
    home = Path(tempfile.mkdtemp(prefix="flor-"))  # a short name, as replays have: those of sockets end after 107 bytes
    root, original, outside = home / "project", tmp_path / "project", tmp_path / "outside"
    for folder in (original, outside):
        (folder / "out/deep").mkdir(parents=True)
        for name in ("a.txt", "b.txt", "out/a.txt", "out/b.txt", "out/deep/c.txt"):
            (folder / name).write_text(f"{name}\n")
        (folder / "large.bin").write_bytes(LARGE)
        (folder / "out/link.txt").symlink_to("a.txt")
    (outside / "kept").mkdir()
    root.mkdir(parents=True)
    (root / "a.txt").write_text("recorded\n")
    (root / "large.bin").symlink_to(original / "large.bin")
    yield root, original, outside
    shutil.rmtree(home, ignore_errors=True)


@pytest.fixture
def replayed(folders: tuple[Path, Path, Path]) -> Iterator[Replayed]:
    root, original, outside = folders
    before = contents(original) | contents(outside)

    def run(text: str) -> dict[str, Any]:
        done = subprocess.run(
            [sys.executable, "-c", HEAD + text + FOOT, *map(str, folders)],
            capture_output=True,
            text=True,
            check=False,
            timeout=100,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return found

    yield run
    assert contents(original) | {n: c for n, c in contents(outside).items() if "/kept/" not in n} == before
    assert not (root.parent / "outside" / str(root)[1:]).exists()


def contents(folder: Path) -> dict[str, Any]:
    return {
        str(path): (path.lstat().st_mtime_ns, path.lstat().st_mode, path.readlink() if path.is_symlink() else None)
        if path.is_dir() or path.is_symlink()
        else (path.stat().st_mtime_ns, path.stat().st_mode, path.read_bytes())
        for path in [folder, *sorted(folder.rglob("*"))]
        if path.name not in ("kept", folder.name) and "kept" not in path.parts
    }


def test_what_is_written_is_read_again_and_dropped(replayed: Replayed) -> None:
    seen = replayed("""
for name, folder in (("user", user), ("home", home)):
    (folder / "new.txt").write_text("new")
    with open(folder / "a.txt", "w") as file:
        file.write("other")
    with open(str(folder / "b.txt"), "a") as file:
        file.write("more")
    with open(os.fsencode(folder / "deep/c.txt"), "r+b") as file:
        file.write(b"OUT")
    seen[name] = [(folder / n).read_text() for n in ("new.txt", "a.txt", "b.txt", "deep/c.txt", "link.txt")]
    seen[f"{name}, exclusive"] = [attempt(lambda: open(folder / n, "x").close()) for n in ("b.txt", "x")]
    seen[f"{name}, nowhere"] = attempt(lambda: open(folder / "none/x.txt", "w"))
    try:
        open(folder / "none.txt")
    except FileNotFoundError as error:
        seen[f"{name}, message"] = error.filename == str(folder / "none.txt")
    os.truncate(folder / "b.txt", 3)
    descriptor = os.open(folder / "a.txt", os.O_WRONLY | os.O_APPEND)
    os.write(descriptor, b"!")
    os.close(descriptor)
    seen[f"{name}, sizes"] = [os.stat(folder / "b.txt").st_size, os.path.getsize(folder / "a.txt")]
""")
    for name in ("user", "home"):
        assert seen[name] == ["new", "other", "out/b.txt\nmore", "OUT/deep/c.txt\n", "other"]
        assert seen[f"{name}, exclusive"] == ["FileExistsError", "done"]
        assert seen[f"{name}, nowhere"] == "FileNotFoundError"
        assert seen[f"{name}, message"]
        assert seen[f"{name}, sizes"] == [3, 6]


def test_an_absolute_path_into_the_users_folder_is_the_version_that_is_replayed(
    replayed: Replayed, folders: tuple[Path, Path, Path]
) -> None:
    seen = replayed("""
seen["of the version"] = (original / "a.txt").read_text()
seen["not of it"] = (original / "b.txt").read_text()
(original / "b.txt").write_text("b")
Path("c.txt").write_text("c")
seen["by the other name"] = [Path("b.txt").read_text(), (original / "c.txt").read_text()]
os.remove("c.txt")
os.remove("large.bin")
seen["gone"] = [(original / n).exists() for n in ("c.txt", "large.bin")]
""")
    assert (seen["of the version"], seen["not of it"]) == ("recorded\n", "b.txt\n")
    assert seen["by the other name"] == ["b", "c"]
    assert seen["gone"] == [False, False]


def test_links_to_large_files_become_copies_when_they_change(replayed: Replayed) -> None:
    seen = replayed("""
seen["absolute"] = [os.path.islink(original / "large.bin"), os.stat(original / "large.bin").st_size]
with open(original / "large.bin", "r+b") as file:
    file.write(b"new")
seen["then"] = [Path("large.bin").read_bytes()[:4].decode(), os.path.islink("large.bin")]
os.symlink(original / "large.bin", "second")
with open("second", "ab") as file:
    file.write(b"end")
seen["through a link"] = Path("large.bin").read_bytes()[-4:].decode()
""")
    assert seen["absolute"] == [False, len(LARGE)]
    assert seen["then"] == ["newx", False]
    assert seen["through a link"] == "xend"


def test_removed_files_are_gone_for_the_script_only(replayed: Replayed) -> None:
    seen = replayed("""
for name, folder in (("user", user), ("home", home)):
    os.remove(folder / "a.txt")
    (folder / "b.txt").unlink()
    seen[name] = [os.path.exists(folder / "a.txt"), attempt(lambda: open(folder / "b.txt"))]
    seen[name].append(attempt(lambda: os.remove(folder / "a.txt")))
    seen[f"{name}, full"] = attempt(lambda: os.rmdir(folder))
    shutil.rmtree(folder / "deep")
    seen[f"{name}, left"] = sorted(os.listdir(folder))
    shutil.rmtree(folder)
    seen[f"{name}, no folder"] = [folder.is_dir(), attempt(lambda: open(folder / "new.txt", "w"))]
    seen[f"{name}, no folder"].append(attempt(lambda: os.listdir(folder)))
    os.makedirs(folder / "deep")
    seen[f"{name}, made again"] = [os.listdir(folder), os.listdir(folder / "deep")]
seen["said"] = installed.sentences()
""")
    for name in ("user", "home"):
        assert seen[name] == [False, "FileNotFoundError", "FileNotFoundError"]
        assert seen[f"{name}, full"] == "OSError"
        assert seen[f"{name}, left"] == ["link.txt"]
        assert seen[f"{name}, no folder"] == [False, "FileNotFoundError", "FileNotFoundError"]
        assert seen[f"{name}, made again"] == [["deep"], []]
    assert len(seen["said"]) == 1
    assert "only looked removed" in seen["said"][0]


def test_files_and_folders_are_renamed_copied_and_linked(replayed: Replayed) -> None:
    seen = replayed("""
for name, folder in (("user", user), ("home", home)):
    (folder / "part").write_text("part")
    os.replace(folder / "part", folder / "a.txt")
    os.rename(folder / "b.txt", folder / "moved.txt")
    os.rename(folder / "deep", folder / "moved")
    shutil.copy(folder / "moved.txt", folder / "copy.txt")
    shutil.copytree(folder / "moved", folder / "tree")
    shutil.move(folder / "tree", "tree-" + name)
    os.symlink("copy.txt", folder / "latest.txt")
    os.symlink(folder / "moved", folder / "there")
    os.link(folder / "a.txt", folder / "hard.txt")
    (folder / "hard.txt").write_text("hard")
    seen[name] = sorted(os.listdir(folder))
    names = ("a.txt", "moved.txt", "latest.txt", "there/c.txt")
    seen[f"{name}, read"] = [(folder / n).read_text() for n in names]
    seen[f"{name}, tree"] = Path("tree-" + name, "c.txt").read_text()
    seen[f"{name}, onto"] = [attempt(lambda: os.rename(folder / "a.txt", folder / "moved"))]
    seen[f"{name}, onto"].append(attempt(lambda: os.replace(folder / "none", folder / "a.txt")))
    (folder / "there/new.txt").write_text("new")
    seen[f"{name}, through"] = [(folder / "moved/new.txt").read_text(), os.readlink(folder / "latest.txt")]
""")
    for name in ("user", "home"):
        assert seen[name] == sorted(
            ["a.txt", "copy.txt", "hard.txt", "latest.txt", "link.txt", "moved", "moved.txt", "there"]
        )
        assert seen[f"{name}, read"] == ["hard", "out/b.txt\n", "out/b.txt\n", "out/deep/c.txt\n"]
        assert seen[f"{name}, tree"] == "out/deep/c.txt\n"
        assert seen[f"{name}, onto"] == ["IsADirectoryError", "FileNotFoundError"]
        assert seen[f"{name}, through"] == ["new", "copy.txt"]


def test_listings_show_both_layers(replayed: Replayed) -> None:
    seen = replayed("""
import glob
for name, folder in (("user", user), ("home", home)):
    (folder / "new").mkdir()
    (folder / "deep/new.txt").write_text("1")
    os.remove(folder / "b.txt")
    seen[name] = [sorted(os.listdir(folder)), sorted(p.name for p in folder.iterdir())]
    seen[name].append(sorted(glob.glob(f"{folder}/*/*.txt")))
    walked = os.walk(folder)
    seen[f"{name}, walk"] = [(os.path.relpath(top, folder), sorted(some), sorted(files)) for top, some, files in walked]
    seen[f"{name}, paths"] = sorted(str(path) for path in folder.rglob("*.txt"))
    with os.scandir(folder) as entries:
        seen[f"{name}, entries"] = sorted(
            (e.name, e.path == str(folder / e.name), e.is_dir(), e.is_file(), e.is_symlink(), e.stat().st_size >= 0)
            for e in entries
        )
    os.chdir(folder)
    seen[f"{name}, there"] = [sorted(os.listdir()), open("deep/new.txt").read(), open("deep/c.txt").read()]
    Path("relative.txt").write_text("2")
    seen[f"{name}, relative"] = [(folder / "relative.txt").read_text(), os.access(folder / "new", os.W_OK)]
""")
    for name in ("user", "home"):
        names = ["a.txt", "deep", "link.txt", "new"]
        listed, iterated, globbed = seen[name]
        assert (listed, iterated) == (names, names)
        assert [path.split("/")[-2:] for path in globbed] == [["deep", "c.txt"], ["deep", "new.txt"]]
        assert seen[f"{name}, walk"][0] == [".", ["deep", "new"], ["a.txt", "link.txt"]]
        assert ["deep", [], ["c.txt", "new.txt"]] in seen[f"{name}, walk"]
        assert len(seen[f"{name}, paths"]) == 4
        assert seen[f"{name}, entries"] == [
            ["a.txt", True, False, True, False, True],
            ["deep", True, True, False, False, True],
            ["link.txt", True, False, True, True, True],
            ["new", True, True, False, False, True],
        ]
        assert seen[f"{name}, there"] == [names, "1", "out/deep/c.txt\n"]
        assert seen[f"{name}, relative"] == ["2", True]


def test_modes_times_and_descriptors_of_folders_are_those_of_the_copy(replayed: Replayed) -> None:
    seen = replayed("""
for name, folder in (("user", user), ("home", home)):
    os.chmod(folder / "a.txt", 0o600)
    os.utime(folder / "b.txt", (1, 2))
    os.chmod(folder / "deep", 0o700)
    seen[name] = [oct(os.stat(folder / "a.txt").st_mode & 0o777), os.stat(folder / "b.txt").st_mtime]
    seen[name] += [(folder / "b.txt").read_text(), os.listdir(folder / "deep")]
    descriptor = os.open(folder, os.O_RDONLY)
    os.mkdir("made", dir_fd=descriptor)
    os.rename("a.txt", "z.txt", src_dir_fd=descriptor, dst_dir_fd=descriptor)
    os.close(os.open("by descriptor", os.O_CREAT | os.O_WRONLY, dir_fd=descriptor))
    os.unlink("b.txt", dir_fd=descriptor)
    seen[f"{name}, names"] = sorted(os.listdir(folder))
    os.fchmod(descriptor, os.stat(folder).st_mode)
""")
    for name in ("user", "home"):
        assert seen[name] == ["0o600", 2.0, "out/b.txt\n", ["c.txt"]]
        assert seen[f"{name}, names"] == ["by descriptor", "deep", "link.txt", "made", "z.txt"]


def test_temporary_files_sockets_and_logs_work(replayed: Replayed, folders: tuple[Path, Path, Path]) -> None:
    seen = replayed("""
import logging, multiprocessing.connection, pickle, sqlite3, subprocess, tempfile, zipfile, bz2
with tempfile.TemporaryDirectory() as folder, tempfile.NamedTemporaryFile() as file:
    seen["temporary"] = [Path(folder).is_relative_to(root.parent), file.name.startswith(str(root.parent))]
    Path(folder, "x").write_text("x")
with tempfile.TemporaryFile() as file:
    seen["temporary"].append(file.write(b"1"))
with tempfile.TemporaryDirectory(dir=home) as folder:
    Path(folder, "x").write_text("x")
seen["cleaned"] = not Path(folder).exists()
with multiprocessing.connection.Listener(family="AF_UNIX") as listener:
    with multiprocessing.connection.Client(listener.address) as client, listener.accept() as server:
        client.send(1)
        seen["socket"] = server.recv()
os.mkfifo(root / "pipe")
logging.getLogger("train").addHandler(logging.FileHandler(home / "train.log"))
logging.getLogger("train").warning("hello")
seen["log"] = (home / "train.log").read_text()
with zipfile.ZipFile(home / "new.zip", "w") as file:
    file.write(home / "a.txt", "a.txt")
with bz2.open(home / "new.bz2", "wt") as file:
    file.write("small")
seen["archives"] = [zipfile.ZipFile(home / "new.zip").read("a.txt").decode()]
seen["archives"].append(bz2.open(home / "new.bz2", "rt").read())
for database in (home / "new.db", f"file:{home}/uri.db?mode=rwc"):
    with sqlite3.connect(database, uri=isinstance(database, str)) as connection:
        connection.execute("create table t (x)")
seen["databases"] = [os.path.exists(home / "new.db"), os.path.exists(home / "uri.db")]
child = [sys.executable, "-c", "import tempfile; print(tempfile.gettempdir())"]
seen["children"] = subprocess.run(child, capture_output=True, text=True).stdout.strip() == str(root.parent / "tmp")
open("/dev/null", "w").write("1")
(kept / "object").write_text("kept")
seen["said"] = installed.sentences()
""")
    assert seen["temporary"] == [True, True, 1]
    assert seen["cleaned"]
    assert seen["socket"] == 1
    assert seen["log"] == "hello\n"
    assert seen["archives"] == ["out/a.txt\n", "small"]
    assert seen["databases"] == [True, True]
    assert seen["children"]
    assert seen["said"] == [f"writes to {folders[2]}/out went to a scratch copy and were dropped: 5 files"]
    assert (folders[2] / "kept/object").read_text() == "kept"


def test_forked_processes_write_to_the_same_copy(replayed: Replayed) -> None:
    seen = replayed("""
import multiprocessing
def work(index):
    with open(home / "a.txt", "a") as file:
        file.write(f"{index}\\n")
    (home / f"{index}.txt").write_text(str(index))
    return (home / f"{index}.txt").read_text()
with multiprocessing.get_context("fork").Pool(2) as pool:
    seen["answers"] = pool.map(work, range(4))
seen["lines"] = sorted((home / "a.txt").read_text().split())
seen["files"] = sorted(path.name for path in home.glob("[0-9].txt"))
""")
    assert seen["answers"] == ["0", "1", "2", "3"]
    assert seen["lines"] == ["0", "1", "2", "3", "out/a.txt"]
    assert seen["files"] == ["0.txt", "1.txt", "2.txt", "3.txt"]


def test_libraries_that_open_files_past_python_are_given_the_scratch_path(replayed: Replayed) -> None:
    seen = replayed("""
import numpy, pandas, torch
from safetensors.torch import load_file, save_file
from torch.utils.data import DataLoader, Dataset
class Numbers(Dataset):
    def __len__(self):
        return 8
    def __getitem__(self, index):
        (home / f"worker-{index}.txt").write_text("read")
        return torch.tensor(index)
for name, folder in (("user", user), ("home", home)):
    torch.save({"w": torch.ones(2)}, folder / "a.txt")
    torch.save({"w": torch.ones(2)}, str(folder / "model.pt"), _use_new_zipfile_serialization=False)
    save_file({"w": torch.ones(3)}, folder / "model.safetensors")
    pandas.DataFrame({"x": [1, 2]}).to_parquet(folder / "table.parquet")
    pandas.DataFrame({"x": [1, 2]}).to_csv(folder / "table.csv")
    numpy.save(folder / "array.npy", numpy.arange(3))
    numpy.savez(folder / "arrays.npz", x=numpy.arange(3))
    numpy.arange(3).tofile(folder / "array.bin")
    mapped = numpy.memmap(folder / "large.bin", dtype="uint8", mode="w+", shape=(4,))
    mapped[:] = 7
    seen[name] = [float(torch.load(folder / n)["w"].sum()) for n in ("a.txt", "model.pt")]
    seen[name] += [float(load_file(folder / "model.safetensors")["w"].sum())]
    seen[name] += [int(numpy.load(folder / "array.npy").sum()), int(numpy.load(folder / "arrays.npz")["x"].sum())]
    seen[name] += [numpy.fromfile(folder / "array.bin", dtype=int).tolist()]
    seen[name] += [int(numpy.memmap(folder / "large.bin", dtype="uint8", mode="r").sum())]
    seen[name] += [int(pandas.read_parquet(folder / "table.parquet").x.sum())]
    seen[name] += [int(pandas.read_csv(folder / "table.csv").x.sum())]
loader = DataLoader(Numbers(), batch_size=2, num_workers=2)
seen["batches"] = sorted(int(x) for batch in loader for x in batch)
seen["of workers"] = len(list(home.glob("worker-*.txt")))
""")
    assert seen["user"] == seen["home"] == [2.0, 2.0, 3.0, 3, 3, [0, 1, 2], 28, 3, 3]
    assert seen["batches"] == list(range(8))
    assert seen["of workers"] == 8


def test_what_was_imported_before_is_replaced_too(folders: tuple[Path, Path, Path]) -> None:
    """A fork server loads a version's libraries first."""
    root, original, _ = folders
    before = contents(original)
    (root.parent / "library.py").write_text(
        "from os import remove, listdir\n"
        "from builtins import open as built_in\n"
        "from pyarrow.parquet import write_table\n"
    )
    text = (
        f"import sys; sys.path.insert(0, {str(root.parent)!r}); import library, pyarrow\n{HEAD}"
        + """
with library.built_in(user / "new.txt", "w") as file:
    file.write("1")
library.remove(user / "b.txt")
library.write_table(pyarrow.table({"x": [1]}), user / "new.parquet")
seen["names"] = sorted(library.listdir(user))
"""
    )
    done = subprocess.run(
        [sys.executable, "-c", text + FOOT, *map(str, folders)], capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout)["names"] == ["a.txt", "deep", "link.txt", "new.parquet", "new.txt"]
    assert contents(original) == before


def test_what_cannot_be_redirected_is_refused(replayed: Replayed) -> None:
    seen = replayed("""
import io, posix
seen["refused"] = [attempt(lambda: io.FileIO(folder / "a.txt", "w")) for folder in (user, home)]
seen["refused"] += [attempt(lambda: posix.remove(home / "a.txt")), attempt(lambda: posix.mkdir(home / "x"))]
seen["refused"] += [attempt(lambda: posix.rename(home / "a.txt", root / "x"))]
seen["refused"] += [attempt(lambda: posix.symlink("a.txt", user / "x"))]
seen["allowed"] = [attempt(lambda: io.FileIO(path, "w").close()) for path in (root / "mine.txt", "/dev/null")]
try:
    posix.truncate(home / "a.txt", 0)
except PermissionError as error:
    seen["message"] = str(error)
""")
    assert seen["refused"] == ["PermissionError"] * 6
    assert seen["allowed"] == ["done", "done"]
    assert "could not redirect" in seen["message"]


def test_a_path_in_the_workspace_costs_microseconds(replayed: Replayed) -> None:
    seen = replayed("""
import posix, timeit
Path("deep/er").mkdir(parents=True)
Path("deep/er/x.txt").write_text("1")
def microseconds(function, *arguments):
    return min(timeit.repeat(lambda: function(*arguments), number=2000, repeat=5)) / 2000 * 1e6
paths = ("deep/er/x.txt", str(root / "deep/er/x.txt"), str(home / "a.txt"))
seen["cost"] = [microseconds(os.stat, path) - microseconds(posix.stat, path) for path in paths]
""")
    assert max(seen["cost"]) < 100  # 5 to 7 on an idle machine


ABOVE = """
import json, os, sys
from pathlib import Path
from flor_ray.replaying.sandbox import overlay, workspace
folder, original = map(Path, sys.argv[1:])
root = overlay.workspace_in(folder, str(original))
root.mkdir(parents=True)
links = {"link": (b"../data", "120000"), "inner/up": (b"../../data/x.txt", "120000")}
workspace.materialise(root, links, original, places=[str(original.parent / "data")])
installed = overlay.install(root, original, [], folder)
os.chdir(root)
paths = ("../data/x.txt", os.path.abspath("../data/x.txt"), "link/x.txt", "inner/up")
seen = {"read": [Path(p).read_text() for p in paths]}
seen["far"] = os.path.exists("../../" + original.parent.name + "/data/x.txt")
seen["names"] = sorted(os.listdir(".."))
seen["past us"] = os.stat(os.readlink("inner/up")).st_size
Path("../data/x.txt").write_text("changed")
os.makedirs("../runs/1")
os.chdir("../runs/1")
Path("y.txt").write_text("new")
seen["again"] = [Path(p).read_text() for p in ("../../data/x.txt", str(original.parent / "data/x.txt"), "y.txt")]
seen["back"] = sorted(os.listdir("../../project"))
seen["said"] = installed.sentences()
print(json.dumps(seen))
"""


def test_paths_that_lead_out_of_the_repository_lead_where_they_lead_in_the_users_folder(tmp_path: Path) -> None:
    original, data = tmp_path / "project", tmp_path / "data"
    original.mkdir()
    data.mkdir()
    (data / "x.txt").write_text("user's")
    subprocess.run(["git", "init", "--quiet", str(original)], check=True)
    folder = Path(tempfile.mkdtemp(prefix="flor-"))
    done = subprocess.run(
        [sys.executable, "-c", ABOVE, str(folder), str(original)], capture_output=True, text=True, check=False
    )
    shutil.rmtree(folder)
    assert done.returncode == 0, done.stderr
    said = [
        f"writes to {tmp_path / name} went to a scratch copy and were dropped: 1 file" for name in ("data", "runs/1")
    ]
    assert json.loads(done.stdout.splitlines()[-1]) == {
        "read": ["user's"] * 4,
        "far": True,
        "names": ["data", "project"],
        "past us": 6,
        "again": ["changed", "changed", "new"],
        "back": [".git", "inner", "link"],
        "said": said,
    }
    assert (data / "x.txt").read_text() == "user's"
    assert sorted(os.listdir(tmp_path)) == ["data", "project"]


def test_a_replay_removes_its_own_folder_and_looks_into_no_other(replayed: Replayed) -> None:
    found = replayed(
        """
from flor_ray.replaying import leftovers
(outside / "out/deep/new.txt").write_text("new")
home = root.parent
listed = []
sys.addaudithook(lambda event, given: listed.append(os.fsdecode(given[0])) if event == "os.scandir" else None)
leftovers.remove(home)
seen["there"] = os.path.lexists(home)
seen["elsewhere"] = [path for path in listed if not path.startswith(str(home))]
"""
    )
    assert found == {"there": False, "elsewhere": []}
