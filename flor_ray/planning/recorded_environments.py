"""In which environments versions are replayed: what is said of those that differ, and what `--env recorded` installs.

Recorded environments are compared with this process's, the driver's. Workers on other machines may have another one;
they compare theirs with what is expected here, and warn.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from flor_ray import wording
from flor_ray.environment.packages import parse_lock
from flor_ray.environment.surroundings import (
    EnvironmentDifference,
    Environments,
    Here,
    Requirements,
    differences,
    expected,
    imported,
    requirements,
    secrets_needed,
)
from flor_ray.errors import UsageError
from flor_ray.records import Experiment
from flor_ray.scheduler.packing import Schedule
from flor_ray.store.objects import Objects

CURRENT, RECORDED = "current", "recorded"
_MAX_NAMED = 4  # packages of a note


def choose(
    env: str, experiments: Mapping[str, Experiment], versions: Iterable[str], objects: Objects, here: Here | None = None
) -> Environments:
    """The environments of the versions that are to be replayed.

    Args:
        env: "current", the environment that is installed, or "recorded": with it, what a run imported and what is
            another version here is installed for its replay.
        here: the driver's environment; None: look.

    Raises:
        UsageError: `env` is something else.
        ObjectMissing: the lock of one of the versions has been deleted.
    """
    if env not in (CURRENT, RECORDED):
        raise UsageError(f"env={env!r} is not known; it is {CURRENT!r} or {RECORDED!r}.")
    chosen = list(versions)
    if not chosen:
        return Environments()
    here = here or Here.look()
    found = {version: differences(experiments[version].environment, here) for version in chosen}
    wanted = _requirements(experiments, chosen, objects, here) if env == RECORDED else {}
    packages = {version: one.packages for version, one in wanted.items() if one.packages}
    return Environments(
        (
            *_package_notes(found, packages, env),
            *_left_out_notes(wanted),
            *_unknown_notes([v for v in wanted if not imported(experiments[v].environment)]),
            *_other_notes(found),
            *_secret_notes({v: secrets_needed(experiments[v].environment).difference(os.environ) for v in chosen}),
        ),
        packages,
        {v: expected(experiments[v].environment, packages.get(v, ()), here) for v in chosen},
    )


def grouped(schedule: Schedule, packages: Mapping[str, tuple[str, ...]]) -> Schedule:
    """The schedule with the segments of one environment together in each worker's queue: changing it takes seconds."""
    if not packages:
        return schedule
    assignments = (
        tuple(sorted(assignment, key=lambda cost: packages.get(cost.segment.version, ())))
        for assignment in schedule.assignments
    )
    return replace(schedule, assignments=tuple(assignments))


def _requirements(
    experiments: Mapping[str, Experiment], versions: Sequence[str], objects: Objects, here: Here
) -> dict[str, Requirements]:
    keys = {v: key for v in versions if isinstance(key := experiments[v].environment.get("lock"), str)}
    locks = {key: parse_lock(data.decode()) for key, data in objects.get_many(keys.values()).items()}
    return {v: requirements(experiments[v].environment, locks[key], here) for v, key in keys.items()}


def _package_notes(
    found: Mapping[str, Sequence[EnvironmentDifference]], packages: Mapping[str, tuple[str, ...]], env: str
) -> list[str]:
    """One note for the versions that differ in the same packages."""
    groups: dict[tuple[tuple[EnvironmentDifference, ...], bool], list[str]] = {}
    for version, differing in found.items():
        if of_packages := tuple(one for one in differing if one.kind == "package"):
            groups.setdefault((of_packages, version in packages), []).append(version)
    notes = []
    for (differing, installs), versions in groups.items():
        were = f"{wording.some_versions(versions)}: {_were(versions)} recorded with"
        if installs:
            notes.append(f"{were} {_pairs(differing)}; what can be is installed for the replay, which takes a while")
        else:
            advice = "" if env == RECORDED else "; --env recorded replays with the recorded packages"
            notes.append(f"{were} {_pairs(differing)}: replayed values may differ{advice}")
    return notes


def _pairs(differing: Sequence[EnvironmentDifference]) -> str:
    """torch 2.1.0 (here: 2.13.0), numpy 1.26.4 (here: 2.4.6) and 3 more packages that are others here."""
    shown = [f"{one.name} {one.recorded} (here: {one.here or 'none'})" for one in differing[:_MAX_NAMED]]
    more = len(differing) - len(shown)
    return ", ".join(shown) + (f" and {more} more that {'differs' if more == 1 else 'differ'} here" if more else "")


def _left_out_notes(wanted: Mapping[str, Requirements]) -> list[str]:
    groups: dict[tuple[str, ...], list[str]] = {}
    for version, one in wanted.items():
        if one.left_out:
            groups.setdefault(one.left_out, []).append(version)
    return [
        f"{wording.some_versions(versions)}: no package index has {', '.join(left_out)}; replayed with the packages "
        "installed here"
        for left_out, versions in groups.items()
    ]


def _unknown_notes(versions: Sequence[str]) -> list[str]:
    if not versions:
        return []
    run = "its run was killed before it" if len(versions) == 1 else "their runs were killed before they"
    return [
        f"{wording.some_versions(versions)}: {run} could say which packages had been imported; replayed with the "
        "packages installed here"
    ]


def _other_notes(found: Mapping[str, Sequence[EnvironmentDifference]]) -> list[str]:
    groups: dict[EnvironmentDifference, list[str]] = {}
    for version, differing in found.items():
        for one in differing:
            if one.kind != "package":
                groups.setdefault(one, []).append(version)
    notes = []
    for one, versions in groups.items():
        were = f"{wording.some_versions(versions)}: {_were(versions)} recorded"
        if one.kind == "python":
            notes.append(
                f"{were} with Python {one.recorded}, and {one.here} runs here: replayed values may differ "
                "(--env recorded changes packages, not Python)"
            )
        else:
            machine = f"{one.name} {one.here}" if one.here else f"no {one.name}"
            notes.append(
                f"{were} on {one.name} {one.recorded}, and this machine has {machine}: the last digits of replayed "
                "values may differ"
            )
    return notes


def _secret_notes(lacking: Mapping[str, frozenset[str]]) -> list[str]:
    """One note for the versions whose workers need the same variables, which this process does not have."""
    groups: dict[frozenset[str], list[str]] = {}
    for version, names in lacking.items():
        if names:
            groups.setdefault(names, []).append(version)
    return [
        f"{wording.some_versions(versions)}: started with secrets, which are not recorded; the workers need "
        f"{', '.join(sorted(names))} in their environment"
        for names, versions in groups.items()
    ]


def _were(versions: Sequence[str]) -> str:
    return "it was" if len(versions) == 1 else "they were"
