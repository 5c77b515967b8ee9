"""A git repository and the store of its recorded versions: where every question starts."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from flor_ray.errors import NothingRecorded
from flor_ray.records import Experiment
from flor_ray.store.repository import Repository
from flor_ray.store.store import Store

STORE_VARIABLE = "FLOR_RAY_STORE"  # URL of the store; default: .flor in the repository's root


@dataclass(frozen=True, slots=True)
class Project:
    """A git repository and the store that holds its recorded versions."""

    repository: Repository
    store: Store
    name: str

    @classmethod
    def open(cls, path: str = ".", store_url: str | None = None) -> Project:
        """The project that `path` is in.

        Raises:
            NoRepository: `path` is not in a git repository.
            StoreError: the store cannot be read.
        """
        repository = Repository.open(path)
        store = Store(store_url or url_for(repository.root))
        return cls(repository, store, _name(repository, store))

    def experiments(self) -> tuple[Experiment, ...]:
        """All recorded versions, oldest first. Raises NothingRecorded if there are none."""
        found = self.store.experiments(self.name)
        if not found:
            raise NothingRecorded(self.name, self.store.url, self.store.projects())
        return found


def _name(repository: Repository, store: Store) -> str:
    """The repository's name; but a folder that was renamed or copied with its store goes on under its old one."""
    if store.url != default_url(repository.root):
        return repository.name
    recorded = store.projects()
    return recorded[0] if len(recorded) == 1 else repository.name


def url_for(root: str) -> str:
    """URL of the store of the repository at `root`."""
    return os.environ.get(STORE_VARIABLE) or default_url(root)


def default_url(root: str) -> str:
    """Where the store is if nothing else is said: in the repository."""
    return str(Path(root, ".flor"))
