"""What a script of a run from before flor_ray saves, and what the states that it saved can answer."""

from __future__ import annotations

import textwrap

import pytest

from flor_ray.analysis.adopting.answers import AFTER_WHY, STEPS_WHY, answers
from flor_ray.analysis.adopting.functions import ProjectCode
from flor_ray.analysis.adopting.saves import SaveCall, SavedPart, first_element, saves_in, why_not_once
from flor_ray.analysis.adopting.script import AdoptedScript, AdoptedState, EpochsOf, with_our_calls
from flor_ray.analysis.adopting.trainers import hook_places
from flor_ray.analysis.lending import read_all
from flor_ray.records import Region

SCRIPT = '''"""Trains."""
import torch
from torch import nn


def evaluate(model, loader):
    model.eval()
    preds = []
    for a, b in loader:
        preds.append(model(a).argmax(1))
    return preds


def update(average, model):
    average.weights = model.weight.clone()


def main():
    net = nn.Linear(3, 2)
    opt = torch.optim.SGD(net.parameters(), lr=0.1)
    history = []
    for epoch in range(1, 4):
        net.train()
        for x, y in loader:
            loss = crit(net(x), y)
            loss.backward()
            opt.step()
        preds = evaluate(net, test)
        acc = accuracy(preds)
        history.append(acc)
        update(average, net)
        torch.save({"model": net.state_dict(), "best": acc}, f"ckpt/{epoch}.pt")
        print(epoch)
    print("done")


main()
'''
ADOPTED = AdoptedScript(
    EpochsOf.SCRIPT, (AdoptedState("net", "net", "model"),), {}, loop=22, saved=6, mode=False, commit="c"
)


def with_line(after: str, line: str) -> str:
    """The script, as it is read, with a line behind the one that begins so."""
    lines = with_our_calls(SCRIPT, ADOPTED).split("\n")
    at = next(number for number, text in enumerate(lines) if text.strip().startswith(after))
    indent = lines[at][: len(lines[at]) - len(lines[at].lstrip())]
    return "\n".join([*lines[: at + 1], indent + line, *lines[at + 1 :]])


def asked(after: str, line: str) -> tuple[list[str], str]:
    """The statements that answer a line's feature `m`, and why none do."""
    text = with_line(after, line)
    found = answers(ADOPTED, "train.py", {"train.py": text}, ["m"])
    return [text.split("\n")[line - 1].strip() for line in sorted(found.lines)], found.refused.get("m", "")


def test_our_calls_are_put_around_the_main_loop_and_nothing_else_changes() -> None:
    lines, before = with_our_calls(SCRIPT, ADOPTED).split("\n"), SCRIPT.split("\n")
    assert lines[1] == "import flor_ray as flor"
    assert lines[22:24] == ["    flor.checkpointing(net=net)", '    for epoch in flor.loop("epoch", range(1, 4)):']
    assert [*lines[:1], *lines[2:22], *lines[24:]] == [*before[:21], *before[22:]]


def test_carriage_returns_bytes_and_other_names_stay() -> None:
    text = 'flor = 1\r\nfor é in range(len("ü")):\r\n    f(net)\r\n'
    adopted = AdoptedScript(EpochsOf.SCRIPT, (AdoptedState("net", "net", ""),), {}, loop=2, saved=0)
    assert with_our_calls(text, adopted) == (
        "import flor_ray\r\nflor = 1\r\nflor_ray.checkpointing(net=net)\r\n"
        'for é in flor_ray.loop("epoch", range(len("ü"))):\r\n    f(net)\r\n'
    )


@pytest.mark.parametrize(
    ("after", "line", "chosen"),
    [
        ("torch.save", 'flor.log("m", net.weight.norm())', ['flor.log("m", net.weight.norm())']),
        ("print(epoch", 'flor.log("m", epoch)', ['flor.log("m", epoch)']),
        ("acc =", 'flor.log("m", acc)', ["net.train()", "preds = evaluate(net, test)", "acc = accuracy(preds)"]),
        ("preds.append", 'flor.log("m", len(preds))', ["net.train()", "preds = evaluate(net, test)"]),
    ],
)
def test_what_reads_the_saved_state_is_answered_with_what_it_needs(after: str, line: str, chosen: list[str]) -> None:
    found, why = asked(after, line)
    assert why == ""
    assert [text for text in found if not text.startswith("flor.log")] == [
        text for text in chosen if not text.startswith("flor.log")
    ]
    assert (line in found) is (after != "preds.append")


