"""What is kept of an environment, what is not, and what is made of it when a version is replayed."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import pytest

from flor_ray.cluster.executors import ThreadExecutor
from flor_ray.cluster.ray_failures import why_unbuildable
from flor_ray.environment.packages import imported_distributions, installed, lock_text, parse_lock
from flor_ray.environment.surroundings import (
    Expected,
    Here,
    Requirements,
    accounts_missed,
    differences,
    expected,
    for_replay,
    recorded_path,
    recorded_variables,
    replayed_path,
    requirements,
    variables_read,
)
from flor_ray.errors import UsageError
from flor_ray.planning.recorded_environments import choose, grouped
from flor_ray.records import Experiment, Operator, Segment, SegmentCost, Status
from flor_ray.replaying.job import VersionJob
from flor_ray.scheduler.packing import Schedule
from flor_ray.store.files import Files
from flor_ray.store.objects import Objects

HERE = Here("3.11.7", "EPYC", (), {"torch": "2.13.0+cpu", "numpy": "2.4.6", "toolz": "1.0.0", "mine": "0.2 (local)"})


def experiment(version: str, objects: Objects | None = None, **environment: Any) -> Experiment:
    if objects is not None:
        environment["lock"] = objects.put(lock_text(environment["distributions"]).encode())
    return Experiment(
        "p", version, None, "train.py", "", 0.0, 1.0, Status.FINISHED, environment={"python": "3.11.7"} | environment
    )


# --- variables


def test_variables_that_a_source_reads_by_name_are_found_however_it_reads_them() -> None:
    text = """
import os
from os import environ, getenv
a = os.environ["SUBSCRIPT"]
b = os.environ.get("GET", "x") + environ.get("FROM_IMPORT")
c = os.getenv("GETENV"), getenv("BARE", None)
if "CONTAINED" in os.environ and "ABSENT" not in environ:
    d = os.environ.setdefault("DEFAULTED", "1")
