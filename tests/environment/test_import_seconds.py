"""What of a set-up was importing, measured in real processes: a server's imports, and no others."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from flor_ray.analysis import early_imports
from flor_ray.environment import import_seconds
from tests.conftest import Lab, environment

_SLOW = """
import json.tool
import time
end = time.perf_counter() + 0.6
while time.perf_counter() < end:
    sum(range(1000))
import uuid
time.sleep(0.5)
import wave
"""
_OWN = """
import time
import slowlib
time.sleep(0.4)
import xml.dom.minidom
"""
_TELL = """
import time
import flor_ray
from flor_ray import imports, script
began = time.perf_counter()
{body}
seconds = imports.stop(script.process_started())
print(seconds - (began - script.process_started()))
"""

_EVENTS = """
import sys
import time
import flor_ray
from flor_ray import imports
if sys.argv[1] == "off":
    imports.stop(0.0)
began = time.perf_counter()
for _ in range(20_000):
    sys.audit("exec", None)
print(time.perf_counter() - began)
"""


def measured(folder: Path, body: str) -> float:
    """Seconds of imports after that of flor_ray."""
    libraries = folder / "lib" / "site-packages"
    libraries.mkdir(parents=True)
    libraries.joinpath("slowlib.py").write_text(_SLOW)
    folder.joinpath("own.py").write_text(_OWN)
    folder.joinpath("train.py").write_text(_TELL.format(body=body))
    path = os.pathsep.join([str(libraries), *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run(
        [sys.executable, "train.py"],
        cwd=folder,
        env=environment(PYTHONPATH=path),
        capture_output=True,
        text=True,
        check=True,
    )
    return float(done.stdout)


def test_a_slow_library_counts_and_what_the_script_does_besides_does_not(tmp_path: Path) -> None:
    assert 1.1 * 0.8 < measured(tmp_path, "import slowlib\ntime.sleep(0.5)") < 1.1 * 1.2


def test_the_users_own_modules_run_in_each_replay_and_only_what_they_import_counts(tmp_path: Path) -> None:
    assert 1.1 * 0.8 < measured(tmp_path, "import own") < 1.1 * 1.2


def test_an_import_inside_a_function_is_done_again_in_each_replay(tmp_path: Path) -> None:
    body = "def prepare():\n    import slowlib\nprepare()"
    assert measured(tmp_path, body) < 0.1


def test_an_import_that_fails_does_not_make_what_follows_an_import(tmp_path: Path) -> None:
    body = "def absent():\n    import nonexisting\ntry:\n    absent()\nexcept ImportError:\n    pass\n"
    assert measured(tmp_path, body + "open('train.py').close()\ntime.sleep(0.5)\nopen('train.py').close()") < 0.1


def test_an_event_costs_less_than_five_microseconds(tmp_path: Path) -> None:
    script = tmp_path / "train.py"
    script.write_text(_EVENTS)
    on, off = (min(_seconds(script, how) for _ in range(3)) for how in ("on", "off"))
    assert (on - off) / 20_000 < 5e-6


def _seconds(script: Path, how: str) -> float:
    done = subprocess.run([sys.executable, str(script), how], capture_output=True, text=True, check=True)
    return float(done.stdout)


def test_a_recorded_run_says_what_of_its_set_up_was_imports(lab: Lab) -> None:
    began = time.perf_counter()
    experiment = lab.record(
        "import time\nimport numpy\nimport flor_ray as flor\nimport pandas\ntime.sleep(0.7)\n"
        "for epoch in flor.loop('epoch', range(2)):\n    flor.log('a', epoch)\n"
    )
    taken, profile = time.perf_counter() - began, experiment.profile
    assert 0.1 < profile.import_seconds < profile.setup_seconds < taken
    assert 0.7 <= profile.setup_seconds - profile.import_seconds < 0.7 * 1.2 + 0.1


def test_what_torch_imports_at_its_first_use_is_what_a_server_imports_early() -> None:
    assert (
        early_imports.preload({"t.py": b"import torch"}, "t.py", ["t.py"], {}).imports[-1].module
        == import_seconds.FIRST_USE
    )
