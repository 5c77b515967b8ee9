"""Which distributions are installed, and which of them this process has imported. Reads names of folders, mostly."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

LOCAL = " (local)"  # follows, in a lock, a distribution that no package index has
# flor_ray reads and writes with these, and they compute nothing; what a run has of them does not matter.
_STORING = (
    *("flor-ray", "ray", "blake3", "click", "cloudpickle", "fsspec", "gitdb", "gitpython", "pyarrow", "rich", "s3fs"),
    *("smmap", "pip", "setuptools", "wheel", "tree-sitter", "tree-sitter-python", "markdown-it-py", "pygments"),
    *("msgspec", "psutil"),
)


def normalised(name: str) -> str:
    """The name of a distribution as package indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def installed(folders: Iterable[str] | None = None) -> dict[str, str]:
    """Version by name of every distribution on `sys.path`; " (local)" follows that of one that no index has.

    Reads the names of folders, and no metadata: a millisecond for hundreds of them.
    """
    found: dict[str, str] = {}
    for folder in dict.fromkeys(sys.path if folders is None else folders):
        if not os.path.isdir(folder):
            continue
        with os.scandir(folder) as entries:
            for entry in entries:
                name, _, version = entry.name.removesuffix(".dist-info").partition("-")
                if entry.name.endswith(".dist-info") and version:
                    local = os.path.exists(os.path.join(entry.path, "direct_url.json"))
                    found.setdefault(normalised(name), version + (LOCAL if local else ""))
    return found


def lock_text(distributions: Mapping[str, str]) -> str:
    """One line per distribution: name==version. Equal environments have equal texts."""
    return "".join(f"{name}=={version}\n" for name, version in sorted(distributions.items()))


def parse_lock(text: str) -> dict[str, str]:
    """What `installed` found when this was written."""
    pairs = (line.partition("==") for line in text.splitlines())
    return {name: version for name, _, version in pairs if version}


def versions_of_modules() -> dict[str, str]:
    """Versions of the imported top-level packages that say which one they are."""
    found = {}
    for name, module in sorted(sys.modules.items()):
        version = getattr(module, "__version__", None) if "." not in name and not name.startswith("_") else None
        if isinstance(version, str):
            found[name] = version
    return found


def imported_distributions() -> dict[str, str]:
    """Distributions of which something is imported now, as `installed` names them."""
    names: dict[str, set[str]] = {}  # by folder: top-level modules
    for name, module in list(sys.modules.items()):
        path = getattr(module, "__file__", None)
        if "." in name or not isinstance(path, str):
            continue
        above = Path(path).parent
        names.setdefault(str(above.parent if Path(path).name == "__init__.py" else above), set()).add(name)
    found: dict[str, str] = {}
    for folder, modules in names.items():
        here = installed([folder])
        by_name = {name: normalised(name) for name in modules if normalised(name) in here}
        others = modules - by_name.keys()
        chosen = {*by_name.values(), *(_that_provide(Path(folder), others) if here and others else ())}
        found |= {name: here[name] for name in chosen}
    return {name: version for name, version in sorted(found.items()) if name not in _STORING}


def _that_provide(folder: Path, modules: set[str]) -> set[str]:
    """Distributions in a folder that these modules come from, whose names are others than theirs (scikit-learn)."""
    found = set()
    for info in folder.glob("*.dist-info"):
        listed, name = info / "top_level.txt", normalised(info.name.partition("-")[0])
        if listed.exists():
            provided = set(listed.read_text(errors="replace").split())
        elif (record := info / "RECORD").exists():
            lines = record.read_text(errors="replace").splitlines()
            provided = {line.split(",")[0].split("/")[0].removesuffix(".py") for line in lines}
        else:
            continue
        if provided & modules:
            found.add(name)
    return found
