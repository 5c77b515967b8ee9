"""Input files of a run: what a script reads that is no part of its version, with fingerprints, and whether these files
are still the same when it is replayed.

    record    opened.paths ──> InputFiles ── fingerprints, in the journal's thread ──> Experiment.environment["inputs"]
    replay    Experiment.environment["inputs"] ── and the files as they are now ──> changes

Files that a script writes and reads are state that it keeps outside of its variables: they are listed, as "rewritten",
without a fingerprint, for they may be other ones after any run.
"""

from __future__ import annotations

import contextlib
import os
import re
import site
import stat
import sys
import sysconfig
import tempfile
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import blake3

from flor_ray.environment import file_functions, opened, written_files
from flor_ray.records import FileState, Point, WrittenFile
from flor_ray.redaction import is_secret_file
from flor_ray.store import typed_json

KEY = "inputs"  # in an experiment's environment
LEFT_OUT_KEY = "inputs_left_out"
LISTED_KEY = "folders_listed"  # recorded path of a folder with input files -> digest of the names in it

_MOST = 1000  # files that are described
_WHOLE_BYTES = 16 << 20  # files up to this are hashed whole ...
_ALL_WHOLE_BYTES = 256 << 20  # ... and of one run no more than this in all
_SAMPLES, _SAMPLE_BYTES = 32, 64 << 10  # of larger files: their begin, their end, and places between
# Folders of the system and of programs: what is read there is no data.
_SYSTEM = ("/proc", "/sys", "/dev", "/etc", "/run", "/usr", "/lib", "/lib64", "/bin", "/sbin")
_LIBRARY = re.compile(r"/(site|dist)-packages/|\.(dist|egg)-info/")  # PYTHONPATH and .pth files bring in others
_SETTINGS = ("~/.config", "~/.cache/matplotlib", "~/.cache/torch_extensions", "~/.triton", "~/.nv", "~/.netrc")


@dataclass(frozen=True, slots=True)
class InputFile:
    """A file that a recorded run read."""

    path: str  # relative to the repository's root if it is inside, with slashes
    bytes: int = 0
    mtime_ns: int = 0
    hash: str = ""
    sampled: bool = False  # the hash is of parts of it
    rewritten: bool = False  # the script wrote it too: nothing else is known of it


@dataclass(frozen=True, slots=True)
class Change:
    """What has become of an input file since."""

    path: str
    missing: bool = False
    surely: bool = True  # False: it was written since, and the parts that were sampled are equal

    def __str__(self) -> str:
        if self.missing:
            return f"{self.path} is missing"
        return (
            f"{self.path} has changed" if self.surely else f"{self.path} was written again, though it looks unchanged,"
        )


class Resemblance(StrEnum):
    """What is at a place, compared with a recorded file."""

    EQUAL = "equal"
    UNSURE = "unsure"  # equal in size and where it was looked at; it is large, and was written since
    OTHER = "other"
    NONE = "none"


