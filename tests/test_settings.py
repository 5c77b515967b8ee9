"""flor.yaml, variables and options: which one holds, where a setting is from, and what is said of mistakes."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from flor_ray import asked_terms, settings, settings_file
from flor_ray.cluster import places
from flor_ray.errors import FlorWarning, UsageError
from flor_ray.settings import KEYS, Loaded, Settings
from tests.conftest import Lab, environment

EXAMPLE = re.findall(r"^```yaml\n(.*?)^```$", (Path(__file__).parents[1] / "docs/settings.md").read_text(), re.M | re.S)
ALL = ", ".join(sorted(key.path for key in KEYS))


def load(folder: Path, text: str | None, variables: Mapping[str, str] = {}, **given: object) -> Loaded:
    if text is not None:
        (folder / "flor.yaml").write_text(text, encoding="utf-8")
    return settings.load(str(folder), variables, **given)


def changed(loaded: Loaded) -> dict[str, Any]:
    return {name: value for name, value in asdict(loaded.settings).items() if value is not None}


def test_without_a_file_and_variables_all_is_the_default(tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    loaded = load(tmp_path, None)
    assert loaded == Loaded(Settings(), str(tmp_path), None, {})
    assert {loaded.origin(key) for key in KEYS} == {"default"}


def test_each_source_outdoes_the_one_before(tmp_path: Path) -> None:
    file = "budget: 1h\ndeadline: 1h\nworkers: 1\nlimits:\n  time: 1h\n"
    variables = {"FLOR_RAY_DEADLINE": "2h", "FLOR_RAY_WORKERS": "2", "FLOR_RAY_PRICE": "2.5", "RAY_ADDRESS": " h:1 "}
    loaded = load(tmp_path, file, variables, workers=3, price=None)
    assert changed(loaded) == {
        "budget": "1h",
        "deadline": "2h",
        "workers": 3,
        "time_limit": "1h",
        "price": 2.5,
        "address": "h:1",
    }
    assert loaded.origins == {
        "budget": "flor.yaml, line 1",
        "deadline": "FLOR_RAY_DEADLINE",
        "workers": "given",
        "time_limit": "flor.yaml, line 5",
        "price": "FLOR_RAY_PRICE",
        "address": "RAY_ADDRESS",
    }


def test_places_of_a_data_map_are_meant_from_where_it_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/")
    text = "data:\n  data: ../mnt\n  ../x.csv: s3://b/x.csv\n  /a: ~/a\n  b: none\n"
    found = load(tmp_path, text).settings.data
    assert found == {"data": str(tmp_path.parent / "mnt"), "../x.csv": "s3://b/x.csv", "/a": "~/a", "b": "none"}
    loaded = load(tmp_path, text, {"FLOR_RAY_DATA": "data=mnt, b=s3://b/c=d"})
    assert loaded.settings.data == {"data": "/mnt", "b": "s3://b/c=d"}
    assert loaded.origins["data"] == "FLOR_RAY_DATA"
    assert load(tmp_path, text, data={"data": "here"}).settings.data == {"data": "/here"}
    assert load(tmp_path, text, {"FLOR_RAY_DATA": "none"}).settings.data is None


@pytest.mark.parametrize(
    "text", ["data: /mnt", "data:\n  data: 3", "data:\n  data: ''", "data: [a]", "data:\n  a:\n    b: c"]
)
def test_what_is_no_data_map_is_refused_with_its_line(tmp_path: Path, text: str) -> None:
    with pytest.raises(UsageError, match=r"line [123]: data should be pairs of a recorded path and where it is, as in"):
        load(tmp_path, text)


def test_none_takes_back_what_a_weaker_source_says(tmp_path: Path) -> None:
    loaded = load(tmp_path, "budget: 1h\ndeadline: 1h\nproject: none", {"FLOR_RAY_DEADLINE": "none"}, budget="none")
    assert changed(loaded) == {"project": "none"}
    assert loaded.origins["budget"] == "given"


def test_an_empty_variable_and_a_null_set_nothing(tmp_path: Path) -> None:
    loaded = load(tmp_path, "budget:\nlimits: ~\nprice: null", {"FLOR_RAY_WORKERS": ""})
    assert (changed(loaded), loaded.origins) == ({}, {})
    assert changed(load(tmp_path, "")) == {}


@pytest.mark.parametrize(
    ("store", "expected"),
    [
        ("s3://bucket/flor", "s3://bucket/flor"),
        ("../shared", "{above}/shared"),
        ("/mnt/flor", "/mnt/flor"),
        ("~/flor", str(Path("~/flor").expanduser())),
    ],
)
def test_a_relative_store_is_meant_from_the_file(tmp_path: Path, store: str, expected: str) -> None:
    folder = tmp_path / "project/inner"
    folder.mkdir(parents=True)
    (tmp_path / "project/flor.yaml").write_text(f"store: {store}\n")
    assert load(folder, None).settings.store == expected.format(above=tmp_path)
    assert load(folder, None, {"FLOR_RAY_STORE": "there"}).settings.store == "there"


def test_the_nearest_file_counts_and_a_repository_ends_the_search(tmp_path: Path) -> None:
    inner = tmp_path / "a/b/c"
    inner.mkdir(parents=True)
    (tmp_path / "flor.yaml").write_text("project: top")
    (tmp_path / "a/flor.yaml").write_text("project: a")
    assert load(inner, None).settings.project == "a"
    assert load(inner, None).folder == str(tmp_path / "a")
    (tmp_path / "a/b/.git").mkdir()
    assert settings.find(str(inner)) is None
    (tmp_path / "a/b/flor.yaml").write_text("project: b")
    assert load(inner, None).settings.project == "b"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("workers: many", "line 1: workers should be a whole number of 1 or more; it is 'many'."),
        ("a: 1\nworkers: true", f"line 1: a is no setting. Settings are {ALL}."),
        ("\nworkers: true", "line 2: workers should be a whole number of 1 or more; it is True."),
        ("workers: '8'", "line 1: workers should be a whole number of 1 or more; it is '8'."),
        ("workers: 0", "line 1: workers should be a whole number of 1 or more; it is 0."),
        ("retries: -1", "line 1: retries should be a whole number of 0 or more; it is -1."),
        ("price: -1", "line 1: price should be a number of 0 or more; it is -1."),
        ("price: .inf", "line 1: price should be a number of 0 or more; it is inf."),
        ("project: 7", "line 1: project should be a text; it is 7."),
        ("store: ''", "line 1: store should be a text; it is ''."),
        (
            "secrets: [KEY, sk-1]",
            "line 1: secrets should be a list of names of environment variables, never of their values; what it holds "
            "is not shown here.",
        ),
        (
            "secrets: KEY",
            "line 1: secrets should be a list of names of environment variables, never of their values; what it holds "
            "is not shown here.",
        ),
        (
            "gpus: 1.5",
            "line 1: gpus should be a whole number of 0 or more, or a part of 1 such as 0.5 or 1/3; it is 1.5.",
        ),
        ("cpus: 0", "line 1: cpus should be a whole number of 1 or more, or a part of 1 such as 0.5 or 1/3; it is 0."),
        (
            "gpus: 1/0",
            "line 1: gpus should be a whole number of 0 or more, or a part of 1 such as 0.5 or 1/3; it is '1/0'",
        ),
        (
            "gpus: 3/2",
            "line 1: gpus should be a whole number of 0 or more, or a part of 1 such as 0.5 or 1/3; it is '3/2'",
        ),
        ("accelerators: A100", "line 1: accelerators should be a list of types as Ray calls them, such as A100; it is"),
        ("accelerators: ['in(A)']", "line 1: accelerators should be a list of types as Ray calls them, such as A100;"),
        (
            "labels: {zone: '!b'}",
            "line 1: labels should be pairs of a label and its value, as in market-type=on-demand",
        ),
        ("labels: {'a b': c}", "line 1: labels should be pairs of a label and its value, as in market-type=on-demand"),
        ("pickles: yes", "line 1: pickles should be refuse or allow; it is True."),
        ("environment: then", "line 1: environment should be current or recorded; it is 'then'."),
        (
            "budget: 2 hours",
            "line 1: budget should be a span of time such as 90s, 10m or 2h, or a number of seconds; it is '2 hours'.",
        ),
        (
            "deadline: 0",
            "line 1: deadline should be a span of time such as 90s, 10m or 2h, or a number of seconds; it is 0.",
        ),
        (
            "limits:\n  memory: 0",
            "line 2: limits.memory should be a size such as 8GB, or a number of bytes; it is 0.",
        ),
        ("limits: 3", "line 1: limits should hold settings of its own (limits.time, limits.memory); it is 3."),
        ("budgt: 1h", f"line 1: budgt is no setting. Did you mean budget? Settings are {ALL}."),
        ("time: 1h", f"line 1: time is no setting. Did you mean limits.time? Settings are {ALL}."),
        ("time_limit: 1h", f"line 1: time_limit is no setting. Did you mean limits.time? Settings are {ALL}."),
        ("limits: {tim: 1h}", f"line 1: limits.tim is no setting. Did you mean limits.time? Settings are {ALL}."),
        (
            "limits.time: 1h",
            "line 1: limits.time is written in two lines: `limits:`, and `time:` below it, further in.",
        ),
        ("1: 2", f"line 1: 1 is no setting. Settings are {ALL}."),
        ('"\\e[2J": 2', rf"line 1: '\x1b[2J' is no setting. Settings are {ALL}."),
        ("? [a, b]\n: 2", "line 1, is no YAML that can be read: found unhashable key."),
        ("project: &a [*a]", "line 1: project should be a text; it is [[[...]]]."),
        ("store: a\nbudget: 1h\nstore: b", "line 3: store was set in line 1 already."),
        ("limits: {time: 1h}\nlimits: {}", "line 2: limits was set in line 1 already."),
    ],
)
def test_a_mistake_is_told_with_its_line(tmp_path: Path, text: str, sentence: str) -> None:
    with pytest.raises(UsageError) as caught:
        load(tmp_path, text)
    assert str(caught.value).startswith(f"{tmp_path}/flor.yaml, {sentence}")


def test_a_few_aliases_that_stand_for_very_much_are_refused_at_once(tmp_path: Path) -> None:
    lists = ["workers: &a0 [x, x]", *(f"workers{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12))]
    maps = ["limits: &m0 {x: 1}", *(f"limits{n}: &m{n} {{a: *m{n - 1}, b: *m{n - 1}}}" for n in range(1, 40))]
    for text in ("\n".join(lists), "\n".join(maps)):
        with pytest.raises(UsageError) as caught:
            load(tmp_path, text)
        assert len(str(caught.value)) < 20_000


def test_all_mistakes_are_told_in_the_order_of_their_lines(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        load(tmp_path, "workers: 0\nlimits:\n  tim: 3\nprice: x\n")
    assert [line.strip().partition(": ")[2].split()[0] for line in str(caught.value).splitlines()] == [
        "workers",
        "limits.tim",
        "price",
    ]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("a: [", ", line 1, is no YAML that can be read: "),
        ("store: x\n\tbudget: 1h", ", line 2, is no YAML that can be read: "),
        ("store: !!python/object/apply:os.system [exit]", ", line 1, is no YAML that can be read: could not determine"),
        ("price: 2026-13-45", " is no YAML that can be read: month must be in 1..12."),
        ("a: 1\n---\nb: 2", ", line 2, is no YAML that can be read: "),
        ("[" * 5000, " is no YAML that can be read: "),
        ("- store", " holds no settings, which are written as in `store: s3://bucket/flor`."),
        ("store", " holds no settings, "),
    ],
)
def test_what_is_no_yaml_with_settings_is_refused(tmp_path: Path, text: str, sentence: str) -> None:
    with pytest.raises(UsageError, match="^" + re.escape(f"{tmp_path}/flor.yaml{sentence}")):
        load(tmp_path, text)


def test_a_file_that_cannot_be_read_is_not_passed_over(tmp_path: Path) -> None:
    (tmp_path / "flor.yaml").write_bytes(b"store: \xff")
    with pytest.raises(UsageError, match=r"flor.yaml cannot be read: .*utf-8"):
        load(tmp_path, None)
    (tmp_path / "flor.yaml").unlink()
    (tmp_path / "flor.yaml").symlink_to("nowhere")
    with pytest.raises(UsageError, match=r"flor.yaml cannot be read: .*No such file"):
        load(tmp_path, None)


@pytest.mark.parametrize(
    ("variable", "text", "expected"),
    [
        ("FLOR_RAY_WORKERS", "0", "workers should be a whole number of 1 or more."),
        ("FLOR_RAY_WORKERS", "two", "workers should be a whole number of 1 or more."),
        ("FLOR_RAY_PRICE", "nan", "price should be a number of 0 or more."),
        ("FLOR_RAY_TIME_LIMIT", "0", "limits.time should be a span of time such as 90s, 10m or 2h, or a number of"),
        ("FLOR_RAY_MEMORY_LIMIT", "8 XB", "limits.memory should be a size such as 8GB, or a number of bytes."),
        ("FLOR_RAY_GPUS", "1.5", "gpus should be a whole number of 0 or more, or a part of 1 such as 0.5 or 1/3."),
        ("FLOR_RAY_CPUS", "0", "cpus should be a whole number of 1 or more, or a part of 1 such as 0.5 or 1/3."),
        ("FLOR_RAY_MEMORY", "8 XB", "memory should be a size such as 8GB, or a number of bytes."),
        (
            "FLOR_RAY_ACCELERATORS",
            "A100,x y",
            "accelerators should be a list of types as Ray calls them, such as A100.",
        ),
        (
            "FLOR_RAY_LABELS",
            "zone=in(a)",
            "labels should be pairs of a label and its value, as in market-type=on-demand.",
        ),
        ("FLOR_PICKLES", "yes", "pickles should be refuse or allow."),
        ("FLOR_RAY_ENVIRONMENT", "then", "environment should be current or recorded."),
    ],
)
def test_a_variable_is_checked_as_the_file_is(tmp_path: Path, variable: str, text: str, expected: str) -> None:
    with pytest.raises(UsageError, match=re.escape(f"{variable}={text!r}: {expected}")):
        load(tmp_path, None, {variable: text})


def test_names_of_secrets_are_a_list_in_the_file_and_have_commas_in_a_variable(tmp_path: Path) -> None:
    assert load(tmp_path, "secrets: [A_KEY, b]").settings.secrets == ("A_KEY", "b")
    assert load(tmp_path, None, {"FLOR_RAY_SECRETS": "C, D,"}).settings.secrets == ("C", "D")
    assert load(tmp_path, None, {"FLOR_RAY_SECRETS": "none"}).settings.secrets is None
    with pytest.raises(UsageError, match="FLOR_RAY_SECRETS should be a list of names"):
        load(tmp_path, None, {"FLOR_RAY_SECRETS": "sk-word"})


@pytest.mark.parametrize(("text", "gpus"), [("1/4", 0.25), ("0.5", 0.5), ("1/1", 1), ("2", 2), ("0", 0)])
def test_a_share_of_a_gpu_may_be_a_fraction_wherever_it_is_said(tmp_path: Path, text: str, gpus: float) -> None:
    assert load(tmp_path, f"gpus: {text}\n").settings.gpus == gpus
    assert load(tmp_path, f'gpus: "{text}"\n').settings.gpus == gpus
    assert load(tmp_path, None, {"FLOR_RAY_GPUS": text}).settings.gpus == gpus
    assert settings.load(str(tmp_path), {}, gpus=text).settings.gpus == gpus
    if gpus:
        assert load(tmp_path, f"cpus: {text}\n").settings.cpus == gpus
    with pytest.raises(UsageError, match=r"gpus should be a whole number .* it is 1/x"):
        settings.load(str(tmp_path), {}, gpus="1/x")


def test_labels_are_a_mapping_in_the_file_and_pairs_in_a_variable(tmp_path: Path) -> None:
    labels = {"ray.io/market-type": "spot", "zone": "b-1"}
    assert load(tmp_path, "labels: {ray.io/market-type: spot, zone: b-1}").settings.labels == labels
    assert load(tmp_path, None, {"FLOR_RAY_LABELS": "ray.io/market-type=spot, zone=b-1"}).settings.labels == labels
    assert load(tmp_path, None, {"FLOR_RAY_LABELS": "none"}).settings.labels is None


@pytest.mark.parametrize("text", ["90", "1.5", "90s", "2h"])
def test_a_span_in_a_variable_may_be_a_number_of_seconds(tmp_path: Path, text: str) -> None:
    assert load(tmp_path, None, {"FLOR_RAY_BUDGET": text}).settings.budget == (float(text) if text[-1] < "a" else text)


@pytest.mark.parametrize("before", [None, "there:1"])
def test_the_cluster_that_is_named_is_the_one_to_join_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: str | None
) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    if before is not None:
        monkeypatch.setenv("RAY_ADDRESS", before)
    loaded = load(tmp_path, "address: here:2", os.environ)
    with contextlib.suppress(KeyError), asked_terms.on_cluster(loaded):  # also if it fails
        assert os.environ["RAY_ADDRESS"] == (before or "here:2")
        assert places.cluster_at_hand()
        raise KeyError
    assert os.environ.get("RAY_ADDRESS") == before
    with asked_terms.on_cluster(load(tmp_path, "", os.environ)):
        assert os.environ.get("RAY_ADDRESS") == before


def test_names_are_written_once_and_variables_are_no_others(tmp_path: Path) -> None:
    assert [key.name for key in KEYS] == list(Settings.__dataclass_fields__)
    assert len({key.path for key in KEYS}) == len({key.variable for key in KEYS}) == len(KEYS)


def test_the_example_of_the_docs_sets_everything_and_fits_the_schema(tmp_path: Path) -> None:
    (text,) = EXAMPLE
    loaded = load(tmp_path, text)
    assert changed(loaded).keys() == {key.name for key in KEYS}
    schema = settings_file.schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(yaml.safe_load(text), schema)
    for mistake in ({"budgt": "1h"}, {"workers": 0}, {"limits": {"tim": 3}}, {"environment": "then"}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(mistake, schema)


def flor_ray(folder: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "flor_ray.cli", *arguments]
    env = environment(**variables)
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=100, check=False)


def test_config_shows_each_value_and_where_it_is_from(tmp_path: Path) -> None:
    (text,) = EXAMPLE
    (tmp_path / "flor.yaml").write_text(text)
    (tmp_path / "inner").mkdir()
    shown = flor_ray(tmp_path / "inner", "config", FLOR_RAY_WORKERS="3", FLOR_RAY_BUDGET="none", COLUMNS="150")
    rows = {line.split()[0]: re.split(r" {3,}", line)[1:3] for line in shown.stdout.splitlines()[4:]}
    assert shown.stdout.startswith(f"{tmp_path}/flor.yaml\n")
    assert rows.keys() == {key.path for key in KEYS}
    assert rows["workers"] == ["3", "FLOR_RAY_WORKERS"]
    assert rows["budget"] == ["(none)", "FLOR_RAY_BUDGET"]
    (line,) = [number for number, said in enumerate(text.splitlines(), 1) if said.startswith("project: digits ")]
    assert rows["project"] == ["digits", f"flor.yaml, line {line}"]
    assert json.loads(flor_ray(tmp_path, "config", "--schema").stdout) == settings_file.schema()


@pytest.mark.parametrize("url", ["sftp://me:word-of-mine@host/flor", "s3://bucket/flor?secret_access_key=word-of-mine"])
def test_keys_in_the_url_of_the_store_are_never_shown(tmp_path: Path, url: str) -> None:
    (tmp_path / "flor.yaml").write_text(f"store: {url}\nproject: p\n")
    for command in (["config"], ["versions"], ["replay", "loss"], ["storage"]):
        done = flor_ray(tmp_path, *command, AWS_ENDPOINT_URL="http://127.0.0.1:9", AWS_ACCESS_KEY_ID="x", COLUMNS="150")
        assert "word-of-mine" not in done.stdout + done.stderr
        assert "***" in done.stdout + done.stderr


def test_pickled_values_are_loaded_where_the_file_allows_it(lab: Lab) -> None:
    lab.record_forked(SCRIPT.replace('"loss", epoch', '"loss", type(sys)("made")'))
    with pytest.warns(FlorWarning, match="pickled and shown as"):
        assert "<not loaded" in repr(lab.frame("loss")["loss"][0])
    lab.write("flor.yaml", "pickles: allow\n")
    assert lab.frame("loss")["loss"][0].__name__ == "made"
    assert "<not loaded" in lab.cli("dataframe", "loss", FLOR_PICKLES="refuse").stdout


def test_a_broken_file_ends_each_command_with_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "flor.yaml").write_text("workrs: 3")
    for command in (["config"], ["versions"], ["replay", "loss"], ["dataframe"], ["gc"], ["timeline"]):
        done = flor_ray(tmp_path, *command)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith(
            f"Error: {tmp_path}/flor.yaml, line 1: workrs is no setting. Did you mean workers?"
        )


SCRIPT = """
import sys
import flor_ray as flor
for epoch in flor.loop("epoch", range(2)):
    flor.log("loss", epoch)
print(sorted({"pydantic", "yaml"} & sys.modules.keys()))
"""


def test_recording_goes_to_the_store_and_project_of_the_file(tmp_path: Path) -> None:
    lab = Lab(tmp_path / "project")
    lab.write("flor.yaml", "store: ../elsewhere\nproject: digits\n")
    lab.write("code/train.py", SCRIPT)
    lab.python("code/train.py", cwd=tmp_path / "project")
    lab.python(str(lab.root / "code/train.py"), cwd=tmp_path)
    assert [one.project for one in lab.experiments()] == ["digits", "digits"]
    assert lab.project.store.url == str(tmp_path / "elsewhere")
    assert not (lab.root / ".flor").exists()


def test_recording_reads_no_yaml_where_there_is_no_file(lab: Lab) -> None:
    lab.write("train.py", SCRIPT)
    assert lab.python("train.py", FLOR_RAY_STORE="../elsewhere", FLOR_RAY_WORKERS="2").stdout == "[]\n"
    assert (lab.root.parent / "elsewhere").is_dir()
