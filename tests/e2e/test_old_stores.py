"""A store that an earlier flor_ray recorded is read, added to, and replayed; tests/cases/stores says what is in it.

Stores mirror the sources of their versions, so that the store is enough: the git repository around it is a new one.
"""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from flor_ray.environment import hardware
from flor_ray.patching import statements
from flor_ray.patching.patching import Fate
from flor_ray.planning import calibrations
from flor_ray.records import Fidelity, Operator, Outcome, Segment, Value
from flor_ray.reports import timelines
from flor_ray.scheduler.calibration import Calibration
from flor_ray.state.pickling import LoadedState
from flor_ray.store import cache, collecting, pins, retention, segment_reports
from flor_ray.store.typed_values import decode
from tests.conftest import Lab
from tests.pickles import names_in

KEPT = Path(__file__).parents[1] / "cases" / "stores" / "before_rooms"
EXPECTED: dict[str, Any] = json.loads((KEPT / "expected.json").read_text(encoding="utf-8"))
RUNS: dict[str, dict[str, Any]] = EXPECTED["runs"]
RUN_OF = {run["version"]: name for name, run in RUNS.items()}
TORCH = RUNS["first"]["environment"]["packages"]["torch"]
TRAINED = ("first", "second", "third", "crashed")
FROM = 2  # the first epoch that is replayed
CLOSE = 1e-4  # on another machine


def unpacked(folder: Path) -> Lab:
    """The store in a new git repository, beside the newest scripts with statements that no version had."""
    lab = Lab(folder / EXPECTED["project"])
    shutil.copytree(KEPT / "store", lab.root / ".flor")
    lab.write(".flor/.gitignore", "*\n")  # as in the store; here it would have hidden the store from git
    for script in sorted((KEPT / "hindsight").iterdir()):
        lab.write(script.name, script.read_text(encoding="utf-8"))
    return lab


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """The store as it was recorded. Whoever uses it leaves it as it is."""
    lab = unpacked(tmp_path_factory.mktemp("old"))
    before = contents(lab)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(cache.FOLDER_VARIABLE, str(lab.root.parent / "cache"))
        yield lab
    assert contents(lab) == before


def contents(lab: Lab) -> dict[str, bytes]:
    found = sorted(path for path in (lab.root / ".flor").rglob("*") if path.is_file())
    return {path.relative_to(lab.root).as_posix(): path.read_bytes() for path in found}


def rows(lab: Lab, version: str, recorded: bool = True) -> list[list[Any]]:
    """What was logged (or replayed) in a version: level, epoch, step, name, iteration, type, what the value is like."""
    store = lab.project.store
    found = []
    for row in store.logs(lab.project.name, versions=[version]).to_pylist():
        if (row["origin"] == "recorded") is recorded:
            stored = Value(row["type"], row["number"], row["integer"], row["text"])
            like = as_json(row["type"], decode(stored, store.objects.get, pickles=True))
            found.append([*(row[key] for key in ("level", "epoch", "step", "name", "iteration", "type")), like])
    return found


def as_json(kind: str, value: Any) -> Any:
    """What a value is like, as `expected.json` has it."""
    if kind in ("array", "tensor"):
        return {"dtype": str(value.dtype), "shape": list(value.shape), "values": value.tolist()}
    if kind == "dataframe":
        columns = {str(name): value[name].tolist() for name in value}
        return {"index": value.index.tolist(), "columns": columns}
    if kind == "bytes":
        return value.hex()
    return repr(value) if kind == "pickle" else value


def same(found: Any, wanted: Any, exactly: bool = True) -> bool:
    """Whether two values of JSON are equal (NaN is NaN), or else all their numbers close."""
    if isinstance(found, float) and isinstance(wanted, float):
        equal = found == wanted or (math.isnan(found) and math.isnan(wanted))
        return equal or (not exactly and math.isclose(found, wanted, rel_tol=CLOSE))
    if isinstance(found, list) and isinstance(wanted, list):
        return len(found) == len(wanted) and all(same(*pair, exactly) for pair in zip(found, wanted, strict=True))
    if isinstance(found, dict) and isinstance(wanted, dict):
        return found.keys() == wanted.keys() and all(same(found[key], wanted[key], exactly) for key in found)
    return type(found) is type(wanted) and bool(found == wanted)


