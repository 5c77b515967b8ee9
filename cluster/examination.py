"""What `flor-ray doctor` finds on one machine: the store as seen from there, versions, GPUs. Runs without Ray;
`node_examination` runs it on each node of a cluster.

    look(url, probe, sought) ──> Examined ── diagnoses(examined, driver's, Ray's GPUs) ──> Diagnosis, one per line
"""

from __future__ import annotations

import os
import platform
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from flor_ray.environment import data_places
from flor_ray.environment.packages import installed
from flor_ray.environment.surroundings import gpus
from flor_ray.errors import StoreError
from flor_ray.replaying.data import DataFinder
from flor_ray.store.files import Files
from flor_ray.store.store import Store
from flor_ray.wording import counted

_STORE_SECONDS = 60.0  # for a server that does not answer; S3 gives up after 33
_TORCH_SECONDS = 60.0
_CLOCK_SECONDS = 5.0  # that clocks may differ: S3 dates files in whole seconds, and a request takes its time
_MOST_NAMED = 3  # files in a line
_COMPARED = ("flor_ray", "python", "ray", "torch")
# torch is asked in a process of its own, which Ray hides no GPU from.
_TORCH = "import torch; print(torch.cuda.device_count())"


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """A line of the doctor's."""

    check: str
    passed: bool
    seen: str
    advice: str = ""  # what to do, where it did not pass


@dataclass(frozen=True, slots=True)
class Examined:
    """What was found on a machine."""

    host: str
    versions: Mapping[str, str]  # "": not installed
    gpus: tuple[str, ...]  # that the system has
    torch_gpus: int | None  # that torch sees; None: it is not installed
    torch_error: str  # why torch cannot say
    store: tuple[Diagnosis, ...]


@dataclass(frozen=True, slots=True)
class SoughtData:
    """Whose versions' data are looked for, from where the project's code is, and with which data map."""

    project: str
    root: str
    places: Mapping[str, str]


def look(url: str | None, probe: str = "", sought: SoughtData | None = None) -> Examined:
    """Examine this machine. `probe` is a file that somebody else has written into the store, to be found here."""
    count, error = _torch_gpus()
    store = () if url is None else _store(url, probe, sought)
    return Examined(socket.gethostname(), versions(), gpus(), count, error, store)


def versions() -> dict[str, str]:
    """What has to be, or should be, the same everywhere."""
    found = installed()
    names = {"flor_ray": str(getattr(sys.modules["flor_ray"], "__version__", "")), "python": platform.python_version()}
    return names | {name: found.get(name, "").partition(" ")[0] for name in ("ray", "torch")}


def _torch_gpus() -> tuple[int | None, str]:
    if not versions()["torch"]:
        return None, ""
    shown = {name: value for name, value in os.environ.items() if name != "CUDA_VISIBLE_DEVICES"}
    try:
        done = subprocess.run(
            [sys.executable, "-c", _TORCH],
            env=shown,
            capture_output=True,
            text=True,
            timeout=_TORCH_SECONDS,
            check=True,
        )
        return int(done.stdout), ""
    except subprocess.CalledProcessError as error:
        return 0, (error.stderr.strip().splitlines() or ["it said nothing"])[-1]
    except (subprocess.TimeoutExpired, ValueError) as error:
        return 0, str(error)


# --- the store ------------------------------------------------------------------------------------------------------


def _store(url: str, probe: str, sought: SoughtData | None) -> tuple[Diagnosis, ...]:
    found: list[Diagnosis] = []
    thread = threading.Thread(target=_each, args=(url, probe, sought, found), name="flor-doctor", daemon=True)
    thread.start()
    thread.join(_STORE_SECONDS)
    if thread.is_alive():
        silent = Diagnosis(
            "store", False, f"{url} has not answered for {_STORE_SECONDS:.0f} s", "See whether its server is well."
        )
        return (*found, silent)
    return tuple(found)


def _each(url: str, probe: str, sought: SoughtData | None, found: list[Diagnosis]) -> None:
    """Add a diagnosis for each check of the store; those that come after one that fails may be left out."""
    try:
        files = Files(url)
        if not files.remote and not os.path.isdir(files.url):
            found.append(_absent(files.url, bool(probe)))
            return
        if probe and not files.exists(probe):
            found.append(
                Diagnosis(
                    "store",
                    False,
                    f"{files.url} is another folder here than where you ask",
                    "Mount it on this node at the same path, or use a bucket.",
                )
            )
            return
        files.exists("format.json")
        found.append(Diagnosis("store", True, f"{files.url} can be reached"))
        _writing(files, found)
        if sought is not None:
            found.append(_data(Store(url), sought))
    except StoreError as error:
        found.append(Diagnosis("store writable" if found else "store", False, *_parted(str(error))))


def _writing(files: Files, found: list[Diagnosis]) -> None:
    path = f"doctor-{uuid.uuid4().hex}"
    try:
        before = time.time()
        files.write(path, b"")
        written = files.modified(path)
        after = time.time()
    finally:
        files.delete(path)
    found.append(Diagnosis("store writable", True, f"written in {after - before:.2f} s"))
    found.append(_create_only(files.probe_create()))
    if written is not None:
        found.append(_clock(max(0.0, before - written, written - after)))


