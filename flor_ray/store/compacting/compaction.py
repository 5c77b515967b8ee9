"""Compaction: many small files of E and F become few large ones, across runs. The data stay, readers see the same.

    list ─> read what is closed ─> write compacted files ─> list again ─> delete what better files hold

Nothing is deleted that a listing after the writing does not show in a better file (`coverage` has the order, and why
no row can go missing or come twice). So compaction may be killed anywhere, by Ctrl-C too, and any number of compactors,
readers and writers may work at once; what one has left undone, the next one does. Closed are runs that have ended, or
crashed long ago, and replays that are over. Values in S, checkpoints and sources are left alone.

Compacted files grow by tiers: four of about the same size become one, so that a record is rewritten a few times.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import blake3
import numpy as np
import pyarrow as pa

from flor_ray.errors import Damaged, FlorWarning, StoreError
from flor_ray.records import Experiment
from flor_ray.store import columns, live_replays, log_assembly, runs
from flor_ray.store.compacting import compacted_logs, compacted_runs
from flor_ray.store.compacting.compacted_files import FOLDER
from flor_ray.store.compacting.compacted_logs import CoveredRows, Report
from flor_ray.store.compacting.compacted_runs import KeptRun, ListedRun
from flor_ray.store.compacting.coverage import NOTHING, Choice, HeldCover, cover_of, union
from flor_ray.store.fragments import LOG_FILE_SCHEMA, Fragment, quote
from flor_ray.store.log_assembly import AnyRows, FragmentRows, JoinedRows, Place, SlicedRows, Wanted
from flor_ray.store.log_reading import Listing
from flor_ray.store.reading import leave_out, retried
from flor_ray.store.run_reading import RunText, best_of, place_of, run_path
from flor_ray.store.store import Store
from flor_ray.wording import ended

Tell = Callable[[str, int, int], None]  # what is being done, how much of it, of how much

_BATCH_ROWS = 1 << 18  # of a compacted file that is made of small fragments: 25 MB in memory, several times
_MERGED_ROWS = 1 << 19  # at most in one that is made of compacted files
LONG_ROWS = 1 << 19  # from which on a fragment becomes files of its own, each of so many rows
_LARGEST_ROWS = 1 << 24  # of a fragment that is read whole to be sorted: 2 GB of memory; larger ones stay as they are
_BATCH_RUNS = 1 << 11  # of a file: 60 MB in memory
_MERGED_RUNS = 1 << 13
_ROW_BYTES = 128
_READ_AT_ONCE = 256  # files between two words of progress
_TIER = 4  # so many files of a tier become one of the next
_SMALLEST_TIER = 1 << 12  # rows, or runs: what has less is of the first tier
_DEAD_SECONDS = 86_400.0  # without a sign of life: a run that crashed is not expected to go on
SMALL_FILES = 500  # fragments from which on a store is compacted by itself, when a run or a replay ends
_MOST_BY_ITSELF = 4 * SMALL_FILES  # fragments that are compacted then: some seconds, not minutes


@dataclass(slots=True)
class Compacted:
    """What was done; it fills while compaction works, and is true also when that is interrupted."""

    runs: int = 0
    fragments: int = 0
    records: int = 0
    written: int = 0  # files
    written_bytes: int = 0
    deleted: int = 0  # files


def nobody(what: str, done: int, total: int) -> None:
    """Nobody is told."""


@dataclass(slots=True)
class Compactor:
    """Compacts one project of a store. `most` fragments are taken at most; None: all."""

    store: Store
    project: str
    tell: Tell = nobody
    most: int | None = None
    done: Compacted = field(default_factory=Compacted)
    _damaged: set[str] = field(default_factory=set)  # compacted files whose rows cannot be read: they stay

    def compact(self, now: float | None = None) -> Compacted:
        """Do all that there is to do.

        Raises:
            StoreError: the store cannot be read or written.

        Warns:
            FlorWarning: a file that does not hold what it should is left as it is.
        """
        now = time.time() if now is None else now
        self.store.allow_compaction()
        closed = self._compact_runs(now)
        self._compact_logs(closed, now)
        self._delete_logs()
        self._delete_runs()
        while retried(self._merge_logs):
            self._delete_logs()
        while retried(self._merge_runs):
            self._delete_runs()
        return self.done

    # --- F ----------------------------------------------------------------------------------------------------------

    def _compact_logs(self, closed: set[str], now: float) -> None:
        """Write what fragments hold, batch by batch."""
        reader = self.store.log_reader
        live = {replay.origin for replay in live_replays.live(self.store.files, now)}
        listing = retried(lambda: reader.listing(self.project, Wanted()))
        chosen = [f for f in listing.chosen if f.version in closed and f.origin not in live]
        large = [f for f in chosen if f.segment is None and f.last - f.first >= LONG_ROWS]
        small = [f for f in chosen if f not in set(large)][: self.most]
        batch = _Batch()
        for first in range(0, len(small), _READ_AT_ONCE):
            part = small[first : first + _READ_AT_ONCE]
            for read in self.store.files.each(self._read_fragment, part):
                if isinstance(read, _ReadFragment):
                    batch.add(read)
                    if batch.rows >= _BATCH_ROWS:
                        self._write_batch(batch, listing)
                        batch = _Batch()
            self.tell("Reading log records", first + len(part), len(small))
        self._write_batch(batch, listing)
        if self.most is None:  # they are no small files
            for count, fragment in enumerate(large, start=1):
                self._cut(fragment, listing)
                self.tell("Sorting long logs", count, len(large))

    def _read_fragment(self, fragment: Fragment) -> _ReadFragment | None:
        """None of one that is gone, or damaged: then it stays, and readers tell."""
        try:
            file = self.store.log_reader.open(fragment, with_rows=True)
            report = None if fragment.segment is None else file.report_text(fragment.version)
            return _ReadFragment(fragment, file.rows(), report)
        except FileNotFoundError:
            return None
        except Damaged as error:
            leave_out(error)
            return None

    def _cut(self, fragment: Fragment, listing: Listing) -> None:
        """A long log becomes several files, each of a range of its records."""
        if fragment.last - fragment.first >= _LARGEST_ROWS:
            return
        read = self._read_fragment(fragment)
        if read is None or read.table.num_rows != fragment.last - fragment.first + 1:
            return  # which record a row is, is told by nothing else
        for first in range(0, read.table.num_rows, LONG_ROWS):
            table = read.table.slice(first, LONG_ROWS)
            begins = fragment.first + first
            piece = Fragment(fragment.folder, fragment.origin, begins, begins + table.num_rows - 1)
            batch = _Batch()
            batch.add(_ReadFragment(piece, table.unify_dictionaries().combine_chunks(), None))
            self._write_batch(batch, listing)

    def _write_batch(self, batch: _Batch, listing: Listing) -> None:
        if not batch.rows:
            return
        parts: dict[Place, list[Fragment]] = {}
        for joined in batch.joined():
            for fragment in joined.fragments:
                parts.setdefault((fragment.version, fragment.origin), []).append(fragment)
        choices = {place: Choice(tuple(parts[place]), (), False) for place in listing.choices if place in parts}
        number = {place: index for index, place in enumerate(choices)}
        reports = [
            Report(number[fragment.version, fragment.origin], fragment.segment or "", text)
            for fragment, text in batch.reports
        ]
        self._write_logs(choices, batch.joined(), reports, generation=1)
        self.done.fragments += sum(len(own) for own in parts.values())

    def _write_logs(
        self,
        choices: dict[Place, Choice],
        rows: Sequence[AnyRows],
        reports: list[Report],
        generation: int,
    ) -> None:
        placed = log_assembly.placed(choices, rows, LOG_FILE_SCHEMA)
        found = CoveredRows(placed.table, placed.place, placed.ordinal)
        covers = [choice.cover for choice in choices.values()]
        if any(choice.overlaps for choice in choices.values()):
            found = _each_once(found)
        reports.sort(key=lambda report: (report.cover, report.segment))
        self._write("logs", generation, compacted_logs.to_bytes(list(choices), covers, found, reports))
        self.done.records += found.table.num_rows

    def _write(self, kind: str, generation: int, data: bytes) -> None:
        name = f"{kind}-{generation:04d}-{blake3.blake3(data).hexdigest()[:16]}.parquet"
        self.store.files.write(f"{FOLDER}/{quote(self.project)}/{name}", data)
        self.done.written += 1
        self.done.written_bytes += len(data)

    def _merge_logs(self) -> bool:
        """Make one of a few compacted files, if there are some to merge; whether there were."""
        listing = self.store.log_reader.listing(self.project, Wanted())
        sizes = {index: sum(file.rows_of) for index, file in enumerate(listing.compacted)}
        whole = {i: n for i, n in sizes.items() if listing.compacted[i].path not in self._damaged}
        group = _to_merge(whole, _MERGED_ROWS)
        choices: dict[Place, Choice] = {}
        for place, choice in listing.choices.items():
            if mine := tuple(one for one in choice.held if one.file in group):
                choices[place] = Choice((), mine, False)
        number = {place: index for index, place in enumerate(choices)}
        rows: list[AnyRows] = []
        reports: list[Report] = []
        for index in group:
            file, held = listing.compacted[index], listing.held()[index]
            covers = {one.index: one.cover for one in held}
            try:
                rows.append(SlicedRows(file.places, covers, file.rows(covers)))
                reports += [Report(number[file.places[r.cover]], r.segment, r.text) for r in file.reports(covers)]
            except Damaged as error:
                leave_out(error)
                self._damaged.add(file.path)
                return True
        if choices:
            self._write_logs(choices, rows, reports, 1 + max(listing.compacted[index].generation for index in group))
            self.tell("Merging compacted logs", self.done.written, self.done.written)
        return bool(choices)

    def _delete_logs(self) -> None:
        """Delete fragments that compacted files hold, and compacted files that better ones hold."""
        reader, files = self.store.log_reader, self.store.files
        listing = retried(lambda: reader.listing(self.project, Wanted()))
        held: dict[Place, list[HeldCover]] = {}
        for number, file in enumerate(listing.compacted):
            for cover, place in enumerate(file.places):
                held.setdefault(place, []).append(
                    HeldCover(number, cover, file.cover(cover), file.generation, file.path)
                )
        known = {place: union(one.cover for one in own) for place, own in held.items()}
        gone = [
            fragment.path
            for fragment in listing.fragments
            if known.get((fragment.version, fragment.origin), NOTHING).holds(cover_of([fragment]))
        ]
        kept = {one.path for own in held.values() for one in own if not _has_better(one, own)}
        gone += [file.path for file in listing.compacted if file.path not in kept]
        self._delete(gone)
        if gone:
            files.prune(f"log_records/{quote(self.project)}")

    def _delete(self, paths: Sequence[str]) -> None:
        for first in range(0, len(paths), _READ_AT_ONCE):
            part = paths[first : first + _READ_AT_ONCE]
            self.store.files.each(self.store.files.delete, part)
            self.done.deleted += len(part)
            self.tell("Deleting small files", first + len(part), len(paths))

    # --- E ----------------------------------------------------------------------------------------------------------

    def _compact_runs(self, now: float) -> set[str]:
        """Write what files of their own say of runs that are over, some at a time; the versions of all that are.

        One that a compacted file has as crashed, and that lived on, goes before what is said there.
        """
        seen: set[str] = set()
        closed: set[str] = set()
        while True:
            found = self.store.closed_runs(self.project, now, _DEAD_SECONDS, _BATCH_RUNS, seen)
            for revived in (False, True):
                batch = [(run, text) for run, text in found.closed if (text.generation > 0) == revived]
                said = self.store.files.each(self._written_files, [text for _, text in batch])
                kept = [_kept(run, text, files) for (run, text), files in zip(batch, said, strict=True)]
                written = [one for one in kept if one is not None]
                self._write_runs(written, 1 + max((text.generation for _, text in batch), default=0))
                self.done.runs += len(written)
            seen |= found.seen
            closed.update(found.compacted, (run.version for run, _ in found.closed))
            if not found.seen or (self.most is not None and len(seen) >= self.most):
                return closed
            self.tell("Compacting runs", self.done.runs, self.done.runs + found.left)

    def _written_files(self, text: RunText) -> str | None:
        """What a run that ended said of the files that it wrote; one that crashed may say it again."""
        if not text.has_ended:
            return None
        try:
            return self.store.files.read(run_path(self.project, text.version, "files")).decode()
        except (FileNotFoundError, UnicodeDecodeError):
            return None

    def _write_runs(self, kept: Sequence[tuple[KeptRun, ListedRun]], generation: int) -> None:
        if kept:
            ordered = sorted(kept, key=lambda one: quote(one[0].version))
            self._write("runs", generation, compacted_runs.to_bytes(ordered))

    def _merge_runs(self) -> bool:
        """Make one of a few compacted files, if there are some to merge; whether there were."""
        found = self.store.run_reader.compacted(self.project)
        sizes = {index: len(file.versions) for index, file in enumerate(found) if file.path not in self._damaged}
        group = [found[index] for index in _to_merge(sizes, _MERGED_RUNS)]
        numbers: dict[str, list[int]] = {file.path: [] for file in group}
        for file, number in best_of(found, None).values():
            if file.path in numbers:
                numbers[file.path].append(number)
        read: list[tuple[KeptRun, ListedRun]] = []
        for file in group:
            try:
                for one in file.kept(numbers[file.path]):
                    run = runs.from_json(one.row.encode(), file.where, self.project, one.version)
                    read.append((one, ListedRun.of(run)))  # without what takes most of the memory
            except Damaged as error:
                leave_out(error)
                self._damaged.add(file.path)
                return True
        if read:
            self._write_runs(read, 1 + max(file.generation for file in group))
            self.tell("Merging compacted runs", self.done.written, self.done.written)
        return bool(read)

    def _delete_runs(self) -> None:
        """Delete files of runs that compacted files have, and compacted files of which better ones have all runs."""
        there: dict[str, set[str]] = {}
        for path in self.store.files.list(f"experiments/{quote(self.project)}"):
            there.setdefault(place_of(path)[1], set()).add(path.removesuffix(".json").rpartition(".")[2])
        compacted = self.store.run_reader.compacted(self.project)
        best = best_of(compacted, None)
        gone = []
        for version in there.keys() & best.keys():
            file, number = best[version]
            if file.has_ended(number):
                held = {"begin", "end", "beat", *(["files"] if file.has_files(number) else [])}
            else:  # it crashed, unless it has ended since
                held = set() if "end" in there[version] else {"begin", "beat"}
            gone += [run_path(self.project, version, what) for what in held & there[version]]
        used = {file.path for file, _ in best.values()}
        self._delete(sorted([*gone, *(file.path for file in compacted if file.path not in used)]))


@dataclass(frozen=True, slots=True)
class _ReadFragment:
    fragment: Fragment
    table: pa.Table
    report: str | None  # JSON, of a replayed segment


@dataclass(slots=True)
class _Batch:
    """Fragments that become one file."""

    rows: int = 0  # texts count as the rows that would take as much memory
    reports: list[tuple[Fragment, str]] = field(default_factory=list)
    _single: list[FragmentRows] = field(default_factory=list)
    _joined: list[JoinedRows] = field(default_factory=list)

    def add(self, read: _ReadFragment) -> None:
        self.rows += max(read.table.num_rows, read.table.nbytes // _ROW_BYTES, 1)
        self._single.append(FragmentRows(read.fragment, read.table))
        if read.report is not None:
            self.reports.append((read.fragment, read.report))
        if len(self._single) == _READ_AT_ONCE:
            self.joined()

    def joined(self) -> list[JoinedRows]:
        """All that was added."""
        if self._single:
            self._joined.append(log_assembly.joined(self._single))
            self._single = []
        return self._joined


def _each_once(rows: CoveredRows) -> CoveredRows:
    """Without the rows that are there already: those of one cover with one ordinal."""
    order = np.lexsort((rows.ordinal, rows.cover))
    again = (np.diff(rows.cover[order]) == 0) & (np.diff(rows.ordinal[order]) == 0)
    kept = np.sort(order[np.concatenate([[True], ~again])]) if len(order) else order
    return CoveredRows(columns.taken(rows.table, kept), rows.cover[kept], rows.ordinal[kept])


def _has_better(one: HeldCover, all_of_place: Sequence[HeldCover]) -> bool:
    """Whether another file holds all of this, and is read before it."""
    return any(other.rank < one.rank and other.cover.holds(one.cover) for other in all_of_place)


def _to_merge(sizes: Mapping[int, int], most: int) -> list[int]:
    """Files to be made one: those of the lowest tier that has enough of them. `sizes` are their rows, by number."""
    tiers: dict[int, list[int]] = {}
    for index, size in sorted(sizes.items(), key=lambda item: (item[1], item[0])):
        tier, limit = 0, _SMALLEST_TIER
        while size >= limit:
            tier, limit = tier + 1, limit * _TIER
        tiers.setdefault(tier, []).append(index)
    for _, indexes in sorted(tiers.items()):
        fitting = [i for i, total in zip(indexes, np.cumsum([sizes[i] for i in indexes]), strict=True) if total <= most]
        if len(fitting) >= _TIER:
            return sorted(fitting)
    return []


def _kept(run: Experiment, text: RunText, files: str | None) -> tuple[KeptRun, ListedRun] | None:
    """A run as it is kept; None of one that crashed with arguments which JSON does not give back as they are."""
    if text.has_ended:
        return KeptRun(run.version, text.data.decode(), None, files), ListedRun.of(run)
    row = runs.to_json(run)
    if runs.to_json(runs.from_json(row, text.where, run.project, run.version)) != row:
        return None
    return KeptRun(run.version, row.decode(), text.data.decode(), None), ListedRun.of(run)


def by_itself(store: Store, project: str) -> Compacted | None:
    """Compact a store that has come to many small files; None where there is no need. For the end of a run or replay.

    Stores of older releases are compacted when they are asked to be (`flor-ray compact`): older releases cannot read
    them then, which is for their users to decide.

    Warns:
        FlorWarning: it could not be done, which costs nothing but time.
    """
    try:
        if not store.may_be_compacted or len(store.files.list(f"log_records/{quote(project)}")) < SMALL_FILES:
            return None
        return Compactor(store, project, most=_MOST_BY_ITSELF).compact()
    except (OSError, StoreError) as error:
        warnings.warn(
            f"The store was not compacted: {ended(str(error))} Nothing is lost by that; `flor-ray compact` does it.",
            FlorWarning,
            stacklevel=2,
        )
        return None
