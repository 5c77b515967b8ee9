"""The git door: every recorded run is a commit on the shadow branch, made behind the user's back.

    working tree ── private index ── write-tree ── commit-tree ── compare-and-swap ──> refs/heads/flor.shadow

The user's HEAD, branches, index, reflog of HEAD and files stay as they are, and no hook runs. Any number of processes
may commit at once: the swap lets one of them win, and the others commit again on top of it, so all versions differ.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import stat
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import blake3

from flor_ray import processes
from flor_ray.errors import GitError, NoRepository
from flor_ray.records import SourceFile
from flor_ray.redaction import VARIABLE, is_secret_file
from flor_ray.store.working_tree import read_working
from flor_ray.wording import ended

BRANCH = "flor.shadow"
ASIDE_BRANCH = "flor.shadow.runs"  # while someone has BRANCH checked out, as the poster's workflow does
SIZE_LIMIT_BYTES = 10 * 2**20  # source files are far below it, data sets and weights far above
_OLD_LOCK_SECONDS = 60.0  # git holds the lock of a branch for milliseconds
_STUCK_TRIES = 50  # failed swaps with nobody else winning one meanwhile: not contention (a try takes about 20 ms)
_GITLINK = "160000"
_MOST_INNER_FILES = 2000  # of a repository inside this one, whose files are hashed anew for each run

# a user's settings must bring no hooks, daemons, refusals of line ends or guessed identities (guessing may ask DNS)
_SETTINGS = {
    "core.hooksPath": os.devnull,
    "core.fsmonitor": "false",
    "core.safecrlf": "false",
    "user.useConfigOnly": "true",
    "i18n.commitEncoding": "utf-8",
}
_ENVIRONMENT = {
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_OPTIONAL_LOCKS": "0",
    "LC_ALL": "C",
}
_IDENTITY = {
    f"GIT_{role}_{what}": text
    for role in ("AUTHOR", "COMMITTER")
    for what, text in (("NAME", "flor_ray"), ("EMAIL", "flor_ray@localhost"))
}


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A path of the working tree that is not in the version."""

    path: str
    bytes: int
    digest: str  # blake3 of a file; of a repository the commit that was checked out; "" if it cannot be read
    reason: str


@dataclass(frozen=True, slots=True)
class ShadowCommit:
    """A recorded version: its commit on the shadow branch."""

    version: str  # full hexadecimal object id
    parent: str | None  # v̂, the commit before it on the branch
    left_out: tuple[LeftOut, ...] = ()
    notes: tuple[str, ...] = ()  # what the user should know of how it was made: sentences


@dataclass(frozen=True, slots=True)
class _IndexLine:
    """A line of `git ls-files`."""

    tag: str  # H cached, C changed, R removed, M unmerged, S skip-worktree, ? untracked; lower case: assume-unchanged
    mode: str
    oid: str
    path: str


def is_installed() -> bool:
    """Whether git can be run, found out without running it."""
    return shutil.which(os.environ.get("GIT_PYTHON_GIT_EXECUTABLE") or "git") is not None