class InputFiles:
    """The input files of the run that is recorded in this process."""

    def __init__(self, root: str, ours: Iterable[str] = ()) -> None:
        """`root` is the repository's; what lies below `ours`, such as a local store, is none of the script's."""
        self._root = os.path.abspath(root)
        self._outside = tuple(
            f"{folder.rstrip('/')}/" for folder in (*_programs(), *ours, os.path.join(self._root, ".git"))
        )
        self._temporary = f"{os.path.abspath(tempfile.gettempdir())}/"
        self._caches = tuple(f"{folder}/" for folder in file_functions.caches(os.environ, tempfile.gettempdir()))
        self._known: dict[str, InputFile | None] = {}
        opened.written.is_none = self._is_no_file_of_the_script
        opened.programs.begin()
        file_functions.told_of(opened.note)
        self._whole_left = _ALL_WHOLE_BYTES
        self._lock = threading.Lock()

    def fingerprint(self, tracked: frozenset[str]) -> None:
        """Look at the files that were opened since the last time. `tracked` are the paths of the version's own."""
        with self._lock:
            for path, done in opened.paths().items():
                if done == opened.READ and path not in self._known and len(self._known) < _MOST:
                    self._known[path] = self._look_at(path, tracked)

    def described(self, tracked: frozenset[str]) -> dict[str, object]:
        """The entries of an experiment's environment."""
        self.fingerprint(tracked)
        rows: list[dict[str, object]] = []
        left_out = opened.left_out()
        for path, done in opened.paths().items():
            known = self._known.get(path)
            if opened.written.follows(path):
                continue
            if done & opened.READ and self._is_state(path, done):
                known = InputFile(self._shown(path), rewritten=True)
            if known is None:
                left_out += done == opened.READ and path not in self._known and not self._is_none(path, tracked)
            elif len(rows) < _MOST:
                rows.append(_row(known))
            else:
                left_out += 1
        folders = self._listed(str(row["path"]) for row in rows)
        return {KEY: rows} | ({LEFT_OUT_KEY: left_out} if left_out else {}) | ({LISTED_KEY: folders} if folders else {})

    def exchanged(self, own: bool = True) -> tuple[str, ...]:
        """Files that were read here, and that another rank, or (own) this one, has written since this process began."""
        found = []
        for path, done in opened.paths().items():
            if done & opened.READ and not self._is_none(path, frozenset()) and "/ray/session_" not in path:
                with contextlib.suppress(OSError):  # it is gone: then who wrote it is not known, and it is no input
                    is_own = bool(done & opened.WRITTEN)
                    if (own and is_own) or (not is_own and os.stat(path).st_mtime_ns >= opened.began_ns()):
                        found.append(self._shown(path))
        return tuple(sorted(found))

    def _listed(self, files: Iterable[str]) -> dict[str, str]:
        """What was in the folders of input files whose names the script has asked for."""
        above = {str(parent) for path in files for parent in Path(self._root, path).parents}
        found = {}
        for folder in opened.listed():
            if folder in above and folder != self._root:
                with contextlib.suppress(OSError):  # it is gone
                    found[self._shown(folder)] = digest_of_names(os.listdir(folder))
        return found

    def written(self, tracked: frozenset[str]) -> tuple[WrittenFile, ...]:
        """The files that the script has written so far, or looked for in vain."""
        found = {
            path: tuple(FileState(state[0], Point(state[1]), *state[2:]) for state in states)
            for path, states in opened.written.described().items()
        }
        gone = (FileState(written_files.FROM_START, kept=written_files.ABSENT),)
        for path, done in opened.paths().items():
            is_data = path not in found and not self._is_none(path, tracked) and not self._is_temporary(path)
            if done == opened.READ and is_data and not os.path.lexists(path):
                found[path] = gone
        return tuple(WrittenFile(self._shown(path), states) for path, states in found.items())

    def _is_no_file_of_the_script(self, path: str) -> bool:
        return (
            self._is_programs(path)
            or path.startswith((*self._caches, f"{self._temporary}torchinductor_"))
            or "/__pycache__/" in path
        )

    def _look_at(self, path: str, tracked: frozenset[str]) -> InputFile | None:
        if self._is_none(path, tracked):
            return None
        try:
            status = os.stat(path)
            if not os.path.isfile(path) or status.st_mtime_ns >= opened.began_ns():
                return None
            if is_secret_file(self._shown(path)):  # a hash would tell who guesses that he is right
                return InputFile(self._shown(path), status.st_size, status.st_mtime_ns)
            whole = status.st_size <= min(_WHOLE_BYTES, self._whole_left)
            if whole:
                self._whole_left -= status.st_size
            digest = digest_of(path, status.st_size, sampled=not whole)
        except OSError:  # it was removed meanwhile: a file for a moment
            return None
        return InputFile(self._shown(path), status.st_size, status.st_mtime_ns, digest, sampled=not whole)

    def _is_none(self, path: str, tracked: frozenset[str]) -> bool:
        return self._is_programs(path) or "/__pycache__/" in path or self._shown(path) in tracked

    def _is_programs(self, path: str) -> bool:
        """Whether a file belongs to a program or a library, wherever that was installed, or to us."""
        return f"{path}/".startswith(self._outside) or _LIBRARY.search(path) is not None

    def _is_state(self, path: str, done: int) -> bool:
        """Whether the script keeps a file that it has read. What C++ code writes shows in the file's time alone."""
        if self._is_programs(path) or self._is_temporary(path):
            return False
        try:
            written = bool(done & opened.WRITTEN) or os.stat(path).st_mtime_ns >= opened.began_ns()
        except OSError:  # it is gone
            return False
        return written and os.path.isfile(path)

    def _is_temporary(self, path: str) -> bool:
        return path.startswith(self._temporary) and not path.startswith(f"{self._root}/")

    def _shown(self, path: str) -> str:
        return os.path.relpath(path, self._root) if path.startswith(f"{self._root}/") else path


