"""The store: tables E, F, C and G as append-only files, and S, below one fsspec URL. With `fragments` the pyarrow door.

    format.json
    experiments/<project>/<version>.{begin,end,beat,files}.json               E
    log_records/<project>/<version>/<origin>.<range or segment>.parquet       F
    checkpoints/<project>/<version>/<epoch>-<point>.parquet                   C
    source_code/<project>/<version>.parquet                                   G (blobs in S)
    objects/ab/cdef...                                                        S
    pins/, replays/, timelines/, calibrations/                see `pins`, `live_replays`, `timelines` and `calibrations`

Any number of processes may write and read at once. Files only appear, whole, or go after a merge has put their rows
elsewhere; a reader that loses a file to a merge lists again. Names are unique (runs, replays) or deterministic
(segments, merges), so doing anything twice has the effect of doing it once. Nothing replayed hides what was recorded.
"""

from __future__ import annotations

import hashlib
import json
import time
import warnings
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar, cast

import blake3
import pyarrow as pa

from flor_ray import records, redaction
from flor_ray.errors import Damaged, FlorWarning, ObjectCorrupt, ObjectMissing, SourcesMissing, StoreError
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
from flor_ray.store.log_files import END_BYTES, LogFile, Named, log_bytes
from flor_ray.store.objects import Objects
from flor_ray.store.segment_reports import KeptReport
from flor_ray.store.typed_values import BLOB_TYPES

T = TypeVar("T")

_FORMAT_FILE = "format.json"
_RETRIES = 20  # of a reader that loses files to merges; each merge takes away most of what is left to merge
_EMPTY_OIDS = tuple(make(b"blob 0\0").hexdigest() for make in (hashlib.sha1, hashlib.sha256))  # git's, of an empty file


@dataclass(frozen=True, slots=True)
class LoggedName:
    """What F holds, of a project or of some of its versions."""

    rows: pa.Table  # of the names that were asked for, as `Store.logs` has them
    names: frozenset[str]  # all, asked for or not
    reports: list[KeptReport]  # of replayed segments, by version, origin and segment


