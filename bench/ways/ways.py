"""The ways in which a column is filled on a Ray cluster; each is tried as its user would, on a real head with a token.

A way gets a project of its own, in which a version is recorded, and today's code logs more. It works if the new column
is filled, by workers of this head, with what is right; or, of what cannot be, if one clear line says so in time.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from flor_ray.records import Value
from flor_ray.store.project import Project
from flor_ray.store.store import Store
from flor_ray.store.typed_values import decode
from tests.conftest import keep_usual_calibration
from tests.ray_heads import RayHead

MARK = "WAYS_IN_HEAD"  # a variable that the head's workers have, and no user
REFUSED_SECONDS = 15.0
FLOR_RAY = (sys.executable, "-m", "flor_ray.cli")
SCRIPT = """
import flor_ray as flor
state = {"weight": 1.0}
flor.checkpointing(state=state)
for epoch in flor.loop("epoch", range(3)):
    state["weight"] *= 0.5
    flor.log("loss", 1 / (epoch + 1))
"""
LATER = """    import os
    flor.log("weight", state["weight"])
    flor.log("place", os.environ.get("WAYS_IN_HEAD", "elsewhere"))
    flor.log("ours", os.path.abspath(flor.__file__))
"""
NAMES = ("weight", "place", "ours")
WEIGHTS = [0.5, 0.25, 0.125]
_PYTHON = """
import sys
import flor_ray as flor
summary = flor.replay(["weight", "place", "ours"])
assert list(summary["outcome"]) == ["replayed"], summary
assert summary.attrs["executor"] == "ray"
"""
_IN_A_NAMESPACE = """
import ray
ray.init({address!r}, namespace="somebody", log_to_driver=False, logging_level="error")
"""


@dataclass(frozen=True, slots=True)
class Done:
    """What became of a command."""

    status: int
    output: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Ground:
    """Where a way is tried."""

    head: RayHead
    root: Path  # of the project: a repository with a recorded version
    bucket: str = ""

    @property
    def store(self) -> str:
        return str(self.root.parent / "store")

    def settings(self, **more: str) -> None:
        """Write flor.yaml: the store, one worker, and what else is given."""
        given = {"store": self.store, "project": "six", "workers": "1"} | more
        (self.root / "flor.yaml").write_text("".join(f"{key}: {value}\n" for key, value in given.items()))

    def user(self, **more: str | None) -> dict[str, str]:
        """A user's environment, who has the token; None takes a variable away."""
        taken = {MARK, "RAY_ADDRESS", "TMPDIR", "RAY_TMPDIR"}  # by which a cluster of this machine would be found
        mine = {name: value for name, value in self.head.environment.items() if name not in taken}
        mine["TMPDIR"] = mine["RAY_TMPDIR"] = str(self.root.parent)
        for name, value in more.items():
            if value is None:
                mine.pop(name, None)
            else:
                mine[name] = value
        return mine

    def run(self, command: Sequence[str], variables: Mapping[str, str]) -> Done:
        """Run a command in the project's folder."""
        began = time.monotonic()
        done = subprocess.run(
            command, cwd=self.root, env=dict(variables), capture_output=True, text=True, timeout=200, check=False
        )
        return Done(done.returncode, done.stdout + done.stderr, time.monotonic() - began)

    def job(self, *command: str) -> Done:
        """`ray job submit --working-dir . -- COMMAND`."""
        began = time.monotonic()
        done = self.head.submit(self.root, *command)
        return Done(done.returncode, done.stdout + done.stderr, time.monotonic() - began)

    def column(self, name: str, store: str = "") -> list[object]:
        """Values of a feature in the order of epochs."""
        found = Store(store or self.store)
        rows = found.logs("six", names=[name]).to_pylist()
        rows.sort(key=lambda row: row["epoch"])
        return [
            decode(Value(row["type"], row["number"], row["integer"], row["text"]), found.objects.get) for row in rows
        ]


@dataclass(frozen=True, slots=True)
class Way:
    """One row of the table. `take` answers "" if it works, and else what was seen."""

    name: str
    take: Callable[[Ground], str]


def template(folder: Path) -> None:
    """Record the version with which every way begins: `six`, and beside it `store`."""
    root = folder / "six"
    root.mkdir(parents=True)
    subprocess.run(["git", "init", "--quiet", str(root)], check=True)
    record(root, str(folder / "store"))
    (root / "train.py").write_text(SCRIPT.replace('    flor.log("loss"', f'{LATER}    flor.log("loss"'))


def record(root: Path, store: str) -> None:
    """Record a version into a store."""
    (root / "train.py").write_text(SCRIPT)
    variables = os.environ | {"FLOR_RAY_STORE": store, "FLOR_RAY_PROJECT": "six", "FLOR_RAY_OVERHEAD": "1"}
    subprocess.run([sys.executable, "train.py"], cwd=root, env=variables, check=True, timeout=100)
    keep_usual_calibration(Project.open(str(root), store))  # so that no way measures the machine


def ground(head: RayHead, recorded: Path, folder: Path, bucket: str = "") -> Ground:
    """A project of its own, in a folder that is not there yet."""
    shutil.copytree(recorded, folder)
    return Ground(head, folder / "six", bucket)


