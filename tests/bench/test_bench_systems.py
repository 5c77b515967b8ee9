"""The bench of the papers' systems: their histories can be had, and what is replayed is compared with the truth."""

from __future__ import annotations

import ast
import json
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from xml.etree import ElementTree

import pytest

from tests.bench_modules import bench_module
from tests.conftest import script_server
from tests.forking import TRAINING

SCRIPT = """import torch

import flor_ray as flor

torch.manual_seed(0)
net = torch.nn.Linear(2, 1)
optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
flor.checkpointing(net=net, optimizer=optimizer)
for epoch in flor.loop("epoch", range(2)):
    for x in flor.loop("step", torch.randn(3, 4, 2)):
        loss = net(x).pow(2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    flor.log("loss", loss.item())
"""
TOML = """title = "A line"
objective = "nothing"
data = "noise"
evaluation = "loss"
paper_size = "24 B"
script = "train.py"
imports = []

[[statements]]
name = "grad"
level = "inner"
[[statements.places]]
file = "train.py"
after = "        loss.backward()"
text = 'flor.log("grad", net.bias.grad.item())'
until = 1

[[statements.places]]
file = "train.py"
after = "        loss.backward()"
text = 'flor.log("grad", model.bias.grad.item())'

[[statements]]
name = "weight"
level = "outer"
places = [{ file = "train.py", after = '    flor.log("loss", loss.item())', text = 'flor.log("weight", float(epoch))' }]

[[statements]]
name = "parameters"
level = "prefix"
places = [{ file = "train.py", after = "torch.manual_seed(0)", text = 'flor.log("parameters", 3)' }]
"""


