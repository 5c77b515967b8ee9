"""What a file of the store may say, whoever wrote it: names that lead nowhere else, and counts that can be true. Pure.

A check raises ValueError, and whoever reads the file says which one it is and leaves it out.
"""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from flor_ray.records import Experiment
from flor_ray.store import typed_json

_MOST_EPOCHS = 1_000_000  # of a run that does not give the times of each; no file may ask for more memory than it takes
_LAST_SECOND = 253_000_000_000.0  # of the years that can be shown
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_GIT = re.compile(r"\.git[ .]*|git~\d+", re.IGNORECASE)  # as file systems may read it that know no case
_MODES = ("100644", "100755", "120000")


def parsed(data: bytes | str) -> Any:
    """A JSON text. Raises ValueError if it is none, or nests deeper than can be read."""
    try:
        return json.loads(data)
    except RecursionError:
        raise ValueError("it nests too deep") from None


def expect_inside(path: str) -> None:
    """A file's path, relative to a folder, must lead into that, and not into git's own."""
    parts = path.split("/")
    if not path or "\0" in path or path.startswith("/") or any(part in ("", ".", "..") for part in parts):
        raise ValueError(f"the path {path!r:.200} leads out of its folder")
    if any(_GIT.fullmatch(part) for part in parts):
        raise ValueError(f"the path {path!r:.200} leads into git's own files")


def expect_files(files: Iterable[tuple[str, str]]) -> None:
    """Paths and git modes of a version's files: each has a place of its own, and none lies below another."""
    names = list(files)
    known = {name for name, _ in names}
    for name, mode in names:
        expect_inside(name)
        if mode not in _MODES:
            raise ValueError(f"{name!r:.200} has the mode {mode!r:.20}, which no file has")
        above = posixpath.dirname(name)
        while above:
            if above in known:
                raise ValueError(f"{name!r:.200} lies below {above!r:.200}, which is no folder")
            above = posixpath.dirname(above)


def expect_written(path: str) -> None:
    """The path of a file that a run wrote: relative to the repository's root, or absolute; without detours."""
    if "\0" in path or posixpath.normpath(path) != path or path in (".", "..") or path.startswith(("../", "//")):
        raise ValueError(f"the path {path!r:.200} makes a detour")
    if not path.startswith("/"):
        expect_inside(path)


def expect_run(run: Experiment, project: str, version: str) -> None:
    """A run must be that of the place where it was found, and such as can have been recorded."""
    if (run.project, run.version) != (project, version):
        raise ValueError(f"it is said to be of version {run.version!r:.60} of {run.project!r:.60}")
    if version.startswith(("-", ".")) or "/" in version or _CONTROL.search(version):  # it is told to git
        raise ValueError(f"no version is called {version!r:.60}")
    if not all(-_LAST_SECOND < second < _LAST_SECOND for second in (run.started, run.ended or 0.0)):
        raise ValueError("it is said to have run in no year that there is")
    if run.script:
        expect_inside(run.script)
    expect_epochs(run)
    typed_json.from_plain(dict(run.environment), _Environment)


def expect_epochs(run: Experiment) -> None:
    """How many epochs a run has had: of many, the file that says so gives the times, and is as long."""
    if not 0 <= run.epochs <= max(_MOST_EPOCHS, 2 * len(run.profile.epochs)):
        raise ValueError(f"it says that it has had {run.epochs} epochs")


@dataclass(frozen=True, slots=True)
class _Environment:
    """The kinds of what `environment.surroundings` keeps and reads again."""

    python: str | None = None
    host: str | None = None
    sys_path: tuple[str, ...] | None = None
    variables: dict[str, str] | None = None
    variables_left_out: tuple[str, ...] | None = None
    variables_absent: tuple[str, ...] | None = None
    packages: dict[str, str] | None = None
    distributions: dict[str, str] | None = None
    gpus: tuple[str, ...] | None = None
    threads: int | None = None
    inputs: list[dict[str, Any]] | None = None
    main_loop_entries: int | None = None
    hidden_argv: dict[str, tuple[str, str]] | None = None
    hidden_args: dict[str, str] | None = None
