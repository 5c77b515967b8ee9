"""The user's code as it is now: in a git repository (`flor_ray.store.repository`), or in a folder without one.

Only the repository records versions. A folder without git is where recorded ones are asked for: that of a job on a
cluster, into which Ray packs no `.git`, or a container's. Nothing is ever written into it: jobs with equal packages
share one.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Protocol

from flor_ray.errors import FlorWarning

_CODE = ".py"
_NO_CODE = {"__pycache__", "node_modules", "site-packages"}
_ENVIRONMENTS = ("pyvenv.cfg", "conda-meta")  # what a virtual environment has at its top


class WorkingTree(Protocol):
    """Where the newest code is. Paths are relative to the root, with slashes."""

    @property
    def root(self) -> str:
        """The folder, without links in its path."""
        ...

    def working_paths(self) -> tuple[str, ...]:
        """What a version would hold, were it made now; sorted."""
        ...

    def working_sources(self, suffix: str = _CODE) -> dict[str, bytes]:
        """Bytes on disk now of the readable ones of them whose names end with `suffix`, by path."""
        ...


class PlainFolder:
    """A folder without git. Of it a version would hold the Python files below, but for those in hidden folders, in
    virtual environments and in the folders `apart`, such as a store. `why_plain`: it has a repository, and this is why
    that is not used; told when the files are first asked for."""

    def __init__(self, root: str, apart: Iterable[str] = (), why_plain: str = "") -> None:
        self.root = os.path.realpath(root)
        self.why_plain = why_plain
        self._apart = {os.path.realpath(path) for path in apart}
        self._is_told = False

    def working_paths(self) -> tuple[str, ...]:
        """What a version would hold; told once, where that is not as git has it."""
        if self.why_plain and not self._is_told:
            self._is_told = True
            warnings.warn(
                f"{self.why_plain}, so of {self.root} the Python files are taken as today's code, those that git "
                "ignores among them. Install git to be sure.",
                FlorWarning,
                stacklevel=2,
            )
        return tuple(sorted(self._paths(self.root)))

    def working_sources(self, suffix: str = _CODE) -> dict[str, bytes]:
        return read_working(self.root, self.working_paths(), suffix)

    def _paths(self, folder: str) -> Iterator[str]:
        try:
            entries = list(os.scandir(folder))
        except OSError:  # what cannot be read is no code that could run
            return
        if folder != self.root and any(entry.name in _ENVIRONMENTS for entry in entries):
            return
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                if not (entry.name.startswith(".") or entry.name in _NO_CODE or entry.path in self._apart):
                    yield from self._paths(entry.path)
            elif entry.name.endswith(_CODE):
                yield Path(entry.path).relative_to(self.root).as_posix()


def read_working(root: str, paths: Iterable[str], suffix: str) -> dict[str, bytes]:
    """Bytes of those files that can be read, and whose names end with `suffix`, by path."""
    found: dict[str, bytes] = {}
    for name in paths:
        full = os.path.join(root, name)
        if name.endswith(suffix) and os.path.isfile(full) and os.access(full, os.R_OK):
            found[name] = Path(full).read_bytes()
    return found
