"""The user's code and the store of its recorded versions: where every question starts.

name     `project` of the settings, else the git repository's name; without git, the store's only project
store    `store` of the settings, else .flor in the repository's root, or in the folder where there is no git
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

from flor_ray import settings
from flor_ray.errors import FlorWarning, GitError, NoRepository, NothingRecorded, UsageError
from flor_ray.records import Experiment
from flor_ray.settings import Loaded
from flor_ray.store.compacting.compacted_runs import ListedRun
from flor_ray.store.repository import Repository, is_installed
from flor_ray.store.store import Store
from flor_ray.store.working_tree import PlainFolder, WorkingTree

Run = TypeVar("Run", Experiment, ListedRun)

_HOW_TO_NAME = f"`project:` in {settings.FILE}, or the environment variable FLOR_RAY_PROJECT"
_NO_GIT = "git is not installed here"
_MOST_NAMED = 10  # projects in an error


@dataclass(frozen=True, slots=True)
class Project:
    """The user's code, and the store that holds its recorded versions."""

    tree: WorkingTree
    store: Store
    name: str
    pickles: str | None = None  # whether readers load pickled values, as `store.not_loaded.allowed` has it
    data: Mapping[str, str] = field(default_factory=dict)  # recorded path -> where it is on a worker's machine

    @classmethod
    def open(cls, path: str = ".", store_url: str | None = None) -> Project:
        """The project that `path` is in, by its settings; errors are those of `of`."""
        return cls.of(settings.load(path, store=store_url), path)

    @classmethod
    def of(cls, loaded: Loaded, path: str = ".", read_only: bool = False) -> Project:
        """The project that `path` is in. `read_only`: whatever would change its store is a StoreError.

        Raises:
            NoRepository: `path` is not in a git repository, and no store is there.
            UsageError: nor is it said which of the store's projects is meant.
            StoreError: the store cannot be read.

        Warns:
            FlorWarning: the store's only project is taken.
        """
        given = loaded.settings
        try:
            repository = Repository.open(path)
        except NoRepository:
            url = given.store or default_url(loaded.folder)
            if given.store is None and not os.path.isdir(url):
                raise
            project = cls._without_git(loaded.folder, Store(url, read_only=read_only), given.project)
        else:
            store = Store(given.store or default_url(repository.root), read_only=read_only)
            tree = repository if is_installed() else PlainFolder(repository.root, _apart(store), _NO_GIT)
            project = cls(tree, store, given.project or _name(repository, store))
        return replace(project, pickles=given.pickles, data=given.data or {})

    @classmethod
    def _without_git(cls, folder: str, store: Store, name: str | None) -> Project:
        if _apart(store) and not os.path.isdir(store.url):
            raise UsageError(
                f"{folder} is not inside a git repository, and there is no store at {store.url}. A relative folder in "
                f"{settings.FILE} is meant from there, also in a copy such as a job's on a cluster: give the store's "
                "whole path or URL."
            )
        return cls(PlainFolder(folder, _apart(store)), store, name or _only_project(folder, store))

    @property
    def repository(self) -> Repository:
        """Where versions are recorded. Raises NoRepository for a folder without git, GitError where git is not
        installed."""
        if isinstance(self.tree, Repository):
            return self.tree
        if isinstance(self.tree, PlainFolder) and self.tree.why_plain:
            raise GitError(f"git cannot be run: {self.tree.why_plain}. Install git, and have it on PATH.")
        raise NoRepository(self.tree.root)

    def experiments(self) -> tuple[Experiment, ...]:
        """All recorded versions, oldest first. Raises NothingRecorded if there are none."""
        return self._expected(self.store.experiments(self.name))

    def listed_runs(self) -> tuple[ListedRun, ...]:
        """What lists show of all recorded versions, oldest first. Raises NothingRecorded if there are none."""
        return self._expected(self.store.listed_runs(self.name))

    def expect_runs(self) -> None:
        """Raises NothingRecorded if there are none."""
        if self.name not in self.store.projects():
            raise NothingRecorded(self.name, self.store.url, self.store.projects())

    def _expected(self, found: tuple[Run, ...]) -> tuple[Run, ...]:
        if not found:
            raise NothingRecorded(self.name, self.store.url, self.store.projects())
        return found


def _apart(store: Store) -> tuple[str, ...]:
    """A store's folder; () for one with a URL."""
    return (store.url,) if os.path.isabs(store.url) else ()


def _name(repository: Repository, store: Store) -> str:
    """The repository's name; but a folder that was renamed or copied with its store goes on under its old one."""
    if store.url != default_url(repository.root):
        return repository.name
    recorded = store.projects()
    return recorded[0] if len(recorded) == 1 else repository.name


def _only_project(folder: str, store: Store) -> str:
    """The name of the store's only project."""
    recorded = sorted(store.projects())
    where = f"{folder} is not inside a git repository"
    if not recorded:
        raise UsageError(
            f"{where}, and {store.url} holds no project. Record a run in a git repository with this store, or name "
            f"another store: `store:` in {settings.FILE}, the environment variable FLOR_RAY_STORE, or --store."
        )
    if len(recorded) > 1:
        listed = ", ".join(map(repr, recorded[:_MOST_NAMED])) + (", ..." if len(recorded) > _MOST_NAMED else "")
        raise UsageError(
            f"{where}, and {store.url} holds {len(recorded)} projects: {listed}. Say which is meant: {_HOW_TO_NAME}."
        )
    warnings.warn(
        f"{where}: {recorded[0]!r} is taken, the only project in {store.url}. To be sure of that, set {_HOW_TO_NAME}.",
        FlorWarning,
        stacklevel=4,
    )
    return recorded[0]


def default_url(root: str) -> str:
    """Where the store is if nothing else is said: in the project's folder."""
    return str(Path(root, ".flor"))
