"""Shadow commits on real repositories: everything lands on the branch, and nothing of the user's changes."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import blake3
import pytest

from flor_ray.errors import GitError, NoRepository
from flor_ray.records import SourceFile
from flor_ray.store.repository import ASIDE_BRANCH, BRANCH, LeftOut, Repository


@pytest.fixture(autouse=True)
def plain_git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """git as on a new machine: no identity, no settings of ours."""
    for name in list(os.environ):
        if name.startswith("GIT_"):
            monkeypatch.delenv(name)
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")


def git(folder: Path, *arguments: str, **variables: str) -> str:
    identity = {f"GIT_{who}_{what}": "me@x" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    done = subprocess.run(
        ["git", "-c", "init.defaultBranch=main", "-c", "protocol.file.allow=always", *arguments],
        cwd=folder,
        env=os.environ | identity | variables,
        capture_output=True,
        check=True,
    )
    return done.stdout.decode("utf-8", "surrogateescape").strip()


def write(folder: Path, **contents: str) -> None:
    for name, text in contents.items():
        (folder / name.replace("__", ".")).write_text(text)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A repository without any commit, with one untracked file."""
    root = tmp_path / "digits"
    root.mkdir()
    git(root, "init", "-q")
    write(root, train__py="print(1)\n")
    return root


@pytest.fixture
def committed(root: Path) -> Path:
    """A repository with one commit."""
    git(root, "add", "-A")
    git(root, "commit", "-q", "-m", "first")
    return root


def users_view(folder: Path) -> dict[str, object]:
    """All that a shadow commit must leave alone."""
    git_dir = Path(git(folder, "rev-parse", "--absolute-git-dir"))
    logs = git_dir / "logs/HEAD"
    return {
        "index": (git_dir / "index").read_bytes() if (git_dir / "index").exists() else None,
        "head": (git_dir / "HEAD").read_text(),
        "reflog": logs.read_text() if logs.exists() else None,
        "branches": [b for b in git(folder, "for-each-ref").splitlines() if "refs/heads/flor.shadow" not in b],
        "status": git(folder, "--no-optional-locks", "status", "--porcelain=v2", "--branch"),
        "files": {
            str(p.relative_to(folder)): (p.read_bytes(), p.stat().st_mtime_ns, p.stat().st_mode)
            for p in folder.rglob("*")
            if p.is_file() and ".git" not in p.relative_to(folder).parts
        },
    }


def commit(folder: Path, limit: int = 10_000) -> dict[str, bytes]:
    """Files of a new shadow commit; the user's view is checked."""
    before = users_view(folder)
    made = Repository.open(str(folder)).commit_shadow("run", limit)
    assert users_view(folder) == before
    return {path: file.data for path, file in Repository.open(str(folder)).sources(made.version).items()}


# --- what is committed ----------------------------------------------------------------------------------------------


def test_a_repository_without_commits_or_identity_can_be_recorded(root: Path) -> None:
    assert commit(root) == {"train.py": b"print(1)\n"}
    assert git(root, "log", "--format=%an <%ae> %s", BRANCH) == "flor_ray <flor_ray@localhost> run"


def test_the_users_own_identity_is_used_where_there_is_one(committed: Path) -> None:
    git(committed, "config", "user.name", "Ada")
    git(committed, "config", "user.email", "ada@x")
    commit(committed)
    assert git(committed, "log", "-1", "--format=%an <%ae>", BRANCH) == "Ada <ada@x>"


def test_every_commit_has_its_own_version_and_the_one_before_as_parent(committed: Path) -> None:
    repository = Repository.open(str(committed))
    made = [repository.commit_shadow("run") for _ in range(3)]
    assert [c.parent for c in made] == [None, made[0].version, made[1].version]
    assert git(committed, "rev-parse", BRANCH) == made[2].version
    assert all(c.left_out == () for c in made)


def test_the_working_tree_is_committed_and_not_the_index(committed: Path) -> None:
    write(committed, staged__py="s", gone__py="g", __gitignore="*.log\ndata/\n")
    git(committed, "add", "-A")
    git(committed, "commit", "-q", "-m", "second")
    write(committed, train__py="print(2)\n", new__py="n", staged__py="in the index", noise__log="x")
    git(committed, "add", "staged.py")
    write(committed, staged__py="on disk")
    (committed / "gone.py").unlink()
    (committed / "data").mkdir()
    write(committed / "data", set__bin="x")
    assert commit(committed) == {
        ".gitignore": b"*.log\ndata/\n",
        "new.py": b"n",
        "staged.py": b"on disk",
        "train.py": b"print(2)\n",
    }


