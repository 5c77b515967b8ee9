"""Estimates beside real replays: what each version's replay should take, and what it took on one worker.

Versions of real scripts are recorded, then replayed with a statement in the nested loop, cut into pieces at their
checkpoints. Estimates are made before the first piece (the worker's class is calibrated as when it joins a cluster),
and again after a tenth of the work: what has run counts as measured, the rest as it is estimated then. FlorDB's way
beside it: the recorded seconds and one more for each epoch. A worker's own start, which imports libraries once for all
its versions, is no version's: it is told apart.

What a replay takes differs from time to time on a shared machine, so it is replayed several times, all versions in
turn, and the time that took the median counts. (The estimate before the first segment is the same each time.)
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from statistics import fmean
from xml.sax.saxutils import escape

from replaying.cases import CNN, GAN, LANGUAGE_MODEL, SCRIPT, Case, insert
from replaying.recording import Repository, ScriptBroke
from replaying.speed import sized_up

from flor_ray import pipeline
from flor_ray.cluster.worker import Worker
from flor_ray.planning import calibrations, segmenting
from flor_ray.planning.replay_plan import Prepared
from flor_ray.records import Segment, SegmentReport
from flor_ray.replaying import measuring
from flor_ray.replaying.job import VersionJob
from flor_ray.scheduler.calibration import Calibration, CostModel
from flor_ray.scheduler.costs import epochs_run

Say = Callable[[str], None]

_TENTH = 0.1
_REPEATS = 3  # replays of each version; once in a quick run
_GRADIENT_NORM = 'flor.log("gradient_norm", net[4].weight.grad.norm().item())'


@dataclass(frozen=True, slots=True)
class Version:
    """Files and arguments of one run."""

    files: Mapping[str, str]
    arguments: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Script:
    """Versions to record, and the feature that is asked for afterwards with the files that log it."""

    name: str
    versions: tuple[Version, ...]
    feature: str
    hindsight: Mapping[str, str]
    where: str | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """One version's replay, in seconds."""

    script: str
    run: str
    estimate: float
    low: float
    high: float
    after_tenth: float
    measured: float
    flordb: float

    @property
    def error_pct(self) -> float:
        return _error_pct(self.estimate, self.measured)

    @property
    def error_after_tenth_pct(self) -> float:
        return _error_pct(self.after_tenth, self.measured)

    @property
    def flordb_error_pct(self) -> float:
        return _error_pct(self.flordb, self.measured)

    def as_dict(self) -> dict[str, object]:
        errors = {
            "error_pct": self.error_pct,
            "error_after_tenth_pct": self.error_after_tenth_pct,
            "flordb_error_pct": self.flordb_error_pct,
        }
        seconds = {
            name: getattr(self, name) for name in ("estimate", "low", "high", "after_tenth", "measured", "flordb")
        }
        numbers = {name: round(value, 3) for name, value in (seconds | errors).items()}
        return {"script": self.script, "run": self.run, **numbers}


def measure(quick: bool, say: Say) -> dict[str, object]:
    """Record and replay for real. Errors are in percent of what a version's replay took."""
    rows: list[Row] = []
    starts: list[float] = []
    with tempfile.TemporaryDirectory(prefix="flor-estimates-") as folder:
        for script in _scripts(quick):
            found, error_pct = _measured(script, Path(folder, script.name), 1 if quick else _REPEATS, say)
            rows += found
            starts.append(error_pct)
    inside = sum(row.low <= row.measured <= row.high for row in rows)
    say(f"{inside} of {len(rows)} versions took a time in the interval that was given for them (9 of 10 should)")
    return {
        "estimate_error_mean_pct": round(fmean(row.error_pct for row in rows), 2),
        "estimate_error_max_pct": round(max(row.error_pct for row in rows), 2),
        "estimate_error_after_tenth_mean_pct": round(fmean(row.error_after_tenth_pct for row in rows), 2),
        "estimate_error_after_tenth_max_pct": round(max(row.error_after_tenth_pct for row in rows), 2),
        "estimate_error_flordb_mean_pct": round(fmean(row.flordb_error_pct for row in rows), 2),
        "estimate_error_start_mean_pct": round(fmean(starts), 2),
        "estimate_inside_interval": round(inside / len(rows), 3),
        "estimates": [row.as_dict() for row in rows],
    }


def _scripts(quick: bool) -> list[Script]:
    if quick:
        return [_demo(1, epochs=4, copies=3)]
    return [
        _demo(2, epochs=6, copies=24),
        _case(CNN, "grads", [{"epochs": 60, "batch_size": size, "lr": 0.05} for size in (64, 32)]),
        _case(
            LANGUAGE_MODEL,
            "grads",
            [{"epochs": 6, "steps": 60, "layers": layers, "width": width} for layers, width in ((2, 64), (4, 64))],
        ),
        _case(
            GAN,
            "grads_d",
            [{"epochs": 8, "steps": steps, "hidden": hidden} for steps, hidden in ((400, 64), (300, 256))],
            where="epoch > 2",
        ),
    ]