def _filled(ground: Ground, done: Done, store: str = "") -> str:
    """Nothing, if the column is there, right, and made by this head's workers."""
    if done.status != 0:
        return f"status {done.status}: {done.output[-2000:]}"
    if (weights := ground.column("weight", store)) != WEIGHTS:
        return f"the column is {weights}: {done.output[-2000:]}"
    if (places := set(ground.column("place", store))) != {"here"}:
        return f"it ran {places}"
    return ""


def _refused(done: Done, *words: str) -> str:
    """Nothing, if one line says what is wrong, in time; a plan may stand before it."""
    lines = done.output.strip().splitlines()
    errors = [line for line in lines if line.startswith("Error: ")]
    if done.status != 2 or errors != lines[-1:] or not all(word in lines[-1] for word in words):
        return f"status {done.status}: {done.output[-2000:]}"
    return "" if done.seconds <= REFUSED_SECONDS else f"it took {done.seconds:.0f} s"


# --- the table ------------------------------------------------------------------------------------------------------

_REPLAY = (*FLOR_RAY, "replay", *NAMES, "--yes")
_SUBMIT = (*FLOR_RAY, "submit", "replay", *NAMES)


def _host_and_port(ground: Ground) -> str:
    ground.settings()
    return _filled(ground, ground.run(_REPLAY, ground.user(RAY_ADDRESS=ground.head.address)))


def _auto(ground: Ground) -> str:
    ground.settings()
    here = {name: ground.head.environment[name] for name in ("TMPDIR", "RAY_TMPDIR")}
    return _filled(ground, ground.run(_REPLAY, ground.user(RAY_ADDRESS="auto") | here))


def _python(ground: Ground) -> str:
    ground.settings()
    return _filled(ground, ground.run([sys.executable, "-c", _PYTHON], ground.user(RAY_ADDRESS=ground.head.address)))


def _namespace(ground: Ground) -> str:
    ground.settings()
    code = _IN_A_NAMESPACE.format(address=ground.head.address) + _PYTHON
    return _filled(ground, ground.run([sys.executable, "-c", code], ground.user()))


def _yaml(ground: Ground) -> str:
    ground.settings(address=ground.head.address)
    return _filled(ground, ground.run(_REPLAY, ground.user()))


def _ray_job(ground: Ground) -> str:
    ground.settings()
    return _filled(ground, ground.job(*_REPLAY))


def _ray_job_s3(ground: Ground) -> str:
    store = f"s3://{ground.bucket}/{uuid.uuid4().hex}"
    record(ground.root, store)
    (ground.root / "train.py").write_text(SCRIPT.replace('    flor.log("loss"', f'{LATER}    flor.log("loss"'))
    ground.settings(store=store)
    return _filled(ground, ground.job(*_REPLAY), store)


def _submit(ground: Ground) -> str:
    ground.settings()
    return _filled(ground, ground.run([*_SUBMIT, "--address", ground.head.dashboard], ground.user()))


def _ship(ground: Ground) -> str:
    ground.settings(address=ground.head.address)  # the head node tells where its dashboard is
    wrong = _filled(ground, ground.run([*_SUBMIT, "--ship"], ground.user()))
    ours = set(ground.column("ours")) if not wrong else set()
    sent = all("_ray_pkg_" in str(path) for path in ours)
    return wrong or ("" if sent else f"it ran {ours}")


def _client(ground: Ground) -> str:
    ground.settings()
    return _refused(ground.run(_REPLAY, ground.user(RAY_ADDRESS="ray://127.0.0.1:10001")), "Ray Client", ":6379")


def _nobody(ground: Ground) -> str:
    ground.settings()
    join = ground.run(_REPLAY, ground.user(RAY_ADDRESS="127.0.0.1:1"))
    job = ground.run([*_SUBMIT, "--address", "http://127.0.0.1:1"], ground.user())
    return _refused(join, "cannot be reached") or _refused(job, "cannot be reached", "--address")


def _without_token(ground: Ground) -> str:
    return _not_let_in(ground, None)


def _wrong_token(ground: Ground) -> str:
    return _not_let_in(ground, "b" * 32)


def _not_let_in(ground: Ground, token: str | None) -> str:
    ground.settings()
    user = ground.user(RAY_AUTH_TOKEN=token, HOME=str(ground.root.parent))  # where a token may be, too
    join = ground.run(_REPLAY, user | {"RAY_ADDRESS": ground.head.address})
    job = ground.run([*_SUBMIT, "--address", ground.head.dashboard], user)
    return _refused(join, "token", "RAY_AUTH_TOKEN") or _refused(job, "token", "RAY_AUTH_TOKEN")


WAYS = (
    Way("RAY_ADDRESS=host:port", _host_and_port),
    Way("RAY_ADDRESS=auto", _auto),
    Way("Python", _python),
    Way("ray.init with a namespace", _namespace),
    Way("flor.yaml alone", _yaml),
    Way("ray job submit, shared folder", _ray_job),
    Way("ray job submit, s3", _ray_job_s3),
    Way("flor-ray submit", _submit),
    Way("flor-ray submit --ship", _ship),
    Way("ray:// is refused", _client),
    Way("nobody at the address", _nobody),
    Way("no token", _without_token),
    Way("wrong token", _wrong_token),
)