class Repository:
    """A git repository with a working tree. Open one with `open`."""

    def __init__(self, root: str, git_dir: str, common_dir: str) -> None:
        self.root = root
        self._git_dir = git_dir
        self._common_dir = common_dir
        self._filters_off: dict[str, str] = {}  # settings; once a filter has failed
        self._private = {
            **_ENVIRONMENT,
            "GIT_DIR": git_dir,
            "GIT_WORK_TREE": root,
            "GIT_COMMON_DIR": common_dir,
            "GIT_INDEX_FILE": os.path.join(git_dir, "index"),
            "GIT_OBJECT_DIRECTORY": os.path.join(common_dir, "objects"),
        }

    @classmethod
    def open(cls, path: str = ".") -> Repository:
        """The repository that `path` is in, whatever GIT_* variables a calling hook has set.

        Raises:
            NoRepository: there is none.
            GitError: it is bare.
        """
        start = Path(path).absolute()
        for folder in (start, *start.parents):
            git_dir = _git_dir(folder / ".git")
            if git_dir is not None:
                common = git_dir / "commondir"
                common_dir = (git_dir / common.read_text().strip()).resolve() if common.is_file() else git_dir
                root = os.path.realpath(folder)
                return cls(root, str(git_dir), str(common_dir))
            if _looks_like_git_dir(folder):
                raise GitError(f"{folder} is a bare git repository: it has no files to run. Work in a clone of it.")
        raise NoRepository(str(start))

    @property
    def name(self) -> str:
        """Name of the main worktree's folder: the same in all linked worktrees."""
        common = Path(self._common_dir)
        if self._git_dir == self._common_dir:
            return Path(self.root).name
        return common.parent.name if common.name == ".git" else common.name.removesuffix(".git")

    # --- committing -------------------------------------------------------------------------------------------------

    def commit_shadow(self, message: str, size_limit_bytes: int = SIZE_LIMIT_BYTES) -> ShadowCommit:
        """Commit the working tree (tracked and untracked files, honouring .gitignore) to the shadow branch.

        Changed and new files over the limit are left out by hash; so are unreadable files, and repositories inside this
        one that have very many files.

        Raises:
            GitError: git refused.
        """
        with tempfile.TemporaryDirectory(prefix=processes.folder_prefix("index")) as folder:
            index = os.path.join(folder, "index")
            users_index = os.path.join(self._git_dir, "index")
            if os.path.exists(users_index):
                # with its times: git looks at the contents of files that are as new as the index itself
                shutil.copy2(users_index, index)
            notes = []
            try:
                left_out = self._stage(index, size_limit_bytes)
            except GitError as error:
                self._filters_off = self._without_filters()
                if not self._filters_off:
                    raise
                left_out = self._stage(index, size_limit_bytes)
                notes.append(f"A filter of git's failed, so this version has its files as they are on disk: {error}")
            tree = self._run("write-tree", index=index).decode().strip()
        return self._commit(tree, message, left_out, notes)

    def commit_of(self, revision: str) -> tuple[str, float]:
        """The commit that a revision names, in full, and when it was made (unix seconds).

        Raises:
            GitError: it names none.
        """
        found = self._run("show", "-s", "--format=%H %ct", f"{revision}^{{commit}}", "--", may_fail=True)
        words = found.decode().split()
        if len(words) != 2:
            raise GitError(f"{revision!r} is no commit of this repository. `git log` shows those that there are.")
        return words[0], float(words[1])

    def commit_again(self, commit: str, message: str) -> ShadowCommit:
        """Commit the files of a commit to the shadow branch, as a version of its own; one that was committed with this
        message before is found again."""
        branch, tip, _, _ = self._place()
        if tip is not None:
            listed = self._run("log", f"refs/heads/{branch}", "--fixed-strings", f"--grep={message}", "--format=%H %P")
            for line in listed.decode().splitlines():
                version, _, parents = line.partition(" ")
                return ShadowCommit(version, parents.split(" ")[0] or None)
        tree = self._run("rev-parse", f"{commit}^{{tree}}").decode().strip()
        return self._commit(tree, message, (), [])

    def _without_filters(self) -> dict[str, str]:
        """Settings that switch off all filters for contents, such as that of Git LFS."""
        listed = self._run("config", "--get-regexp", "-z", "--name-only", r"^filter\..*", may_fail=True)
        keys = {os.fsdecode(line) for line in listed.split(b"\0") if line}
        off = {"clean": "", "smudge": "", "process": "", "required": "false"}
        names = {key.rpartition(".")[0] for key in keys}
        return {f"{name}.{key}": value for name in sorted(names) for key, value in off.items()}

    def _stage(self, index: str, limit: int) -> tuple[LeftOut, ...]:
        """Bring the private index up to date with the working tree."""
        listed = self._run(
            *("ls-files", "-z", "-t", "-v", "--stage", "--cached", "--modified", "--deleted", "--others"),
            "--exclude-standard",
            index=index,
        )
        entries = [_parse_entry(line) for line in listed.split(b"\0") if line]
        self._unhide(entries, index)
        inner, left_out = self._inner_files(entries)
        by_commit = {left.path for left in left_out}
        own = [e for e in entries if not e.path.endswith("/") and (e.mode != _GITLINK or e.path in by_commit)]
        stale = {e.path: e for e in (*own, *inner) if e.tag in "CRM?" or self._is_hidden_but_there(e)}
        refused = {path: why for path, e in stale.items() if (why := self._refuse(e, limit)) is not None}
        # a file that has become a folder must go before what is in the folder comes
        staged = sorted(stale.keys() - refused.keys(), key=lambda path: (not self._is_folder(path), path))
        if staged:
            options = ("--add", "--remove", "--replace", "-z", "--stdin")
            self._run("update-index", *options, index=index, paths=staged)
        outdated = [path for path in refused if stale[path].tag != "?"]
        if outdated:  # their old contents must not pass for those that ran
            self._run("update-index", "--force-remove", "-z", "--stdin", index=index, paths=outdated)
        return tuple(sorted([*refused.values(), *left_out], key=lambda left_out: left_out.path))

    def _inner_files(self, entries: Iterable[_IndexLine]) -> tuple[list[_IndexLine], list[LeftOut]]:
        """The files of submodules and of other repositories inside this one, as if they were this one's: what they are
        when the script runs is in no commit. And the repositories that are left out."""
        found: list[_IndexLine] = []
        left_out: list[LeftOut] = []
        for entry in entries:
            path, is_submodule = entry.path.rstrip("/"), entry.mode == _GITLINK
            if not is_submodule and not (entry.tag == "?" and entry.path.endswith("/")):
                continue
            if is_submodule and not os.path.lexists(os.path.join(self.root, path)):
                found.append(replace(entry, tag="R"))  # removed
            elif not _is_repository(os.path.join(self.root, path)):
                left_out.append(LeftOut(path, 0, "", "it is a submodule that is not checked out"))
            elif len(files := self._files_inside(path)) > _MOST_INNER_FILES:
                reason = f"it is a git repository of its own, with more than {_MOST_INNER_FILES} files"
                left_out.append(LeftOut(path, 0, self._head_of(path), reason))
            else:
                found += [_IndexLine("?", "", "", file) for file in files]
        return found, left_out

    def _files_inside(self, path: str) -> list[str]:
        """The files of a repository inside this one, and of those inside of it."""
        inner = Repository.open(os.path.join(self.root, path))
        return [f"{path}/{file}" for file in inner.working_paths()]

    def _head_of(self, path: str) -> str:
        """The commit of a repository inside this one; "" before its first."""
        inner = Repository.open(os.path.join(self.root, path))
        return inner._run("rev-parse", "--verify", "-q", "HEAD", may_fail=True).decode().strip()

    def _unhide(self, entries: Iterable[_IndexLine], index: str) -> None:
        """Have git look at files that the user told it not to look at: they may have been edited all the same."""
        hidden = [e for e in entries if self._is_hidden_but_there(e)]
        for option, paths in (
            ("--no-skip-worktree", [e.path for e in hidden if e.tag in "Ss"]),
            ("--no-assume-unchanged", [e.path for e in hidden if e.tag.islower()]),
        ):
            if paths:
                self._run("update-index", option, "-z", "--stdin", index=index, paths=paths)

    def _is_hidden_but_there(self, entry: _IndexLine) -> bool:
        return (entry.tag.islower() or entry.tag == "S") and os.path.lexists(os.path.join(self.root, entry.path))

    def _is_folder(self, path: str) -> bool:
        full = os.path.join(self.root, path)
        return os.path.isdir(full) and not os.path.islink(full)

    def _refuse(self, entry: _IndexLine, limit: int) -> LeftOut | None:
        """Why a path cannot be staged; None if it can, or is gone."""
        full = os.path.join(self.root, entry.path)
        try:
            status = os.lstat(full)
        except OSError:
            return None  # deleted; update-index removes it
        if not stat.S_ISREG(status.st_mode):
            return None
        if entry.tag == "?" and is_secret_file(entry.path):
            why = f"such files hold secrets (commit it, or set {VARIABLE}=-{os.path.basename(entry.path)}, to keep it)"
            return LeftOut(entry.path, status.st_size, "", why)
        if not os.access(full, os.R_OK):
            return LeftOut(entry.path, status.st_size, "", "it cannot be read")
        if status.st_size > limit:
            return LeftOut(entry.path, status.st_size, _digest(full), f"it is larger than {limit} bytes")
        return None

    def _commit(self, tree: str, message: str, left_out: tuple[LeftOut, ...], notes: Sequence[str]) -> ShadowCommit:
        tries: Counter[str | None] = Counter()
        while True:
            branch, tip, parent, taken = self._place()
            version = self._commit_tree(tree, parent, message)
            old = tip or "0" * len(version)
            update = ("update-ref", "-m", "flor_ray: record a run", f"refs/heads/{branch}", version, old)
            try:
                self._run(*update)
            except GitError:
                self._remove_old_lock(branch)
                tries[tip] += 1
                if tries[tip] > _STUCK_TRIES:
                    raise
                time.sleep(random.SystemRandom().uniform(0, 0.03))  # not the script's generator: it may be seeded
                continue
            if taken:
                said = f"The branch {taken} leaves no room for flor.shadow, so this run is on {branch}. Rename it."
                notes = [*notes, said]
            return ShadowCommit(version, parent, left_out, tuple(notes))

    def _remove_old_lock(self, branch: str) -> None:
        """The lock of a git that was killed while it moved our branch would stay for ever."""
        common = self._run("rev-parse", "--git-common-dir").decode().strip()
        lock = os.path.join(self.root, common, "refs", "heads", f"{branch}.lock")
        with contextlib.suppress(FileNotFoundError):
            if time.time() - os.stat(lock).st_mtime > _OLD_LOCK_SECONDS:
                os.unlink(lock)

    def _place(self) -> tuple[str, str | None, str | None, str]:
        """Branch to commit to, its tip, and the new commit's parent; and a branch whose name leaves no room for ours.
        A branch that someone stands on never moves."""
        pattern = "--format=%(objectname) %(refname:short) %(worktreepath)"
        listed = self._run("for-each-ref", pattern, f"refs/heads/{BRANCH}", f"refs/heads/{ASIDE_BRANCH}")
        tips: dict[str, str] = {}
        taken = ""
        occupied = self._unborn_branch() == BRANCH
        for line in listed.decode("utf-8", "surrogateescape").splitlines():
            oid, name, worktree = line.split(" ", 2)
            name = name.removeprefix("heads/")
            tips[name] = oid
            occupied |= name == BRANCH and bool(worktree)
            taken = name if name.startswith(f"{BRANCH}/") else taken
        if not (occupied or taken):
            return BRANCH, tips.get(BRANCH), tips.get(BRANCH), ""
        return ASIDE_BRANCH, tips.get(ASIDE_BRANCH), tips.get(ASIDE_BRANCH) or tips.get(BRANCH), taken

    def _unborn_branch(self) -> str:
        """The branch that HEAD names, also before its first commit."""
        head = Path(self._git_dir, "HEAD").read_text(encoding="utf-8", errors="surrogateescape").strip()
        return head.removeprefix("ref: refs/heads/") if head.startswith("ref: ") else ""

    def _commit_tree(self, tree: str, parent: str | None, message: str) -> str:
        parents = ("-p", parent) if parent is not None else ()
        text = message.replace("\0", "").encode("utf-8", "backslashreplace").decode()
        command = ("commit-tree", tree, *parents, "-m", text or "flor_ray")
        try:
            return self._run(*command).decode().strip()
        except GitError:  # the user has no name or address yet
            return self._run(*command, environment=_IDENTITY).decode().strip()

    # --- reading ----------------------------------------------------------------------------------------------------

    def sources(self, version: str, skip_oids: AbstractSet[str] = frozenset()) -> dict[str, SourceFile]:
        """A version's files by path; those in `skip_oids` without their data. Submodules whose commit alone is known
        have none."""
        listed = self._run("ls-tree", "-r", "-z", "--full-tree", version)
        entries: list[tuple[str, str, str]] = []
        for line in listed.split(b"\0"):
            if line:
                head, _, path = line.partition(b"\t")
                mode, _, oid = head.decode().split(" ")
                entries.append((os.fsdecode(path), mode, oid))
        entries = [entry for entry in entries if entry[1] != _GITLINK]
        data = self._blobs({oid for _, _, oid in entries} - set(skip_oids))
        return {path: SourceFile(data.get(oid, b""), mode, oid) for path, mode, oid in entries}

    def _blobs(self, oids: AbstractSet[str]) -> dict[str, bytes]:
        if not oids:
            return {}
        asked = sorted(oids)
        output = self._run("cat-file", "--batch", stdin="".join(f"{oid}\n" for oid in asked).encode())
        found: dict[str, bytes] = {}
        position = 0
        for oid in asked:
            end = output.index(b"\n", position)
            header = output[position:end].split(b" ")
            if len(header) != 3:
                raise GitError(
                    f"git has no object {oid}: {output[position:end].decode()}. Fetch it, or check `git fsck`."
                )
            size = int(header[2])
            found[oid] = output[end + 1 : end + 1 + size]
            position = end + 2 + size
        return found

    def working_sources(self, suffix: str = ".py") -> dict[str, bytes]:
        """Bytes on disk now of tracked and untracked, not ignored files whose names end with `suffix`, by path."""
        return read_working(self.root, self.working_paths(), suffix)

    def working_paths(self) -> tuple[str, ...]:
        """Paths of tracked and untracked, not ignored files, also of repositories inside this one: what a version would
        hold, were it made now."""
        listed = self._run("ls-files", "-z", "--stage", "--cached")
        entries = [_parse_entry(b"H " + line) for line in listed.split(b"\0") if line]
        others = self._run("ls-files", "-z", "--others", "--exclude-standard")
        entries += [_IndexLine("?", "", "", os.fsdecode(line)) for line in others.split(b"\0") if line]
        found: set[str] = set()
        for entry in entries:
            path = entry.path.rstrip("/")
            if (entry.mode == _GITLINK or entry.path.endswith("/")) and _is_repository(os.path.join(self.root, path)):
                found.update(self._files_inside(path))
            else:
                found.add(path)
        return tuple(sorted(found))

    @cached_property
    def _git(self) -> Any:
        """What runs git. Raises GitError where git is not installed."""
        try:
            import git  # 80 ms that a question to the store need not pay
        except ImportError as error:
            raise GitError(f"git cannot be run: {ended(str(error))} Install git, and have it on PATH.") from error
        return git.Git(self.root)

    # --- running git ------------------------------------------------------------------------------------------------

    def _run(
        self,
        *arguments: str,
        index: str | None = None,
        paths: Sequence[str] | None = None,
        stdin: bytes = b"",
        environment: Mapping[str, str] | None = None,
        may_fail: bool = False,
    ) -> bytes:
        """Standard output of one git process. `paths` go to its standard input, each ended by NUL."""
        settings = [text for key, value in (_SETTINGS | self._filters_off).items() for text in ("-c", f"{key}={value}")]
        variables = {**self._private, **(environment or {})}
        if index is not None:
            variables["GIT_INDEX_FILE"] = index
        if paths is not None:
            stdin = b"".join(os.fsencode(path) + b"\0" for path in paths)
        with tempfile.TemporaryFile() as file:
            file.write(stdin)
            file.seek(0)
            status, output, errors = self._git.execute(
                ["git", *settings, *arguments],
                istream=file,
                env=variables,
                with_extended_output=True,
                with_exceptions=False,
                stdout_as_string=False,
                strip_newline_in_stdout=False,
            )
        if status and not may_fail:
            words = errors.decode("utf-8", "replace") if isinstance(errors, bytes) else str(errors)
            words = ended(words.strip() or "no message")
            raise GitError(
                f"`git {arguments[0]}` failed in {self.root} with status {status}: {words} "
                "Repair what git complains about (`git status` and `git fsck` may tell more), then try again."
            )
        return bytes(output)


