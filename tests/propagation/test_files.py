"""Statements of whole trees: which file and which definition of the older version they go to, and when to neither."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from flor_ray.propagation import propagate, propagate_tree
from flor_ray.records import Propagation, Refusal, TreePropagation, TreeRefusal
from tests.propagation.forgetting import forget

TRAIN = """\
import flor_ray as flor
import torch
from data import loaders
from models import Net
from utils import evaluate

torch.manual_seed(0)
net = Net(hidden=64)
train_loader, test_loader = loaders(batch_size=32)
optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
for epoch in flor.loop("epoch", range(10)):
    for images, labels in flor.loop("step", train_loader):
        loss = torch.nn.functional.cross_entropy(net(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    accuracy = evaluate(net, test_loader)
    flor.log("accuracy", accuracy)
"""
TRAIN_LOGGED = TRAIN.replace(
    "        loss.backward()\n", '        flor.log("loss", loss.item())\n        loss.backward()\n'
)
LOSS = 15

UTILS = """\
import torch


def seconds(start, end):
    return start.elapsed_time(end) / 1000.0


@torch.no_grad()
def evaluate(net, loader):
    net.eval()
    correct = total = 0
    for images, labels in loader:
        predicted = net(images).argmax(dim=1)
        correct += (predicted == labels).sum().item()
        total += labels.numel()
    net.train()
    return correct / total
"""
UTILS_LOGGED = UTILS.replace("import torch\n", "import torch\nimport flor_ray as flor\n", 1).replace(
    "    net.train()\n", '    flor.log("correct", correct)\n    net.train()\n'
)
CORRECT = 17

MODELS = """\
import torch.nn as nn


class Net(nn.Module):
    def __init__(self, hidden):
        super().__init__()
        self.first = nn.Linear(784, hidden)
        self.second = nn.Linear(hidden, 10)

    def forward(self, images):
        hidden = self.first(images.flatten(1)).relu()
        return self.second(hidden)
"""
MODELS_LOGGED = MODELS.replace("nn\n", "nn\nimport flor_ray as flor\n", 1).replace(
    "        return self", '        flor.log("hidden", hidden.norm().item())\n        return self'
)
HIDDEN = 13
DATA = """\
from torch.utils.data import DataLoader
from torchvision import datasets, transforms


def loaders(batch_size):
    to_tensor = transforms.ToTensor()
    train = datasets.MNIST("data", train=True, download=True, transform=to_tensor)
    test = datasets.MNIST("data", train=False, download=True, transform=to_tensor)
    return DataLoader(train, batch_size, shuffle=True), DataLoader(test, batch_size)
"""
OLDER = {"train.py": TRAIN, "utils.py": UTILS, "models.py": MODELS, "data.py": DATA}
NEWER = {"train.py": TRAIN_LOGGED, "utils.py": UTILS_LOGGED, "models.py": MODELS_LOGGED, "data.py": DATA}


LINES = {"train.py": [LOSS], "utils.py": [CORRECT], "models.py": [HIDDEN]}
EPOCH = """\


def train_epoch(net, loader, optimizer, device):
    net.train()
    running = 0.0
    for images, labels in loader:
        images, labels = images.to(device), labels.to(device)
        loss = net.loss(images, labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        running += loss.item()
    return running / len(loader)
"""
EPOCH_LOGGED = EPOCH.replace(
    "        optimizer.step()\n", '        flor.log("running", running)\n        optimizer.step()\n'
)


def without(tree: dict[str, str], *paths: str) -> dict[str, str]:
    return {path: source for path, source in tree.items() if path not in paths}


def line_of(source: str, text: str) -> int:
    return next(number for number, line in enumerate(source.splitlines(), 1) if text in line)


def only_refusal(result: TreePropagation) -> TreeRefusal:
    assert result.sources == {}
    assert result.placed == ()
    (refusal,) = result.refused
    return refusal


# --- files that correspond by their paths ---------------------------------------------------------------------------


def test_statements_of_three_files_go_to_three_files_and_nothing_else_changes() -> None:
    result = propagate_tree(NEWER, OLDER, LINES)
    assert result.sources == {path: NEWER[path] for path in LINES}
    assert [(each.newer_path, each.older_path, each.placement.line) for each in result.placed] == [
        ("models.py", "models.py", HIDDEN),
        ("train.py", "train.py", LOSS),
        ("utils.py", "utils.py", CORRECT),
    ]
    assert [each.placement for each in result.placed if each.newer_path == "train.py"] == list(
        propagate(NEWER["train.py"], OLDER["train.py"], [LOSS]).placed
    )
    assert result.refused == ()


def test_lines_of_one_file_are_propagated_in_one_go() -> None:
    asked: list[tuple[int, ...]] = []

    def recorded(newer: str, older: str, lines: tuple[int, ...]) -> Propagation:
        asked.append(lines)
        return propagate(newer, older, lines)

    newer = {"train.py": TRAIN_LOGGED.replace("accuracy)\n", 'accuracy)\n    flor.log("rate", 0.1)\n')}
    result = propagate_tree(newer, OLDER, {"train.py": [20, LOSS, 20]}, propagate_pair=recorded)
    assert asked == [(LOSS, 20)]
    assert result.sources == newer


def test_an_answer_is_given_for_files_and_lines_that_are_not_there() -> None:
    result = propagate_tree(NEWER, OLDER, {"gone.py": [3], "train.py": [0, 99]})
    assert result.sources == {}
    assert [(each.newer_path, each.refusal.line) for each in result.refused] == [
        ("gone.py", 3),
        ("train.py", 0),
        ("train.py", 99),
    ]
    assert result.refused[0].refusal == Refusal(3, "the newer version has no gone.py")


def test_empty_trees_are_answered() -> None:
    assert propagate_tree({}, {}, {}) == TreePropagation()
    assert propagate_tree(NEWER, OLDER, {}) == TreePropagation()
    assert propagate_tree(NEWER, OLDER, {"train.py": []}) == TreePropagation()
    reason = "the older version has no file that corresponds to train.py"
    assert only_refusal(propagate_tree(NEWER, {}, {"train.py": [LOSS]})) == TreeRefusal(
        "train.py", Refusal(LOSS, reason)
    )
    assert only_refusal(propagate_tree({}, OLDER, {"train.py": [LOSS]})).refusal.line == LOSS


def test_a_file_that_is_not_python_is_refused_and_hurts_no_other() -> None:
    broken = OLDER | {"utils.py": "def evaluate(:\n  <<<<<<< HEAD\n"}
    result = propagate_tree(NEWER, broken, LINES)
    assert result.sources == {path: NEWER[path] for path in ("models.py", "train.py")}
    (refusal,) = result.refused
    assert (refusal.newer_path, refusal.older_path) == ("utils.py", "utils.py")
    assert refusal.refusal.reason == "the older version is not valid Python"


def test_bytes_that_are_no_utf_8_survive_everywhere() -> None:
    older = {"scripts/fit.py": "# caf\udce9\n" + TRAIN, "notes.py": "'\udcff"}
    newer = {"train.py": "# caf\udce9\n" + TRAIN_LOGGED, "other.py": "\udcff\ud800"}
    result = propagate_tree(newer, older, {"train.py": [LOSS + 1], "other.py": [1]})
    assert result.sources == {"scripts/fit.py": newer["train.py"]}
    assert [each.newer_path for each in result.refused] == ["other.py"]


# --- moved and renamed files ----------------------------------------------------------------------------------------


def test_a_file_that_was_moved_is_found_by_its_content() -> None:
    older = without(OLDER, "train.py") | {"src/mnist/train.py": TRAIN.replace("hidden=64", "hidden=32")}
    result = propagate_tree(NEWER, older, {"train.py": [LOSS]})
    assert result.sources == {"src/mnist/train.py": TRAIN_LOGGED.replace("hidden=64", "hidden=32")}
    (placed,) = result.placed
    assert (placed.newer_path, placed.older_path, placed.placement.placed_line) == (
        "train.py",
        "src/mnist/train.py",
        15,
    )


def test_a_file_that_was_renamed_with_its_variables_is_found_and_trusted_less() -> None:
    older = without(OLDER, "train.py") | {"mnist.py": TRAIN.replace("net", "model").replace("loss.", "cost.")}
    older["mnist.py"] = older["mnist.py"].replace("loss =", "cost =")
    result = propagate_tree(NEWER, older, {"train.py": [LOSS]})
    assert '        flor.log("loss", cost.item())\n        cost.backward()\n' in result.sources["mnist.py"]
    same_path = propagate(TRAIN_LOGGED, older["mnist.py"], [LOSS]).placed[0]
    assert 0.7 < result.placed[0].placement.confidence < same_path.confidence


def test_a_placement_that_another_path_makes_too_doubtful_is_refused_with_its_place() -> None:
    older = without(OLDER, "train.py") | {"mnist.py": TRAIN}
    refusal = only_refusal(propagate_tree(NEWER, older, {"train.py": [LOSS]}, min_confidence=0.95))
    assert (refusal.older_path, refusal.refusal.best_guess) == ("mnist.py", 14)
    assert refusal.refusal.reason == "the confidence of the best place (0.94) is below 0.95"


def test_two_files_that_it_could_be_are_named_and_neither_is_touched() -> None:
    older = without(OLDER, "train.py") | {"mnist.py": TRAIN, "fashion.py": TRAIN.replace("range(10)", "range(20)")}
    refusal = only_refusal(propagate_tree(NEWER, older, {"train.py": [LOSS]}))
    assert refusal.refusal.reason == "two files of the older version could be train.py: fashion.py and mnist.py"


def test_of_two_equal_files_the_one_with_the_same_name_is_meant() -> None:
    older = without(OLDER, "train.py") | {"src/train.py": TRAIN, "src/fashion.py": TRAIN}
    assert list(propagate_tree(NEWER, older, {"train.py": [LOSS]}).sources) == ["src/train.py"]


def test_a_file_that_two_newer_ones_could_be_goes_to_neither() -> None:
    newer = without(NEWER, "train.py") | {"mnist.py": TRAIN_LOGGED, "fashion.py": TRAIN_LOGGED}
    refusal = only_refusal(propagate_tree(newer, OLDER, {"mnist.py": [LOSS]}))
    assert refusal.refusal.reason == "train.py of the older version could be mnist.py, or fashion.py"


def test_two_renamed_files_find_their_own_partners() -> None:
    newer = {"fit.py": TRAIN_LOGGED, "tools/metrics.py": UTILS_LOGGED}
    result = propagate_tree(newer, OLDER, {"fit.py": [LOSS], "tools/metrics.py": [CORRECT]})
    assert result.sources == {"train.py": TRAIN_LOGGED, "utils.py": UTILS_LOGGED}


def test_a_file_that_the_older_version_does_not_have_is_refused_with_the_reason() -> None:
    refusal = only_refusal(propagate_tree(NEWER, without(OLDER, "utils.py"), {"utils.py": [CORRECT]}))
    assert refusal == TreeRefusal(
        "utils.py", Refusal(CORRECT, "the older version has no file that corresponds to utils.py")
    )


def test_a_path_that_had_another_content_is_not_that_file() -> None:
    older = {"train.py": DATA, "main.py": TRAIN}
    newer = {"train.py": TRAIN_LOGGED, "data.py": DATA}
    assert propagate_tree(newer, older, {"train.py": [LOSS]}).sources == {"main.py": TRAIN_LOGGED}


# --- pinned files ---------------------------------------------------------------------------------------------------


def test_the_script_under_another_name_is_pinned_and_not_doubted() -> None:
    older = without(OLDER, "train.py") | {"mnist.py": TRAIN, "fashion.py": TRAIN}
    result = propagate_tree(NEWER, older, {"train.py": [LOSS]}, counterparts={"train.py": "fashion.py"})
    assert result.sources == {"fashion.py": TRAIN_LOGGED}
    assert result.placed[0].placement.confidence == 0.995


def test_a_file_that_is_pinned_to_one_is_not_given_to_another() -> None:
    newer, older = {"train.py": TRAIN_LOGGED, "main.py": UTILS_LOGGED}, {"main.py": TRAIN, "utils.py": UTILS}
    lines = {"train.py": [LOSS], "main.py": [CORRECT]}
    result = propagate_tree(newer, older, lines, counterparts={"train.py": "main.py"})
    assert result.sources == {"main.py": TRAIN_LOGGED, "utils.py": UTILS_LOGGED}


def test_a_pinned_file_that_is_not_there_is_refused_and_no_other_is_looked_for() -> None:
    result = propagate_tree(NEWER, OLDER, {"train.py": [LOSS]}, counterparts={"train.py": "gone.py"})
    assert only_refusal(result).refusal == Refusal(LOSS, "the older version has no gone.py")


# --- moved definitions ----------------------------------------------------------------------------------------------


def test_a_statement_follows_its_function_to_another_file() -> None:
    newer = NEWER | {"train.py": TRAIN + EPOCH_LOGGED}
    older = OLDER | {"utils.py": UTILS + EPOCH}
    line = line_of(newer["train.py"], '"running"')
    result = propagate_tree(newer, older, {"train.py": [line]})
    expected = (UTILS + EPOCH_LOGGED).replace("import torch\n", "import torch\nimport flor_ray as flor\n", 1)
    assert result.sources == {"utils.py": expected}
    (placed,) = result.placed
    assert (placed.newer_path, placed.older_path) == ("train.py", "utils.py")
    assert placed.placement.confidence < 0.9


def test_one_file_gives_to_its_partner_and_to_the_file_of_a_moved_function() -> None:
    newer = NEWER | {"train.py": TRAIN_LOGGED + EPOCH_LOGGED}
    older = OLDER | {"utils.py": UTILS + EPOCH}
    running = line_of(newer["train.py"], '"running"')
    lines = {"train.py": [LOSS, running], "utils.py": [CORRECT]}
    result = propagate_tree(newer, older, lines)
    assert result.sources == {"train.py": TRAIN_LOGGED, "utils.py": UTILS_LOGGED + EPOCH_LOGGED}
    assert [(each.newer_path, each.placement.line) for each in result.placed] == [
        ("train.py", LOSS),
        ("train.py", running),
        ("utils.py", CORRECT),
    ]
    for each in result.placed:  # placed lines are right, whatever was put above them later
        newer_line = newer[each.newer_path].splitlines()[each.placement.line - 1]
        assert result.sources[each.older_path].splitlines()[each.placement.placed_line - 1] == newer_line


def test_a_statement_follows_its_method_to_a_class_of_another_file() -> None:
    trainer = "import flor_ray as flor\n\n\nclass Trainer:\n    def __init__(self, net):\n        self.net = net\n"
    method = EPOCH.lstrip("\n").replace("(net, ", "(self, ").replace("net.", "self.net.")
    logged = EPOCH_LOGGED.lstrip("\n").replace("(net, ", "(self, ").replace("net.", "self.net.")
    method, logged = ("\n" + "".join(f"    {line}\n" for line in text.splitlines()) for text in (method, logged))
    newer = {"trainer.py": trainer + logged, "base.py": trainer.replace("Trainer", "Base") + "\n    x = 1\n"}
    older = {"trainer.py": trainer, "base.py": trainer.replace("Trainer", "Base") + method}
    line = line_of(newer["trainer.py"], '"running"')
    result = propagate_tree(newer, older, {"trainer.py": [line]})
    assert result.sources == {"base.py": trainer.replace("Trainer", "Base") + logged}


def test_two_files_that_have_the_function_are_named_and_neither_is_touched() -> None:
    newer = NEWER | {"train.py": TRAIN + EPOCH_LOGGED}
    older = OLDER | {"utils.py": UTILS + EPOCH, "old_utils.py": UTILS + EPOCH}
    line = line_of(newer["train.py"], '"running"')
    refusal = only_refusal(propagate_tree(newer, older, {"train.py": [line]}))
    assert refusal.refusal.reason == "`train_epoch` could be that of old_utils.py or utils.py in the older version"


def test_a_function_of_the_same_name_and_another_body_is_another_function() -> None:
    newer = NEWER | {"train.py": TRAIN + EPOCH_LOGGED}
    older = OLDER | {"utils.py": UTILS + "\n\ndef train_epoch(path):\n    return open(path).read()\n"}
    line = line_of(newer["train.py"], '"running"')
    refusal = only_refusal(propagate_tree(newer, older, {"train.py": [line]}))
    assert refusal.older_path == "train.py"


def test_a_function_that_another_file_always_had_is_not_the_one_that_moved() -> None:
    newer = NEWER | {"train.py": TRAIN + EPOCH_LOGGED, "gan/train.py": "import torch\n" + EPOCH}
    older = OLDER | {"gan/train.py": "import torch\n" + EPOCH}
    line = line_of(newer["train.py"], '"running"')
    assert only_refusal(propagate_tree(newer, older, {"train.py": [line]})).older_path == "train.py"


def test_a_name_that_many_files_define_says_nothing() -> None:
    newer = NEWER | {"train.py": TRAIN + EPOCH_LOGGED}
    other = "\n\ndef train_epoch(path):\n    return open(path).read()\n"
    older = OLDER | {f"old/{number}.py": other for number in range(20)} | {"utils.py": UTILS + EPOCH}
    line = line_of(newer["train.py"], '"running"')
    assert only_refusal(propagate_tree(newer, older, {"train.py": [line]})).older_path == "train.py"


def test_a_function_whose_file_is_gone_is_found_where_it_went() -> None:
    newer = {"steps.py": "import flor_ray as flor\n" + EPOCH_LOGGED}
    result = propagate_tree(newer, OLDER | {"utils.py": UTILS + EPOCH}, {"steps.py": [12]})
    assert [each.older_path for each in result.placed] == ["utils.py"]


def test_an_import_of_the_very_file_does_not_come_along() -> None:
    epoch = EPOCH_LOGGED.replace('"running", running', '"rate", seconds(running, loss)')
    newer = {"train.py": "from utils import seconds\n" + TRAIN + epoch}
    older = {"train.py": TRAIN, "utils.py": "import torch\n" + EPOCH}
    line = line_of(newer["train.py"], '"rate"')
    refusal = only_refusal(propagate_tree(newer, older, {"train.py": [line]}))
    assert "`from utils import seconds`, which is utils.py itself" in refusal.refusal.reason


# --- whatever is given ----------------------------------------------------------------------------------------------

PATHS = st.sampled_from(["train.py", "utils.py", "src/train.py", "main.py", "a b.py", ""])
PARTS = [
    TRAIN,
    TRAIN_LOGGED,
    UTILS,
    UTILS_LOGGED,
    MODELS_LOGGED,
    EPOCH,
    EPOCH_LOGGED,
    "x = 1\r\n",
    "",
    "def f(:",
    "\udce9",
]
TREES = st.dictionaries(PATHS, st.lists(st.sampled_from(PARTS), max_size=2).map("".join), max_size=4)
WANTED = st.dictionaries(PATHS, st.lists(st.sampled_from([-1, 0, 1, 13, 15, 17, 19, 30, 33]), max_size=3), max_size=3)


@given(TREES, TREES, WANTED, st.dictionaries(PATHS, PATHS, max_size=1))
@settings(max_examples=40, deadline=None)
def test_every_line_is_answered_once_and_nothing_but_lines_is_inserted(
    newer: dict[str, str], older: dict[str, str], lines: dict[str, list[int]], counterparts: dict[str, str]
) -> None:
    result = propagate_tree(newer, older, lines, counterparts=counterparts)
    answered = [(each.newer_path, each.placement.line) for each in result.placed]
    answered += [(each.newer_path, each.refusal.line) for each in result.refused]
    assert sorted(answered) == sorted({(path, line) for path, numbers in lines.items() for line in numbers})
    for path, source in result.sources.items():
        assert source != older[path]
        rest = iter(source.splitlines())
        assert all(any(line == other for other in rest) for line in older[path].splitlines())
    assert {each.older_path for each in result.placed if not each.placement.present} == set(result.sources)
    forget()
    assert propagate_tree(newer, older, lines, counterparts=counterparts) == result


@given(
    st.dictionaries(st.text(max_size=3), st.text(), max_size=3),
    st.dictionaries(st.text(max_size=3), st.text(), max_size=3),
)
@settings(max_examples=40, deadline=None)
def test_no_texts_make_it_raise(newer: dict[str, str], older: dict[str, str]) -> None:
    result = propagate_tree(newer, older, {path: [1, 2] for path in newer})
    assert len(result.placed) + len(result.refused) == 2 * len(newer)
