"""An old version's code as the page shows it: lines, where a statement would land, and pins that a click sets."""

from __future__ import annotations

from typing import Any

from flor_ray.patching import donors, statements
from flor_ray.patching.patching import Fate
from flor_ray.records import Pin
from flor_ray.reports import placements
from flor_ray.store import pins
from flor_ray.store.project import Project
from flor_ray.ui import cells
from flor_ray.ui.replays import plans


def placement(project: Project, name: str, version: str) -> dict[str, Any]:
    """The files of a version in which a statement belongs, line by line, and what becomes of it there.

    Raises:
        UnknownVersion: there is no such version.
        UnknownFeature: nobody logs the name.
        StoreError: the store cannot be read.
    """
    found = statements.propagated(project, [name], [version])
    ((whole, patched),) = found.patched.items()
    texts = found.texts[whole]
    findings = [finding for finding in patched.findings if finding.name == name]
    paths = {f.path for f in findings if f.path is not None} or {found.experiments[whole].script}
    blobs = {donors.blob_of(text) for text in texts.values()}
    kept = [p for p in pins.kept(project.store.files, project.name) if p.name == name]
    held = [p for p in kept if p.version == whole or p.blob in blobs]
    return {
        "name": name,
        "version": whole,
        "run": cells.readable(found.experiments[whole].run),
        "files": [
            {"path": path, "lines": [cells.readable(line) for line in texts[path].split("\n")]}
            for path in sorted(path for path in paths if path in texts)
        ],
        "others": sorted(path for path in texts if path not in paths),
        "findings": [plans.finding_row(finding) for finding in findings],
        "diff": "\n".join(map(cells.readable, placements.diff_of(patched).split("\n"))),
        "present": all(finding.fate is Fate.PRESENT for finding in findings),
        "pins": [{"path": p.path, "after": p.pin.after, "who": cells.readable(p.who)} for p in held],
        "notes": [cells.readable(note) for note in found.notes],
    }


def pin(project: Project, name: str, version: str, path: str, after: int, statement: int | None) -> str:
    """Keep that a statement belongs after a line, and say what that comes to. Raises UsageError for what is none."""
    done = statements.pin(project, name, version, Pin(after), path, statement)
    return "\n".join(map(cells.readable, placements.pinned(done).split("\n")))


def unpin(project: Project, name: str, version: str) -> str:
    """Remove a name's pins in a version. Raises UsageError if there is none."""
    return cells.readable(placements.unpinned(statements.unpin(project, name, version)))
