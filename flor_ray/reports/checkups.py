"""What `flor-ray doctor` says: the diagnoses of all machines, and their lines."""

from __future__ import annotations

import os
from collections.abc import Sequence

from flor_ray.cluster import addresses, examination, places
from flor_ray.cluster.examination import Diagnosis, SoughtData
from flor_ray.errors import ClusterRefused, FlorError, StoreError
from flor_ray.settings import Loaded
from flor_ray.store.project import Project
from flor_ray.wording import counted

HERE = "here"

Placed = tuple[str, Diagnosis]  # machine, what was found there


def every(loaded: Loaded, only_here: bool, seconds: float) -> list[Placed]:
    """All diagnoses: of the project and this machine, and unless it is `only_here`, of the cluster that is at hand and
    its nodes, which have so many seconds."""
    url, sought, project = _project(loaded)
    driver = examination.look(url, sought=sought)
    found = [(HERE, diagnosis) for diagnosis in (project, *examination.diagnoses(driver))]
    if only_here:
        return found
    if not places.cluster_at_hand():
        said = "none is named, and none runs here; a replay would start Ray on this machine"
        return [*found, (HERE, Diagnosis("cluster", True, said))]
    reached = url is not None and all(diagnosis.passed for diagnosis in driver.store)
    return [*found, *_of_cluster(url if reached else None, sought, driver, seconds)]


def _project(loaded: Loaded) -> tuple[str | None, SoughtData | None, Diagnosis]:
    """The store's URL and the project, as far as they are known, and what is said of it."""
    try:
        project = Project.of(loaded)
        versions = len(project.store.experiments(project.name))
    except FlorError as error:
        return loaded.settings.store, None, Diagnosis("project", False, str(error))
    seen = f"{project.name!r} has {counted(versions, 'recorded version')}"
    sought = SoughtData(project.name, project.tree.root, project.data)
    return project.store.url, sought, Diagnosis("project", True, seen)


def _of_cluster(
    url: str | None, sought: SoughtData | None, driver: examination.Examined, seconds: float
) -> list[Placed]:
    from flor_ray.cluster import node_examination

    probe, remove = "", _nothing
    try:
        if url is not None and (os.path.isdir(url) or "://" in url):
            probe, remove = examination.put_probe(url)
        nodes = node_examination.examined(url, probe, sought, driver, seconds)
        joined = Diagnosis("cluster", True, f"joined at {addresses.named() or addresses.here()}, {_token()}")
        return [(HERE, joined), *nodes]
    except (ClusterRefused, StoreError) as error:
        return [(HERE, Diagnosis("cluster", False, str(error)))]
    finally:
        remove()


def _nothing() -> None:
    """There is nothing to remove."""


def _token() -> str:
    is_sent = os.environ.get("RAY_AUTH_MODE", "").lower() == "token"
    return "its token is accepted" if is_sent else "without a token"


def text(found: Sequence[Placed]) -> str:
    """A line per diagnosis; what to do stands in the line of what did not pass."""
    machines = max(len(machine) for machine, _ in found)
    checks = max(len(diagnosis.check) for _, diagnosis in found)
    lines = [
        f"{'ok  ' if one.passed else 'FAIL'}  {machine:{machines}}  {one.check:{checks}}  {_said(one)}"
        for machine, one in found
    ]
    failed = sum(not diagnosis.passed for _, diagnosis in found)
    lines.append(
        f"{counted(len(found), 'check')}, {failed} failed." if failed else f"{counted(len(found), 'check')}: all well."
    )
    return "\n".join(lines)


def _said(diagnosis: Diagnosis) -> str:
    return (
        " ".join(f"{diagnosis.seen}. {diagnosis.advice}".split())
        if diagnosis.advice
        else " ".join(diagnosis.seen.split())
    )
