"""What a run's environment is, and how two of them differ: kept with every run, compared before every replay.

recording   Surroundings ─> variables, sys.path, lock, the packages that the run imported ─> Experiment.environment
asking      differences(recorded, here) ─> notes;   requirements(recorded, here) ─> what `--env recorded` installs
replaying   for_replay(recorded, the worker's variables) ─> variables of the replay process
"""

from __future__ import annotations

import ast
import os
import platform
import re
import socket
import sys
import sysconfig
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from flor_ray import processes
from flor_ray.analysis.source import read
from flor_ray.environment.packages import LOCAL, imported_distributions, installed, lock_text, versions_of_modules
from flor_ray.records import HIDDEN_ARGS, HIDDEN_ARGV
from flor_ray.redaction import hide
from flor_ray.store import cache

_GPUS = Path("/proc/driver/nvidia/gpus")
# Variables that change what is computed, or where libraries look. Others are recorded if the run's own code reads them.
_PREFIXES = (
    *("OMP_", "MKL_", "OPENBLAS_", "NUMEXPR_", "KMP_", "CUBLAS_", "CUDA_", "NCCL_", "TORCH_", "PYTORCH_"),
    *("TF_DETERMINISTIC_", "TF_CUDNN_", "TF_ENABLE_", "TF_FORCE_", "TF_GPU_", "TF_NUM_", "TF_USE_", "TF_XLA_"),
    *("XLA_", "JAX_", "HF_", "TRANSFORMERS_", "TOKENIZERS_PARALLELISM", "PYTHONHASHSEED", "LC_"),
)
_NAMES = frozenset({"TZ", "LANG", "LANGUAGE"})
_SECRET_NAME = re.compile(r"KEY|TOKEN(?!IZER)|SECRET|PASSW|PASSPHRASE|CREDENTIAL|AUTH|PRIVATE|COOKIE", re.IGNORECASE)

_SECRET_VALUE = re.compile(r"://[^/@\s]+@")  # a user and a password in a URL

