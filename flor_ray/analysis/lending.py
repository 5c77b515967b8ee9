"""What the files of a version get of us through each other: `from common import flor`. Pure: texts in, sources out.

    common.py   import flor_ray as flor       exports  flor -> ()
    train.py    from common import flor       borrows  (common, flor) -> ()          and so its `flor` is us

A module is looked for beside the file that imports it, then at the top, then wherever a file is called so; files that
may both be meant have to agree. A file passes on what it has borrowed, so this goes on until nothing is new.
"""

from __future__ import annotations

import posixpath
import sys
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache

from flor_ray.analysis.aliases import Path
from flor_ray.analysis.scopes import Imported
from flor_ray.analysis.source import Borrowed, Source, Texts, read


def read_all(files: Texts) -> Mapping[str, Source]:
    """Files that stand beside each other, by path: what they get of us through each other is known."""
    return _read_all(tuple(sorted(files.items())))


@lru_cache(maxsize=4)  # a version's files are asked for several times in a row
def _read_all(items: tuple[tuple[str, str], ...]) -> Mapping[str, Source]:
    files = dict(items)
    found = {path: read(text, frozenset()) for path, text in files.items()}
    stems = {_stem(path): path for path in sorted(files, reverse=True)}
    for _ in files:  # each time round, what a file has got may reach those that import it
        exports = {path: source.exports for path, source in found.items() if source.exports}
        fresh = {path: source.borrowing(_borrowed(path, source, stems, exports)) for path, source in found.items()}
        if fresh == found:
            break
        found = fresh
    return found


def _borrowed(
    path: str, source: Source, stems: Mapping[str, str], exports: Mapping[str, Mapping[str, Path]]
) -> Borrowed:
    found: dict[Imported, Path] = {}
    named = {posixpath.basename(_stem(other)) for other in exports if other != path}
    for each in source.imports if any(name in source.text for name in named) else ():
        for module in (each, Imported(f"{each.module}.{each.name}".strip("."), each.level)):
            if module.module.rpartition(".")[2] not in named and module.module:
                continue
            given = [exports.get(file, {}) for file in _files(path, module, stems)]
            for name, target in given[0].items() if given else ():
                if all(other.get(name) == target for other in given):
                    found[replace(module, name=name)] = target
    return frozenset(found.items())


def _stem(path: str) -> str:
    return path.removesuffix(".py").removesuffix("/__init__")


def _files(path: str, module: Imported, stems: Mapping[str, str]) -> list[str]:
    """The files that a module may be: beside its importer, else at the top, else wherever one is called so."""
    inner = module.module.replace(".", "/")
    if module.level:
        folder = path
        for _ in range(module.level):
            folder = posixpath.dirname(folder)
        places = [posixpath.join(folder, inner) if inner else folder]
    elif not inner or inner.partition("/")[0] in sys.stdlib_module_names:
        return []
    else:
        places = [posixpath.join(posixpath.dirname(path), inner), inner]
    found = [stems[place] for place in places if place in stems][:1]
    if not found and not module.level:
        found = [file for stem, file in stems.items() if stem.endswith(f"/{inner}")]
    return [file for file in found if file != path]
