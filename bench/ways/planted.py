"""Secrets that a run is given in every way there is, and all that it leaves behind, in which none may be found."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pyarrow.parquet as pq

from flor_ray.store import manifests
from flor_ray.store.objects import Objects
from flor_ray.store.project import Project
from tests.conftest import environment
from tests.ray_heads import RAY, RayHead

SCRIPT = """
import argparse
import os
import sys
import flor_ray as flor

parser = argparse.ArgumentParser()
parser.add_argument("--api-key")
parser.add_argument("--db")
parser.add_argument("--hub_token")
flor.autolog()
options = parser.parse_args()
flor.autolog({"model": {"width": 3, "service": {"password": "planted" + "05password"}}})
key = flor.arg("access_key", "planted" + "06default")
given = flor.arg("client_secret", "none yet")
settings = os.environ["MY_SERVICE_TOKEN"], os.environ["BROKER"]
flor.arg("endpoint", "https://me:planted" + "09url@host/x")
lengths = [len(options.api_key), len(options.db), len(options.hub_token), len(key), len(given)]
for epoch in flor.loop("epoch", range(2)):
    os.environ["SESSION_TOKEN"] = "planted" + "10session" + str(epoch)
    flor.log("loss", 1.0 / (epoch + 1))
if "FAIL" in os.environ:
    raise ValueError("refused: https://me:planted" + "11error@host")
"""
HINDSIGHT = '    flor.log("lengths", [*lengths, len(os.environ["SESSION_TOKEN"])])\n'
ARGUMENTS = (
    *("--flor", "api_key=planted12run", "--kwargs", "client_secret=planted04kwargs"),
    *("--api-key", "planted01argv", "--db=postgres://me:planted02url@host/x", "--hub_token=planted03equals"),
)
VARIABLES = {"MY_SERVICE_TOKEN": "planted07variable", "BROKER": "amqp://me:planted08broker@host"}
FILES = {".env": "planted13env", "keys/id_rsa": "planted14rsa", "server.pem": "planted15pem"}


PLANTED = 15
_TRIES = 3


def plant(root: Path) -> None:
    """Make a repository, with the files that hold secrets and the script that is given the others."""
    subprocess.run(["git", "init", "--quiet", str(root)], check=True)
    for name, text in (FILES | {"train.py": SCRIPT}).items():
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text(text)


def run(root: Path, **more: str) -> subprocess.CompletedProcess[str]:
    """Record a run of the script, with all that it is given."""
    command = [sys.executable, "train.py", *ARGUMENTS]
    given = environment(**VARIABLES, **more)
    return subprocess.run(command, cwd=root, env=given, capture_output=True, text=True, timeout=100, check=False)


def left_behind(root: Path) -> str:
    """All that the store and git have of the runs, decompressed."""
    found: list[bytes] = []
    for path in (root / ".flor").rglob("*"):
        if path.is_file():
            found += [str(path).encode(), path.read_bytes()]
            if path.suffix == ".parquet":
                table = pq.read_table(path)
                found += [str(table.to_pylist()).encode(), str(table.schema.metadata).encode()]
    objects: Objects = Project.open(str(root)).store.objects
    for key in objects.infos():
        data = objects.get(key)
        if data.startswith(b"flor2 "):
            found.append(manifests.from_bytes(data, key).skeleton)
    git = ["git", "-C", str(root)]
    ids = subprocess.run([*git, "cat-file", "--batch-all-objects", "--batch"], capture_output=True, check=True)
    log = subprocess.run([*git, "log", "--all", "--format=%B"], capture_output=True, check=True)
    return b"\n".join([*found, ids.stdout, log.stdout]).decode("utf-8", "replace")


def shown_by_cluster(head: RayHead, root: Path, user: Mapping[str, str]) -> str:
    """What a job to which this project is submitted, by somebody who has all the secrets, leaves to be seen: its own
    output, and all that the dashboard says of jobs."""
    (root / "train.py").write_text(SCRIPT.replace("    flor.log", '    flor.log("more", len(lengths))\n    flor.log'))
    given = {**user, **VARIABLES, "API_KEY": "planted01argv", "CLIENT_SECRET": "planted04kwargs"}
    submit = [sys.executable, "-m", "flor_ray.cli", "submit", "replay", "more", "--address", head.dashboard]
    done = subprocess.run(submit, cwd=root, env=given, capture_output=True, text=True, timeout=200, check=False)
    listed = ""
    for _ in range(_TRIES):  # a dashboard that is busy refuses
        command = [*RAY, "job", "list", "--address", head.dashboard]
        told = subprocess.run(command, env=given, capture_output=True, text=True, timeout=200, check=False)
        listed += told.stdout + told.stderr
        if "flor-" in told.stdout:
            return done.stdout + done.stderr + listed
    raise AssertionError(f"No job is listed: {done.stdout}{done.stderr}{listed}")


def found(text: str) -> set[str]:
    """Which of the secrets are in a text; the script makes its own of two parts, and is kept as it is."""
    return set(re.findall(r"planted(\d\d)", text.replace('"planted" + "', "").replace(':planted" + "', "")))