# --- it is read -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("run", RUNS)
def test_every_value_is_read_with_its_level_and_type(old: Lab, run: str) -> None:
    found, wanted = rows(old, RUNS[run]["version"]), RUNS[run]["rows"]
    assert [row[:6] for row in found] == [row[:6] for row in wanted]
    assert [row for row, right in zip(found, wanted, strict=True) if not same(row, right)] == []


def test_all_kinds_of_values_are_in_it() -> None:
    kinds = {row[5] for run in RUNS.values() for row in run["rows"]}
    assert kinds == {
        *("none", "bool", "int", "bigint", "float", "str", "escaped", "json", "repr"),
        *("bytes", "array", "tensor", "dataframe", "pickle"),
    }


def test_every_run_is_read_with_its_code_and_how_it_went(old: Lab) -> None:
    experiments = old.experiments()
    assert [e.run for e in experiments] == list(RUNS)
    for e in experiments:
        run = RUNS[e.run]
        told = ("version", "parent", "script", "status", "args", "argv", "main_loop", "nested_loop", "epochs", "error")
        row = {name: getattr(e, name) for name in told} | {"argv": list(e.argv), "status": e.status.value}
        assert row == {name: run[name] for name in told}
        epochs = [times | {"steps": None} for times in run["profile"]["epochs"]]  # which were not counted then
        assert as_plain(asdict(e.profile)) == run["profile"] | {"epochs": epochs}
        assert {name: e.environment.get(name) for name in run["environment"]} == run["environment"]
        sources = old.project.store.sources(old.project.name, e.version)
        assert sorted(sources) == run["sources"]
        folder = KEPT / "scripts" / e.run
        mine = sorted((folder if folder.is_dir() else folder.parent).glob("*.py"))
        assert {path.name: sources[path.name].data for path in mine} == {path.name: path.read_bytes() for path in mine}


def as_plain(value: Any) -> Any:
    """A value as it comes out of JSON."""
    return json.loads(json.dumps(value))


def test_its_checkpoints_are_listed(old: Lab) -> None:
    for run in RUNS.values():
        found = old.project.store.checkpoints(old.project.name, run["version"])
        listed = [[c.epoch, c.point.value, sorted(c.captured), sorted(c.uncaptured)] for c in found]
        assert listed == run["checkpoints"]
    assert sum(len(run["checkpoints"]) for run in RUNS.values()) > 20


def test_its_checkpoints_name_what_was_in_other_modules(old: Lab) -> None:
    store, named = old.project.store, set[str]()
    for run in RUNS.values():
        for c in store.checkpoints(old.project.name, run["version"]):
            named |= names_in(LoadedState.read(store.objects, c.key).skeleton)
    ours = {name.removeprefix("flor_ray.") for name in named if name.startswith("flor_ray.")}
    assert ours == {"pickling.refer", "rng.torch_generator", "calls.log"}
    assert "__main__.Meter" in named


def test_its_pins_calibrations_timelines_and_reports_are_read(old: Lab) -> None:
    files, name = old.project.store.files, old.project.name
    assert as_plain([asdict(pin) for pin in pins.kept(files, name)]) == EXPECTED["pins"]
    kept = {kind: as_plain(asdict(found)) for kind, found in calibrations.kept(files).items()}
    learned_since = as_plain(asdict(Calibration()))
    for kind, expected in EXPECTED["calibrations"].items():  # what later releases learn too is first assumed
        assert kept.pop(kind) == learned_since | expected
    assert not kept
    since = {"bound_seconds": 0.0}  # what later releases keep too is not known
    expected = [{**timeline, **since} for timeline in EXPECTED["timelines"]]
    assert as_plain([asdict(timeline) for timeline in timelines.every(files, name)]) == expected
    kept_reports = [
        segment_reports.to_plain(one.report)
        | {"version": one.report.segment.version, "origin": one.origin, "segment": one.segment_id}
        for one in old.project.store.logged(name, []).reports
    ]
    assert as_plain(kept_reports) == EXPECTED["reports"]
    assert EXPECTED["pins"]
    assert EXPECTED["calibrations"]
    assert EXPECTED["timelines"]
    assert EXPECTED["reports"]


