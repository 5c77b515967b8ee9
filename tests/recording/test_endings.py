"""How scripts end, and what is recorded of that: each script in a process of its own."""

from __future__ import annotations

import pytest

from flor_ray.records import Status
from tests.conftest import Lab

BEFORE = """
import atexit, os, sys, threading
import flor_ray as flor
flor.log("a", 1)
"""
ODD = "class Odd(Exception):\n    def __str__(self): return self.gone\n"
HOOK = "sys.excepthook = lambda kind, value, trace: print('my own hook')\n"


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("", None),
        ("sys.exit()", None),
        ("sys.exit(None)", None),
        ("sys.exit(0)", None),
        ("sys.exit(False)", None),
        ("exit(0)", None),
        ("raise SystemExit", None),
        ("raise SystemExit(0)", None),
        ("def main():\n    raise SystemExit(0)\nmain()", None),
        ("def main():\n    return 0\nraise SystemExit(main())", None),
        ("def main():\n    print(1)\nraise SystemExit(main())", None),
        ("from sys import exit as leave\nleave()", None),
        ("try:\n    sys.exit(3)\nexcept SystemExit:\n    pass", None),
        ("try:\n    1 / 0\nexcept ZeroDivisionError:\n    sys.exit(0)", None),
        ("thread = threading.Thread(target=lambda: 1 / 0); thread.start(); thread.join()", None),
        ("thread = threading.Thread(target=sys.exit, args=[3]); thread.start(); thread.join()", None),
        ("os._exit(0)", None),
        ("if os.fork() == 0: os._exit(5)\nos.wait()", None),
        ("sys.exit(3)", "SystemExit: 3"),
        ("sys.exit(True)", "SystemExit: True"),
        ("sys.exit('no data\\nat all')", "SystemExit: no data"),
        ("sys.exit('')", "SystemExit"),
        ("quit(2)", "SystemExit: 2"),
        ("raise SystemExit(4)", "SystemExit: 4"),
        ("raise SystemExit('no data')", "SystemExit: no data"),
        ("def main():\n    raise SystemExit(3)\nmain()", "SystemExit: 3"),
        ("def main():\n    return 3\nraise SystemExit(main())", "SystemExit: 3"),
        ("from sys import exit\ndef main():\n    exit(7)\nmain()", "SystemExit: 7"),
        ("import argparse\nargparse.ArgumentParser().parse_args(['--what'])", "SystemExit: 2"),
        ("try:\n    sys.exit(3)\nexcept SystemExit:\n    pass\nsys.exit('at last')", "SystemExit: at last"),
        ("raise KeyboardInterrupt", "KeyboardInterrupt"),
        ("raise ValueError('bad')", "ValueError: bad"),
        (HOOK + "raise ValueError('bad')", "ValueError: bad"),
        (HOOK + "def main():\n    raise ValueError('bad')\nmain()", "ValueError: bad"),
        ("sys.excepthook = lambda *_: os._exit(1)\nraise ValueError('bad')", "ValueError: bad"),
        ("try:\n    1 / 0\nexcept ZeroDivisionError:\n    os._exit(1)", "ZeroDivisionError: division by zero"),
        ("os._exit(3)", "os._exit(3)"),
        (ODD + "raise Odd", "Odd: its text cannot be had (AttributeError)"),
        ("raise ValueError(b'caf\\xe9'.decode('utf-8', 'surrogateescape'))", "ValueError: caf\\udce9"),
    ],
)  # fmt: skip
@pytest.mark.timeout(60)
def test_what_a_run_ended_by_is_recorded(lab: Lab, text: str, error: str | None) -> None:
    lab.write("train.py", BEFORE + text + "\n")
    lab.python("train.py", check=False)
    run = lab.experiments()[-1]
    assert (run.status, run.error) == (Status.FINISHED if error is None else Status.FAILED, error)


def test_a_script_that_is_run_by_us_is_told_by_what_it_raised(lab: Lab) -> None:
    for code, error in ((0, None), (3, "SystemExit: 3")):
        lab.write("train.py", BEFORE + f"from sys import exit\ncode = {code}\nexit(code)\n")
        assert lab.cli("run", "train.py").returncode == code
        assert lab.experiments()[-1].error == error


def test_a_first_call_in_a_thread_does_not_hide_how_the_script_ended(lab: Lab) -> None:
    lab.write(
        "train.py",
        "import threading\nimport flor_ray as flor\n"
        "t = threading.Thread(target=flor.log, args=('a', 1)); t.start(); t.join()\nraise ValueError('bad')\n",
    )
    lab.python("train.py", check=False)
    assert (lab.experiments()[-1].status, lab.experiments()[-1].error) == (Status.FAILED, "ValueError: bad")
