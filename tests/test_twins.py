"""Which versions are the same run: what must be equal, what must be seeded, and who is replayed for whom."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from importlib import resources

import pytest

from flor_ray import twins
from flor_ray.records import Checkpoint, Experiment, Gap, Point, Status
from flor_ray.schema import Value
from flor_ray.twins import Evidence, Key

FILES = {"train.py": "import flor_ray as flor\n"}
RUN = Experiment(
    "p",
    "v1",
    None,
    "train.py",
    "first",
    0.0,
    9.0,
    Status.FINISHED,
    args={"lr": 0.1},
    main_loop="epoch",
    epochs=3,
    environment={"python": "3.12.1", "packages": {"torch": "2.9"}, "machine": "x86_64", "gpus": [], "host": "a"},
)


def in_environment(**entries: object) -> Experiment:
    return replace(RUN, environment={**RUN.environment, **entries})


def data(hash_: str, **entries: object) -> dict[str, object]:
    return {"path": "data.csv", "hash": hash_, **entries}


@pytest.mark.parametrize(
    "other",
    [
        replace(RUN, version="v2", run="second", started=5.0, ended=99.0, parent="v1"),
        in_environment(host="b", pid=3, rng="key"),
    ],
)
def test_names_times_and_hosts_make_no_difference(other: Experiment) -> None:
    assert twins.kind_of(other, FILES) == twins.kind_of(RUN, FILES) is not None


@pytest.mark.parametrize(
    ("other", "files"),
    [
        (replace(RUN, args={"lr": 0.2}), FILES),
        (replace(RUN, args={"lr": 0.1, "n": 1}), FILES),
        (replace(RUN, argv=("--fast",)), FILES),
        (replace(RUN, cwd="folder"), FILES),
        (replace(RUN, epochs=2), FILES),
        (in_environment(python="3.11.1"), FILES),
        (in_environment(packages={"torch": "2.8"}), FILES),
        (in_environment(gpus=["H200"]), FILES),
        (in_environment(threads=8), FILES),
        (in_environment(inputs=[data("1")]), FILES),
        (RUN, {"train.py": FILES["train.py"] + "\n"}),
        (RUN, {**FILES, "helper.py": ""}),
    ],
)
def test_whatever_may_make_a_difference_makes_another_kind(other: Experiment, files: Mapping[str, str]) -> None:
    assert twins.kind_of(other, files) not in (None, twins.kind_of(RUN, FILES))


@pytest.mark.parametrize(
    "other",
    [
        replace(RUN, status=Status.FAILED),
        replace(RUN, status=Status.CRASHED),
        replace(RUN, epochs=0),
        replace(RUN, script="gone.py"),
        in_environment(worker="ray"),
        in_environment(source_changed=True),
        in_environment(inputs_left_out=1),
        in_environment(inputs=[data("1", rewritten=True)]),
        in_environment(inputs=[data("1", sampled=True)]),
        in_environment(inputs=[data("")]),
    ],
)
def test_some_runs_are_like_no_other(other: Experiment) -> None:
    assert twins.kind_of(other, FILES) is None


def test_equal_input_files_are_equal_data() -> None:
    first, second = in_environment(inputs=[data("1", mtime_ns=1)]), in_environment(inputs=[data("1", mtime_ns=2)])
    assert twins.kind_of(first, FILES) == twins.kind_of(second, FILES) is not None
    assert twins.knows_inputs(first)
    assert twins.knows_inputs(in_environment(inputs=[]))
    assert not twins.knows_inputs(RUN)


HEAD = "import random\nimport numpy as np\nimport torch\nimport flor_ray as flor\n"
SEEDS = "random.seed(1)\nnp.random.seed(1)\ntorch.manual_seed(1)\n"


@pytest.mark.parametrize(
    "text",
    [
        HEAD + SEEDS + "x = random.random()\n",
        HEAD + 'seed = flor.arg("seed", 3)\n' + SEEDS.replace("1", "seed"),
        HEAD + "class Net(torch.nn.Module):\n    def f(self): return random.random()\n" + SEEDS,
        HEAD + "torch.backends.cudnn.deterministic = True\n" + SEEDS,
        HEAD + "def seed_all(seed):\n    random.seed(seed)\n    np.random.seed(seed)\nseed_all(3)\n",
        HEAD + "torch.set_num_threads(1)\n" + SEEDS + "g = torch.Generator()\nr = np.random.default_rng(3)\n",
        "import random\nrandom.seed(1)\n",
    ],
)
def test_scripts_that_seed_before_they_draw(text: str) -> None:
    assert twins.is_seeded("train.py", {"train.py": text})


@pytest.mark.parametrize(
    "text",
    [
        HEAD,
        "import random\n",
        HEAD + "random.seed(1)\n",
        HEAD + "np.random.seed(1)\n",
        "import random, pandas\nrandom.seed(1)\n",
        HEAD + "x = random.random()\n" + SEEDS,
        HEAD + "x = [random.random() for i in range(3)]\n" + SEEDS,
        HEAD + "if True:\n    x = random.random()\n" + SEEDS,
        HEAD + SEEDS + "random.seed()\n",
        HEAD + SEEDS + "random.seed(None)\n",
        HEAD + "import time\n" + SEEDS + "t = int(time.time())\nrandom.seed(t)\n",
        HEAD + "import time\n" + SEEDS.replace("random.seed(1)", "random.seed(time.time())", 1),
        HEAD + SEEDS.replace("random.seed(1)", "random.seed(draw())", 1),
        HEAD + SEEDS + "r = np.random.default_rng()\n",
        HEAD + SEEDS + "r = random.SystemRandom()\n",
        HEAD + SEEDS + "import os\nx = os.urandom(3)\n",
        HEAD + SEEDS + "import uuid\nx = uuid.uuid4()\n",
        HEAD + "def f(x=random.random()):\n    pass\n" + SEEDS,
        HEAD + "class C:\n    x = random.random()\n" + SEEDS,
        HEAD + "def seed_all():\n    x = random.random()\n    random.seed(1)\nseed_all()\n" + SEEDS,
        "this is no Python",
    ],
)
def test_scripts_of_which_nobody_knows_what_they_draw(text: str) -> None:
    assert not twins.is_seeded("train.py", {"train.py": text})


def test_no_version_of_the_demo_is_seeded() -> None:
    folder = resources.files("flor_ray").joinpath("demo_versions")
    texts = [file.read_text(encoding="utf-8") for file in folder.iterdir() if file.name.endswith(".py")]
    assert len(texts) == 6
    assert not any(twins.is_seeded("train.py", {"train.py": text}) for text in texts)


def test_modules_that_draw_when_they_are_imported_come_after_the_seeds() -> None:
    drawing, quiet = "import random\nx = random.random()\n", "import random\ndef f(): return random.random()\n"
    for text, helper, expected in (
        ("import helper\n" + HEAD + SEEDS, quiet, True),
        ("import helper\n" + HEAD + SEEDS, drawing, False),
        (HEAD + SEEDS + "import helper\n", drawing, True),
    ):
        assert twins.is_seeded("train.py", {"train.py": text, "helper.py": helper}) is expected


# --- evidence -------------------------------------------------------------------------------------------------------


def checkpoint(
    epoch: int, key: str, uncaptured: frozenset[str] = frozenset(), opaque: frozenset[str] = frozenset()
) -> Checkpoint:
    place = ("v1", "train.py", 3, epoch, Point.EPOCH_END)
    return Checkpoint(*place, key, 1, 0.0, uncaptured=uncaptured, opaque=opaque)


def test_the_first_and_the_last_state_must_be_there_and_whole() -> None:
    whole = [checkpoint(0, "a"), checkpoint(2, "b"), checkpoint(3, "c")]
    assert twins.proofs(RUN, whole) == {0: "a", 2: "b", 3: "c"}
    assert twins.proofs(RUN, whole[1:]) == {}
    assert twins.proofs(RUN, whole[:-1]) == {}
    assert twins.proofs(RUN, []) == {}
    assert twins.proofs(RUN, [*whole, checkpoint(1, "d", uncaptured=frozenset({"x"}))]) == {}
    assert twins.proofs(RUN, [*whole, checkpoint(1, "d", opaque=frozenset({"sock"}))]) == {}


VALUES: dict[Key, Value] = {(1, None, "loss", 0): Value("float", 0.5), (1, None, "seconds", 0): Value("float", 7.0)}
LEFT = Evidence({0: "a", 2: "b", 3: "c"}, VALUES, frozenset({"seconds"}))


def is_same(right: Evidence) -> bool:
    return twins.same(LEFT, right, lambda ours, theirs: ours.lower() == theirs.lower())


def test_equal_states_and_values_are_the_same_run() -> None:
    assert is_same(LEFT)
    assert is_same(replace(LEFT, states={0: "A", 1: "other epoch", 3: "C"}))
    assert is_same(replace(LEFT, recorded={**VALUES, (1, None, "seconds", 0): Value("float", 8.0)}))
    assert is_same(replace(LEFT, recorded={**VALUES, (1, None, "new", 0): Value("int", integer=1)}))


@pytest.mark.parametrize(
    "other",
    [
        replace(LEFT, states={0: "x", 3: "c"}),
        replace(LEFT, states={0: "a", 3: "x"}),
        replace(LEFT, states={0: "a", 2: "x", 3: "c"}),
        replace(LEFT, states={0: "a", 2: "b"}),
        replace(LEFT, states={3: "c"}),
        replace(LEFT, states={}),
        replace(LEFT, recorded={**VALUES, (1, None, "loss", 0): Value("float", 0.5000000000000001)}),
        replace(LEFT, recorded={**VALUES, (1, None, "loss", 0): Value("int", integer=0)}),
        replace(LEFT, recorded={**VALUES, (2, None, "loss", 0): Value("float", 0.5)}),
    ],
)
def test_any_other_state_or_value_is_another_run(other: Evidence) -> None:
    assert not is_same(other)


def test_zero_and_minus_zero_are_not_the_same_value() -> None:
    key: Key = (1, None, "loss", 0)
    zero, minus = ({key: Value("float", sign * 0.0)} for sign in (1, -1))
    assert not twins.same(replace(LEFT, recorded=zero), replace(LEFT, recorded=minus), str.__eq__)


# --- who is replayed ------------------------------------------------------------------------------------------------


def gap(version: str, *epochs: int, names: tuple[str, ...] = ("x",), data_prep: bool = False) -> Gap:
    return Gap(version, names, epochs, data_prep)


def sources(
    *gaps: Gap, have: Mapping[tuple[str, str], frozenset[int | None]] | None = None, trusted: str = ""
) -> object:
    return twins.sources([["a", "b", "c"]], gaps, have or {}, lambda version: version in trusted)


def test_the_first_that_lacks_a_value_is_replayed_for_the_others() -> None:
    assert sources(gap("a", 1, 2), gap("b", 1, 2), gap("c", 2)) == {"b": "a", "c": "a"}
    assert sources(gap("b", 1), gap("c", 1)) == {"c": "b"}
    assert sources(gap("a", 1)) == {}


def test_a_version_that_is_asked_for_more_than_the_first_is_replayed_itself() -> None:
    assert sources(gap("a", 1), gap("b", 1, 2), gap("c", 2)) == {"c": "b"}
    assert sources(gap("a", 1), gap("b", 1, data_prep=True)) == {}
    assert sources(gap("a", 1), gap("b", 1), gap("b", 1, names=("y",))) == {}


def test_earlier_answers_are_copied_only_where_they_are_trusted() -> None:
    have = {("c", "x"): frozenset({1, 2})}
    assert sources(gap("a", 1, 2), gap("b", 2), have=have) == {"b": "a"}
    assert sources(gap("a", 1, 2), gap("b", 2), have=have, trusted="c") == {"a": "c", "b": "c"}
    assert sources(gap("b", 1, 2), gap("a", 2), have={("a", "x"): frozenset({1})}) == {}
    assert sources(gap("b", 1, 2), gap("a", 2), have={("a", "x"): frozenset({1})}, trusted="a") == {"b": "a"}