@pytest.mark.parametrize(
    ("after", "line", "why"),
    [
        ("loss.backward", 'flor.log("m", 1)', STEPS_WHY),
        ('print("done', 'flor.log("m", net.weight.norm())', AFTER_WHY),
        ("torch.save", 'flor.log("m", loss)', "it reads `loss`, which the epochs themselves"),
        ("torch.save", 'flor.log("m", history[-1])', "it reads `history`, which the epochs themselves"),
        ("torch.save", 'flor.log("m", average.weights)', "it reads `average`, which the epochs themselves"),
        ("torch.save", 'flor.log("m", opt.param_groups)', "it reads `opt`, which the epochs themselves"),
        ("net.train()", 'flor.log("m", net.weight.norm())', "`net` is changed"),
        ("torch.save", 'flor.log("m", net.weight.grad.norm())', "it reads gradients"),
        ("net.train()", 'flor.log("m", net(x0).sum())', "`net` is changed"),
    ],
)
def test_what_reads_anything_else_is_refused_with_its_name(after: str, line: str, why: str) -> None:
    chosen, said = asked(after, line)
    assert (chosen, said[: len(why)]) == ([], why)


def test_what_is_logged_before_the_main_loop_is_left_to_the_prefix() -> None:
    found = answers(ADOPTED, "train.py", {"train.py": with_line("history = []", 'flor.log("m", 1)')}, ["m"])
    assert (found.needs, found.refused) == ({}, {})


def test_saves_are_found_with_what_fills_them() -> None:
    assert saves_in(SCRIPT) == [
        SaveCall(
            line=32,
            loop=22,
            statement=6,
            nested=False,
            parts=(SavedPart("model", "net", True), SavedPart("best", "acc", False)),
            name=r"(?P<number>\d+)\.pt",
            offset=0,
        )
    ]
    assert first_element(SCRIPT, 22) == 1


@pytest.mark.parametrize(
    ("saving", "parts", "name", "offset"),
    [
        ("torch.save(net.state_dict(), 'm_%d.pt' % epoch)", [("", "net")], r"m_(?P<number>\d+)\.pt", 0),
        ("torch.save(net.module.state_dict(), d / f'{epoch + 1:03d}.pt')", [("", "net.module")],
         r"(?P<number>\d+)\.pt", 1),
        ("torch.save(dict(a=net.state_dict()), os.path.join(d, 'x.{}.pt'.format(epoch)))", [("a", "net")],
         r"x\.(?P<number>\d+)\.pt", 0),
        ("torch.save(net.state_dict(), 'last.pt')", [("", "net")], r"last\.pt", None),
        ("save_file(net.state_dict(), f'{epoch}.safetensors')", [("", "net")], r"(?P<number>\d+)\.safetensors", 0),
        ("keep(net, opt, epoch - 1)", [("model", "net"), ("o", "opt")], r"e(?P<number>\d+)\.pt", -1),
        ("torch.save(net.state_dict(prefix='a'), f'{epoch}.pt')", [], r"(?P<number>\d+)\.pt", 0),
        ("torch.save(make(net), f'{epoch}.pt')", [], r"(?P<number>\d+)\.pt", 0),
    ],
)  # fmt: skip
def test_ways_of_saving(saving: str, parts: list[tuple[str, str]], name: str, offset: int | None) -> None:
    keep = """
    def keep(model, optimizer, number):
        state = {"model": model.state_dict(), "o": optimizer.state_dict()}
        torch.save(state, f"out/e{number}.pt")
    """
    text = f"{textwrap.dedent(keep)}\nfor epoch in range(3):\n    {saving}\n"
    (call,) = saves_in(text)
    assert [(part.key, part.expression) for part in call.parts] == parts
    assert (call.name, call.offset) == (name, offset)


def test_a_function_of_another_file_may_save() -> None:
    other = "import torch\ndef keep(model, to):\n    torch.save(model.state_dict(), to)\n"
    (call,) = saves_in("for e in range(2):\n    keep(net, f'{e}.pt')\n", [other])
    assert ([part.expression for part in call.parts], call.name) == (["net"], r"(?P<number>\d+)\.pt")


HOOKS = """
import flor_ray as flor
class Report(TrainerCallback):
    def __init__(self):
        self.losses = []
    def on_log(self, args, state, control, logs=None, **more):
        self.losses.append(logs)
        flor.log("in_log", 1)
    def on_epoch_end(self, args, state, control, model=None, **more):
        flor.log("norm", norm(model))
        flor.log("of_losses", len(self.losses))
def measured(pred):
    flor.log("recall", recall(pred))
def norm(model):
    return 1
class Mine(Trainer):
    def compute_loss(self, model, inputs):
        flor.log("per_step", 1)
trainer = Mine(model, compute_metrics=measured, callbacks=[Report()])
flor.log("rows", 5)
trainer.train()
flor.log("after", 5)
"""


