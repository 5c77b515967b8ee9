"""The project that a page looks at: opened once, and asked by every request."""

from __future__ import annotations

from dataclasses import dataclass

from flor_ray.settings import Loaded
from flor_ray.store.project import Project


@dataclass(frozen=True, slots=True)
class Opened:
    """A project, and the settings that questions to it are asked with."""

    project: Project
    loaded: Loaded
    path: str = "."  # from which it was opened
