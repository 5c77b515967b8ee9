"""The files of a version, with the statements in them, in a folder of their own; and what they import."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from flor_ray import processes
from flor_ray.analysis.early_imports import Preload, preload
from flor_ray.environment import inputs
from flor_ray.environment.data_places import LocatedFile
from flor_ray.environment.surroundings import for_replay, path_of
from flor_ray.errors import NotOnThisNode
from flor_ray.records import LackingFile
from flor_ray.replaying import leftovers
from flor_ray.replaying.job import VersionJob
from flor_ray.replaying.sandbox import laid_data, overlay, workspace
from flor_ray.replaying.sandbox.workspace import Materialised
from flor_ray.replaying.task import call_now, first_call
from flor_ray.store.fragments import quote
from flor_ray.store.store import Store

_MODULES = ("*.py", "*/__init__.py")


def _folder_name(project: str) -> str:
    """A project's name, where that is one of a folder."""
    return project if "/" not in project and "\0" not in project and project not in ("", ".", "..") else quote(project)


class VersionFolder:
    """A version's files, as they are replayed, in a folder of their own. Raises StoreError if they cannot be read."""

    def __init__(self, job: VersionJob, store: Store, located: Sequence[LocatedFile] = ()) -> None:
        """`located` are the files that the run read, which the folder has, too. Raises NotOnThisNode if it cannot."""
        self._job, self._located = job, located
        self.written_files = store.written_files(job.experiment.project, job.experiment.version)
        self.made = Materialised()
        self.path = Path(tempfile.mkdtemp(prefix=processes.folder_prefix(job.experiment.version[:8])))
        self.root = overlay.workspace_in(self.path, job.original_root or _folder_name(job.experiment.project))
        try:
            self._files = self._materialise(store)
        except BaseException:
            self.remove()
            raise

    @property
    def texts(self) -> dict[str, str]:
        """Of its Python files, by path."""
        return {p: data.decode(errors="replace") for p, data in self._files.items() if p.endswith(".py")}

    def preload(self, without_gpu: bool) -> Preload:
        """What the version may import early, also in view of modules that git ignores: they lie beside the others."""
        experiment = self._job.experiment
        recorded = [Path(self.root, entry) for entry in path_of(experiment.environment)]
        folders = {self.root, Path(self.root, experiment.script).parent, *recorded}
        at_hand = [(folder, path) for folder in folders for shape in _MODULES for path in folder.glob(shape)]
        # A module outside of the repository hides a library's like one at its root.
        roots = [(self.root if path.is_relative_to(self.root) else folder, path) for folder, path in at_hand]
        paths = {*self._files, *(path.relative_to(root).as_posix() for root, path in roots)}
        sources = {p: data for p, data in self._files.items() if p.endswith(".py")}
        variables = for_replay(experiment.environment, os.environ, without_gpu, self._job.secrets)
        return preload(sources, experiment.script, paths, variables)

    def remove(self) -> None:
        leftovers.remove(self.path)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()

    def _materialise(self, store: Store) -> dict[str, bytes]:
        """Write the version's files, and answer them by path."""
        job = self._job
        files = {
            name: (source.data, source.mode)
            for name, source in store.sources(job.experiment.project, job.experiment.version).items()
        }
        before = {name: files[name][0].decode("utf-8", "surrogateescape") for name in job.patches}
        self.first_call = first_call(job.experiment, before, job.patches)
        self.first_calls = {
            part.record.rank: call_now(part.record.first_call, before, job.patches) for part in job.parts
        }
        for name, text in job.patches.items():
            files[name] = (text.encode("utf-8", "surrogateescape"), files[name][1])
        self.root.mkdir(parents=True)
        seen = inputs.seen(job.experiment.environment, self.written_files)
        made_since = None if seen is None else workspace.MadeSince(int(job.experiment.started * 1e9), seen)
        original = Path(job.original_root) if job.original_root else None
        self.made = workspace.materialise(self.root, files, original, job.versioned, made_since, job.places)
        listed = inputs.listed(job.experiment.environment)
        home = job.original_root or str(self.root)
        self.data, left = laid_data.lay(self._located, self.path, self.root, home, listed)
        if left:
            lacking = tuple(LackingFile(one.file.path) for one in left)
            raise NotOnThisNode(job.experiment.version, lacking)
        return {name: data for name, (data, _) in files.items()}
