"""The data of versions on a worker's machine: looked for before anything runs, and brought here where they are not.

locate     where each file is (environment.data_places has the order), or NotOnThisNode
bring      what is in the store or at a URL, into a folder of the worker's own
lay        all of it under the paths at which the script looks for it (sandbox.laid_data)
"""

from __future__ import annotations

import contextlib
import os
import posixpath
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import replace

from flor_ray import processes
from flor_ray.environment import data_places, inputs
from flor_ray.environment.data_places import FileSource, Homes, LocatedFile
from flor_ray.environment.inputs import InputFile, Resemblance
from flor_ray.errors import NotOnThisNode, StoreError
from flor_ray.replaying.job import VersionJob
from flor_ray.store import stored_data
from flor_ray.store.files import Files
from flor_ray.store.store import Store


class DataFinder:
    """Of one worker, which keeps what it has fetched until it is closed: versions mostly read the same files. A file is
    hashed once, as long as its size and time are the same."""

    def __init__(self, fetches: bool = True) -> None:
        """Without `fetches`, what is at a URL is taken for what was recorded."""
        self._fetches = fetches
        self._comparer = inputs.Comparer("/")
        self._folder: str | None = None
        self._fetched: dict[str, str] = {}  # name in the store, or URL and fingerprint -> path

    def find(self, job: VersionJob, store: Store) -> tuple[LocatedFile, ...]:
        """Where each file is that the version's run read: all of them have a place here, but for those that it can run
        without.

        Raises:
            NotOnThisNode: some are not here as they were.
            StoreError: the store cannot be read.
        """
        environment, version = job.experiment.environment, job.experiment.version
        found = self.locate(environment, job.data, job.original_root, store)
        lacking = data_places.lacking(environment, found)
        lacking = tuple(replace(file, at_hand=file.path in job.at_hand) for file in lacking)
        if any(not (job.as_it_is and file.passable) for file in lacking):
            raise NotOnThisNode(version, lacking)
        return tuple(self._brought(one, store) for one in found)

    def locate(
        self, environment: Mapping[str, object], data: Mapping[str, str], root: str, store: Store
    ) -> tuple[LocatedFile, ...]:
        """Where each file is on this machine, as far as that is known without fetching any from the store. `root` is
        the project's folder here."""
        kept: list[frozenset[str]] = []  # listed once, if a file is not here

        def stored(file: InputFile) -> Resemblance:
            kept[:] = kept or [stored_data.names(store.files)]
            return _stored(store, file, kept[0])

        return data_places.locate(environment, data, Homes.here(root), self._compare, stored)

    def at_hand(self, environment: Mapping[str, object], data: Mapping[str, str], root: str) -> frozenset[str]:
        """The recorded paths of what is on this machine as it was."""

        def stored(file: InputFile) -> Resemblance:
            return Resemblance.NONE

        found = data_places.locate(environment, data, Homes.here(root), self._compare, stored)
        here = (FileSource.HERE, FileSource.MAPPED)
        return frozenset(one.file.path for one in found if one.source in here and "://" not in one.place)

    def close(self) -> None:
        """Remove what was fetched."""
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
        self._folder = None
        self._fetched.clear()

    def _compare(self, file: InputFile, place: str) -> Resemblance:
        if "://" not in place:
            return self._comparer.compare(file, place)
        if not self._fetches:
            return Resemblance.EQUAL
        path = self._fetch(file, place)
        return Resemblance.NONE if path is None else self._comparer.compare(file, path)

    def _fetch(self, file: InputFile, url: str) -> str | None:
        """The file at a URL, in the worker's folder; None if there is none."""
        key = f"{url} {name_of(file)}"
        if key not in self._fetched:
            above, _, name = url.rpartition("/")
            target = self._target()
            try:
                Files(above).fetch(name, target)
            except FileNotFoundError:
                return None
            self._fetched[key] = target
        return self._fetched[key]

    def _brought(self, one: LocatedFile, store: Store) -> LocatedFile:
        """With a path of this machine, if it has only a name in the store or a URL yet."""
        if "://" in one.place:
            path = self._fetched[f"{one.place} {name_of(one.file)}"]
        elif one.source is FileSource.STORED:
            path = self._pulled(one.file, store)
        else:
            return one
        with contextlib.suppress(OSError):
            os.utime(path, ns=(one.file.mtime_ns, one.file.mtime_ns))
        return replace(one, place=path, shared=0)

    def _pulled(self, file: InputFile, store: Store) -> str:
        name = name_of(file) or ""
        if name not in self._fetched:
            stored = stored_data.read(store.files, name)
            if stored is None:
                raise StoreError(f"{file.path} has just been deleted from {store.url}. Push it again.")
            target = self._target()
            stored_data.pull(store.objects, stored, target)
            if self._comparer.compare(file, target) not in (Resemblance.EQUAL, Resemblance.UNSURE):
                raise StoreError(f"What {store.url} has as {file.path} is another file. Push it again.")
            self._fetched[name] = target
        return self._fetched[name]

    def _target(self) -> str:
        if self._folder is None:
            self._folder = tempfile.mkdtemp(prefix=processes.folder_prefix("data"))
        return posixpath.join(self._folder, str(len(os.listdir(self._folder))))


def _stored(store: Store, file: InputFile, names: frozenset[str]) -> Resemblance:
    """What the store has of a file, if it has all of these."""
    name = name_of(file)
    if name is None or name not in names:
        return Resemblance.NONE
    if not file.sampled:
        return Resemblance.EQUAL
    found = stored_data.read(store.files, name)
    return Resemblance.NONE if found is None else Resemblance.EQUAL if found.sure else Resemblance.UNSURE


def name_of(file: InputFile) -> str | None:
    """Under which name the store has a file, if it has it."""
    return stored_data.entry_name(file.hash, file.bytes, file.sampled)
