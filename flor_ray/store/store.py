"""The store: tables E, F, C and G as append-only files, and S, below one fsspec URL. With `fragments` the pyarrow door.

    format.json
    experiments/<project>/<version>.{begin,end,beat,files}.json               E
    log_records/<project>/<version>/<origin>.<range or segment>.parquet       F
    checkpoints/<project>/<version>/<epoch>-<point>.parquet                   C
    source_code/<project>/<version>.parquet                                   G (blobs in S)
    objects/ab/cdef...                                                        S
    pins/, replays/, timelines/, calibrations/                see `pins`, `live_replays`, `timelines` and `calibrations`
    jobs/, claims/                                            see `heartbeats` and `claims`

Any number of processes may write and read at once. Files only appear, whole, or go after a merge has put their rows
elsewhere; a reader that loses a file to a merge lists again. Names are unique (runs, replays) or deterministic
(segments, merges), so doing anything twice has the effect of doing it once. Nothing replayed hides what was recorded.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any, TypeVar, cast

import blake3
import pyarrow as pa

from flor_ray import records, redaction
from flor_ray.errors import Damaged, ObjectCorrupt, ObjectMissing, SourcesMissing, StoreError
from flor_ray.records import (
    HIDDEN_ARGS,
    Checkpoint,
    EpochTimes,
    Experiment,
    LogRecord,
    Point,
    SegmentReport,
    Skip,
    SourceFile,
    Status,
    WrittenFile,
)
from flor_ray.store import checks, columns, fragments, runs, segment_reports, typed_json, typed_values
from flor_ray.store.compacting.compacted_files import FOLDER
from flor_ray.store.compacting.compacted_runs import CompactedRuns, ListedRun
from flor_ray.store.files import Files
from flor_ray.store.fragments import (
    CHECKPOINT_FILE_SCHEMA,
    LOG_FILE_SCHEMA,
    RECORDED,
    SOURCE_FILE_SCHEMA,
    Fragment,
    quote,
    unquoted,
)
from flor_ray.store.log_assembly import Wanted
from flor_ray.store.log_files import Named, log_bytes
from flor_ray.store.log_reading import LoggedName, LogReader
from flor_ray.store.objects import Objects
from flor_ray.store.outages import Patience
from flor_ray.store.reading import leave_out, or_damaged, retried, undamaged
from flor_ray.store.run_reading import RunReader, RunText, place_of, run_path
from flor_ray.store.segment_reports import KeptReport
from flor_ray.store.typed_values import BLOB_TYPES

Run = TypeVar("Run", Experiment, ListedRun)

_FORMAT_FILE = "format.json"
_EMPTY_OIDS = tuple(make(b"blob 0\0").hexdigest() for make in (hashlib.sha1, hashlib.sha256))  # git's, of an empty file


@dataclass(frozen=True, slots=True)
class FilesUsed:
    """How many files there are, and how large they are together."""

    files: int
    bytes: int


@dataclass(frozen=True, slots=True)
class ClosedRuns:
    """Runs that are over, as compaction needs them."""

    closed: list[tuple[Experiment, RunText]]  # of those that were looked at
    compacted: set[str]  # versions in compacted files
    seen: frozenset[str]  # versions that were looked at
    left: int  # how many were not


class Store:
    """Everything that was recorded, below `url`.

    Raises:
        StoreError: the URL cannot be reached, or a newer flor_ray wrote what is there.
    """

    def __init__(self, url: str, patience: Patience | None = None, read_only: bool = False) -> None:
        self.files = Files(url, patience=patience, read_only=read_only)
        self.objects = Objects(self.files)
        self.log_reader = LogReader(self.files)
        self.run_reader = RunReader(self.files)
        self.url = self.files.url
        self.may_be_compacted = False  # no older release reads it
        self._marked = self._check_format()

    def __reduce__(self) -> tuple[Any, ...]:
        return Store, (self.url, None, self.files.read_only)

    def __repr__(self) -> str:
        return f"Store({self.url!r})"

    def _check_format(self) -> bool:
        try:
            data = self.files.read(_FORMAT_FILE)
        except FileNotFoundError:
            return False
        where = self._where(_FORMAT_FILE)
        try:
            described = checks.parsed(data)
            found, create_only = described["format"], described.get("create_only")
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise StoreError(
                f"{where} does not say which format the store has ({error}). Restore that file."
            ) from error
        typed_values.check_format(found, where)
        self.may_be_compacted = found >= typed_values.COMPACTED_FORMAT
        self.files.create_only = create_only if isinstance(create_only, bool) else None
        return True

    def _write(self, path: str, data: bytes) -> None:
        self._mark()
        self.files.write(path, data)

    def _mark(self) -> None:
        if not self._marked:
            described: dict[str, object] = {"format": typed_values.FORMAT_VERSION}
            if self.files.remote:  # a local store may be copied to a server, which must then be probed itself
                described["create_only"] = self.files.probe_create()
            self.files.create(_FORMAT_FILE, json.dumps(described).encode())
            self._marked = self._check_format()

    def allow_compaction(self) -> None:
        """From now on, releases that cannot read compacted files refuse this store instead of missing what is there."""
        self._mark()
        if not self.may_be_compacted:
            described = checks.parsed(self.files.read(_FORMAT_FILE))
            described["format"] = typed_values.FORMAT_VERSION
            self.files.write(_FORMAT_FILE, json.dumps(described).encode())
            self._check_format()

    def _where(self, path: str) -> str:
        return f"{self.url}/{path}"

    # --- E ----------------------------------------------------------------------------------------------------------

    def begin_run(self, experiment: Experiment) -> None:
        """Make a run known. Raises StoreError if another run has this version."""
        self._mark()
        path = run_path(experiment.project, experiment.version, "begin")
        data = runs.to_json(experiment)
        known = retried(lambda: self.run_reader.kept(experiment.project, experiment.version))
        if known is not None or (not self.files.create(path, data) and self.files.read(path) != data):
            raise StoreError(
                f"{self._where(path)} exists: another run was recorded as this version. Start the run again."
            )

    def end_run(self, experiment: Experiment) -> None:
        """Say how a run ended. What was said first stands."""
        self._mark()
        self.files.create(run_path(experiment.project, experiment.version, "end"), runs.to_json(experiment))

    def beat(self, project: str, version: str, now: float) -> None:
        """Heartbeat of a run, wanted at least once in runs.HEARTBEAT_LIMIT_SECONDS."""
        self._write(run_path(project, version, "beat"), json.dumps({"now": now}).encode())

    def write_files(self, project: str, version: str, files: Sequence[WrittenFile]) -> None:
        """Say which files a run has written so far, and what they were at its checkpoints. The latest word holds."""
        plain = [typed_json.to_plain(file) for file in files]
        self._write(run_path(project, version, "files"), json.dumps(plain).encode())

    def written_files(self, project: str, version: str) -> tuple[WrittenFile, ...]:
        """Those of a run; none if it was recorded without."""
        path = run_path(project, version, "files")

        def read() -> tuple[WrittenFile, ...]:
            try:
                return _written(self.files.read(path), self._where(path))
            except FileNotFoundError:
                kept = self.run_reader.kept(project, version)
                return () if kept is None or kept.files is None else _written(kept.files.encode(), self._where(path))

        return retried(read)

    def all_written_files(self, project: str) -> dict[str, tuple[WrittenFile, ...]]:
        """Those of all runs of a project that said so, by version."""
        found = retried(lambda: self.run_reader.written(project))
        return {version: _written(data, where) for version, (where, data) in found.items()}

    def projects(self) -> tuple[str, ...]:
        """Names of all projects of which there are runs."""
        folders = {*self.files.folders("experiments"), *self.files.folders(FOLDER)}
        return tuple(sorted(map(unquoted, folders)))

    def experiment(self, project: str, version: str, now: float | None = None) -> Experiment | None:
        """One run, without looking at others; None if there is none."""
        found = self.experiments(project, now, versions=[version])
        return found[0] if found else None

    def experiments(
        self,
        project: str,
        now: float | None = None,
        whole: bool = False,
        versions: Iterable[str] | None = None,
    ) -> tuple[Experiment, ...]:
        """Runs of a project, all or those of some versions, by (started, version). Those that never said how they ended
        are running or crashed.

        Raises:
            StoreError: the store cannot be read; or, for `whole`, a file of it does not hold what it should.

        Warns:
            FlorWarning: such a file is left out.
        """
        only = None if versions is None else list(versions)
        found = retried(lambda: self.run_reader.find(project, only, whole).all_texts(whole))
        return _by_start(self._judged(project, found, now, whole))

    def stamp(self, project: str, versions: Iterable[str] | None = None) -> int:
        """Another number once files of runs or records have come or gone: of a project, or the records of some
        versions. It takes listings, and reads no file; signs of life do not count."""
        if versions is not None:
            return self.log_reader.stamp(project, frozenset(versions))
        paths = self.files.list(f"experiments/{quote(project)}")
        return hash((*(p for p in paths if not p.endswith(".beat.json")), self.log_reader.stamp(project)))

    def listed_runs(self, project: str, now: float | None = None) -> tuple[ListedRun, ...]:
        """What lists show of all runs of a project, by (started, version): without reading all of each.

        Warns:
            FlorWarning: a file that does not hold what it should is left out.
        """

        def chosen(of_file: tuple[CompactedRuns, Sequence[int]]) -> list[ListedRun]:
            file, numbers = of_file
            listed = file.listed()
            return [listed[number] for number in numbers]

        def read() -> tuple[list[RunText], list[ListedRun]]:
            found = self.run_reader.find(project)
            return found.texts, list(chain.from_iterable(undamaged(map(or_damaged(chosen), found.compacted))))

        texts, listed = retried(read)
        fresh = map(ListedRun.of, self._judged(project, texts, now, whole=False))
        return _by_start([*listed, *fresh])

    def closed_runs(
        self, project: str, now: float, silent_seconds: float, most: int, seen: Collection[str]
    ) -> ClosedRuns:
        """The runs that are over, of those in files of their own: of `most` that were not `seen`. A run that crashed
        elsewhere is over when it has been silent for so long."""
        found = self.run_reader.find(project, most=most, seen=seen)
        texts = {text.version: text for text in found.texts}
        closed = []
        for run in self._judged(project, found.texts, now, whole=False):
            text = texts[run.version]
            crashed = run.status is Status.CRASHED and not text.has_ended
            if text.has_ended or (
                crashed and runs.is_over(run, self._last_beat(text, project, whole=False), now, silent_seconds)
            ):
                closed.append((run, text))
        compacted = {file.versions[number] for file, numbers in found.compacted for number in numbers}
        return ClosedRuns(closed, compacted, frozenset(texts), found.left)

    def _judged(self, project: str, texts: Iterable[RunText], now: float | None, whole: bool) -> list[Experiment]:
        """The runs of these texts: running, crashed, or as they say."""
        now = time.time() if now is None else now
        found: list[Experiment] = []
        crashed: list[Experiment] = []
        for text in texts:
            try:
                experiment = runs.from_json(text.data, text.where, project, text.version)
            except Damaged as error:
                leave_out(error, whole)
                continue
            if not text.has_ended and runs.has_crashed(experiment, self._last_beat(text, project, whole), now):
                crashed.append(replace(experiment, status=Status.CRASHED))
            else:
                found.append(experiment)
        rebuilt = self._rebuild(project, crashed, whole)
        return [*found, *(experiment for experiment in rebuilt.values() if experiment is not None)]

    def _last_beat(self, text: RunText, project: str, whole: bool) -> float | None:
        if text.beat is None:
            return None
        try:
            return float(checks.parsed(text.beat)["now"])
        except (ValueError, KeyError, TypeError, OverflowError) as error:
            where = self._where(run_path(project, text.version, "beat"))
            leave_out(Damaged(f"{where} is not a heartbeat ({error}). Delete it."), whole)
            return None

    def _rebuild(self, project: str, crashed: Sequence[Experiment], whole: bool) -> dict[str, Experiment | None]:
        """Crashed runs with what C and F show of them, by version: epochs that ended, times, loops and arguments. None
        stands for one whose files are damaged.

        The loops' names are not known, only that they were there. Values logged outside the main loop are taken for
        arguments: flor.arg's are among them, and replay asks for no others. What lies in S can only be an argument's
        default, since no text on a command line stands for it: then the replayed script has it itself.
        """
        if not crashed:
            return {}
        import pyarrow.compute as pc  # 60 ms that others need not pay

        rebuilt: dict[str, Experiment | None] = {}
        for experiment in crashed:
            try:  # without some of its arguments it would be another run
                rows = self._checkpoint_rows(project, experiment.version, whole=whole)
                logs = self.logged(project, None, [experiment.version], whole=True).rows
            except Damaged as error:
                leave_out(error, whole)
                rebuilt[experiment.version] = None
                continue
            times = fragments.times_of(rows)
            logs = logs.filter(pc.equal(logs["origin"].cast(pa.string()), RECORDED))
            last_logged = pc.max(logs["epoch"]).as_py()
            ended = [row["epoch"] for row in rows if row["point"] == Point.EPOCH_END.value]
            outside = logs.filter(pc.is_null(logs["epoch"])).to_pylist()
            exits = any(row["point"] == Point.NESTED_EXIT.value for row in rows)
            nested = exits or pc.max(logs["step"]).as_py() is not None
            texts = [(row["name"], row["text"] or "") for row in outside if row["type"] in ("str", "json")]
            hidden = {name: redaction.variable_of(name) for name, text in texts if redaction.HIDDEN in text}
            known = replace(
                experiment,
                epochs=max([(last_logged or 1) - 1, *ended]),  # who logs in an epoch has ended the one before
                profile=replace(experiment.profile, epochs=times),
                main_loop="epoch" if rows or last_logged else None,
                nested_loop="step" if nested else None,
                args={
                    row["name"]: _decoded(row)
                    for row in reversed(outside)
                    if row["type"] not in BLOB_TYPES and row["name"] not in hidden
                },
                environment={**experiment.environment, **({HIDDEN_ARGS: hidden} if hidden else {})},
            )
            try:
                checks.expect_epochs(known)
                rebuilt[experiment.version] = known
            except ValueError as error:
                where = self._where(run_path(project, experiment.version, "begin"))
                leave_out(Damaged(f"{where} is of a run whose log and checkpoints make no sense: {error}."), whole)
                rebuilt[experiment.version] = None
        return rebuilt

    # --- F ----------------------------------------------------------------------------------------------------------

    def append_logs(self, project: str, version: str, origin: str, first: int, records: Sequence[LogRecord]) -> None:
        """Add the records number `first` and up of a run or replay. A record's value is a `schema.Value`."""
        if records:
            fragment = Fragment(_folder("log_records", project, version), origin, first, first + len(records) - 1)
            self._write(fragment.path, log_bytes(self._log_table(records)))

    def write_log_file(self, fragment: Fragment, data: bytes) -> None:
        """Add a file of F that `log_bytes` made."""
        self._write(fragment.path, data)

    def write_replay(
        self,
        project: str,
        version: str,
        origin: str,
        segment_id: str,
        records: Sequence[LogRecord],
        report: SegmentReport,
    ) -> None:
        """Add a replayed segment: its rows and its report become visible together. Replaces an earlier attempt."""
        fragment = Fragment(_folder("log_records", project, version), origin, segment=quote(segment_id))
        self._write(fragment.path, log_bytes(self._log_table(records), segment_reports.to_plain(report)))

    def merge_logs(self, project: str, version: str, origin: str) -> None:
        """Rewrite adjacent fragments of one origin as one. Safe at any time, also when several do it at once."""
        folder = _folder("log_records", project, version)

        def merge() -> None:
            found = [f for f in self._fragments(folder) if f.origin == origin]
            for group in fragments.mergeable(found):
                tables = [self._read(part.path, LOG_FILE_SCHEMA) for part in group]
                whole = Fragment(folder, origin, group[0].first, group[-1].last)
                table = pa.concat_tables(tables).unify_dictionaries().combine_chunks()
                self._write(whole.path, log_bytes(table))
                found.append(whole)
            kept = {f.path for f in fragments.visible(found)}
            self.files.each(self.files.delete, sorted(f.path for f in found if f.path not in kept))

        retried(merge)

    def logs(self, project: str, names: Iterable[str] | None = None, versions: Iterable[str] | None = None) -> pa.Table:
        """Log records with the columns of `fragments.LOG_SCHEMA`; one row per (version, epoch, step, name, iteration).

        A recorded value goes before replayed ones, and the replay with the greatest origin before others. Rows are
        ordered by version, then recorded ones in the order of logging, then replayed ones. Blobs stay in S: their
        `text` is the key.
        """
        return self.logged(project, names, versions).rows

    def logged(
        self,
        project: str,
        names: Iterable[str] | None = None,
        versions: Iterable[str] | None = None,
        whole: bool = False,
        levels: Iterable[str] | None = None,
        columns: Sequence[str] | None = None,
        in_order: bool = True,
    ) -> LoggedName:
        """What was logged: rows as `logs` has them, all names, and reports; each file is read once for them all.

        `levels` and `columns` narrow the rows further. Without `in_order`, rows come as the files have them, which
        saves sorting: of a compacted store a name's rows, and of these a version's, lie together.

        Raises:
            StoreError: the store cannot be read; or, for `whole`, a file of it does not hold what it should.

        Warns:
            FlorWarning: such a file is left out.
        """
        wanted = Wanted(
            _set(versions), _set(names), _set(levels), None if columns is None else tuple(columns), in_order, whole
        )
        return self.log_reader.logged(project, wanted)

    def replayed(
        self, project: str, versions: Iterable[str], origins: Iterable[str], known: dict[str, KeptReport]
    ) -> list[KeptReport]:
        """What these replays have reported of these versions. `known` holds what was read before, by path; what is read
        now is put there. Raises StoreError if the store cannot be read.

        Warns:
            FlorWarning: a file does not hold what it should, and is left out.
        """
        return self.log_reader.replayed(project, frozenset(versions), frozenset(origins), known)

    def names(self, project: str, versions: Iterable[str] | None = None) -> frozenset[str]:
        """Names of all that was logged. Rows are read only of files that an older flor_ray wrote."""
        return self.log_reader.names(project, Wanted(_set(versions)))

    def kinds(
        self, project: str, names: Collection[str], versions: Iterable[str] | None = None
    ) -> list[tuple[str, str, str, Named]]:
        """Version, origin and name of what was logged, with its levels and types; a row per file. Rows are read as for
        `names`."""
        return self.log_reader.kinds(project, Wanted(_set(versions), frozenset(names)))

    def _fragments(self, folder: str) -> list[Fragment]:
        return [f for f in map(fragments.parse, self.files.list(folder)) if f is not None]

    def _read(self, path: str, columns: pa.Schema) -> pa.Table:
        return fragments.from_bytes(self.files.read(path), columns, self._where(path))

    def _log_table(self, records: Sequence[LogRecord]) -> pa.Table:
        values = [_value(record.value) for record in records]
        keys = self.objects.put_many([v.blob for v in values if v.blob is not None])
        return fragments.log_table(records, values, keys)

    # --- C ----------------------------------------------------------------------------------------------------------

    def append_checkpoint(self, project: str, checkpoint: Checkpoint, times: EpochTimes | None) -> None:
        """Add a checkpoint whose objects are all in S, with its epoch's measured seconds if they are known."""
        name = f"{checkpoint.epoch:06d}-{checkpoint.point.value}.parquet"
        table = fragments.checkpoint_table(checkpoint, times)
        self._write(f"{_folder('checkpoints', project, checkpoint.version)}/{name}", fragments.to_bytes(table))

    def append_skips(self, project: str, version: str, skips: Sequence[Skip]) -> None:
        """Add epochs at whose end no checkpoint was taken, with their measured seconds."""
        if skips:
            name = f"skips-{skips[0].epoch:06d}-{skips[-1].epoch:06d}.parquet"
            table = fragments.skip_table(skips)
            self._write(f"{_folder('checkpoints', project, version)}/{name}", fragments.to_bytes(table))

    def merge_checkpoints(self, project: str, version: str) -> None:
        """Rewrite the rows of a version's checkpoints as one file, named by its contents. Safe at any time."""
        folder = _folder("checkpoints", project, version)

        def merge() -> None:
            paths = self.files.list(folder)
            if len(paths) > 1:
                rows = self._checkpoint_rows(project, version, paths, whole=True)
                data = fragments.to_bytes(columns.table_of_rows(rows, CHECKPOINT_FILE_SCHEMA))
                whole = f"{folder}/merged-{blake3.blake3(data).hexdigest()[:16]}.parquet"
                self._write(whole, data)
                self.files.each(self.files.delete, [path for path in paths if path != whole])

        retried(merge)

    def checkpoints(self, project: str, version: str, whole: bool = False) -> tuple[Checkpoint, ...]:
        """By epoch; within one, the nested loop's exit before the epoch's end.

        Raises:
            StoreError: the store cannot be read; or, for `whole`, a file of it does not hold what it should.

        Warns:
            FlorWarning: such a file is left out.
        """
        rows = self._checkpoint_rows(project, version, whole=whole)
        return tuple(fragments.checkpoint_of(row, version) for row in rows if row["key"])

    def skips(self, project: str, version: str) -> tuple[Skip, ...]:
        """The epochs that have no checkpoint, and why."""
        rows = [row for row in self._checkpoint_rows(project, version) if row["key"] is None]
        times = fragments.times_of(rows)
        return tuple(Skip(row["epoch"], row["why"], own) for row, own in zip(rows, times, strict=True))

    def _checkpoint_rows(
        self, project: str, version: str, paths: Sequence[str] | None = None, whole: bool = False
    ) -> list[dict[str, Any]]:
        def table(path: str) -> pa.Table:
            return self._read(path, CHECKPOINT_FILE_SCHEMA)

        def read() -> list[dict[str, Any]]:
            found = self.files.list(_folder("checkpoints", project, version)) if paths is None else paths
            if whole:
                return fragments.checkpoint_rows(self.files.each(table, found))
            return fragments.checkpoint_rows(undamaged(self.files.each(or_damaged(table), found)))

        return read() if paths is not None else retried(read)

    def drop_checkpoints(self, project: str, version: str, places: Collection[tuple[int, Point]]) -> None:
        """Take checkpoints off the list; their objects stay. Done as soon as one file is there: safe at any time.

        Their rows come again with the key "", so that the measured seconds of their epochs are kept. Such a row goes
        before the old one, in whatever files the two are or are merged into.
        """
        rows = self._checkpoint_rows(project, version)
        gone = [row | {"key": ""} for row in rows if row["key"] and (row["epoch"], Point(row["point"])) in places]
        if gone:
            data = fragments.to_bytes(columns.table_of_rows(gone, CHECKPOINT_FILE_SCHEMA))
            name = f"without-{blake3.blake3(data).hexdigest()[:16]}.parquet"
            self._write(f"{_folder('checkpoints', project, version)}/{name}", data)

    # --- G ----------------------------------------------------------------------------------------------------------

    def write_sources(
        self,
        project: str,
        version: str,
        parent: str | None,
        files: Mapping[str, SourceFile],
        known: Mapping[str, str] | None = None,
    ) -> None:
        """Mirror a version's files. `known` maps git object ids that are in S already to their keys; such files need no
        data. The manifest comes last, so that a version without its files never looks complete."""
        known = known or {}
        for name, file in files.items():
            if not file.data and file.oid not in known and len(file.oid) in (40, 64) and file.oid not in _EMPTY_OIDS:
                raise StoreError(f"{name} of version {version} has no data, and object {file.oid} is not in the store.")
        fresh = {f.oid: f.data for f in files.values() if f.oid not in known}
        keys = dict(known) | dict(zip(fresh, self.objects.put_many(fresh.values()), strict=True))
        rows = [
            {
                "version": version,
                "filename": name.encode("utf-8", "surrogateescape"),
                "parent": parent,
                "oid": file.oid,
                "mode": file.mode,
                "key": keys[file.oid],
                "bytes": None if file.oid in known else len(file.data),
            }
            for name, file in sorted(files.items())
        ]
        table = columns.table_of_rows(rows, SOURCE_FILE_SCHEMA)
        self._write(_source_path(project, version), fragments.to_bytes(table))

    def known_sources(self, project: str, version: str) -> dict[str, str]:
        """Keys in S by git object id, of a version's files; none if the version is not mirrored."""
        try:
            table = self._read(_source_path(project, version), SOURCE_FILE_SCHEMA)
        except FileNotFoundError:
            return {}
        return dict(zip(table["oid"].to_pylist(), table["key"].to_pylist(), strict=True))

    def source_rows(self, project: str, version: str) -> list[dict[str, Any]]:
        """Rows of G, without the files' contents; none if the version is not mirrored."""
        try:
            return self._source_rows(version, _source_path(project, version))
        except FileNotFoundError:
            return []

    def sources(self, project: str, version: str) -> dict[str, SourceFile]:
        """A version's files by repository-relative path.

        Raises:
            SourcesMissing: the version is not mirrored.
            StoreError: a file of it is missing or corrupt.
        """
        path = _source_path(project, version)
        try:
            rows = self._source_rows(version, path)
        except FileNotFoundError:
            raise SourcesMissing(version, self._where(path)) from None
        return _source_files(rows, self.objects.get_many(row["key"] for row in rows))

    def _source_rows(self, version: str, path: str) -> list[dict[str, Any]]:
        """Rows of G, whose paths are those of files that can lie side by side in a folder."""
        rows: list[dict[str, Any]] = self._read(path, SOURCE_FILE_SCHEMA).to_pylist()
        try:
            checks.expect_files((_filename(row), row["mode"]) for row in rows)
        except (ValueError, TypeError, AttributeError) as error:
            raise fragments.corrupt(self._where(path), error) from error
        return rows

    def sources_of(self, project: str, versions: Iterable[str], suffix: str = "") -> dict[str, dict[str, SourceFile]]:
        """Files of several versions whose paths end with `suffix`; equal ones are read once. Versions that are not
        mirrored are left out.

        Warns:
            FlorWarning: a version whose files are damaged or gone is left out.
        """

        def rows(version: str) -> list[dict[str, Any]] | Damaged | None:
            try:
                found = self._source_rows(version, _source_path(project, version))
            except FileNotFoundError:
                return None
            except Damaged as error:
                return error
            return [row for row in found if row["filename"].endswith(suffix.encode())]

        versions = list(versions)
        manifests = dict(zip(versions, self.files.each(rows, versions), strict=True))
        listed = [found for found in manifests.values() if isinstance(found, list)]
        blobs = self.objects.get_each(row["key"] for found in listed for row in found)
        sources = {}
        for version, found in manifests.items():
            if isinstance(found, list):
                try:
                    sources[version] = _source_files(found, blobs)
                except (ObjectMissing, ObjectCorrupt) as error:
                    leave_out(Damaged(f"A source file of version {version[:8]} cannot be read: {error}"))
            elif found is not None:
                leave_out(found)
        return sources

    # --- what is kept -----------------------------------------------------------------------------------------------

    def sizes(self, table: str) -> dict[tuple[str, str], int]:
        """Bytes of a table's files (`table`: its folder) by project and version; who has none there is not in it."""
        found: dict[tuple[str, str], int] = {}
        for path, info in self.files.infos(table).items():
            if path.count("/") > 1:  # others are strangers
                place = place_of(path)
                found[place] = found.get(place, 0) + info.bytes
        if table == "log_records":
            for place, count in retried(lambda: self.log_reader.bytes_of(self.compacted_projects())).items():
                found[place] = found.get(place, 0) + count
        return found

    def table_files(self, project: str) -> FilesUsed:
        """The files of E and F of a project."""
        folders = [f"{table}/{quote(project)}" for table in ("experiments", "log_records", FOLDER)]
        found = [info for folder in folders for info in self.files.infos(folder).values()]
        return FilesUsed(len(found), sum(info.bytes for info in found))

    def compacted_projects(self) -> list[str]:
        """Projects of which there are compacted files."""
        return list(map(unquoted, self.files.folders(FOLDER)))

    def blob_keys(self) -> dict[tuple[str, str], set[str]]:
        """Objects that log records refer to, recorded, replayed and superseded ones, by project and version."""

        return self.log_reader.blob_keys(self.compacted_projects())

    def source_keys(self) -> dict[tuple[str, str], set[str]]:
        """Objects that hold mirrored source files, by project and version."""
        wanted = pa.schema([("key", pa.string())])

        def keys(path: str) -> Iterable[str]:
            return cast(list[str], self._read(path, wanted)["key"].to_pylist())

        def read() -> dict[tuple[str, str], set[str]]:
            return self._by_place([p for p in self.files.list("source_code") if p.endswith(".parquet")], keys)

        return retried(read)

    def _by_place(self, paths: Sequence[str], keys: Callable[[str], Iterable[str]]) -> dict[tuple[str, str], set[str]]:
        found: dict[tuple[str, str], set[str]] = {}
        for path, read in zip(paths, self.files.each(keys, paths), strict=True):
            found.setdefault(place_of(path), set()).update(read)
        return found


