"""Runs from before flor_ray: adopted with their checkpoint files, and asked for what was never logged."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from flor_ray.adopting import keeping, proposing
from flor_ray.adopting.proposing import AdoptionProposal, AdoptionTerms
from flor_ray.patching import statements
from flor_ray.records import Experiment, Fidelity
from tests.conftest import Lab, environment, script_server
from tests.forking import TRAINING, Request

SCRIPT = """
import os, sys
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
x = torch.randn(90, 8)
y = (x[:, 0] > 0).long()
train = DataLoader(TensorDataset(x[:60], y[:60]), batch_size=16, shuffle=True)
test = DataLoader(TensorDataset(x[60:], y[60:]), batch_size=16)
net = nn.Sequential(nn.Linear(8, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.2), nn.Linear(8, 2))
opt = torch.optim.SGD(net.parameters(), lr=float(sys.argv[1]), momentum=0.9)
os.makedirs(sys.argv[2], exist_ok=True)


def evaluate(model, loader):
    model.eval()
    preds, labels = [], []
    with torch.no_grad():
        for a, b in loader:
            preds.append(model(a).argmax(1))
            labels.append(b)
    return torch.cat(preds), torch.cat(labels)


best = 0.0
for epoch in range(3):
    net.train()
    for a, b in train:
        opt.zero_grad()
        loss = nn.functional.cross_entropy(net(a), b)
        loss.backward()
        opt.step()
    preds, labels = evaluate(net, test)
    best = max(best, (preds == labels).float().mean().item())
    #HERE
    state = {"model": net.state_dict(), "opt": opt.state_dict(), "best": best}
    torch.save(state, f"{sys.argv[2]}/epoch_{epoch}.pt")
"""
STATEMENTS = """
    flor.log("norm", sum(p.norm().item() for p in net.parameters()))
    flor.log("recall", [((preds == c) & (labels == c)).sum().item() for c in range(2)])
    flor.log("so_far", best)
    flor.log("noise", torch.randn(1).item())
    flor.log("last_loss", loss.item())
"""
NAMES = ["norm", "recall", "so_far", "noise", "last_loss"]


NOT_OURS = """
import json
class flor:
    log = lambda name, value: print(json.dumps([name, value]))
"""


def ran(lab: Lab, script: str, folder: str) -> str:
    """What a run without us prints."""
    output = lab.root.parent / "output.txt"
    request = Request(script, ("0.1", folder), str(lab.root), environment(), str(output))
    assert script_server(TRAINING).run(request) == 0, output.read_text()
    return output.read_text()


def proposed(lab: Lab) -> AdoptionProposal:
    project = lab.project
    commit, _ = project.repository.commit_of("HEAD")
    terms = AdoptionTerms("HEAD", ("python", "train.py", "0.1", "ckpt"), "ckpt/epoch_{epoch}.pt", run="old")
    return proposing.proposal(terms, commit, statements.texts_of_commit(project, commit), str(lab.root), False)


def state_of_git(lab: Lab) -> list[str]:
    commands = (["status", "--porcelain"], ["rev-parse", "HEAD"], ["diff", "--cached"], ["branch", "--show-current"])
    return [lab.git(*words) for words in commands]


def test_an_old_run_is_adopted_and_answers_what_its_checkpoints_know(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(lab.root)
    lab.write(".gitignore", "ckpt*\ntruth.py\n.flor\n")
    lab.write("train.py", SCRIPT)
    lab.git("add", "-A")
    lab.git("-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "one")
    ran(lab, "train.py", "ckpt")
    harmless = [line for line in STATEMENTS.splitlines() if "noise" not in line and "loss" not in line]
    lab.write("truth.py", NOT_OURS + SCRIPT.replace("    #HERE", "\n".join(harmless)))
    wanted = [json.loads(line) for line in ran(lab, "truth.py", "ckpt_again").splitlines()]
    before = state_of_git(lab)

    first = keeping.adopt(lab.project, proposed(lab), pickles=False)
    again = keeping.adopt(lab.project, proposed(lab), pickles=False)
    Path("ckpt", "epoch_2.pt").unlink()
    fewer = keeping.adopt(lab.project, proposed(lab), pickles=False)
    fates = [keeping.AdoptionFate.NEW, keeping.AdoptionFate.THERE, keeping.AdoptionFate.CHANGED]
    assert [one.fate for one in (first, again, fewer)] == fates
    (experiment,) = lab.experiments()
    assert (experiment.is_adopted, experiment.epochs, experiment.argv) == (True, 3, ("0.1", "ckpt"))
    assert state_of_git(lab) == before
    assert lab.git("diff", "HEAD", experiment.version) == ""  # the version has the commit's own files

    lab.write("train.py", "import flor_ray as flor\n" + SCRIPT.replace("    #HERE\n", STATEMENTS[1:]))
    _answers(lab, experiment, wanted)


def _answers(lab: Lab, experiment: Experiment, wanted: list[list[object]]) -> None:
    prepared, outcome = lab.replay(NAMES)
    assert [name for _, name, _ in prepared.refusals] == ["last_loss"]
    assert "it reads `loss`" in prepared.refusals[0][2]
    assert any("was adopted: nothing was recorded" in note for note in prepared.notes)
    assert outcome.failures == []
    assert {report.verdict for report in outcome.reports} == {Fidelity.ADOPTED}
    told = [warning for report in outcome.reports for warning in report.warnings]
    assert [text.partition(":")[0] for text in told] == ["noise is not answered"]
    with pytest.warns(match="nothing was recorded with which they could be compared"):
        frame = lab.frame(*NAMES[:3])
    found = [[name, row[name]] for row in frame.to_dict("records") for name in NAMES[:3]]
    assert found == wanted
    assert frame.attrs["fidelity"][experiment.version]["verdict"] == "adopted"
    assert lab.values("noise") == []