class Store:
    """Everything that was recorded, below `url`.

    Raises:
        StoreError: the URL cannot be reached, or a newer flor_ray wrote what is there.
    """

    def __init__(self, url: str) -> None:
        self.files = Files(url)
        self.objects = Objects(self.files)
        self.url = self.files.url
        self._marked = self._check_format()

    def __reduce__(self) -> tuple[Any, ...]:
        return Store, (self.url,)

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

    def _where(self, path: str) -> str:
        return f"{self.url}/{path}"

    # --- E ----------------------------------------------------------------------------------------------------------

    def begin_run(self, experiment: Experiment) -> None:
        """Make a run known. Raises StoreError if another run has this version."""
        self._mark()
        path = _run_path(experiment.project, experiment.version, "begin")
        data = runs.to_json(experiment)
        if not self.files.create(path, data) and self.files.read(path) != data:
            raise StoreError(
                f"{self._where(path)} exists: another run was recorded as this version. Start the run again."
            )

    def end_run(self, experiment: Experiment) -> None:
        """Say how a run ended. What was said first stands."""
        self._mark()
        self.files.create(_run_path(experiment.project, experiment.version, "end"), runs.to_json(experiment))

    def beat(self, project: str, version: str, now: float) -> None:
        """Heartbeat of a run, wanted at least once in runs.HEARTBEAT_LIMIT_SECONDS."""
        self._write(_run_path(project, version, "beat"), json.dumps({"now": now}).encode())

    def write_files(self, project: str, version: str, files: Sequence[WrittenFile]) -> None:
        """Say which files a run has written so far, and what they were at its checkpoints. The latest word holds."""
        plain = [typed_json.to_plain(file) for file in files]
        self._write(_run_path(project, version, "files"), json.dumps(plain).encode())

    def written_files(self, project: str, version: str) -> tuple[WrittenFile, ...]:
        """Those of a run; none if it was recorded without."""
        path = _run_path(project, version, "files")
        try:
            found = typed_json.from_plain(checks.parsed(self.files.read(path)), tuple[WrittenFile, ...])
            for file in found:
                checks.expect_written(file.path)
            return found
        except FileNotFoundError:
            return ()
        except ValueError as error:
            raise Damaged(f"{self._where(path)} does not hold what files a run has written: {error}") from error

    def projects(self) -> tuple[str, ...]:
        return tuple(sorted({unquoted(path.split("/")[1]) for path in self.files.list("experiments")}))

    def experiments(self, project: str, now: float | None = None, whole: bool = False) -> tuple[Experiment, ...]:
        """All runs of a project, by (started, version). Those that never said how they ended are running or crashed.

        Raises:
            StoreError: the store cannot be read; or, for `whole`, a file of it does not hold what it should.

        Warns:
            FlorWarning: such a file is left out.
        """
        folder = f"experiments/{quote(project)}"
        now = time.time() if now is None else now

        def read() -> tuple[dict[str, bytes], dict[str, bytes]]:
            paths = set(self.files.list(folder))
            ended = {path for path in paths if path.endswith(".end.json")}
            begun = {p for p in paths if p.endswith(".begin.json") and _sibling(p, "end") not in ended}
            beats = paths & {_sibling(path, "beat") for path in begun}
            return self.files.read_many(sorted(ended | begun)), self.files.read_many(sorted(beats))

        rows, beats = _retried(read)
        found = []
        for path, data in rows.items():
            try:
                experiment = runs.from_json(data, self._where(path), *_place(path))
            except Damaged as error:
                _leave_out(error, whole)
                continue
            beat = self._last_beat(_sibling(path, "beat"), beats, whole)
            if path.endswith(".begin.json") and runs.has_crashed(experiment, beat, now):
                experiment = replace(experiment, status=Status.CRASHED)
            found.append(experiment)
        rebuilt = self._rebuild(project, [e for e in found if e.status is Status.CRASHED], whole)
        known = (rebuilt.get(e.version, e) for e in found)
        return tuple(sorted((e for e in known if e is not None), key=lambda e: (e.started, e.version)))

    def _last_beat(self, path: str, beats: Mapping[str, bytes], whole: bool) -> float | None:
        if path not in beats:
            return None
        try:
            return float(checks.parsed(beats[path])["now"])
        except (ValueError, KeyError, TypeError, OverflowError) as error:
            _leave_out(Damaged(f"{self._where(path)} is not a heartbeat ({error}). Delete it."), whole)
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
                _leave_out(error, whole)
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
                where = self._where(_run_path(project, experiment.version, "begin"))
                _leave_out(Damaged(f"{where} is of a run whose log and checkpoints make no sense: {error}."), whole)
                rebuilt[experiment.version] = None
        return rebuilt

    # --- F ----------------------------------------------------------------------------------------------------------

    def append_logs(self, project: str, version: str, origin: str, first: int, records: Sequence[LogRecord]) -> None:
        """Add the records number `first` and up of a run or replay. A record's value is a `schema.Value`."""
        if records:
            fragment = Fragment(_folder("log_records", project, version), origin, first, first + len(records) - 1)
            self._write(fragment.path, log_bytes(self._log_table(records)))

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

        _retried(merge)

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
    ) -> LoggedName:
        """What was logged: rows as `logs` has them, all names, and reports; each file is read once for them all.

        Raises:
            StoreError: the store cannot be read; or, for `whole`, a file of it does not hold what it should.

        Warns:
            FlorWarning: such a file is left out.
        """
        wanted = None if names is None else frozenset(names)

        def parts(fragment: Fragment, file: LogFile) -> tuple[pa.Table, Iterable[str], KeptReport | None]:
            return file.rows(wanted), file.names, self._report(fragment, file)

        found = self._each_log_file(project, versions, parts, with_rows=True, whole=whole)
        rows = fragments.placed(project, [f for f, _ in found], [table for _, (table, _, _) in found], wanted)
        known = frozenset(name for _, (_, of_file, _) in found for name in of_file)
        return LoggedName(rows, known, _in_order((f, report) for f, (_, _, report) in found))

    def names(self, project: str, versions: Iterable[str] | None = None) -> frozenset[str]:
        """Names of all that was logged. Rows are read only of files that an older flor_ray wrote."""
        found = self._each_log_file(project, versions, lambda _, file: file.names.keys())
        return frozenset(name for _, names in found for name in names)

    def kinds(
        self, project: str, names: Collection[str], versions: Iterable[str] | None = None
    ) -> list[tuple[str, str, str, Named]]:
        """Version, origin and name of what was logged, with its levels and types; a row per file. Rows are read as for
        `names`."""
        found = self._each_log_file(project, versions, lambda _, file: file.names)
        return [
            (fragment.version, fragment.origin, name, kind)
            for fragment, of_file in found
            for name, kind in of_file.items()
            if name in names
        ]

    def _each_log_file(
        self,
        project: str,
        versions: Iterable[str] | None,
        do: Callable[[Fragment, LogFile], T],
        with_rows: bool = False,
        whole: bool = False,
    ) -> list[tuple[Fragment, T]]:
        """`do` of each visible file of a project's (or some versions') F, in order of precedence. Unless `with_rows`
        says that these are most likely wanted, only the ends of files are read at first."""
        only = None if versions is None else {quote(version) for version in versions}
        folder = f"log_records/{quote(project)}"

        def read() -> list[tuple[Fragment, T]]:
            found = [f for f in self._fragments(folder) if only is None or f.folder.rpartition("/")[2] in only]
            chosen = fragments.visible(found)

            def one(fragment: Fragment) -> tuple[Fragment, T]:
                return fragment, do(fragment, self._log_file(fragment.path, with_rows))

            return (
                list(self.files.each(one, chosen)) if whole else _undamaged(self.files.each(_or_damaged(one), chosen))
            )

        return _retried(read)

    def _log_file(self, path: str, with_rows: bool = False) -> LogFile:
        where = self._where(path)
        if with_rows:
            return LogFile(self.files.read(path), where)
        return LogFile(self.files.read_end(path, END_BYTES), where, lambda: self.files.read(path))

    def _report(self, fragment: Fragment, file: LogFile) -> KeptReport | None:
        """Of a replayed segment; None of others."""
        if fragment.segment is None:
            return None
        return KeptReport(fragment.origin, unquoted(fragment.segment), file.report(fragment.version))

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

        _retried(merge)

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
            return fragments.checkpoint_rows(_undamaged(self.files.each(_or_damaged(table), found)))

        return read() if paths is not None else _retried(read)

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
                    _leave_out(Damaged(f"A source file of version {version[:8]} cannot be read: {error}"))
            elif found is not None:
                _leave_out(found)
        return sources

    # --- what is kept -----------------------------------------------------------------------------------------------

    def sizes(self, table: str) -> dict[tuple[str, str], int]:
        """Bytes of a table's files (`table`: its folder) by project and version; who has none there is not in it."""
        found: dict[tuple[str, str], int] = {}
        for path, info in self.files.infos(table).items():
            if path.count("/") > 1:  # others are strangers
                place = _place(path)
                found[place] = found.get(place, 0) + info.bytes
        return found

    def blob_keys(self) -> dict[tuple[str, str], set[str]]:
        """Objects that log records refer to, recorded, replayed and superseded ones, by project and version."""

        def keys(path: str) -> Iterable[str]:
            return self._log_file(path).blob_keys()

        return _retried(lambda: self._by_place([f.path for f in self._fragments("log_records")], keys))

    def source_keys(self) -> dict[tuple[str, str], set[str]]:
        """Objects that hold mirrored source files, by project and version."""
        wanted = pa.schema([("key", pa.string())])

        def keys(path: str) -> Iterable[str]:
            return cast(list[str], self._read(path, wanted)["key"].to_pylist())

        def read() -> dict[tuple[str, str], set[str]]:
            return self._by_place([p for p in self.files.list("source_code") if p.endswith(".parquet")], keys)

        return _retried(read)

    def _by_place(self, paths: Sequence[str], keys: Callable[[str], Iterable[str]]) -> dict[tuple[str, str], set[str]]:
        found: dict[tuple[str, str], set[str]] = {}
        for path, read in zip(paths, self.files.each(keys, paths), strict=True):
            found.setdefault(_place(path), set()).update(read)
        return found