@pytest.fixture
def line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A system with two versions, of which the second has another name for its network."""
    histories = bench_module("evaluating.histories")
    monkeypatch.setattr(histories, "SYSTEMS", tmp_path / "systems")
    folder = tmp_path / "systems" / "line"
    (folder / "base").mkdir(parents=True)
    (folder / "base" / "train.py").write_text(SCRIPT)
    (folder / "system.toml").write_text(TOML)
    lines = SCRIPT.splitlines()
    changed = [line.replace("net.", "model.").replace("net ", "model ").replace("net(", "model(") for line in lines]
    changed = [line.replace("net=net", "model=model") for line in changed]
    body = "".join(f"-{line}\n" for line in lines) + "".join(f"+{line}\n" for line in changed)
    (folder / "01-model.patch").write_text(
        f"It is the model.\n\ndiff --git a/train.py b/train.py\n--- a/train.py\n+++ b/train.py\n"
        f"@@ -1,{len(lines)} +1,{len(changed)} @@\n{body}"
    )
    return histories.read("line")


def test_each_system_has_a_history_and_asks_at_each_level() -> None:
    histories = bench_module("evaluating.histories")
    for name in histories.found():
        system = histories.read(name)
        assert len(system.versions) >= 6, name
        for version in system.versions:
            for file, text in system.asking(version).items():
                if file.endswith(".py"):
                    ast.parse(text)
        newest = system.versions[-1].files
        for level in histories.LoopLevel:
            names = system.names(level)
            assert names, (name, level)
            added = "\n".join(set(system.asking(system.versions[-1], [level]).values()) - set(newest.values()))
            assert all(f'flor.log("{one}"' in added for one in names), (name, level)


def test_lines_of_ours_are_those_that_do_not_log(line: Any) -> None:
    assert line.lines_added() == (4, 1)


def test_what_has_no_place_in_the_newest_version_is_an_error(line: Any) -> None:
    histories = bench_module("evaluating.histories")
    toml = histories.SYSTEMS / "line" / "system.toml"
    toml.write_text(TOML.replace("torch.manual_seed(0)", "torch.manual_seed(1)"))
    again = histories.read("line")
    assert '"parameters"' not in again.asking(again.versions[0])["train.py"]
    with pytest.raises(histories.HistoryError, match="no place of parameters"):
        again.asking(again.versions[1])


@pytest.mark.timeout(600)
def test_versions_are_recorded_both_ways_and_run_again_from_the_start(line: Any, tmp_path: Path) -> None:
    runs_module, comparing = bench_module("evaluating.runs"), bench_module("evaluating.comparing")
    (tmp_path / "runs").mkdir()
    runs = runs_module.Runs(line, tmp_path / "runs", script_server(TRAINING))
    for version in line.versions:
        runs.record(version)
    assert [experiment.run for experiment in runs.plain.experiments()] == ["first", "model"]
    assert comparing.differing_defaults(runs.plain, runs.truth) == []
    found = runs.from_start(line.asking(line.versions[1]))
    assert found.model_bytes == 12
    assert found.saved_bytes > 2000  # of two files
    values, level = comparing.Values(), bench_module("evaluating.histories").LoopLevel.INNER
    comparing.compare(line, level, runs.plain, runs.truth, ["grad was not replayed: nobody tried"], values)
    assert (values.compared, values.refused, values.wrong, values.exact) == (12, 12, 0, 0)
    comparing.compare(line, level, runs.truth, runs.truth, [], values)
    assert (values.compared, values.exact) == (24, 12)


def test_values_are_wrong_if_they_differ_or_are_lacking_and_nobody_was_told() -> None:
    comparing, system = bench_module("evaluating.comparing"), SimpleNamespace(name="s", names=lambda level: ("x",))
    system.statements = (SimpleNamespace(name="x"), SimpleNamespace(name="y"))

    def recorded(rows: list[tuple[object, ...]]) -> Any:
        run = SimpleNamespace(run="first", version="v")
        return SimpleNamespace(experiments=lambda: [run], values=lambda name, version: rows)

    truth = recorded([(1, 0, 0, "a"), (1, 1, 0, "b"), (2, 0, 0, "c")])
    for sentences, refused, wrong in ((["x was refused"], 1, 1), (["y was refused"], 0, 2), (["it broke"], 1, 1)):
        values = comparing.Values()
        got = recorded([(1, 0, 0, "a"), (1, 1, 0, "other")])
        comparing.compare(system, "inner", got, truth, sentences, values)
        assert (values.compared, values.exact, values.refused, values.wrong) == (3, 1, refused, wrong)
        assert "(1, 1, 0): other instead of b" in values.told[0]


def test_statements_are_placed_where_the_system_says(line: Any) -> None:
    placing, histories = bench_module("evaluating.placing"), bench_module("evaluating.histories")
    assert placing.places(line) == 6
    assert list(placing.misplaced(line)) == []
    toml = histories.SYSTEMS / "line" / "system.toml"
    toml.write_text(TOML.replace("net.bias.grad.item()", "net.bias.grad.max()"))
    assert list(placing.misplaced(histories.read("line"))) == ["line first: inner: placed elsewhere"]


def measured() -> Mapping[str, Any]:
    times = {"seconds": [1.0, 2.0], "speedup": 4.0, "estimate_errors_pct": [5.0, 15.0], "estimate_error_mean_pct": 10.0}
    spans = {"makespans": {"1": 3.0, "4": 1.0}, "whole_makespans": {"1": 3.0, "4": 2.0}}
    found = {"title": "A & B", "versions": 2, "lines_added": 4, "model_bytes": 12, "from_start_seconds": [6.0, 6.0]}
    found |= {"values_compared": 7, "values_exact": 7, "values_wrong": 0, "refused": 0, "record_overhead_pct": 1.5}
    found |= {"bytes_stored": 500, "bytes_saved": 1000, "bytes_vs_torch_save": 0.5, "long_run_overhead_pct": 1.0}
    found |= dict.fromkeys(("paper_size", "data", "objective", "evaluation"), "x")
    return found | {"levels": dict.fromkeys(("inner", "outer", "prefix"), times | spans)}


def test_the_figures_are_pictures_and_the_page_has_the_numbers() -> None:
    figures, summaries = bench_module("evaluating.figures"), bench_module("evaluating.summaries")
    only_overhead = {"title": "C", "record_overhead_pct": 2.5, "long_run_overhead_pct": 2.0}
    drawn = figures.drawn({"a": measured(), "c": only_overhead})
    assert list(drawn) == ["figure-7", "figure-8", "figure-9", "figure-10"]
    for picture in drawn.values():
        assert ElementTree.fromstring(picture).tag.endswith("svg")
        assert "A &amp; B" in picture
    assert figures.drawn({"c": only_overhead}) == {}
    summary = summaries.summary({"a": measured(), "c": only_overhead})
    assert summary["systems"] == summary["systems_exact"] == 1
    assert summary["speedup_outer_median"] == 4.0
    assert summary["record_overhead_mean_pct"] == 2.0
    assert summary["estimate_error_mean_pct"] == 10.0
    json.dumps(summary)
    page = summaries.page({"machine": "m", "date": "d", "systems": {"a": measured()}}, [])
    assert "7 of 7 values are exact" in page
    assert "pictures/systems-figure-10.svg" in page
    assert summaries.summary({})["bytes_vs_torch_save"] is None
