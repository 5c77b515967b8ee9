"""Replayed values are those of a run with the statement in it from the start, bit for bit, for every demo version.

The demo's scripts do not seed their generators, so both runs of a version are started in the same random state, from
outside. The replay gets no such help: it has only what was recorded.
"""

from __future__ import annotations

import math
from importlib import resources
from pathlib import Path

import pytest

from flor_ray.records import Operator, Variant
from tests.conftest import Lab

VERSIONS = sorted(
    file.name for file in resources.files("flor_ray").joinpath("demo_versions").iterdir() if file.name.endswith(".py")
)

# feature -> the line after which it stands, and the statement; {labels} is the test labels' name in that version
STATEMENTS = {
    "prefix": (
        "optimizer = torch.optim.Adam(net.parameters(), lr=lr)",
        'flor.log("prefix", net[0].weight.sum().item())',
    ),
    "head": ("    net.train()", 'flor.log("head", net[7].weight.norm().item())'),
    "inner": (
        "        loss.backward()",
        'flor.log("inner", [parameter.grad.norm().item() for parameter in net.parameters()])',
    ),
    "tail": ("    net.eval()", 'flor.log("tail", net(test_images).detach().numpy())'),
    "suffix": (None, 'flor.log("suffix", criterion(net(test_images), {labels}).item())'),
}
SEEDING = """# becomes sitecustomize.py
import random, numpy, torch
random.seed(7)
numpy.random.seed(7)
torch.manual_seed(7)
"""


def text_of(version: str) -> str:
    return resources.files("flor_ray").joinpath("demo_versions", version).read_text(encoding="utf-8")


def with_statements(text: str) -> str:
    """A version's script with all statements written in by hand."""
    labels = "test_labels" if "test_labels" in text else "test_targets"
    for after, statement in STATEMENTS.values():
        statement = statement.format(labels=labels)
        if after is None:
            text += statement + "\n"
            continue
        if after == "    net.eval()" and "def evaluate" in text:
            after = "    test_loss, logits = evaluate(net)"
        indent = after[: len(after) - len(after.lstrip())]
        assert text.count(f"\n{after}\n") == 1, after
        text = text.replace(f"\n{after}\n", f"\n{after}\n{indent}{statement}\n")
    return text


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> tuple[Lab, Lab]:
    """The demo's versions as they are, and the same with the statements in them from the start."""
    folder = tmp_path_factory.mktemp("values")
    (folder / "sitecustomize.py").write_text(SEEDING)
    plain, by_hand = Lab(folder / "plain"), Lab(folder / "by_hand")

    for lab, change in ((plain, str), (by_hand, with_statements)):
        for version in VERSIONS:
            lab.record_forked(change(text_of(version)), "--flor", version, torch=True, PYTHONPATH=str(folder))
    plain.write("train.py", with_statements(text_of(VERSIONS[-1])))
    return plain, by_hand


def bits(value: object) -> object:
    """A value such that equal bits, and only they, compare equal."""
    if isinstance(value, float):
        return "nan" if math.isnan(value) else value.hex()
    if isinstance(value, list):
        return [bits(item) for item in value]
    tobytes = getattr(value, "tobytes", None)
    return tobytes() if tobytes else value


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("names", "kinds"),
    [
        (("prefix", "suffix"), {(Operator.DP, Variant.INNER)}),
        (("head", "tail"), {(Operator.DP_I, Variant.OUTER)}),
        (("inner",), {(Operator.DP_I, Variant.INNER)}),
    ],
)
def test_replayed_values_are_those_of_a_run_from_scratch_bit_for_bit(
    recorded: tuple[Lab, Lab], names: tuple[str, ...], kinds: set[tuple[Operator, Variant]]
) -> None:
    plain, by_hand = recorded
    prepared, outcome = plain.replay(names, workers=2)
    assert prepared.refusals == ()
    assert {(cost.segment.operator, cost.segment.variant) for cost in prepared.costs} == kinds
    assert outcome.failures == []
    assert [report.mismatch for report in outcome.reports] == [None] * len(outcome.reports)
    truth = {run.run: run.version for run in by_hand.experiments()}
    assert list(truth) == VERSIONS
    for run in plain.experiments():
        for name in names:
            found = [(*place, bits(value)) for *place, value in plain.values(name, run.version)]
            wanted = [(*place, bits(value)) for *place, value in by_hand.values(name, truth[run.run])]
            assert wanted, (run.run, name)
            assert found == wanted, (run.run, name)


def test_the_recorded_runs_themselves_are_not_changed_by_statements_that_only_read(recorded: tuple[Lab, Lab]) -> None:
    losses = [[bits(row[-1]) for row in lab.values("loss", e.version)] for lab in recorded for e in lab.experiments()]
    assert losses[: len(VERSIONS)] == losses[len(VERSIONS) :]
    assert all(losses)


def test_checkpoints_of_six_versions_share_what_is_equal(recorded: tuple[Lab, Lab]) -> None:
    """Content addressing: the objects of all checkpoints are fewer bytes than the checkpoints themselves."""
    plain, _ = recorded
    store = plain.project.store
    listed = [c for e in plain.experiments() for c in store.checkpoints(e.project, e.version)]
    stored = sum(path.stat().st_size for path in Path(plain.root, ".flor/objects").rglob("*") if path.is_file())
    assert stored < 0.7 * sum(checkpoint.bytes for checkpoint in listed)
