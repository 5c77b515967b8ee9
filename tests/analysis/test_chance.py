"""Which variables a script draws anew whenever it starts, and which of their values are state."""

from __future__ import annotations

import pytest

from flor_ray.analysis.chance import drawn_names, features_drawn

DRAWN = [
    ("import uuid\nrun = uuid.uuid4().hex", {"run"}),
    ("from uuid import uuid4 as unique\nrun = f'runs/{unique()}'\nout = run + '/best.pt'", {"run", "out"}),
    ("import tempfile\nfolder = tempfile.mkdtemp()\nargs.out = folder", {"folder", "args"}),
    ("import os\nname = f'{os.getpid()}.log'", {"name"}),
    ("import time\nday = time.strftime('%F')", {"day"}),
    ("import secrets\nseed = secrets.randbits(32)", {"seed"}),
    ("import random\nlr = random.random()", set()),
    ("lr = 0.1\nbest = min(lr, 0.2)", set()),
    ("def broken(:", set()),
]


@pytest.mark.parametrize(("text", "names"), DRAWN)
def test_variables_that_each_start_of_a_script_draws_anew(text: str, names: set[str]) -> None:
    assert drawn_names(text).names & {"run", "out", "folder", "args", "name", "day", "seed", "lr", "best"} == names


def test_what_a_clock_is_measured_against_begins_with_the_replay() -> None:
    text = "import time\nbegan = time.time()\nseed = int(time.time())\n"
    names = drawn_names(f"{text}if time.time() - began > 9: stop()\n")
    assert not names.keeps("began", 1.5)
    assert names.keeps("began", "Mon"), "a text is measured against nothing"
    assert names.keeps("seed", 7)


def test_this_machines_devices_are_not_drawn() -> None:
    names = drawn_names("import os\ndevice = pick(os.getpid())\n")
    assert not names.keeps("device", "cuda:1")
    assert names.keeps("device", "out-17")


def test_features_that_are_drawn_and_nothing_else() -> None:
    ours = "import flor_ray as flor, uuid, os\nrun = str(uuid.uuid4())\nmodel = build(run)\n"
    logs = "flor.log('run', run)\nflor.log('out', os.path.join('runs', run))\nflor.log('size', count(model))\n"
    assert features_drawn(ours + logs) == {"run": "uuid4()", "out": "uuid4()"}


def test_a_generator_with_a_seed_draws_the_same_each_time() -> None:
    text = "import flor_ray as flor, numpy as np\nflor.log('x', np.random.default_rng({}).random())\n"
    assert features_drawn(text.format("")) == {"x": "default_rng()"}
    assert features_drawn(text.format("0")) == {}


def test_the_number_of_a_descriptor_stands_for_another_file_in_another_process() -> None:
    names = drawn_names("import tempfile\ndescriptor, path = tempfile.mkstemp()\n")
    assert not names.keeps("descriptor", 7)
    assert names.keeps("path", "/tmp/tmp1")