def test_its_pin_holds(old: Lab) -> None:
    (pin,) = EXPECTED["pins"]
    found = statements.propagated(old.project, [pin["name"]]).findings
    fates = {RUN_OF[version]: (finding.fate, finding.line) for version, finding in found}
    assert fates["first"] == (Fate.PINNED, pin["pin"]["after"] + 1)
    assert fates["crashed"][0] is Fate.PRESENT


def test_values_of_its_replay_stand_beside_recorded_ones(old: Lab) -> None:
    for name in ("first", "second", "third"):
        assert same(rows(old, RUNS[name]["version"], recorded=False), RUNS[name]["replayed"]["bias_norm"])
    table = old.frame("bias_norm", "accuracy")
    table = table[table["run"].isin(TRAINED)]
    wanted = [
        (run, row[1], row[6])
        for run in TRAINED
        for row in RUNS[run].get("replayed", {}).get("bias_norm") or RUNS[run]["rows"]
        if row[3] == "bias_norm"
    ]
    assert list(table[["run", "epoch", "bias_norm"]].itertuples(index=False, name=None)) == wanted
    assert len(wanted) == 3 + 3 + 3 + 2
    assert table["accuracy"].notna().all()
    judged = {RUN_OF[version]: found["verdict"] for version, found in table.attrs["fidelity"].items()}
    assert judged == {"first": "unverified", "second": "unverified", "third": "exact"}


def test_what_it_holds_is_counted_and_could_be_thinned(old: Lab) -> None:
    store, name = old.project.store, old.project.name
    found = collecting.survey(store)
    assert found.damage == ()
    assert found.live == ()
    held = retention.storage(name, found.versions, found.infos)
    assert held.missing == ()
    assert held.unneeded == 0
    assert [usage.version.run for usage in held.usages] == list(RUNS)
    shared = {usage.version.run: usage.shared_bytes for usage in held.usages}
    assert shared["third"] > shared["second"]  # the crashed run trained as it did, and has the same objects
    planned = collecting.plan(found, name, [retention.parse_rule("last")], 0.0)
    dropped = {plan.version.run: sorted({epoch for epoch, _ in plan.dropped}) for plan in planned.versions}
    of_old = {"first": [1, 2], "second": [2], "third": [1, 2], "grown": [1, 2, 3], "crashed": [1]}
    assert dropped == of_old | {"told": [], "kinds": []}
    assert planned.sweep.keys


# --- it is replayed -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Replay:
    lab: Lab
    planned: tuple[Segment, ...]
    refused: dict[str, set[str]]  # by run: features
    outcome: Outcome

    def verdict(self, version: str) -> Fidelity:
        """Exact only if all segments of the version are."""
        found = {report.verdict for report in self.outcome.reports if report.segment.version == version}
        return found.pop() if len(found) == 1 else Fidelity.WITHIN_TOLERANCE