def _demo(versions: int, epochs: int, copies: int) -> Script:
    folder = resources.files("flor_ray").joinpath("demo_versions")
    files = sorted((file for file in folder.iterdir() if file.name.endswith(".py")), key=lambda file: file.name)
    texts = [sized_up(file.read_text(encoding="utf-8"), epochs, copies) for file in files]
    last = insert(texts[-1], "        loss.backward()", [_GRADIENT_NORM])
    return Script(
        "demo", tuple(Version({SCRIPT: text}, {}) for text in texts[:versions]), "gradient_norm", {SCRIPT: last}
    )


def _case(case: Case, feature: str, arguments: Sequence[Mapping[str, object]], where: str | None = None) -> Script:
    group = next(f.group for f in case.features if f.name == feature)
    versions = tuple(Version(case.files(), found) for found in arguments)
    return Script(case.name, versions, feature, case.hindsight(group), where)


def _measured(script: Script, folder: Path, repeats: int, say: Say) -> tuple[list[Row], float]:
    """A row for each version, and by how many percent the estimate of the worker's start was off."""
    repository = Repository(folder)
    for index, version in enumerate(script.versions):
        repository.write(version.files)
        repository.record(version.arguments, run=f"v{index}", every=False)
        say(f"{script.name}: recorded version {index + 1} of {len(script.versions)}")
    repository.write(script.hindsight)
    prepared = pipeline.prepare(repository.project, [script.feature], script.where, again=True)
    if prepared.refusals or not prepared.costs:
        raise ScriptBroke(f"{script.feature} cannot be replayed: {prepared.refusals} {prepared.notes}")
    worker = Worker()
    try:
        store = prepared.project.store
        calibration = measuring.calibrate(store, prepared.project.name, os.environ)
        model = _model(prepared, worker.kind, calibration)
        rows, start = _replayed(script, prepared, worker, model)
    finally:
        worker.close()
    again = [_again(script, prepared, model) for _ in range(repeats - 1)]
    rows = [sorted(times, key=lambda row: row.measured)[len(times) // 2] for times in zip(rows, *again, strict=True)]
    for row in rows:
        say(
            f"  {row.run:4} {row.measured:6.1f} s   estimated {row.estimate:6.1f} s ({row.low:.1f} to {row.high:.1f}), "
            f"off {row.error_pct:4.1f} %   after a tenth {row.after_tenth:6.1f} s, "
            f"off {row.error_after_tenth_pct:4.1f} %   FlorDB {row.flordb:6.1f} s, off {row.flordb_error_pct:4.1f} %"
        )
    error_pct = _error_pct(model.start_seconds(), start)
    say(f"  the worker's start: {start:.1f} s, estimated {model.start_seconds():.1f} s, off {error_pct:.1f} %")
    return rows, error_pct


def _model(prepared: Prepared, kind: str, calibration: Calibration) -> CostModel:
    versions = dict.fromkeys(cost.segment.version for cost in prepared.costs)
    known = {
        version: calibrations.recorded(
            prepared.experiments[version], prepared.checkpoints[version], prepared.patched[version], calibration
        )
        for version in versions
    }
    return CostModel(known, {kind: calibration}, kind)


def _again(script: Script, prepared: Prepared, model: CostModel) -> list[Row]:
    worker = Worker()
    try:
        return _replayed(script, prepared, worker, model)[0]
    finally:
        worker.close()


def _replayed(script: Script, prepared: Prepared, worker: Worker, model: CostModel) -> tuple[list[Row], float]:
    """One version after the other, on one worker; and the seconds of its start."""
    segments: dict[str, list[Segment]] = {}
    for cost in prepared.costs:
        points = segmenting.split_points(cost.segment, prepared.checkpoints[cost.segment.version])
        segments.setdefault(cost.segment.version, []).extend(segmenting.cut(cost.segment, points))
    before = {version: _estimate(model, found, {}) for version, found in segments.items()}
    intervals = {version: model.interval([model.cost(s) for s in found]) for version, found in segments.items()}
    reports: dict[Segment, SegmentReport] = {}
    after: dict[str, float] = {}
    jobs = {version: _job(prepared, version, model) for version in segments}
    for segment in (segment for found in segments.values() for segment in found):
        report = worker.run(jobs[segment.version], segment)
        if report.mismatch is not None:
            raise ScriptBroke(f"{script.name}: {report.mismatch}")
        reports[segment] = report
        model = model.observe(report, worker.kind)
        if not after and sum(map(_seconds, reports.values())) >= _TENTH * sum(before.values()):
            after = {version: _estimate(model, found, reports) for version, found in segments.items()}
    rows = [
        Row(
            script.name,
            prepared.experiments[version].run,
            before[version],
            *intervals[version],
            after[version],
            sum(_seconds(reports[segment]) for segment in found),
            _flordb(prepared, found),
        )
        for version, found in segments.items()
    ]
    return rows, sum(report.start_seconds for report in reports.values())


def _estimate(model: CostModel, segments: Sequence[Segment], reports: Mapping[Segment, SegmentReport]) -> float:
    """Seconds of a version: measured where there is a report."""
    total, is_set_up = 0.0, False
    for segment in segments:
        if segment in reports:
            total += _seconds(reports[segment])
        else:
            cost = model.cost(segment)
            total += cost.run_seconds + (0.0 if is_set_up else cost.setup_seconds)
        is_set_up = True
    return total


def _job(prepared: Prepared, version: str, model: CostModel) -> VersionJob:
    patched = prepared.patched[version]
    return VersionJob(
        store_url=prepared.project.store.url,
        origin="replay-estimates",
        experiment=prepared.experiments[version],
        checkpoints=prepared.checkpoints[version],
        patches=patched.files,
        marking=patched.marking,
        leave=model.recorded[version].leave,
        original_root=prepared.project.tree.root,
        versioned=frozenset(prepared.project.tree.working_paths()),
    )


def _flordb(prepared: Prepared, segments: Sequence[Segment]) -> float:
    """Recorded seconds, without imports, and one more for each epoch."""
    profile = prepared.experiments[segments[0].version].profile
    seconds = {times.epoch: times.seconds for times in profile.epochs}
    epochs = {epoch for segment in segments for epoch in epochs_run(segment)}
    return profile.setup_seconds - profile.import_seconds + sum(seconds.get(epoch, 0.0) + 1.0 for epoch in epochs)


def _seconds(report: SegmentReport) -> float:
    return report.setup_seconds + report.run_seconds


def _error_pct(estimate: float, measured: float) -> float:
    return 100 * abs(estimate - measured) / measured


# --- the figure -------------------------------------------------------------------------------------------------------

_KINDS = (
    ("flordb_error_pct", "FlorDB's way", "#bdbdbd"),
    ("error_pct", "before the first segment", "#2b6cb0"),
    ("error_after_tenth_pct", "after a tenth of the work", "#90cdf4"),
)
_WIDTH, _HEIGHT, _LEFT, _TOP, _BAR = 760, 320, 60, 70, 16


def figure(rows: Sequence[Mapping[str, object]]) -> str:
    """The paper's Figure 9 as an SVG: the mean errors of each script's versions as bars, the largest as lines above.
    `rows` are those of `measure`."""
    scripts = list(dict.fromkeys(str(row["script"]) for row in rows))
    found = {
        (script, kind): [float(str(row[kind])) for row in rows if row["script"] == script]
        for script in scripts
        for kind, _, _ in _KINDS
    }
    highest = max(max(errors) for errors in found.values()) or 1.0
    scale, below = (_HEIGHT - _TOP - 50) / highest, _HEIGHT - 50
    step = (_WIDTH - _LEFT - 20) / len(scripts)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{_HEIGHT}" font-family="Helvetica, Arial">',
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="white"/>',
        f'<text x="{_LEFT}" y="24" font-size="15">Errors of estimates for a version: mean / largest, %</text>',
        f'<line x1="{_LEFT}" y1="{below}" x2="{_WIDTH - 20}" y2="{below}" stroke="black"/>',
    ]
    for index, (_, name, colour) in enumerate(_KINDS):
        place_x = _LEFT + index * 190
        parts.append(f'<rect x="{place_x}" y="38" width="11" height="11" fill="{colour}"/>')
        parts.append(f'<text x="{place_x + 16}" y="48" font-size="12">{escape(name)}</text>')
    for index, script in enumerate(scripts):
        middle = _LEFT + (index + 0.5) * step
        parts.append(f'<text x="{middle}" y="{below + 20}" font-size="12" text-anchor="middle">{escape(script)}</text>')
        for place, (kind, _, colour) in enumerate(_KINDS):
            mean, most = fmean(found[script, kind]), max(found[script, kind])
            x = middle + (place - 1.5) * (_BAR + 14)
            parts += [
                f'<rect x="{x:.1f}" y="{below - mean * scale:.1f}" width="{_BAR}" height="{mean * scale:.1f}" '
                f'fill="{colour}"/>',
                f'<path d="M{x + _BAR / 2:.1f} {below - mean * scale:.1f}V{below - most * scale:.1f}m-5 0h10" '
                'stroke="black" fill="none"/>',
                f'<text x="{x + _BAR / 2:.1f}" y="{below - most * scale - 4:.1f}" font-size="10" '
                f'text-anchor="middle">{mean:.0f} / {most:.0f}</text>',
            ]
    return "\n".join([*parts, "</svg>"]) + "\n"


if __name__ == "__main__":
    told = measure("--quick" in sys.argv, print)
    if "--figure" in sys.argv:
        Path(sys.argv[sys.argv.index("--figure") + 1]).write_text(figure(told["estimates"]))  # type: ignore[arg-type]
    print(json.dumps(told))
