"""Where a system's statements come to stand in its versions, against places chosen by hand; nothing runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from evaluating.histories import LoopLevel, System
from flor_ray import propagation
from flor_ray.patching import donors, patching
from flor_ray.patching.donors import Revision


def misplaced(system: System) -> Iterator[str]:
    """A sentence for each version and level whose statements do not stand where they should."""
    history = [Revision(version.run, system.script, _python(version.files)) for version in system.versions]
    ways = patching.CarryingWays(through=propagation.propagate_tree_through)
    for level in LoopLevel:
        names = system.names(level)
        tree = _python(system.asking(system.versions[-1], [level]))
        found = donors.find_donors(names, [("the working tree", tree)], frozenset({system.script}))
        patched = patching.patch_all(names, found, history, ways=ways)
        for version in system.versions:
            if {**_python(version.files), **patched[version.run].files} != _python(system.asking(version, [level])):
                reasons = "; ".join(f"{name}: {why}" for name, why in patched[version.run].refused.items())
                yield f"{system.name} {version.run}: {level}: {reasons or 'placed elsewhere'}"


def places(system: System) -> int:
    """How many pairs of a version and a level there are."""
    return len(system.versions) * len(LoopLevel)


def _python(files: Mapping[str, str]) -> dict[str, str]:
    return {path: text for path, text in files.items() if path.endswith(".py")}
