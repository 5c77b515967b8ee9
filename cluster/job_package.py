"""What a job on a Ray cluster is sent: today's code, the settings, and flor_ray itself if that is wanted. Pure files.

    package/       flor.yaml, with all settings, and the Python files that a version would hold, but for secrets
    ship/flor_ray  this package, as it is installed here

All else that a version holds comes from the store: other files of a package would be linked into the folders in which
old versions are replayed, where they were not.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import blake3

from flor_ray import settings, settings_file
from flor_ray.redaction import is_secret_file
from flor_ray.settings import Settings
from flor_ray.store.working_tree import WorkingTree

_DIGITS = 10  # of a digest: two questions to one project, of a cluster's life, do not share them
_IGNORED = shutil.ignore_patterns("__pycache__", "*.pyc")


@dataclass(frozen=True, slots=True)
class JobPackage:
    """What is sent, in a folder that the caller has made."""

    folder: Path
    shipped: Path | None  # flor_ray
    files: int
    bytes: int
    digest: str  # of all of it


def make(folder: Path, tree: WorkingTree, chosen: Settings, ship: bool) -> JobPackage:
    """Write into an empty folder what a job is sent that answers a question of this project."""
    sources = tree.working_sources()
    contents = {path: data for path, data in sources.items() if _may_go(tree.root, path, sources)}
    contents[settings.FILE] = settings_file.text(chosen).encode()
    package = folder / "package"
    for path, data in contents.items():
        target = package / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
    shipped = _shipped(folder / "ship") if ship else None
    sent = dict(contents)
    if shipped is not None:
        found = [path for path in shipped.rglob("*") if path.is_file()]
        sent |= {f"ship/{path.relative_to(shipped)}": path.read_bytes() for path in found}
    digest = blake3.blake3()
    for path, data in sorted(sent.items()):
        digest.update(f"{len(os.fsencode(path))} {len(data)} ".encode() + os.fsencode(path) + data)
    return JobPackage(package, shipped, len(sent), sum(map(len, sent.values())), digest.hexdigest())


def job_id(project: str, digest: str, command: str) -> str:
    """The id of a job: equal for equal questions to equal code."""
    name = re.sub(r"[^A-Za-z0-9_]+", "-", project).strip("-") or "project"
    return f"flor-{name}-{blake3.blake3(f'{digest} {command}'.encode()).hexdigest()[:_DIGITS]}"


def free_id(id: str, taken: Mapping[str, bool]) -> tuple[str, bool]:
    """The id under which a job goes on, or another one begins; and whether it runs already. `taken` are ids of jobs,
    and whether they have ended."""
    number = 1
    while True:
        name = id if number == 1 else f"{id}-{number}"
        if name not in taken:
            return name, False
        if not taken[name]:
            return name, True
        number += 1


def _may_go(root: str, path: str, known: Collection[str]) -> bool:
    """Whether a file is no secret, and no link to what a version would not hold."""
    real = os.path.relpath(os.path.realpath(os.path.join(root, path)), root)
    return real in known and not is_secret_file(path) and not is_secret_file(real)


def _shipped(folder: Path) -> Path:
    """A copy of the installed flor_ray. Its parts may be links, which Ray would not follow everywhere."""
    target = folder / "flor_ray"
    shutil.copytree(Path(settings.__file__).parent, target, ignore=_IGNORED)
    return target