def _written(data: bytes, where: str) -> tuple[WrittenFile, ...]:
    """What a run said of the files that it wrote."""
    try:
        found = typed_json.from_plain(checks.parsed(data), tuple[WrittenFile, ...])
        for file in found:
            checks.expect_written(file.path)
        return found
    except ValueError as error:
        raise Damaged(f"{where} does not hold what files a run has written: {error}") from error


def _set(given: Iterable[str] | None) -> frozenset[str] | None:
    return None if given is None else frozenset(given)


def _by_start(found: Iterable[Run]) -> tuple[Run, ...]:
    return tuple(sorted(found, key=lambda run: (run.started, run.version)))


def _filename(row: Mapping[str, Any]) -> str:
    name: str = row["filename"].decode("utf-8", "surrogateescape")
    return name


def _source_files(rows: Iterable[Mapping[str, Any]], blobs: Mapping[str, bytes | StoreError]) -> dict[str, SourceFile]:
    """Files by path. Raises the error of a file that could not be read."""
    found = {}
    for row in rows:
        data = blobs[row["key"]]
        if isinstance(data, StoreError):
            raise data
        found[_filename(row)] = SourceFile(data, row["mode"], row["oid"])
    return found


def _decoded(row: Mapping[str, Any]) -> object:
    return typed_values.decode(records.Value(*(row[column] for column in typed_values.VALUE_COLUMNS)), str.encode)


def _value(logged: records.Value) -> records.Value:
    return logged.arrived() if isinstance(logged, typed_values.Deferred) else logged


def _folder(table: str, project: str, version: str) -> str:
    return f"{table}/{quote(project)}/{quote(version)}"


def _source_path(project: str, version: str) -> str:
    return f"{_folder('source_code', project, version)}.parquet"