@pytest.mark.parametrize(
    ("around", "why"),
    [
        ("def main():\n    {}\nmain()", ""),
        ("for fold in range(5):\n    {}", "it stands in the loop of line 1"),
        ("def main(lr):\n    {}\nfor lr in rates:\n    main(lr)", "it stands in the loop of line 4"),
        ("def main(lr):\n    {}\nmain(1)\nmain(2)", "main() is called in lines 4, 5"),
    ],
)
def test_a_main_loop_that_runs_more_than_once_is_told(around: str, why: str) -> None:
    text = around.format("for epoch in range(3):\n        f(net)")
    line = next(n for n, each in enumerate(text.split("\n"), start=1) if "epoch" in each)
    assert why_not_once(text, line) == why


@pytest.mark.parametrize(
    ("line", "changed"),
    [
        ("train_one_epoch(net, loader)", {"net", "loader"}),
        ("nn.init.zeros_(net.weight)", {"net"}),
        ("engine.go(net)", {"net"}),
        ("found = F.relu(net.weight)", {"found"}),
        ("bar = tqdm(loader)", {"bar"}),
        ("update_bn(loader, average)", {"loader", "average"}),
        ("print(net, len(history))", set()),
        ("loss = net(x).sum().item()", {"loss"}),
        ("history['a'].append(1)", {"history"}),
        ("net.load_state_dict(other)", {"net"}),
        ("changes(1, net)", {"net"}),
    ],
)
def test_what_a_statement_may_change(line: str, changed: set[str]) -> None:
    text = "import engine\nfrom timm import train_one_epoch\nfrom torch import nn\nimport torch.nn.functional as F\n"
    text += f"def changes(n, module):\n    module.bias.data = n\n{line}\n"
    sources = read_all({"t.py": text})
    assert ProjectCode.of(sources).changed([sources["t.py"].nodes[0].body[-1]]) == changed  # type: ignore[attr-defined]


def test_hooks_of_a_trainer_are_told_apart() -> None:
    names = ["norm", "recall", "rows", "in_log", "per_step", "after"]
    found = hook_places(EpochsOf.HUGGING_FACE, read_all({"t.py": HOOKS}), "t.py", names, ["model"])
    assert {name: place.region for name, place in found.items()} == {
        "norm": None,  # its hook reads what the training has filled
        "recall": Region.TAIL,
        "rows": Region.PREFIX,
        "in_log": None,
        "per_step": None,
        "after": None,
    }
    assert [bool(place.why) for place in found.values()] == [True, False, False, True, True, True]


@pytest.mark.parametrize(
    ("read", "held", "why"),
    [
        ("state.log_history[-1]", ["model", "optimizer", "scheduler"], "`log_history`"),
        ("more['optimizer'].state", ["model"], "`optimizer`"),
        ("more['optimizer'].state", ["model", "optimizer"], ""),
        ("lr_scheduler.get_last_lr()", ["model", "optimizer"], "`get_last_lr`"),
        ("lr_scheduler.get_last_lr()", ["model", "optimizer", "scheduler"], ""),
        ("[each.lr for each in self.trainer.optimizers]", ["model", "optimizer 0"], ""),
        ("state.global_step", ["model"], ""),
    ],
)
def test_of_a_trainer_what_its_files_hold_may_be_read(read: str, held: list[str], why: str) -> None:
    text = HOOKS.replace("norm(model))", f"norm(model))\n        flor.log('more', {read})").replace(
        "len(self.losses)", "1"
    )
    found = hook_places(EpochsOf.HUGGING_FACE, read_all({"t.py": text}), "t.py", ["more"], held)["more"]
    assert (why in found.why, found.region) == (True, None if why else Region.TAIL)


ACCELERATED = """
model, given, lr = make(), DataLoader(data), 0.1
net = Net()
opt = torch.optim.SGD(net.parameters(), lr)
loader = DataLoader(data)
steps = get_linear_schedule(opt)
{prepared}
for epoch in range(3):
    accelerator.save_state(f"out/epoch_{{epoch}}")
"""


@pytest.mark.parametrize(
    ("prepared", "parts"),
    [
        ("net, o, loader, steps = accelerator.prepare(net, opt, loader, steps)",
         {"": "net", "optimizer": "o", "scheduler": "steps"}),
        ("net = accelerator.prepare(net)", {"": "net"}),
        ("net, critic, opt = accelerator.prepare(net, Net(), opt)", {"optimizer": "opt"}),
        ("pass", {}),
    ],
)  # fmt: skip
def test_what_accelerate_saves_is_what_it_has_prepared(prepared: str, parts: dict[str, str]) -> None:
    (call,) = saves_in(ACCELERATED.format(prepared=prepared))
    assert {part.key: part.expression for part in call.parts} == parts
    assert (call.name, call.offset) == (r"epoch_(?P<number>\d+)", 0)