def _in_order(reports: Iterable[tuple[Fragment, KeptReport | None]]) -> list[KeptReport]:
    """By version, origin and segment."""
    found = [(f.folder, f.origin, f.segment or "", report) for f, report in reports if report is not None]
    return [report for *_, report in sorted(found, key=lambda row: row[:3])]


def _place(path: str) -> tuple[str, str]:
    """The project and the version that a table's file belongs to."""
    _, project, name = path.split("/")[:3]
    return unquoted(project), unquoted(name.partition(".")[0])


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


def _run_path(project: str, version: str, what: str) -> str:
    return f"experiments/{quote(project)}/{quote(version)}.{what}.json"


def _sibling(path: str, what: str) -> str:
    folder, _, name = path.rpartition("/")
    return f"{folder}/{name.split('.')[0]}.{what}.json"


def _folder(table: str, project: str, version: str) -> str:
    return f"{table}/{quote(project)}/{quote(version)}"


def _source_path(project: str, version: str) -> str:
    return f"{_folder('source_code', project, version)}.parquet"


def _or_damaged(do: Callable[[Any], T]) -> Callable[[Any], T | Damaged]:
    """`do`, which answers with the error where a file does not hold what it should."""

    def tried(item: Any) -> T | Damaged:
        try:
            return do(item)
        except Damaged as error:
            return error

    return tried


def _undamaged(found: Iterable[T | Damaged]) -> list[T]:
    """What could be read; of the rest the user is told."""
    kept: list[T] = []
    for each in found:
        if isinstance(each, Damaged):
            _leave_out(each)
        else:
            kept.append(each)
    return kept


def _leave_out(error: Damaged, never: bool = False) -> None:
    if never:
        raise error
    warnings.warn(f"{error} It is left out.", FlorWarning, stacklevel=3)


def _retried(read: Callable[[], T]) -> T:
    """`read` lists and then reads; a file that is gone by then was merged into another one, so list again."""
    for _ in range(_RETRIES):
        try:
            return read()
        except FileNotFoundError:
            continue
    return read()