@pytest.fixture(scope="module")
def replayed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Replay]:
    """All statements of the newest scripts, replayed in every version from epoch FROM on."""
    lab = unpacked(tmp_path_factory.mktemp("replayed"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(cache.FOLDER_VARIABLE, str(lab.root.parent / "cache"))
        files = lab.project.store.files
        (learned,) = calibrations.kept(files).values()
        calibrations.keep(files, {hardware.kind_here(False): learned})  # else this machine would be measured first
        names = sorted({name for run in RUNS.values() for name in run["hindsight"]})
        prepared, outcome = lab.replay(names, f"epoch >= {FROM}")
        refused: dict[str, set[str]] = {}
        for version, name, _ in prepared.refusals:
            refused.setdefault(RUN_OF[version], set()).add(name)
        yield Replay(lab, tuple(cost.segment for cost in prepared.costs), refused, outcome)


def test_every_statement_has_a_place_in_the_versions_that_ran_its_script(replayed: Replay) -> None:
    everything = {name for run in RUNS.values() for name in run["hindsight"]}
    ran = {name: run for name, run in RUNS.items() if run["hindsight"]}
    assert replayed.refused == {name: everything - run["hindsight"].keys() for name, run in ran.items()}


def test_later_epochs_start_from_old_checkpoints(replayed: Replay) -> None:
    starts = {
        RUN_OF[segment.version]: (segment.first, segment.restore)
        for segment in replayed.planned
        if segment.operator is Operator.DP_I
    }
    # gc has dropped what the second version had after its first epoch
    assert starts == {"first": (2, 1), "second": (2, 0), "third": (2, 1), "crashed": (2, 1), "grown": (2, 1)}
    rest = {RUN_OF[s.version]: (s.operator, s.restore) for s in replayed.planned if s.operator is not Operator.DP_I}
    assert rest == {
        "first": (Operator.DP, 3),
        "second": (Operator.DP, 3),
        "third": (Operator.DP, 3),
        "crashed": (Operator.DP, 2),
        "told": (Operator.DP_STAR, None),
    }


def test_no_version_fails_or_diverges(replayed: Replay) -> None:
    assert replayed.outcome.failures == []
    assert [report.mismatch for report in replayed.outcome.reports if report.verdict is Fidelity.DIVERGED] == []
    assert {RUN_OF[report.segment.version] for report in replayed.outcome.reports if report.compared} == {
        name for name, run in RUNS.items() if run["hindsight"]
    }


@pytest.mark.parametrize("run", [name for name, run in RUNS.items() if run["hindsight"]])
def test_replayed_values_are_those_of_a_run_with_the_statements_in_it_from_the_start(
    replayed: Replay, run: str
) -> None:
    version, wanted = RUNS[run]["version"], RUNS[run]["hindsight"]
    found = rows(replayed.lab, version, recorded=False)
    exactly = metadata.version("torch") == TORCH and replayed.verdict(version) is Fidelity.EXACT
    whole = any(s.version == version and s.operator is Operator.DP_STAR for s in replayed.planned)
    assert wanted
    for name, right in wanted.items():
        asked = [row for row in right if row[1] is None or row[1] >= FROM or whole]
        assert asked, name
        assert same([row for row in found if row[3] == name], asked, exactly), name


# --- it is added to -------------------------------------------------------------------------------------------------


def test_a_new_run_is_recorded_beside_the_old_ones(tmp_path: Path) -> None:
    lab = unpacked(tmp_path)
    before = contents(lab)
    lab.python("grow.py", "--flor", "new", "--kwargs", "seed=4")
    after = contents(lab)
    assert {path: after.get(path) for path in before} == before
    assert [e.run for e in lab.experiments()] == [*RUNS, "new"]
    new = lab.experiments()[-1]
    assert (new.project, new.status.value, new.epochs) == (EXPECTED["project"], "finished", RUNS["grown"]["epochs"])
    table = lab.frame("size", "trail", "rounds")
    both = {run: list(group["size"]) for run, group in table[table["run"].isin(["grown", "new"])].groupby("run")}
    sizes = [row[6] for row in RUNS["grown"]["rows"] if row[3] == "size"]
    assert both == {"grown": sizes, "new": sizes}
    assert list(table[table["run"] == "new"]["rounds"]) == [row[6] for row in RUNS["grown"]["hindsight"]["rounds"]]
    assert table[table["run"] == "grown"]["rounds"].isna().all()
    assert {path.partition("/")[0] for path in lab.project.store.sources(new.project, new.version)} == {
        *("events.py", "grow.py", "net.py", "train.py")
    }