os.environ["WRITTEN"] = "1"
e = os.environ[name]
f = config.get("NOT_A_VARIABLE")
"""
    names = {"SUBSCRIPT", "GET", "FROM_IMPORT", "GETENV", "BARE", "CONTAINED", "ABSENT", "DEFAULTED"}
    assert variables_read(text) == names
    assert variables_read("os.environ[") == frozenset()


def test_what_is_read_or_changes_libraries_is_recorded_and_nothing_else() -> None:
    variables = {
        "DATA_DIR": "/data",
        "OMP_NUM_THREADS": "2",
        "TZ": "UTC",
        "EDITOR": "vi",
        "TOKENIZERS_PARALLELISM": "0",
    }
    kept = recorded_variables(variables, {"DATA_DIR", "MODE", "FLOR_RAY_STORE"})
    assert kept == {
        "variables": {"DATA_DIR": "/data", "OMP_NUM_THREADS": "2", "TOKENIZERS_PARALLELISM": "0", "TZ": "UTC"},
        "variables_left_out": [],
        "variables_absent": ["MODE"],
    }


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("HF_TOKEN", "hf_abc"),
        ("AWS_SECRET_ACCESS_KEY", "abc"),
        ("dbPassword", "abc"),
        ("WANDB_API_KEY", "abc"),
        ("GOOGLE_APPLICATION_CREDENTIALS", "/abc"),
        ("DATABASE", "postgres://user:abc@host/db"),
        ("PROXY", "http://abc@proxy:80"),
    ],
)
def test_the_value_of_a_secret_is_never_kept(name: str, value: str) -> None:
    kept = recorded_variables({name: value}, {name})
    assert kept == {"variables": {}, "variables_left_out": [name], "variables_absent": []}


def test_a_replay_has_the_recorded_variables_and_those_of_its_machine() -> None:
    recorded = {
        "variables": {"DATA_DIR": "/data", "HOME": "/home/then", "CUDA_VISIBLE_DEVICES": "3", "WORLD_SIZE": "2"},
        "variables_absent": ["DEBUG", "USER"],
        "threads": 3,
    }
    ours = {"HOME": "/home/now", "DEBUG": "1", "USER": "me", "OMP_NUM_THREADS": "1", "FLOR_RAY_STORE": "s", "RANK": "1"}
    assert for_replay(recorded, ours, without_gpu=False) == {
        "DATA_DIR": "/data",
        "HOME": "/home/now",
        "USER": "me",
        "OMP_NUM_THREADS": "3",
        "OMP_WAIT_POLICY": "PASSIVE",
        "PYTHONUNBUFFERED": "1",
    }
    assert for_replay({}, {"CUDA_VISIBLE_DEVICES": "0"}, without_gpu=True)["CUDA_VISIBLE_DEVICES"] == ""


def test_variables_of_accounts_reach_no_replay_unless_they_are_named_and_those_that_run_code_never_do() -> None:
    ours = dict.fromkeys(
        ("AWS_ACCESS_KEY_ID", "AWS_REGION", "GOOGLE_APPLICATION_CREDENTIALS", "FSSPEC_S3_KEY", "RAY_AUTH_TOKEN"), "a"
    )
    dangerous = dict.fromkeys(("LD_PRELOAD", "BASH_ENV", "BASH_FUNC_x%%", "PYTHONSTARTUP"), "b")
    plain = {"OMP_WAIT_POLICY": "PASSIVE", "PYTHONUNBUFFERED": "1"}
    assert for_replay({}, ours | dangerous, without_gpu=False) == plain
    named = (*ours, *dangerous, "NOT_THERE")
    assert for_replay({}, ours | dangerous, without_gpu=False, secrets=named) == plain | ours
    recorded = {"variables": dict.fromkeys([*ours, *dangerous], "c")}  # a record gives none of them
    assert for_replay(recorded, ours | dangerous, without_gpu=False) == plain
    assert for_replay(recorded, {}, without_gpu=False, secrets=named) == plain


def test_variables_of_accounts_that_a_run_read_and_its_replay_lacks_are_known() -> None:
    recorded = {"variables": {"AWS_REGION": "a", "LANG": "b"}, "variables_left_out": ["AWS_SESSION_TOKEN", "HF_TOKEN"]}
    assert accounts_missed(recorded, ()) == ["AWS_REGION", "AWS_SESSION_TOKEN"]
    assert accounts_missed(recorded, ["AWS_REGION", "AWS_SESSION_TOKEN"]) == accounts_missed({}, ()) == []


# --- sys.path


def test_a_path_is_recorded_relative_to_the_repository_and_put_back_around_the_interpreter_s_own(
    tmp_path: Path,
) -> None:
    root, elsewhere, python = tmp_path / "repo", tmp_path / "elsewhere", tmp_path / "python"
    for folder in (root / "src", root / "legacy", root / "scripts", elsewhere, python / "site-packages"):
        folder.mkdir(parents=True)
    then = [root / "scripts", root / "src", elsewhere, python, python / "site-packages", root / "legacy", root / "gone"]
    recorded = recorded_path([str(path) for path in then], root, frozenset({str(python)}))
    assert recorded == ["scripts", "src", str(elsewhere), "<python>", "legacy"]

    workspace = tmp_path / "workspace"
    current = [str(workspace / "scripts"), str(python), str(python / "site-packages")]
    assert replayed_path(current, recorded, workspace) == [
        str(workspace / "scripts"),
        str(workspace / "src"),
        str(elsewhere),
        str(python),
        str(python / "site-packages"),
        str(workspace / "legacy"),
    ]
    assert replayed_path(current, (), workspace) == current


# --- packages


def distribution(folder: Path, name: str, version: str, **files: str) -> None:
    info = folder / f"{name}-{version}.dist-info"
    info.mkdir(parents=True)
    for file, text in files.items():
        (info / file.replace("__", ".")).write_text(text)


def test_installed_distributions_are_read_off_folder_names_and_the_first_folder_wins(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    distribution(first, "Scikit_Learn", "1.9.1")
    distribution(first, "mine", "0.1", direct_url__json="{}")
    distribution(second, "scikit_learn", "1.0")
    distribution(second, "torch", "2.13.0+cpu")
    found = installed([str(first), str(second), str(tmp_path / "nowhere")])
    assert found == {"scikit-learn": "1.9.1", "mine": "0.1 (local)", "torch": "2.13.0+cpu"}
    assert parse_lock(lock_text(found)) == found


def test_the_distributions_of_this_process_are_those_that_it_imported() -> None:
    import yaml

    found = imported_distributions()
    assert found["pyyaml"] == yaml.__version__  # its modules have another name
    assert "pytest" in found
    assert "ray" not in found  # flor_ray's own


# --- differences


def test_what_a_run_imported_and_the_machine_are_compared() -> None:
    recorded = {
        "python": "3.12.1",
        "cpu": "Xeon",
        "gpus": ["H200"],
        "distributions": {"torch": "2.1.0", "numpy": "2.4.6", "gone": "1.0"},
    }
    found = [(one.kind, str(one), one.here) for one in differences(recorded, HERE)]
    assert found == [
        ("python", "Python 3.12.1", "3.11.7"),
        ("package", "torch 2.1.0", "2.13.0+cpu"),
        ("package", "gone 1.0", ""),
        ("gpu", "GPU H200", ""),
        ("cpu", "CPU Xeon", "EPYC"),
    ]
    assert differences({"python": "3.11.7", "distributions": {"toolz": "1.0.0"}}, HERE) == ()


def test_only_what_differs_and_can_be_had_is_installed() -> None:
    distributions = {"toolz": "0.11.0", "numpy": "2.4.6", "torch": "2.13.0+cu126", "mine": "0.1 (local)"}
    wanted = requirements({"distributions": distributions}, distributions | {"unused": "3"}, HERE)
    assert wanted == Requirements(
        ("toolz==0.11.0",),
        (
            "torch 2.13.0+cu126 (another build of the version that is here)",
            "mine 0.1 (installed from a folder or a URL)",
        ),
    )


def test_a_worker_is_told_what_it_should_have_and_says_what_it_has_instead() -> None:
    recorded = {"distributions": {"toolz": "0.11.0", "torch": "2.1.0"}}
    wanted = expected(recorded, ("toolz==0.11.0",), HERE)
    assert wanted.unlike("3.11.7", {"toolz": "0.11.0", "torch": "2.13.0+cu126"}) == ""
    unlike = wanted.unlike("3.12.0", {"torch": "2.9.0"})
    assert unlike == (
        "Python 3.12.0 (expected: 3.11.7), toolz (none) (expected: 0.11.0), torch 2.9.0 (expected: 2.13.0+cpu)"
    )
    assert Expected().unlike("3.12.0", {}) == ""


# --- the plan


def chosen(env: str, tmp_path: Path, **runs: Mapping[str, Any]) -> tuple[list[str], Mapping[str, tuple[str, ...]]]:
    objects = Objects(Files(str(tmp_path)))
    found = choose(env, {v: experiment(v, objects, **of) for v, of in runs.items()}, runs, objects, HERE)
    return list(found.notes), found.packages


def test_each_difference_is_noted_once_for_all_its_versions(tmp_path: Path) -> None:
    old = {"distributions": {"torch": "2.1.0"}, "cpu": "Xeon"}
    notes, packages = chosen("current", tmp_path, a=old, b=old, c={"distributions": {"numpy": "2.4.6"}})
    assert notes == [
        "2 versions: a, b: they were recorded with torch 2.1.0 (here: 2.13.0+cpu): replayed values may differ; "
        "--env recorded replays with the recorded packages",
        "2 versions: a, b: they were recorded on CPU Xeon, and this machine has CPU EPYC: the last digits of replayed "
        "values may differ",
    ]
    assert packages == {}


def test_recorded_packages_are_planned_and_what_cannot_be_had_is_said(tmp_path: Path) -> None:
    old = {"distributions": {"toolz": "0.11.0", "mine": "0.1 (local)"}, "python": "3.10.0"}
    notes, packages = chosen("recorded", tmp_path, a=old)
    assert packages == {"a": ("toolz==0.11.0",)}
    assert notes == [
        "version a: it was recorded with toolz 0.11.0 (here: 1.0.0), mine 0.1 (here: 0.2); what can be is installed "
        "for the replay, which takes a while",
        "version a: no package index has mine 0.1 (installed from a folder or a URL); replayed with the packages "
        "installed here",
        "version a: it was recorded with Python 3.10.0, and 3.11.7 runs here: replayed values may differ "
        "(--env recorded changes packages, not Python)",
    ]


def test_many_differing_packages_are_one_short_note(tmp_path: Path) -> None:
    notes, _ = chosen("current", tmp_path, a={"distributions": {f"package{i}": "1" for i in range(9)}})
    assert "package3 1 (here: none) and 5 more that differ here: replayed values may differ" in notes[0]


def test_another_word_than_current_or_recorded_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="env='old' is not known; it is 'current' or 'recorded'"):
        chosen("old", tmp_path)


def test_segments_of_one_environment_stand_together_in_a_queue() -> None:
    queue = tuple(SegmentCost(Segment(v, 1, 1, Operator.DP_I), 0.0, 1.0) for v in "abcad")
    schedule = Schedule((queue,), 5.0, 5.0)
    found = grouped(schedule, {"a": ("toolz==1",), "c": ("toolz==1",)})
    assert [cost.segment.version for cost in found.assignments[0]] == ["b", "d", "a", "c", "a"]
    assert grouped(schedule, {}) is schedule


# --- workers


def test_threads_refuse_to_have_other_packages() -> None:
    job = VersionJob("store", "replay", experiment("a"), (), packages=("toolz==0.11.0",))
    with pytest.raises(UsageError, match=r"toolz==0\.11\.0 would be needed\)\. Replay on Ray"):
        ThreadExecutor().submit("worker-0", job, cast(Segment, None))


def test_an_environment_that_cannot_be_built_is_told_in_pip_s_own_words() -> None:
    error = os.linesep.join(
        [
            "Failed to set up runtime environment.",
            "Traceback (most recent call last):",
            "    WARNING: Location 'file:///x' is ignored",
            "    ERROR: Could not find a version that satisfies the requirement toolz==77 (from versions: none)",
            "    ERROR: No matching distribution found for toolz==77",
        ]
    )
    assert why_unbuildable(("toolz==77", "torch==2.1.0"), error) == (
        "No environment with the recorded packages could be made: toolz==77, torch==2.1.0. ERROR: Could not find a "
        "version that satisfies the requirement toolz==77 (from versions: none) ERROR: No matching distribution found "
        "for toolz==77 Make them available to pip on the cluster's machines (an index, or find-links in its "
        "configuration), or replay with --env current."
    )
