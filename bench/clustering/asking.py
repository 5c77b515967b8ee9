"""A driver that may be killed: asks for the statement's values of a project, and prints how many rows are answered."""

from __future__ import annotations

import sys
from pathlib import Path

from clustering import sleeping
from flor_ray import pipeline
from flor_ray.cluster.driver import Progress
from flor_ray.cluster.executors import Executor
from flor_ray.records import Limits
from flor_ray.store.project import Project


def command(root: Path, where: str, workers: int, seconds: float) -> list[str]:
    """The command line of one, on "local" workers or on "ray", whose segments take so long."""
    paths = [str(Path(__file__).parents[number]) for number in (1, 2)]
    code = f"import sys; sys.path[:0] = {paths}; from clustering import asking; sys.exit(asking.main(*sys.argv[1:]))"
    return [sys.executable, "-c", code, str(root), where, str(workers), str(seconds)]


def main(root: str, where: str, workers: str, seconds: str) -> int:
    """The body of its process."""

    def tell(progress: Progress) -> None:
        print("answered", progress.answered, flush=True)

    limits = Limits(commit_seconds=float(seconds) / 2)
    prepared = sleeping.prepared(Project.open(root), int(workers), float(seconds), epochs=2)
    outcome = pipeline.run(prepared, executor(where), tell, limits)
    for _, error in outcome.failures:
        print(error, flush=True)
    return int(bool(outcome.failures))


def executor(where: str) -> Executor:
    if where == "ray":
        from flor_ray.cluster.actors import RayExecutor

        return RayExecutor()
    from flor_ray.cluster.local import LocalExecutor

    return LocalExecutor()
