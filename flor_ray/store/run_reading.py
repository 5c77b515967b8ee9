"""Reading E: which file says what of each run. What the texts mean is `runs`' affair.

    <version>.end.json      how it ended: what was said first stands
    <version>.begin.json    it began; and .beat.json, that it was alive
    compacted files         both kinds, of many runs (`compacted_runs`)

Small files are listed before compacted ones, which are written before what they were made of goes: see `log_reading`.
Of two compacted files that have a run, the one is read that knows more of it, then the one of the greater generation.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from flor_ray.errors import Damaged
from flor_ray.store.compacting.compacted_files import FOLDER
from flor_ray.store.compacting.compacted_runs import CompactedRuns, KeptRun, generation_of
from flor_ray.store.files import Files
from flor_ray.store.fragments import quote, unquoted
from flor_ray.store.reading import or_damaged, remembering, retried, undamaged

_FEW_VERSIONS = 16  # whose files are asked for one by one; more are found in a listing of the project


def run_path(project: str, version: str, what: str) -> str:
    """Where a run's begin, end, beat or files are."""
    return f"experiments/{quote(project)}/{quote(version)}.{what}.json"


def place_of(path: str) -> tuple[str, str]:
    """The project and the version that a table's file belongs to."""
    _, project, name = path.split("/")[:3]
    return unquoted(project), unquoted(name.partition(".")[0])


@dataclass(frozen=True, slots=True)
class RunText:
    """What says how a run stands."""

    version: str
    data: bytes  # JSON
    where: str  # for messages
    has_ended: bool  # it says how the run ended
    beat: bytes | None = None  # its last sign of life, of one that has not
    generation: int = 0  # of the compacted file that it is from, if it is


@dataclass(frozen=True, slots=True)
class FoundRuns:
    """What there is of runs: those in files of their own, and those to take from compacted files."""

    texts: list[RunText]
    compacted: list[tuple[CompactedRuns, list[int]]]  # numbers of the runs to take from each
    left: int  # how many more there are in files of their own than were asked for

    def all_texts(self, whole: bool) -> list[RunText]:
        """Of all of them. Compacted files that are damaged are left out with a warning, or raise for `whole`."""
        read = undamaged([or_damaged(_texts_of)(each) for each in self.compacted if each[1]], whole)
        return [*self.texts, *(text for texts in read for text in texts)]


def _texts_of(each: tuple[CompactedRuns, Sequence[int]]) -> list[RunText]:
    file, numbers = each
    return [
        RunText(kept.version, kept.row.encode(), file.where, True, generation=file.generation)
        for kept in file.kept(numbers)
    ]