# These belong to a machine, or to the launcher of a distributed run: a replay has its own.
_OF_THE_MACHINE = (
    *("CUDA_VISIBLE_DEVICES", "CUDA_HOME", "CUDA_PATH", "HOME", "USER", "LOGNAME", "SHELL", "PATH", "PWD", "OLDPWD"),
    *("HOSTNAME", "TMPDIR", "TMP", "TEMP", "VIRTUAL_ENV", "DISPLAY", "LD_LIBRARY_PATH", "PYTHONPATH"),
    *("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"),
)
_OF_THE_MACHINE_PREFIXES = ("FLOR_", "RAY_", "SLURM_", "SSH_")
# No record says what of these a replay has: which servers it trusts, and which code its programs load.
_NEVER_LAID = (
    *(
        "AWS_",
        "AZURE_",
        "GOOGLE_",
        "GCLOUD_",
        "CLOUDSDK_",
        "FSSPEC_",
        "LD_",
        "DYLD_",
        "GIT_",
        "PIP_",
        "UV_",
        "SSL_",
        "BASH_",
        "REQUESTS_",
        "CURL_",
    ),
    *("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "all_proxy", "no_proxy"),
)
# These change which code runs in a process: no replay has them.
_DANGEROUS = re.compile(
    r"LD_(PRELOAD|AUDIT)|DYLD_INSERT_LIBRARIES|BASH_ENV|ENV|BASH_FUNC_.*|PROMPT_COMMAND"
    r"|PYTHON(STARTUP|INSPECT|BREAKPOINT)"
)
# These open the store and the cloud, or tell who may command the cluster: a replay has those that are allowed by name.
_ACCOUNTS = re.compile(r"(AWS|AZURE|GOOGLE|GCLOUD|CLOUDSDK|FSSPEC)_.*|RAY_AUTH_.*")

_DISTRIBUTION = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?")
_VERSION = re.compile(r"[0-9]([A-Za-z0-9._!-]*[A-Za-z0-9])?")

MODULE_KEY = "module"  # in an experiment's environment: its script was started as `python -m` with this name
_PYTHON = "<python>"  # stands in a recorded sys.path for the interpreter's own folders


# --- what a run keeps -----------------------------------------------------------------------------------------------


class RunSurroundings:
    """The environment of the run that goes on in this process. `is_users` tells the user's own modules."""

    def __init__(self, root: Path, script_text: str, is_users: Callable[[ModuleType], bool]) -> None:
        self._root = root
        self.script_text = script_text
        self._is_users = is_users
        self._variables = dict(os.environ)  # as they are now: scripts change them later
        self.lock = lock_text(installed())

    def at_start(self) -> dict[str, object]:
        """What is known when the run begins; kept even if it is killed."""
        return {
            "python": platform.python_version(),
            "host": socket.gethostname(),
            "root": str(self._root),
            "home": os.path.expanduser("~"),
            "pid": os.getpid(),
            "pid_started": processes.started(os.getpid()),
            **processors(),
            "sys_path": recorded_path(sys.path, self._root, interpreter_folders()),
            **self._of_variables(),
        }

    def at_end(self) -> dict[str, object]:
        """What is known when all has been imported."""
        return {
            "packages": versions_of_modules(),
            "distributions": imported_distributions(),
            **self._of_variables(),
        }

    def _of_variables(self) -> dict[str, object]:
        read = variables_read(self.script_text)
        library = sysconfig.get_path("stdlib")
        for name, module in list(sys.modules.items()):
            file = getattr(module, "__file__", None)
            if name == "__main__" or not isinstance(file, str) or file.startswith(library) or "site-packages" in file:
                continue  # said at once: there are thousands of them, and asking `is_users` reads links
            if self._is_users(module):
                read |= variables_read(_source(file))
        return recorded_variables(self._variables, read)


def processors() -> dict[str, object]:
    """What this process computes on. torch is asked only if it is loaded: a script that does not use it computes
    nothing with it.

    CUDA is asked only where the script has used it. Asking initialises it: that takes memory of the first GPU, for each
    rank, and processes that the script forks could not use any.
    """
    torch = sys.modules.get("torch")
    return {
        "machine": platform.machine(),
        "cpu": cpu_model(),
        "threads": torch.get_num_threads() if torch is not None else None,
        "gpus": [] if torch is None else _gpus_of(torch),
    }


def _gpus_of(torch: Any) -> list[str]:
    """Names of the GPUs that torch has here."""
    if torch.cuda.is_initialized():
        return [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    if torch.version.cuda is None or os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1"):
        return []
    return list(gpus())


def recorded_variables(variables: Mapping[str, str], read: Iterable[str]) -> dict[str, object]:
    """Which of a process's variables are kept with a run whose code reads these names: never the value of a secret.

    `variables_left_out` has the names of secrets, and `variables_absent` those that the code reads and that are not
    set.
    """
    read = {name for name in read if not name.startswith(_OF_THE_MACHINE_PREFIXES)}
    wanted = {name for name in variables if name in read or name in _NAMES or name.startswith(_PREFIXES)}
    secret = {name for name in wanted if _is_secret(name, variables[name])}
    return {
        "variables": {name: variables[name] for name in sorted(wanted - secret)},
        "variables_left_out": sorted(secret),
        "variables_absent": sorted(read - variables.keys()),
    }


def _is_secret(name: str, text: str) -> bool:
    return bool(_SECRET_NAME.search(name) or _SECRET_VALUE.search(text)) or hide(name, text) != text


def variables_read(text: str) -> frozenset[str]:
    """Environment variables that a Python source reads by literal name."""
    if "environ" not in text and "getenv" not in text:
        return frozenset()
    found = set()
    for node in read(text).nodes:
        match node:
            case ast.Subscript(value=place, slice=ast.Constant(value=str(name)), ctx=ast.Load()) if _is_environ(place):
                found.add(name)
            case ast.Call(
                func=ast.Attribute(value=place, attr="get" | "setdefault" | "pop"),
                args=[ast.Constant(value=str(name)), *_],
            ) if _is_environ(place):
                found.add(name)
            case ast.Call(
                func=ast.Attribute(attr="getenv") | ast.Name(id="getenv"), args=[ast.Constant(value=str(name)), *_]
            ):
                found.add(name)
            case ast.Compare(left=ast.Constant(value=str(name)), ops=[ast.In() | ast.NotIn()], comparators=[place]) if (
                _is_environ(place)
            ):
                found.add(name)
    return frozenset(found)


def _is_environ(node: ast.AST) -> bool:
    return (isinstance(node, ast.Name) and node.id == "environ") or (
        isinstance(node, ast.Attribute) and node.attr == "environ"
    )


def _source(path: str) -> str:
    if not path.endswith(".py"):
        return ""
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:  # removed while the run goes on: there is nothing to read any more
        return ""


# --- sys.path -------------------------------------------------------------------------------------------------------


def interpreter_folders() -> frozenset[str]:
    """Folders of `sys.path` that come with the interpreter and its installed packages."""
    names = ("stdlib", "platstdlib", "purelib", "platlib")
    folders = {sysconfig.get_path(name) for name in names}
    zipped = f"python{sys.version_info.major}{sys.version_info.minor}.zip"
    for folder in (sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib")):
        folders |= {os.path.join(folder, "lib-dynload"), os.path.join(os.path.dirname(folder), zipped)}
    return frozenset(os.path.realpath(folder) for folder in folders if folder)


def recorded_path(entries: Sequence[str], root: Path, interpreter: frozenset[str]) -> list[str]:
    """`sys.path` with entries in the repository relative to its root, and one marker for all that the interpreter
    brings along."""
    found: list[str] = []
    for entry in entries:
        real = os.path.realpath(entry)
        if real in interpreter or "site-packages" in Path(real).parts or "dist-packages" in Path(real).parts:
            found.append(_PYTHON)
        elif os.path.exists(real):
            inside = Path(real).is_relative_to(root)
            found.append(Path(real).relative_to(root).as_posix() if inside else real)
    return list(dict.fromkeys(found))


def replayed_path(current: Sequence[str], recorded: Sequence[str], root: Path) -> list[str]:
    """`sys.path` for a replay: what was recorded before and after the interpreter's own folders stands there again.

    What the current path has already, it keeps where it is.
    """
    entries = list(recorded)
    middle = entries.index(_PYTHON) if _PYTHON in entries else len(entries)
    present = {os.path.realpath(entry) for entry in current}

    def missing(part: Sequence[str]) -> list[str]:
        paths = [os.path.join(root, entry) for entry in part if entry != _PYTHON]
        return [path for path in map(os.path.normpath, paths) if os.path.realpath(path) not in present]

    return [*current[:1], *missing(entries[:middle]), *current[1:], *missing(entries[middle:])]


# --- two environments -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Here:
    """The environment of this process, as far as it can be compared with a recorded one."""

    python: str
    cpu: str
    gpus: tuple[str, ...]
    distributions: Mapping[str, str]  # as `installed` finds them

    @classmethod
    def look(cls) -> Here:
        return cls(platform.python_version(), cpu_model(), gpus(), installed())


@dataclass(frozen=True, slots=True)
class EnvironmentDifference:
    """`kind`: "python", "cpu", "gpu" or "package", and then `name` is the distribution's. "": there is none."""

    kind: str
    name: str
    recorded: str
    here: str

    def __str__(self) -> str:
        return f"{self.name} {self.recorded or '(none)'}"


def differences(recorded: Mapping[str, Any], here: Here) -> tuple[EnvironmentDifference, ...]:
    """How the environment of a run differs from this one, in what may change the values that it computed.

    Of packages, those that the run imported. Threads are none: a replay has as many as its record.
    """
    found = []
    python = recorded.get("python")
    if python is not None and python != here.python:
        found.append(EnvironmentDifference("python", "Python", python, here.python))
    for name, version in imported(recorded).items():
        now = here.distributions.get(name, "")
        if version != now:
            found.append(EnvironmentDifference("package", name, version.removesuffix(LOCAL), now.removesuffix(LOCAL)))
    gpus = tuple(sorted(set(recorded.get("gpus") or ())))
    if gpus and not set(gpus) <= set(here.gpus):
        found.append(EnvironmentDifference("gpu", "GPU", ", ".join(gpus), ", ".join(sorted(set(here.gpus)))))
    if recorded.get("cpu") and here.cpu and recorded["cpu"] != here.cpu:
        found.append(EnvironmentDifference("cpu", "CPU", recorded["cpu"], here.cpu))
    return tuple(found)


def imported(recorded: Mapping[str, Any]) -> dict[str, str]:
    """Distributions that a run imported, by name; none if it was killed before it could say."""
    found = recorded.get("distributions")
    return {str(name): str(version) for name, version in found.items()} if isinstance(found, Mapping) else {}


@dataclass(frozen=True, slots=True)
class Requirements:
    """What `--env recorded` installs on top of the environment that is there, for one version."""

    packages: tuple[str, ...] = ()  # as pip takes them: toolz==0.11.0
    left_out: tuple[str, ...] = ()  # what cannot be installed, in words


def requirements(recorded: Mapping[str, Any], lock: Mapping[str, str], here: Here) -> Requirements:
    """The recorded versions of the packages that the run imported and that are others here.

    `lock` says of each whether a package index can have it. What those packages need themselves, pip finds.
    """
    packages, left_out = [], []
    for name, version in imported(recorded).items():
        now = here.distributions.get(name, "")
        public = version.removesuffix(LOCAL).partition("+")[0]
        if version == now:
            continue
        if not (_DISTRIBUTION.fullmatch(name) and _VERSION.fullmatch(public)):  # to pip it might be an option, or a URL
            left_out.append(f"{name!r:.60} {public!r:.60} (no name and version of a package)")
            continue
        if version.endswith(LOCAL) or lock.get(name, "").endswith(LOCAL):
            left_out.append(f"{name} {public} (installed from a folder or a URL)")
        elif public == now.removesuffix(LOCAL).partition("+")[0]:
            left_out.append(f"{name} {version} (another build of the version that is here)")
        else:
            packages.append(f"{name}=={public}")
    return Requirements(tuple(packages), tuple(left_out))


@dataclass(frozen=True, slots=True)
class Expected:
    """The environment in which the driver expects a version to be replayed, as far as it may change values."""

    python: str = ""  # "": nothing is expected
    distributions: Mapping[str, str] = field(default_factory=dict)  # that the run imported; "": not there

    def unlike(self, python: str, distributions: Mapping[str, str]) -> str:
        """In what an environment is another one, in words; "" if it is not."""
        parts = [f"Python {python} (expected: {self.python})"] if self.python and python != self.python else []
        for name, version in self.distributions.items():
            now = distributions.get(name, "").removesuffix(LOCAL)
            if now.partition("+")[0] != version.removesuffix(LOCAL).partition("+")[0]:
                parts.append(f"{name} {now or '(none)'} (expected: {version or 'none'})")
        return ", ".join(parts)


def expected(recorded: Mapping[str, Any], packages: Iterable[str], here: Here) -> Expected:
    """What a worker should have for a version: what is here, but for the packages that are installed for it."""
    names = imported(recorded)
    chosen = {name: here.distributions.get(name, "") for name in names}
    chosen |= {name: version for name, _, version in (package.partition("==") for package in packages)}
    return Expected(here.python, chosen)


@dataclass(frozen=True, slots=True)
class Environments:
    """By version: what is installed for it alone, and what its worker should have. `notes` are for the plan."""

    notes: tuple[str, ...] = ()
    packages: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    expected: Mapping[str, Expected] = field(default_factory=dict)


def path_of(recorded: Mapping[str, Any]) -> tuple[str, ...]:
    """A run's `recorded_path`."""
    return tuple(recorded.get("sys_path") or ())


def for_replay(
    recorded: Mapping[str, Any], ours: Mapping[str, str], without_gpu: bool, secrets: Collection[str] = ()
) -> dict[str, str]:
    """Variables of a replay process: a worker's own, with the recorded ones that change what a script computes. Those
    of accounts are not among them, but for the `secrets`, which the user allows by name."""
    variables = {k: v for k, v in ours.items() if not k.startswith("FLOR_RAY_") or k in cache.VARIABLES}
    variables.pop("OMP_NUM_THREADS", None)  # Ray sets it; sums over threads would come out differently
    asked = secrets_needed(recorded)
    for name in recorded.get("variables_absent") or ():
        if not _is_of_the_machine(name) and name not in asked:
            variables.pop(name, None)
    taken = recorded.get("variables") or {}
    variables |= {name: str(value) for name, value in taken.items() if not _is_of_the_machine(name)}
    withheld = of_accounts(variables).keys() - set(secrets)
    variables = {k: v for k, v in variables.items() if k not in withheld and not _DANGEROUS.fullmatch(k)}
    threads = recorded.get("threads")
    if isinstance(threads, int):
        variables.setdefault("OMP_NUM_THREADS", str(threads))
    # Several replays share a machine, each with as many threads as its record had: threads that wait must not spin.
    variables.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    for rank in ("RANK", "LOCAL_RANK"):
        variables.pop(rank, None)
    if without_gpu:
        variables["CUDA_VISIBLE_DEVICES"] = ""
    variables["PYTHONUNBUFFERED"] = "1"
    return variables


def of_accounts(variables: Mapping[str, str]) -> dict[str, str]:
    """Those by which a process gets at the store, the cloud and the cluster."""
    return {name: value for name, value in variables.items() if _ACCOUNTS.fullmatch(name)}


def has_hash_seed(recorded: Mapping[str, Any]) -> bool:
    """Whether texts have the same hash, and sets of them the same order, in a replay as they had in the run."""
    variables = recorded.get("variables")
    return isinstance(variables, Mapping) and variables.get("PYTHONHASHSEED", "random") not in ("", "random")


def accounts_missed(recorded: Mapping[str, Any], secrets: Collection[str]) -> list[str]:
    """Variables of accounts that a run's own code read, and that its replays do not have."""
    read = {*(recorded.get("variables") or {}), *(recorded.get("variables_left_out") or ())}
    return sorted(name for name in read - set(secrets) if _ACCOUNTS.fullmatch(name))


def secrets_needed(recorded: Mapping[str, Any]) -> frozenset[str]:
    """Variables that a replay's environment must have: for what was secret in the run's command line and arguments."""
    words = {variable for variable, _ in (recorded.get(HIDDEN_ARGV) or {}).values()}
    return frozenset(words | {*(recorded.get(HIDDEN_ARGS) or {}).values()}) - {""}


def _is_of_the_machine(name: str) -> bool:
    if name.startswith("PYTHON"):
        return name != "PYTHONHASHSEED"
    return name in _OF_THE_MACHINE or name.startswith((*_OF_THE_MACHINE_PREFIXES, *_NEVER_LAID))


# --- this machine ---------------------------------------------------------------------------------------------------


def cpu_model() -> str:
    """The processor's name; "" where the system does not say."""
    try:
        text = Path("/proc/cpuinfo").read_text(errors="replace")
    except OSError:  # not Linux
        return platform.processor()
    found = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    return found[1].strip() if found else platform.processor()


@dataclass(frozen=True, slots=True)
class Gpu:
    """A GPU of this machine, as its driver names it."""

    model: str
    uuid: str = ""


def gpus_by_bus() -> tuple[Gpu, ...]:
    """The GPUs of this machine in the order of their places on the bus, without asking CUDA: that takes seconds and
    memory."""
    found = []
    for path in sorted(_GPUS.glob("*/information")):
        text = path.read_text(errors="replace")
        model, uuid = (re.search(rf"^{key}:\s*(.+)$", text, re.MULTILINE) for key in ("Model", "GPU UUID"))
        if model:
            found.append(Gpu(model[1].strip(), uuid[1].strip() if uuid else ""))
    return tuple(found)


def gpus() -> tuple[str, ...]:
    """Names of the GPUs of this machine."""
    return tuple(gpu.model for gpu in gpus_by_bus())