def recorded(environment: Mapping[str, object]) -> tuple[InputFile, ...]:
    """The input files in an experiment's environment; none if it was recorded without."""
    rows = environment.get(KEY)
    return typed_json.from_plain(rows, tuple[InputFile, ...]) if isinstance(rows, list) else ()


def listed(environment: Mapping[str, object]) -> Mapping[str, str]:
    """Folders of input files whose names the recorded script asked for, with digests of the names."""
    found = environment.get(LISTED_KEY)
    return {str(path): str(digest) for path, digest in found.items()} if isinstance(found, Mapping) else {}


def rewritten(environment: Mapping[str, object]) -> tuple[str, ...]:
    """Paths of the files that the recorded script wrote and read."""
    return tuple(file.path for file in recorded(environment) if file.rewritten)


def seen(environment: Mapping[str, object], written: Iterable[WrittenFile]) -> frozenset[str] | None:
    """Paths of all files that the recorded script read or wrote; None if that is not known of all."""
    if KEY not in environment or environment.get(LEFT_OUT_KEY):
        return None
    return frozenset({file.path for file in recorded(environment)} | {file.path for file in written})


class Comparer:
    """Compares recorded input files with those that are there now. A file that several versions read is hashed once."""

    def __init__(self, root: str) -> None:
        self._root = root
        self._digests: dict[tuple[str, int, int, bool], str] = {}

    def changes(self, environment: Mapping[str, object]) -> tuple[Change, ...]:
        """What has changed or is missing, in the order in which it was read."""
        found = [self._change(file) for file in recorded(environment) if not file.rewritten]
        return tuple(change for change in found if change is not None)

    def _change(self, file: InputFile) -> Change | None:
        found = self.compare(file, os.path.join(self._root, file.path))
        if found is Resemblance.EQUAL:
            return None
        return Change(file.path, missing=found is Resemblance.NONE, surely=found is not Resemblance.UNSURE)

    def compare(self, file: InputFile, path: str) -> Resemblance:
        """What is at an absolute path."""
        try:
            status = os.stat(path)
            if not stat.S_ISREG(status.st_mode):  # to read a device or a pipe might never end
                return Resemblance.OTHER
            if (status.st_size, status.st_mtime_ns) == (file.bytes, file.mtime_ns):
                return Resemblance.EQUAL
            if status.st_size != file.bytes:
                return Resemblance.OTHER
            key = (path, status.st_size, status.st_mtime_ns, file.sampled)
            if key not in self._digests:
                self._digests[key] = digest_of(path, status.st_size, file.sampled)
        except OSError:
            return Resemblance.NONE
        if self._digests[key] != file.hash:
            return Resemblance.OTHER
        return Resemblance.UNSURE if file.sampled else Resemblance.EQUAL


def digest_of_names(names: Iterable[str]) -> str:
    """Hash of what is in a folder."""
    return blake3.blake3("\0".join(sorted(names)).encode("utf-8", "surrogateescape")).hexdigest()


def digest_of(path: str, size: int, sampled: bool) -> str:
    """Hash of a file, or of parts of it and its size."""
    hasher = blake3.blake3()
    with open(path, "rb") as file:
        if not sampled:
            while block := file.read(1 << 20):
                hasher.update(block)
            return hasher.hexdigest()
        hasher.update(str(size).encode())
        for index in range(_SAMPLES):
            file.seek(max(size - _SAMPLE_BYTES, 0) * index // (_SAMPLES - 1))
            hasher.update(file.read(_SAMPLE_BYTES))
    return hasher.hexdigest()


def _row(file: InputFile) -> dict[str, object]:
    """Without what is as by default: there may be a thousand of them."""
    return {name: value for name, value in typed_json.to_plain(file).items() if value}


def _programs() -> Iterable[str]:
    """Folders of which files are the system's, the interpreter's or a library's."""
    yield from _SYSTEM
    yield from map(os.path.expanduser, _SETTINGS)
    yield from (sys.prefix, sys.base_prefix, sysconfig.get_path("stdlib"), sysconfig.get_path("purelib"))
    yield from (*site.getsitepackages(), site.getusersitepackages(), str(Path(__file__).parents[1]))
    yield os.path.join(tempfile.gettempdir(), "ray")  # Ray's servers