def test_an_edit_in_the_same_instant_and_of_the_same_length_is_seen(committed: Path) -> None:
    git(committed, "config", "core.trustctime", "false")
    write(committed, train__py="print(2)\n")
    instant = (time.time_ns() - 10**10,) * 2
    os.utime(committed / "train.py", ns=instant)
    git(committed, "add", "train.py")
    write(committed, train__py="PRINT(2)\n")
    for path in ("train.py", ".git/index"):
        os.utime(committed / path, ns=instant)
    assert commit(committed) == {"train.py": b"PRINT(2)\n"}


@pytest.mark.parametrize(
    "name",
    ["with space.py", "ümlaut.py", "new\nline.py", 'quo"te.py', "-dash.py", "sub dir/x.py", ":(top)*.py", "\udcff.py"],
)
def test_any_file_name_survives(root: Path, name: str) -> None:
    (root / name).parent.mkdir(exist_ok=True)
    (root / name).write_text("x")
    assert commit(root) == {"train.py": b"print(1)\n", name: b"x"}
    assert Repository.open(str(root)).working_sources() == {"train.py": b"print(1)\n", name: b"x"}


def test_modes_and_links_survive(root: Path) -> None:
    (root / "run.sh").write_text("#!/bin/sh\n")
    (root / "run.sh").chmod(0o755)
    (root / "link.py").symlink_to("train.py")
    (root / "dangling").symlink_to("/nowhere/at all")
    (root / "empty.py").touch()
    repository = Repository.open(str(root))
    found = repository.sources(repository.commit_shadow("run").version)
    assert {path: (file.mode, file.data) for path, file in found.items()} == {
        "dangling": ("120000", b"/nowhere/at all"),
        "empty.py": ("100644", b""),
        "link.py": ("120000", b"train.py"),
        "run.sh": ("100755", b"#!/bin/sh\n"),
        "train.py": ("100644", b"print(1)\n"),
    }


def test_files_become_folders_and_folders_files(committed: Path) -> None:
    (committed / "pkg").mkdir()
    write(committed / "pkg", a__py="a")
    git(committed, "add", "-A")
    git(committed, "commit", "-q", "-m", "second")
    (committed / "train.py").unlink()
    (committed / "train.py").mkdir()
    write(committed / "train.py", x__py="x")
    (committed / "pkg/a.py").unlink()
    (committed / "pkg").rmdir()
    write(committed, pkg="now a file")
    assert commit(committed) == {"pkg": b"now a file", "train.py/x.py": b"x"}


def test_a_merge_conflict_is_recorded_with_its_markers(committed: Path) -> None:
    git(committed, "checkout", "-q", "-b", "other")
    write(committed, train__py="other\n")
    git(committed, "commit", "-qam", "other")
    git(committed, "checkout", "-q", "main")
    write(committed, train__py="ours\n")
    git(committed, "commit", "-qam", "ours")
    with pytest.raises(subprocess.CalledProcessError):
        git(committed, "merge", "other")
    assert commit(committed) == {"train.py": b"<<<<<<< HEAD\nours\n=======\nother\n>>>>>>> other\n"}
    (committed / "train.py").unlink()
    assert commit(committed) == {}


def test_files_that_git_was_told_to_overlook_are_recorded_as_they_are(committed: Path) -> None:
    write(committed, a__py="1", b__py="1", absent__py="1")
    git(committed, "add", "-A")
    git(committed, "commit", "-q", "-m", "second")
    git(committed, "update-index", "--assume-unchanged", "a.py")
    git(committed, "update-index", "--skip-worktree", "b.py", "absent.py")
    write(committed, a__py="edited", b__py="edited")
    (committed / "absent.py").unlink()  # as in a sparse checkout
    assert commit(committed) == {"a.py": b"edited", "absent.py": b"1", "b.py": b"edited", "train.py": b"print(1)\n"}


def test_line_ends_that_git_would_refuse_do_not_stop_a_run(committed: Path) -> None:
    git(committed, "config", "core.autocrlf", "input")
    git(committed, "config", "core.safecrlf", "true")
    (committed / "train.py").write_bytes(b"print(2)\r\n")
    assert commit(committed).keys() == {"train.py"}


# --- what is left out -----------------------------------------------------------------------------------------------