def _data(store: Store, sought: SoughtData) -> Diagnosis:
    finder, read, lacking = DataFinder(fetches=False), set(), set()
    for experiment in store.experiments(sought.project):
        located = finder.locate(experiment.environment, sought.places, sought.root, store)
        read |= {one.file.path for one in located}
        lacking |= {one.path for one in data_places.lacking(experiment.environment, located) if not one.optional}
    files = counted(len(read), "file")
    if not lacking:
        return Diagnosis("data", True, f"{files} that versions have read can be had" if read else "versions read none")
    named = ", ".join(sorted(lacking)[:_MOST_NAMED]) + (", ..." if len(lacking) > _MOST_NAMED else "")
    return Diagnosis(
        "data",
        False,
        f"{len(lacking)} of {files} that versions have read cannot be had as they were: {named}",
        "Push them into the store from where they are (`flor-ray data push`), or say where they are here (`data:`).",
    )


def _absent(folder: str, expected: bool) -> Diagnosis:
    if expected:
        return Diagnosis(
            "store", False, f"{folder} is not there", "Mount it on this node at the same path, or use a bucket."
        )
    above = next(parent for parent in _parents(folder) if os.path.lexists(parent))
    if os.path.isdir(above) and os.access(above, os.W_OK):
        return Diagnosis("store", True, f"{folder} is not there yet: the first run makes it")
    return Diagnosis(
        "store", False, f"{folder} cannot be made", f"See who may write to {above}, or choose another store."
    )


def _parents(folder: str) -> list[str]:
    found = [folder]
    while found[-1] != os.path.dirname(found[-1]):
        found.append(os.path.dirname(found[-1]))
    return found


def _create_only(honoured: bool) -> Diagnosis:
    if honoured:
        return Diagnosis("store create-only", True, "of two writers of a file, one wins")
    return Diagnosis(
        "store create-only",
        False,
        "the server ignores If-None-Match: of two writers of a file, the last one wins",
        "Use a server that honours it, where several machines write at once.",
    )


def _clock(seconds: float) -> Diagnosis:
    if seconds <= _CLOCK_SECONDS:
        return Diagnosis("clock", True, f"within {_CLOCK_SECONDS:.0f} s of the store's")
    return Diagnosis(
        "clock",
        False,
        f"{seconds:.0f} s away from the store's",
        "Let it be set by a time server (NTP), here and there.",
    )


def _parted(message: str) -> tuple[str, str]:
    """What an error has seen, and what it advises: its last sentence."""
    seen, _, advice = message.rstrip().removesuffix(".").rpartition(". ")
    return (seen, f"{advice}.") if seen else (message, "See docs/troubleshooting.md.")


# --- versions and GPUs ----------------------------------------------------------------------------------------------


def diagnoses(examined: Examined, driver: Examined | None = None, ray_gpus: float | None = None) -> list[Diagnosis]:
    """The lines of a machine: of a node, compared with the `driver`'s and with what Ray counts there."""
    versions = _versions(examined) if driver is None else [_version(name, examined, driver) for name in _COMPARED]
    return [*examined.store, *versions, _gpus(examined, ray_gpus)]


def _versions(examined: Examined) -> list[Diagnosis]:
    return [Diagnosis(name, True, examined.versions.get(name) or "not installed") for name in _COMPARED]


def _version(name: str, node: Examined, driver: Examined) -> Diagnosis:
    there, here = node.versions.get(name, ""), driver.versions.get(name, "")
    seen = there or "not installed"
    if there == here or (name == "torch" and not here):
        return Diagnosis(name, True, seen)
    return Diagnosis(name, False, f"{seen}, and {here} where you ask", _ADVICE[name])


_ADVICE = {
    "flor_ray": "Install the same flor_ray on all nodes.",
    "python": "Use the same Python on all nodes: what is pickled with one may not be read with another.",
    "ray": "Install the same Ray on all nodes.",
    "torch": "Install the same torch on all nodes, or expect values to differ in their last digits.",
}


def _gpus(examined: Examined, ray_gpus: float | None) -> Diagnosis:
    here, torch = len(examined.gpus), examined.torch_gpus
    told = {"Ray counts": None if ray_gpus is None else int(ray_gpus), "torch sees": torch}
    seen = ", ".join(f"{who} {count}" for who, count in told.items() if count is not None) or f"{here} in all"
    if examined.torch_error:
        return Diagnosis("GPUs", False, f"torch cannot say: {examined.torch_error}", "Mend the installation of torch.")
    if ray_gpus is not None and here and not ray_gpus:
        return Diagnosis(
            "GPUs", False, f"{here} are there, and Ray counts none", "Start Ray there with --num-gpus, or without it."
        )
    if torch is not None and torch < (here if ray_gpus is None else ray_gpus):
        return Diagnosis("GPUs", False, seen, "Install a torch with CUDA, or a driver of NVIDIA's that fits it.")
    return Diagnosis("GPUs", True, seen)


def put_probe(url: str) -> tuple[str, Callable[[], None]]:
    """Write a file into the store that others are to find, and answer its path and what removes it. Raises
    StoreError."""
    files, path = Files(url), f"doctor-{uuid.uuid4().hex}"
    files.write(path, b"")
    return path, lambda: files.delete(path)
