"""Runs what depends on the Python version on each Python of this machine that the project promises to support.

    python tests/pythons.py             all of them; pytest's options may follow
    python tests/pythons.py --newest    only the newest

Looks on PATH, in pyenv's folder and in uv's. `make PYTHON=... VENV=.venv-3.N suites` makes a virtual environment for
each version and runs the suites there; the last line says which versions there were.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
_MINORS = range(8, 30)  # no version beyond is looked for
_FULL = re.compile(r"Python 3\.(\d+)\.(\d+)$")  # no release candidates


def installed() -> dict[int, str]:
    """The newest Python 3.N of this machine, by N."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    uv = Path(os.environ.get("UV_PYTHON_INSTALL_DIR", Path.home() / ".local/share/uv/python"))
    found = [str(path) for folder in (pyenv / "versions", uv) for path in folder.glob("*/bin/python3")]
    found += [path for minor in _MINORS if (path := shutil.which(f"python3.{minor}"))]
    newest: dict[int, tuple[int, str]] = {}
    for path in found:
        said = subprocess.run([path, "--version"], capture_output=True, text=True, check=False)  # shims may fail
        if match := _FULL.match(said.stdout.strip()):
            minor, patch = map(int, match.groups())
            newest[minor] = max(newest.get(minor, (-1, "")), (patch, path))
    return {minor: path for minor, (_, path) in sorted(newest.items())}


def promised() -> set[int]:
    """The N of each Python 3.N that pyproject.toml's classifiers name."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return {int(line.rpartition(".")[2]) for line in project["classifiers"] if " :: Python :: 3." in line}


def main(arguments: list[str]) -> int:
    """The exit status: 0 if all suites passed on every version that is here, and there was one."""
    here, wanted = installed(), promised()
    chosen = sorted(here.keys() & wanted)
    if "--newest" in arguments:
        arguments.remove("--newest")
        chosen = chosen[-1:]
    failed = []
    for minor in chosen:
        print(f"== Python 3.{minor}: {here[minor]}", flush=True)
        command = ["make", "suites", f"PYTHON={here[minor]}", f"VENV=.venv-3.{minor}", f"ARGS={' '.join(arguments)}"]
        if subprocess.run(command, cwd=ROOT, check=False).returncode:
            failed.append(minor)
    for verb, minors in (
        ("passed on", set(chosen) - set(failed)),
        ("FAILED on", failed),
        ("not here:", wanted - here.keys()),
        ("here, and not promised:", {minor for minor in here if minor > max(wanted)}),
    ):
        if minors:
            print(verb, ", ".join(f"3.{minor}" for minor in sorted(minors)))
    return 1 if failed or not chosen else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
