"""Reading F: which files have what is wanted, and how their rows become one table. Of the pyarrow door.

    fragments, then compacted files ── coverage.choose ──> what to read of each (version, origin) ── rows ──> one table

Fragments are listed before compacted files. Compactors write a file before they delete what it was made of, so that
what one listing lacks is in the other; a file that is gone when it is to be read makes the reader list again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import pyarrow as pa

from flor_ray.errors import Damaged
from flor_ray.records import SegmentReport
from flor_ray.store import checks, log_assembly, segment_reports
from flor_ray.store.compacting.compacted_files import FOLDER
from flor_ray.store.compacting.compacted_logs import CompactedLogs, Report, generation_of
from flor_ray.store.compacting.coverage import Choice, HeldCover, choose
from flor_ray.store.files import Files
from flor_ray.store.fragments import RECORDED, Fragment, corrupt, parse, quote, unquoted
from flor_ray.store.log_assembly import AnyRows, FragmentRows, JoinedRows, Place, SlicedRows, Wanted
from flor_ray.store.log_files import END_BYTES, LogFile, Named
from flor_ray.store.reading import or_damaged, remembering, retried, undamaged
from flor_ray.store.segment_reports import KeptReport

_FEW_VERSIONS = 16  # whose folders are listed one by one; more are found in a listing of the project
Reported = tuple[str, str, str, SegmentReport]  # version and segment as paths have them, with the origin between them
_JOINED = 256  # fragments whose rows are put together at once


@dataclass(frozen=True, slots=True)
class LoggedName:
    """What F holds, of a project or of some of its versions."""

    rows: pa.Table  # of the names that were asked for, as `Store.logs` has them
    names: frozenset[str]  # all, asked for or not
    reports: list[KeptReport]  # of replayed segments, by version, origin and segment


@dataclass(frozen=True, slots=True)
class Listing:
    """The files of F that were there, and what to read of them."""

    project: str
    fragments: tuple[Fragment, ...]  # all of the versions that are wanted
    compacted: tuple[CompactedLogs, ...]
    choices: dict[Place, Choice]  # by version, then by precedence: recorded first, then the newest replay

    @property
    def chosen(self) -> list[Fragment]:
        """The fragments to read, in order of precedence."""
        return [fragment for choice in self.choices.values() for fragment in choice.fragments]

    def held(self) -> list[list[HeldCover]]:
        """What to read of each compacted file."""
        found: list[list[HeldCover]] = [[] for _ in self.compacted]
        for choice in self.choices.values():
            for held in choice.held:
                found[held.file].append(held)
        return found


@dataclass(slots=True)
class ReadFragments:
    """What was read of fragments; it grows with each try, so that where files go all the time less is left to read."""

    rows: list[FragmentRows | JoinedRows] = field(default_factory=list)
    said: dict[Fragment, tuple[frozenset[str], list[Reported]] | Damaged] = field(default_factory=dict)
    _sets: dict[frozenset[str], frozenset[str]] = field(default_factory=dict)

    def names(self, found: frozenset[str]) -> frozenset[str]:
        """One object for all equal sets of names: most runs log the same."""
        return self._sets.setdefault(found, found)


@dataclass(slots=True)
class LogReader:
    """Reads the log records of a store's files."""

    files: Files
    _opened: dict[str, CompactedLogs] = field(default_factory=dict)  # of this project; they never change

    # --- what there is ----------------------------------------------------------------------------------------------

    def listing(self, project: str, wanted: Wanted) -> Listing:
        """What there is of the versions that are wanted."""
        fragments = self._fragments(project, wanted.versions)
        compacted = self.compacted(project, wanted.whole)
        return Listing(project, tuple(fragments), compacted, _choices(fragments, compacted, wanted.versions))

    def _fragments(self, project: str, versions: frozenset[str] | None) -> list[Fragment]:
        folder = f"log_records/{quote(project)}"
        if versions is not None and len(versions) <= _FEW_VERSIONS:
            folders = [f"{folder}/{quote(version)}" for version in sorted(versions)]
            paths = [path for listed in self.files.each(self.files.list, folders) for path in listed]
        else:
            paths = self.files.list(folder)
        found = [fragment for fragment in map(parse, paths) if fragment is not None]
        return found if versions is None else [fragment for fragment in found if fragment.version in versions]

    def compacted(self, project: str, whole: bool = False) -> tuple[CompactedLogs, ...]:
        """The compacted files of a project."""

        def read() -> Sequence[CompactedLogs | Damaged]:
            infos = self.files.infos(f"{FOLDER}/{quote(project)}")
            listed = {path: info.bytes for path, info in infos.items() if generation_of(path) is not None}

            def opened(path: str) -> CompactedLogs:
                return self._opened.get(path) or CompactedLogs(self.files, path, listed[path])

            return self.files.each(or_damaged(opened), listed)

        found = undamaged(retried(read), whole)
        self._opened = {one.path: one for one in found}
        return tuple(found)

    def stamp(self, project: str, versions: frozenset[str] | None = None) -> int:
        """Another number once files of these versions (None: of all) have come or gone. None of them is opened."""
        if versions is None:
            fresh: Iterable[str] = self.files.list(f"log_records/{quote(project)}")
        else:
            fresh = (fragment.path for fragment in self._fragments(project, versions))
        return hash((*fresh, *self.files.list(f"{FOLDER}/{quote(project)}")))

    def open(self, fragment: Fragment, with_rows: bool = False) -> LogFile:
        """A fragment's file. Only its end is read at first, unless its rows are most likely wanted (`with_rows`)."""
        where = self.where(fragment.path)
        if with_rows:
            return LogFile(self.files.read(fragment.path), where)
        return LogFile(self.files.read_end(fragment.path, END_BYTES), where, lambda: self.files.read(fragment.path))

    def where(self, path: str) -> str:
        """A file's place, for messages."""
        return f"{self.files.url}/{path}"

    # --- rows, names and reports ------------------------------------------------------------------------------------

    def logged(self, project: str, wanted: Wanted) -> LoggedName:
        """Rows, all names, and reports; each file is read once for them all."""
        known = ReadFragments()
        return retried(lambda: self.read(self.listing(project, wanted), wanted, known))

    def read(self, listing: Listing, wanted: Wanted, known: ReadFragments) -> LoggedName:
        """What is listed, and not `known` yet. Raises FileNotFoundError for a file that is gone."""
        self._read_fragments(listing.chosen, wanted, known)
        said = undamaged((known.said[fragment] for fragment in listing.chosen), wanted.whole)
        read_held = or_damaged(lambda held: self._of_compacted(listing, held, wanted))
        sliced = undamaged([read_held(held) for held in listing.held() if held], wanted.whole)
        rows = [*known.rows, *(of_file for of_file, _, _ in sliced)]
        table = log_assembly.table(listing.project, listing.choices, rows, wanted)
        said += [(names, reports) for _, names, reports in sliced]
        names = frozenset(name for of_file in {id(names): names for names, _ in said}.values() for name in of_file)
        reports = sorted((one for _, of_file in said for one in of_file), key=lambda report: report[:3])
        return LoggedName(table, names, list(map(_kept, reports)))

    def read_parts(self, listing: Listing, wanted: Wanted, most_rows: int) -> Iterator[LoggedName]:
        """What is listed, about so many rows of a file at a time. No key may be there twice (`is_each_once`).

        Raises:
            Damaged: a file does not hold what it should.
            FileNotFoundError: a file is gone.
        """
        for held in filter(None, listing.held()):
            file, covers = listing.compacted[held[0].file], [one.index for one in held]
            names, by_index = frozenset(file.names_of(covers)), {one.index: one.cover for one in held}
            for rows in file.parts(covers, wanted.names, wanted.schema, most_rows):
                yield self._as_table(listing, [SlicedRows(file.places, by_index, rows)], names, wanted)
        small = []
        for fragment in listing.chosen:
            if fragment.segment is None and fragment.last - fragment.first < most_rows:
                small.append(fragment)
                continue
            large = self.open(fragment, with_rows=True)
            for table in large.parts(wanted.names, wanted.schema):
                yield self._as_table(listing, [FragmentRows(fragment, table)], frozenset(large.names), wanted)
        known = ReadFragments()
        self._read_fragments(small, wanted, known)
        said = undamaged(known.said.values(), whole=True)
        names = frozenset(name for of_file in {id(names): names for names, _ in said}.values() for name in of_file)
        yield self._as_table(listing, known.rows, names, wanted)

    def _as_table(self, listing: Listing, rows: Sequence[AnyRows], names: frozenset[str], wanted: Wanted) -> LoggedName:
        return LoggedName(log_assembly.table(listing.project, listing.choices, rows, wanted), names, [])

    def _read_fragments(self, chosen: Sequence[Fragment], wanted: Wanted, known: ReadFragments) -> None:
        """Read what is not known yet. Raises FileNotFoundError if one is gone, when the others are known."""

        def one(fragment: Fragment) -> tuple[FragmentRows, frozenset[str], list[Reported]] | Damaged | None:
            try:
                file = self.open(fragment, with_rows=True)
                report = [] if fragment.segment is None else [_of_segment(fragment, file.report(fragment.version))]
                rows = FragmentRows(fragment, file.rows(wanted.names, wanted.schema))
                return rows, known.names(frozenset(file.names)), report
            except FileNotFoundError:
                return None
            except Damaged as error:
                return error

        new = [fragment for fragment in chosen if fragment not in known.said]
        gone = False
        for first in range(0, len(new), _JOINED):
            part = new[first : first + _JOINED]
            rows = []
            for fragment, read in zip(part, self.files.each(one, part), strict=True):
                if isinstance(read, tuple):
                    rows.append(read[0])
                    known.said[fragment] = read[1:]
                elif read is not None:
                    known.said[fragment] = read
                gone = gone or read is None
            if rows:
                known.rows.append(log_assembly.joined(rows, wanted.names) if len(rows) > 1 else rows[0])
        if gone:
            raise FileNotFoundError

    def _of_compacted(
        self, listing: Listing, held: Sequence[HeldCover], wanted: Wanted
    ) -> tuple[SlicedRows, frozenset[str], list[Reported]]:
        file = listing.compacted[held[0].file]
        covers = [one.index for one in held]
        read = file.rows(covers, wanted.names, wanted.schema)
        rows = SlicedRows(file.places, {one.index: one.cover for one in held}, read)
        return rows, frozenset(file.names_of(covers)), [self._of_cover(file, report) for report in file.reports(covers)]

    def _of_cover(self, file: CompactedLogs, report: Report) -> Reported:
        version, origin = file.places[report.cover]
        try:
            read = segment_reports.from_plain(checks.parsed(report.text), version)
        except (ValueError, KeyError, TypeError) as error:
            raise corrupt(self.where(file.path), error) from error
        return quote(version), origin, report.segment, read

    def names(self, project: str, wanted: Wanted) -> frozenset[str]:
        """Names of all that was logged. Rows are read only of fragments that an older flor_ray wrote."""

        names_of = remembering(or_damaged(lambda fragment: self.open(fragment).names.keys()))

        def read() -> frozenset[str]:
            listing = self.listing(project, wanted)
            fresh = self.files.each(names_of, listing.chosen)
            held = zip(listing.compacted, listing.held(), strict=True)
            sliced = [file.names_of([one.index for one in own]) for file, own in held]
            return frozenset(name for names in [*undamaged(fresh, wanted.whole), *sliced] for name in names)

        return retried(read)

    def kinds(self, project: str, wanted: Wanted) -> list[tuple[str, str, str, Named]]:
        """Version, origin and name of what was logged, with its levels and types; read as `names` are."""
        names = wanted.names or frozenset()
        kinds_of = remembering(or_damaged(lambda f: (f.version, f.origin, self.open(f).names)))

        def read() -> list[tuple[str, str, str, Named]]:
            listing = self.listing(project, wanted)
            fresh = self.files.each(kinds_of, listing.chosen)
            sliced = [
                (*file.places[one.index], file.kinds(one.index))
                for file, own in zip(listing.compacted, listing.held(), strict=True)
                for one in own
            ]
            return [
                (version, origin, name, kind)
                for version, origin, of_file in [*undamaged(fresh, wanted.whole), *sliced]
                for name, kind in of_file.items()
                if name in names
            ]

        return retried(read)

    def replayed(
        self, project: str, versions: frozenset[str], origins: frozenset[str], known: dict[str, KeptReport]
    ) -> list[KeptReport]:
        """What these replays have reported of these versions. `known` has, by path, what fragments were read before,
        and gets those that are read now: of a fragment its end is read, and once."""

        def one(fragment: Fragment) -> KeptReport:
            if fragment.path not in known:
                said = self.open(fragment).report(fragment.version)
                known[fragment.path] = _kept(_of_segment(fragment, said))
            return known[fragment.path]

        def read() -> list[KeptReport]:
            listing = self.listing(project, Wanted(versions))
            fresh = [f for f in listing.chosen if f.origin in origins and f.segment is not None]
            found = undamaged(self.files.each(or_damaged(one), fresh))
            for file, held in zip(listing.compacted, listing.held(), strict=True):
                covers = [each.index for each in held if file.places[each.index][1] in origins]
                found += [_kept(self._of_cover(file, report)) for report in file.reports(covers)]
            return found

        return retried(read)

    # --- all that is kept, read or not ------------------------------------------------------------------------------

    def blob_keys(self, projects: Iterable[str]) -> dict[Place, set[str]]:
        """Objects that log records refer to, by project and version: of all files, also of those that go unread."""

        def of_file(fragment: Fragment) -> set[str]:
            return self.open(fragment).blob_keys()

        keys_of = remembering(of_file)

        def read() -> dict[Place, set[str]]:
            found: dict[Place, set[str]] = {}
            fragments = [f for f in map(parse, self.files.list("log_records")) if f is not None]
            for fragment, keys in zip(fragments, self.files.each(keys_of, fragments), strict=True):
                project = unquoted(fragment.folder.split("/")[1])
                found.setdefault((project, fragment.version), set()).update(keys)
            for project in projects:
                for file in self.compacted(project, whole=True):
                    for version, keys in file.blob_keys().items():
                        found.setdefault((project, version), set()).update(keys)
            return found

        return retried(read)

    def bytes_of(self, projects: Iterable[str]) -> dict[Place, int]:
        """Bytes of compacted files by project and version: of each file a share, by rows."""
        found: dict[Place, int] = {}
        for project in projects:
            for file in self.compacted(project):
                total = max(sum(file.rows_of), 1)
                for (version, _), rows in zip(file.places, file.rows_of, strict=True):
                    place = (project, version)
                    found[place] = found.get(place, 0) + file.size * rows // total
        return found