def test_large_files_are_left_out_by_hash(committed: Path) -> None:
    write(committed, weights__pt="w" * 50, was_small__csv="s")
    git(committed, "add", "-A")
    git(committed, "commit", "-q", "-m", "second")
    write(committed, was_small__csv="s" * 30, new__bin="n" * 21, fits__bin="n" * 20)
    repository = Repository.open(str(committed))
    made = repository.commit_shadow("run", size_limit_bytes=20)
    assert made.left_out == (
        LeftOut("new.bin", 21, blake3.blake3(b"n" * 21).hexdigest(), "it is larger than 20 bytes"),
        LeftOut("was_small.csv", 30, blake3.blake3(b"s" * 30).hexdigest(), "it is larger than 20 bytes"),
    )
    # not the old was_small.csv; weights.pt is in git anyway
    assert repository.sources(made.version).keys() == {"fits.bin", "train.py", "weights.pt"}


def test_files_of_submodules_and_nested_repositories_are_kept_as_they_are(
    committed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = tmp_path / "library"
    library.mkdir()
    git(library, "init", "-q")
    write(library, lib__py="1", __gitignore="*.log\n")
    git(library, "add", "-A")
    git(library, "commit", "-q", "-m", "first")
    head = git(library, "rev-parse", "HEAD")
    git(committed, "submodule", "--quiet", "add", str(library), "sub")
    git(committed, "submodule", "--quiet", "add", str(library), "gone")
    git(committed, "clone", "-q", str(library), "nested")
    git(committed / "nested", "clone", "-q", str(library), "inner")
    git(committed, "commit", "-q", "-m", "second")
    git(committed, "submodule", "--quiet", "deinit", "-f", "gone")
    write(committed / "sub", lib__py="dirty", new__py="new", out__log="x")
    (committed / "unborn").mkdir()
    git(committed / "unborn", "init", "-q")
    repository = Repository.open(str(committed))
    before = users_view(committed)
    made = repository.commit_shadow("run")
    assert users_view(committed) == before
    assert made.left_out == (LeftOut("gone", 0, "", "it is a submodule that is not checked out"),)
    found = {path: source.data for path, source in repository.sources(made.version).items() if path.endswith(".py")}
    assert found == {
        "nested/inner/lib.py": b"1",
        "nested/lib.py": b"1",
        "sub/lib.py": b"dirty",
        "sub/new.py": b"new",
        "train.py": b"print(1)\n",
    }
    assert repository.working_sources() == found
    assert Repository.open(str(committed / "sub")).name == "sub"
    monkeypatch.setattr("flor_ray.store.repository._MOST_INNER_FILES", 2)
    many = "it is a git repository of its own, with more than 2 files"
    made = repository.commit_shadow("run")
    assert made.left_out[1:] == (LeftOut("nested", 0, head, many), LeftOut("sub", 0, head, many))
    assert git(committed, "ls-tree", made.version, "sub").split()[:3] == ["160000", "commit", head]


def test_an_unreadable_file_is_named(committed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(committed, secret__py="x")
    access = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: "secret" not in str(path) and access(path, mode))
    made = Repository.open(str(committed)).commit_shadow("run")
    assert made.left_out == (LeftOut("secret.py", 1, "", "it cannot be read"),)


# --- where the user stands ------------------------------------------------------------------------------------------


def test_a_sub_directory_means_its_repository(committed: Path) -> None:
    (committed / "a/b").mkdir(parents=True)
    write(committed / "a/b", x__py="x")
    repository = Repository.open(str(committed / "a/b"))
    assert (repository.root, repository.name) == (str(committed), "digits")
    assert repository.sources(repository.commit_shadow("run").version).keys() == {"a/b/x.py", "train.py"}
    assert Repository.open(str(committed / "a/b/x.py")).root == str(committed)


def test_a_detached_head_stays_detached(committed: Path) -> None:
    git(committed, "checkout", "-q", "--detach")
    assert commit(committed) == {"train.py": b"print(1)\n"}


def test_a_linked_worktree_is_recorded_under_the_projects_name(committed: Path, tmp_path: Path) -> None:
    git(committed, "worktree", "add", "-q", str(tmp_path / "elsewhere"), "-b", "side")
    write(tmp_path / "elsewhere", side__py="s")
    assert commit(tmp_path / "elsewhere") == {"side.py": b"s", "train.py": b"print(1)\n"}
    repository = Repository.open(str(tmp_path / "elsewhere"))
    assert (repository.name, repository.root) == ("digits", str(tmp_path / "elsewhere"))
    assert repository.commit_shadow("run").parent is not None
    assert git(committed, "rev-list", "--count", BRANCH) == "2"


def test_hooks_do_not_run(committed: Path) -> None:
    hooks = committed / ".git/hooks"
    hooks.mkdir(exist_ok=True)
    for name in ("pre-commit", "commit-msg", "post-commit", "reference-transaction", "post-index-change", "fsmonitor"):
        (hooks / name).write_text("#!/bin/sh\ntouch hook-ran\nexit 1\n")
        (hooks / name).chmod(0o755)
    git_settings = committed / ".git/config"
    git_settings.write_text(git_settings.read_text() + "[core]\n\tfsmonitor = .git/hooks/fsmonitor\n")
    made = Repository.open(str(committed)).commit_shadow("run")
    assert made.left_out == ()
    assert not (committed / "hook-ran").exists()


def test_the_branch_under_the_users_feet_never_moves(committed: Path) -> None:
    first = Repository.open(str(committed)).commit_shadow("run")
    git(committed, "checkout", "-q", "-f", BRANCH)
    before = users_view(committed)
    repository = Repository.open(str(committed))
    aside = [repository.commit_shadow("run") for _ in range(2)]
    assert users_view(committed) == before
    assert git(committed, "rev-parse", BRANCH) == first.version
    assert [c.parent for c in aside] == [first.version, aside[0].version]
    assert git(committed, "rev-parse", ASIDE_BRANCH) == aside[1].version
    git(committed, "checkout", "-q", "main")
    assert repository.commit_shadow("run").parent == first.version


def test_a_branch_that_is_not_born_yet_is_not_born_by_us(root: Path) -> None:
    git(root, "symbolic-ref", "HEAD", f"refs/heads/{BRANCH}")
    commit(root)
    assert git(root, "for-each-ref", "--format=%(refname:short)") == ASIDE_BRANCH


def test_variables_that_a_calling_hook_has_set_are_not_followed(
    committed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    git(other, "init", "-q")
    monkeypatch.setenv("GIT_DIR", str(other / ".git"))
    monkeypatch.setenv("GIT_WORK_TREE", str(other))
    monkeypatch.setenv("GIT_INDEX_FILE", str(tmp_path / "hook-index"))
    monkeypatch.setenv("GIT_OBJECT_DIRECTORY", str(other / ".git/objects"))
    monkeypatch.setenv("GIT_COMMON_DIR", str(other / ".git"))
    repository = Repository.open(str(committed))
    made = repository.commit_shadow("run")
    assert repository.sources(made.version).keys() == {"train.py"}
    for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_COMMON_DIR"):
        monkeypatch.delenv(name)
    assert git(committed, "rev-parse", BRANCH) == made.version
    assert git(other, "for-each-ref") == ""


# --- refusals -------------------------------------------------------------------------------------------------------


def test_no_repository_says_git_init(tmp_path: Path) -> None:
    with pytest.raises(NoRepository, match="git init"):
        Repository.open(str(tmp_path / "home"))


def test_a_bare_repository_says_clone(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q", "--bare", "bare.git")
    for folder in ("bare.git", "bare.git/refs"):
        with pytest.raises(GitError, match=r"bare git repository.*clone"):
            Repository.open(str(tmp_path / folder))


def test_a_worktree_whose_repository_is_gone_says_repair(tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree/.git").write_text("gitdir: /nowhere/.git/worktrees/tree\n")
    with pytest.raises(GitError, match="git worktree repair"):
        Repository.open(str(tmp_path / "tree"))


def test_an_unknown_version_is_a_git_error_with_gits_words(committed: Path) -> None:
    with pytest.raises(GitError, match=r"git ls-tree.*not a (valid|tree)"):
        Repository.open(str(committed)).sources("f" * 40)


def test_a_branch_that_cannot_be_made_is_given_up_soon(committed: Path) -> None:
    git(committed, "branch", f"{BRANCH}/taken")  # a file cannot be where a folder is
    git(committed, "branch", f"{ASIDE_BRANCH}/taken")
    started = time.monotonic()
    with pytest.raises(GitError, match=r"git update-ref.*flor\.shadow"):
        Repository.open(str(committed)).commit_shadow("run")
    assert time.monotonic() - started < 10


def test_a_branch_that_leaves_no_room_for_ours_is_gone_round_with_a_word(committed: Path) -> None:
    git(committed, "branch", f"{BRANCH}/mine")
    repository = Repository.open(str(committed))
    made = [repository.commit_shadow("run") for _ in range(2)]
    assert git(committed, "rev-parse", ASIDE_BRANCH) == made[1].version
    assert made[1].parent == made[0].version
    assert "The branch flor.shadow/mine leaves no room for flor.shadow" in made[0].notes[0]


def test_where_a_required_filter_fails_files_are_kept_as_they_are_on_disk(committed: Path) -> None:
    git(committed, "config", "filter.lfs.clean", "no-such-program clean -- %f")
    git(committed, "config", "filter.lfs.process", "no-such-program process")
    git(committed, "config", "filter.lfs.required", "true")
    write(committed, __gitattributes="*.bin filter=lfs\n", weights__bin="weights")
    repository = Repository.open(str(committed))
    made = repository.commit_shadow("run")
    assert repository.sources(made.version)["weights.bin"].data == b"weights"
    assert made.notes[0].startswith("A filter of git's failed, so this version has its files as they are on disk: ")
    git(committed, "config", "--remove-section", "filter.lfs")
    assert repository.commit_shadow("again").notes == ()


@pytest.mark.parametrize("message", ["", "two\n\nparagraphs", "ünï", "-m", "nul\0", "\udcff", "# comment"])
def test_any_message_will_do(committed: Path, message: str) -> None:
    made = Repository.open(str(committed)).commit_shadow(message)
    assert git(committed, "rev-parse", BRANCH) == made.version


# --- reading --------------------------------------------------------------------------------------------------------


def test_known_objects_are_listed_without_their_data(root: Path) -> None:
    write(root, same__py="print(1)\n", other__bin="\0\n\n")
    repository = Repository.open(str(root))
    version = repository.commit_shadow("run").version
    oids = {path: file.oid for path, file in repository.sources(version).items()}
    assert oids["same.py"] == oids["train.py"] == git(root, "hash-object", "train.py")
    assert repository.sources(version, frozenset({oids["train.py"]})) == {
        "other.bin": SourceFile(b"\0\n\n", "100644", oids["other.bin"]),
        "same.py": SourceFile(b"", "100644", oids["train.py"]),
        "train.py": SourceFile(b"", "100644", oids["train.py"]),
    }


def test_working_sources_are_the_bytes_on_disk_now(committed: Path) -> None:
    write(committed, new__py="n", notes__txt="t", ignored__py="i", gone__py="g", __gitignore="ignored.py\n")
    git(committed, "add", "-A")
    git(committed, "commit", "-q", "-m", "second")
    (committed / "train.py").write_bytes(b"# caf\xe9\r\n")
    (committed / "gone.py").unlink()
    repository = Repository.open(str(committed))
    assert repository.working_sources() == {"new.py": b"n", "train.py": b"# caf\xe9\r\n"}
    assert repository.working_sources(".txt") == {"notes.txt": b"t"}


# --- at once --------------------------------------------------------------------------------------------------------

COMMIT = """
import sys
from flor_ray.store.repository import Repository

repository = Repository.open(sys.argv[1])
sys.stdin.readline()
print(repository.commit_shadow("run").version)
"""


def test_sixteen_processes_commit_at_once_and_all_land(root: Path) -> None:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-c", COMMIT, str(root)]
    running = [
        subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(16)
    ]
    for process in running:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    versions = {process.communicate()[0].strip() for process in running}
    assert [process.returncode for process in running] == [0] * 16
    assert set(git(root, "rev-list", BRANCH).splitlines()) == versions
    assert len(versions) == 16


@pytest.mark.parametrize(("age", "lands"), [(3600, True), (0, False)], ids=["of a killed git", "of a git that runs"])
def test_a_lock_that_a_killed_git_left_behind_does_not_stop_later_runs(
    committed: Path, monkeypatch: pytest.MonkeyPatch, age: float, lands: bool
) -> None:
    monkeypatch.setattr("flor_ray.store.repository._STUCK_TRIES", 3)
    repository = Repository.open(str(committed))
    first = repository.commit_shadow("one")
    lock = committed / ".git/refs/heads" / f"{BRANCH}.lock"
    lock.touch()
    os.utime(lock, (time.time() - age,) * 2)
    if lands:
        assert repository.commit_shadow("two").parent == first.version
    else:
        with pytest.raises(GitError, match=r"flor\.shadow\.lock"):
            repository.commit_shadow("two")
    assert lock.exists() is not lands