def _git_dir(dot_git: Path) -> Path | None:
    """The git directory that `.git` is, or refers to (linked worktrees, submodules)."""
    if _looks_like_git_dir(dot_git):
        return dot_git.resolve()
    if not dot_git.is_file():
        return None
    text = os.fsdecode(dot_git.read_bytes()).rstrip("\r\n")
    if not text.startswith("gitdir: "):
        return None
    target = dot_git.parent / text.removeprefix("gitdir: ")
    if not (target / "HEAD").exists():
        raise GitError(f"{dot_git} refers to {target}, which is no git directory. Try `git worktree repair`.")
    return target.resolve()


def _looks_like_git_dir(folder: Path) -> bool:
    return (folder / "HEAD").exists() and (folder / "objects").is_dir() and (folder / "refs").exists()


def _is_repository(folder: str) -> bool:
    return os.path.lexists(os.path.join(folder, ".git"))


def _parse_entry(line: bytes) -> _IndexLine:
    """`H 100644 <oid> 0<TAB>path`, or `? path`."""
    tag, rest = line[:1].decode(), line[2:]
    head, tab, path = rest.partition(b"\t")
    if tag == "?" or not tab:
        return _IndexLine(tag, "", "", os.fsdecode(rest))
    mode, oid, _ = head.decode().split(" ")
    return _IndexLine(tag, mode, oid, os.fsdecode(path))


def _digest(path: str) -> str:
    digest = blake3.blake3(max_threads=blake3.blake3.AUTO)
    digest.update_mmap(path)
    return digest.hexdigest()