def _of_segment(fragment: Fragment, report: SegmentReport) -> Reported:
    return quote(fragment.version), fragment.origin, fragment.segment or "", report


def _kept(report: Reported) -> KeptReport:
    _, origin, segment, said = report
    return KeptReport(origin, unquoted(segment), said)


def _choices(
    fragments: Sequence[Fragment], compacted: Sequence[CompactedLogs], versions: frozenset[str] | None
) -> dict[Place, Choice]:
    """What to read of each (version, origin), by version and precedence."""
    fresh: dict[Place, list[Fragment]] = {}
    for fragment in fragments:
        fresh.setdefault((fragment.version, fragment.origin), []).append(fragment)
    held: dict[Place, list[HeldCover]] = {}
    for number, file in enumerate(compacted):
        if versions is None or len(versions) > _FEW_VERSIONS:
            found: Iterable[tuple[int, Place]] = enumerate(file.places)
        else:
            covers = [cover for version in versions for cover in file.covers_of(version)]
            found = ((cover, file.place(cover)) for cover in covers)
        for cover, place in found:
            if versions is None or place[0] in versions:
                one = HeldCover(number, cover, file.cover(cover), file.generation, file.path)
                held.setdefault(place, []).append(one)
    ordered = sorted({*fresh, *held}, key=lambda place: place[1], reverse=True)
    ordered.sort(key=lambda place: (quote(place[0]), place[1] != RECORDED))
    return {place: choose(fresh.get(place, ()), held.get(place, ())) for place in ordered}
