"""How checkpoint files belong to a script: proposed where it is certain, refused with what to say where it is not."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from flor_ray.adopting import checkpoint_files
from flor_ray.adopting.keeping import snapshot_of
from flor_ray.adopting.proposing import AdoptionProposal, AdoptionTerms, command_of, proposal
from flor_ray.analysis.adopting.script import AdoptedState, EpochsOf
from flor_ray.errors import StoreError, UsageError
from flor_ray.records import ADOPTED, NOT_KEPT
from flor_ray.state.stateful import put_state

LOOP = """
for epoch in range({begins}):
    for x in data:
        opt.step()
    net.eval()
    {saves}
"""
SAVES = 'torch.save({"model": net.state_dict(), "opt": opt.state_dict(), "epoch": epoch}, f"c/{epoch}.pt")'


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("c").mkdir()


def script(saves: str = SAVES, begins: str = "3") -> str:
    return LOOP.format(saves=saves, begins=begins)


def save(name: str, **more: Any) -> None:
    net = nn.Linear(2, 2)
    opt = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    torch.save({"model": net.state_dict(), "opt": opt.state_dict(), **more}, f"c/{name}")


def proposed(texts: Mapping[str, str] | str, checkpoints: str = "c", **terms: Any) -> AdoptionProposal:
    files = texts if isinstance(texts, Mapping) else {"train.py": texts}
    wanted = AdoptionTerms("HEAD", ("python", "train.py", "--lr", "1"), checkpoints, **terms)
    return proposal(wanted, "c0ffee", files, str(Path.cwd()), pickles=False)


def test_states_values_and_epochs_are_read_in_the_script() -> None:
    for number in (0, 10, 2):
        save(f"{number}.pt", epoch=number)
    found = proposed(script())
    assert [epoch for _, epoch in found.used] == [1, 3, 11]
    assert found.adopted.states == (AdoptedState("net", "net", "model"), AdoptedState("opt", "opt", "opt"))
    assert (found.adopted.loop, found.adopted.saved, found.adopted.mode) == (2, 2, False)
    assert (found.command.script, found.command.argv) == ("train.py", ("--lr", "1"))


@pytest.mark.parametrize(
    ("begins", "saves", "name", "epoch"),
    [
        ("1, 4", SAVES, "3.pt", 3),
        ("3", SAVES.replace("{epoch}", "{epoch + 1}"), "3.pt", 3),
        ("3", SAVES.replace("{epoch}", "e{epoch:04d}"), "e0001.pt", 2),
        ("n", SAVES, "0.pt", 1),
        ("5, 9", SAVES, "5.pt", 1),
    ],
)
def test_the_number_in_a_name_is_counted_as_the_script_does(begins: str, saves: str, name: str, epoch: int) -> None:
    save(name)
    assert [at for _, at in proposed(script(saves, begins)).used] == [epoch]


@pytest.mark.parametrize(
    ("saves", "files", "terms", "said"),
    [
        ("torch.save(make(), f'c/{epoch}.pt')", ["0.pt"], {}, "--state model=net"),
        (SAVES, ["best.pt"], {}, "--first-epoch"),
        (SAVES, [], {}, "No checkpoint files"),
        (f"{SAVES}\n    {SAVES.replace('net', 'ema')}", ["0.pt"], {}, "Several calls"),
        (SAVES, ["0.pt"], {"states": (("weights", "net"),)}, "No state 'weights'"),
        (SAVES, ["0.pt", "a/0.pt"], {"checkpoints": "c/**/*.pt"}, "both of epoch 1"),
        (SAVES, ["0.pt"], {"first": 5}, "would be of epoch -4"),
    ],
)
def test_what_is_not_certain_is_refused_with_what_to_say(
    saves: str, files: list[str], terms: dict[str, Any], said: str
) -> None:
    Path("c/a").mkdir()
    for file in files:
        save(file)
    with pytest.raises(UsageError, match=said.replace("--", "--")):
        proposed(script(saves), **terms)


def test_a_loop_whose_beginning_nobody_sees_is_asked_for() -> None:
    save("7.pt")
    text = script(begins="start, 9")
    with pytest.raises(UsageError, match="--first-epoch"):
        proposed(text)
    assert [at for _, at in proposed(text, first=7).used] == [1]
    assert [at for _, at in proposed(text, steps=7).used] == [1]


def test_what_only_a_pickle_says_is_not_read() -> None:
    torch.save({"model": nn.Linear(2, 2)}, "c/0.pt")
    with pytest.raises(UsageError, match="FLOR_PICKLES=allow"):
        proposed(script())
    assert checkpoint_files.looked_at("c/0.pt", pickles=True).why_not == "it holds no state_dict"


@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04", b"no checkpoint"])
def test_a_damaged_file_costs_itself(damage: bytes) -> None:
    save("0.pt")
    Path("c/1.pt").write_bytes(damage)
    found = proposed(script())
    assert [epoch for _, epoch in found.files] == [1, None]


def test_commands_are_taken_apart() -> None:
    texts = {"a/train.py": "", "pkg/fit.py": "", "pkg/main/__main__.py": ""}
    root = str(Path.cwd())
    assert command_of(["python3.11", "-u", "a/train.py", "x"], texts, root).script == "a/train.py"
    module = command_of(["python", "-m", "pkg.fit", "--n", "2"], texts, root)
    assert (module.script, module.module, module.argv) == ("pkg/fit.py", "pkg.fit", ("--n", "2"))
    assert command_of(["python", "-m", "pkg.main"], texts, root).script == "pkg/main/__main__.py"
    assert command_of(["a/train.py", "--api-key", "hidden"], texts, root).argv == ("--api-key", "***")
    with pytest.raises(UsageError, match="no file of that commit"):
        command_of(["python", "b.py"], texts, root)


def test_a_file_of_a_trainer_says_its_epoch(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    for step, epoch in ((4, 1.0), (6, 1.5), (8, 2.0)):
        folder = Path("c", f"checkpoint-{step}")
        folder.mkdir()
        save_file(nn.Linear(2, 2).state_dict(), folder / "model.safetensors")
        Path(folder, "trainer_state.json").write_text(f'{{"epoch": {epoch}, "global_step": {step}}}')
    found = proposed("trainer.train()")
    assert found.adopted.epochs_of is EpochsOf.HUGGING_FACE
    assert [epoch for _, epoch in found.files] == [1, None, 2]


def test_a_state_goes_back_only_into_what_it_is_of() -> None:
    net = nn.Linear(2, 2)
    saved = {"state_dict": {f"module.{k}": v + 1 for k, v in net.state_dict().items()}, ADOPTED: False}
    weight = net.weight.detach().clone()
    put_state("net", net, saved)
    assert torch.equal(net.weight, weight + 1)
    assert not net.training
    with pytest.raises(StoreError, match="not of 'net'"):
        put_state("net", nn.Linear(2, 2, bias=False), saved)
    with pytest.raises(StoreError, match="not of 'net'"):
        put_state("net", nn.Linear(3, 2), saved)


def test_no_checkpoint_of_an_adopted_run_is_a_start() -> None:
    save("0.pt", epoch=0)
    found = proposed(script())
    snapshot = snapshot_of(checkpoint_files.loaded("c/0.pt", pickles=False), found.adopted)
    assert snapshot.uncaptured == snapshot.opaque == {NOT_KEPT}
    assert snapshot.captured == {"net", "opt"}