@dataclass(slots=True)
class RunReader:
    """Reads the runs of a store's files."""

    files: Files
    _opened: dict[str, CompactedRuns] = field(default_factory=dict)  # they never change

    def compacted(self, project: str, whole: bool = False) -> list[CompactedRuns]:
        """The compacted files of a project, the one to prefer first."""

        def read() -> Sequence[CompactedRuns | Damaged]:
            infos = self.files.infos(f"{FOLDER}/{quote(project)}")
            listed = {path: info.bytes for path, info in infos.items() if generation_of(path) is not None}

            def opened(path: str) -> CompactedRuns:
                return self._opened.get(path) or CompactedRuns(self.files, path, listed[path])

            return self.files.each(or_damaged(opened), listed)

        found = undamaged(retried(read), whole)
        self._opened = {one.path: one for one in found}
        return sorted(found, key=lambda one: (-one.generation, one.path))

    def find(
        self,
        project: str,
        versions: Iterable[str] | None = None,
        whole: bool = False,
        most: int | None = None,
        seen: Collection[str] = (),
    ) -> FoundRuns:
        """What there is of a project's runs, or of those of some versions, with the columns or texts of compacted files
        not read yet: where one of these is gone by then, look again. Of those in files of their own, at most so many,
        and none that was `seen`."""
        only = None if versions is None else frozenset(versions)
        read = remembering(self.files.read)
        return retried(lambda: self._find(project, only, whole, read, most, seen))

    def _find(
        self,
        project: str,
        only: frozenset[str] | None,
        whole: bool,
        read_file: Callable[[str], bytes],
        most: int | None,
        seen: Collection[str],
    ) -> FoundRuns:
        paths = self._paths(project, only)
        best = best_of(self.compacted(project, whole), only)
        fresh: dict[str, str] = {}  # by version, the path of the file to read
        revived: list[str] = []
        for version, ends in paths.items():
            kept = best.get(version)
            has_ended = kept is not None and kept[0].has_ended(kept[1])
            if "end" in ends and not has_ended:
                fresh[version] = run_path(project, version, "end")
            elif "beat" in ends and kept is not None and not has_ended:
                revived.append(version)
            elif "begin" in ends and kept is None:
                fresh[version] = run_path(project, version, "begin")
        left = len(fresh)
        if most is not None:
            fresh = dict(itertools.islice(((v, path) for v, path in fresh.items() if v not in seen), most))
            revived = [version for version in revived if version not in seen][:most]
            left = max(0, left - len(fresh) - len(seen))
        beating = [v for v in (*fresh, *revived) if "beat" in paths[v] and not fresh.get(v, "").endswith(".end.json")]
        beats = self.files.read_many(run_path(project, version, "beat") for version in beating)
        read = dict(zip(fresh.values(), self.files.each(read_file, fresh.values()), strict=True))
        texts = [
            RunText(
                version,
                read[path],
                f"{self.files.url}/{path}",
                path.endswith(".end.json"),
                beats.get(run_path(project, version, "beat")),
            )
            for version, path in fresh.items()
        ]
        for version in revived:
            file, number = best[version]
            (said,) = file.kept([number])
            beat = beats[run_path(project, version, "beat")]
            texts.append(RunText(version, (said.begin or said.row).encode(), file.where, False, beat, file.generation))
        taken: dict[str, tuple[CompactedRuns, list[int]]] = {}
        for version, (file, number) in best.items():
            if version not in fresh and version not in revived:
                taken.setdefault(file.path, (file, []))[1].append(number)
        return FoundRuns(texts, list(taken.values()), left)

    def _paths(self, project: str, only: frozenset[str] | None) -> dict[str, set[str]]:
        """What each version has files of: begin, end, beat."""
        found: dict[str, set[str]] = {}
        if only is not None and len(only) <= _FEW_VERSIONS:
            asked = [run_path(project, version, what) for version in sorted(only) for what in ("begin", "end", "beat")]
            there = self.files.each(self.files.exists, asked)
            paths: Iterable[str] = [path for path, is_there in zip(asked, there, strict=True) if is_there]
        else:
            paths = self.files.list(f"experiments/{quote(project)}")
        for path in paths:
            _, _, what = path.removesuffix(".json").rpartition(".")
            version = place_of(path)[1]
            if path.endswith(f"{quote(version)}.{what}.json") and (only is None or version in only):
                found.setdefault(version, set()).add(what)
        return found

    def kept(self, project: str, version: str) -> KeptRun | None:
        """What compacted files have of a run."""
        found = best_of(self.compacted(project), frozenset([version])).get(version)
        return None if found is None else found[0].kept([found[1]])[0]

    def written(self, project: str) -> dict[str, tuple[str, bytes]]:
        """Where and what runs said of the files that they wrote, by version."""
        found: dict[str, tuple[str, bytes]] = {}
        paths = [path for path in self.files.list(f"experiments/{quote(project)}") if path.endswith(".files.json")]
        best = best_of(self.compacted(project, whole=True), None)
        numbers: dict[str, tuple[CompactedRuns, list[int]]] = {}
        for file, number in best.values():
            numbers.setdefault(file.path, (file, []))[1].append(number)
        for file, own in numbers.values():
            found |= {k.version: (file.where, k.files.encode()) for k in file.kept(own) if k.files is not None}
        read = self.files.read_many(paths)
        return found | {place_of(path)[1]: (f"{self.files.url}/{path}", data) for path, data in read.items()}


def best_of(compacted: Sequence[CompactedRuns], only: frozenset[str] | None) -> Mapping[str, tuple[CompactedRuns, int]]:
    """By version, which file to read of it, and its number there. `compacted` has those to prefer first."""
    found: dict[str, tuple[CompactedRuns, int]] = {}
    for file in compacted:
        numbers: Iterable[tuple[str, int | None]]
        few = only is not None and len(only) <= _FEW_VERSIONS
        numbers = ((v, file.number(v)) for v in only or ()) if few else ((v, n) for n, v in enumerate(file.versions))
        for version, number in numbers:
            if number is None or (only is not None and version not in only):
                continue
            known = found.get(version)
            if known is None or file.knows(number) > known[0].knows(known[1]):
                found[version] = (file, number)
    return found
