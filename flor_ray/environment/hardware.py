"""What this process computes on, where that changes the last digits of numbers; and how two such places differ."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence

from flor_ray.environment.surroundings import Gpu, cpu_model, gpus, gpus_by_bus, processors

_PART = " x "  # of a class: between the GPUs' model and how much of them a worker has
_MIG = "MIG-"  # how the id of a part of a GPU begins
_LIBRARIES = ("torch", "numpy")  # whose versions change what is computed


def here() -> dict[str, object]:
    """This process's processors and numeric libraries, under the names of an experiment's environment."""
    versions = {name: getattr(sys.modules.get(name), "__version__", None) for name in _LIBRARIES}
    packages = {name: str(version) for name, version in versions.items() if version is not None}
    return {**processors(), "packages": packages}


def kind(environment: Mapping[str, object]) -> str:
    """The class of worker that an environment's machine is: its GPUs' type, else its processor's. "" if not known.

    What ran on a machine of several GPU types counts as all of them together: nobody knows which one it used.
    """
    gpus = _kinds(environment.get("gpus"))
    return " and ".join(gpus) or str(environment.get("cpu") or "")


def kind_here(with_gpu: bool = True) -> str:
    """The class of worker that this machine is, or is if its GPUs are not used."""
    return kind({"cpu": cpu_model(), "gpus": gpus() if with_gpu else ()})


def kind_of(ids: Sequence[str], share: float, ray_type: str = "", variables: Mapping[str, str] = os.environ) -> str:
    """The class of worker that has been given the GPUs with these ids, as CUDA_VISIBLE_DEVICES has them, or a `share`
    of one: that of whole ones is the GPUs' model, as in records. `ray_type`: as Ray calls them, where the machine says
    nothing of them."""
    models = sorted({gpu.model for gpu in _own(ids, gpus_by_bus(), variables)})
    names = " and ".join(models) or ray_type
    part = " (MIG)" if any(one.startswith(_MIG) for one in ids) else ""
    return _shared(f"{names}{part}", share) if names else kind_here(with_gpu=False)


def is_of_type(kind: str, ray_type: str, share: float) -> bool:
    """Whether workers with such a share of a GPU, of the type that Ray calls so, are of this class."""
    name = kind.partition(_PART)[0]
    return _shared(name, share) == kind and f"-{ray_type}-" in f"-{name.replace(' ', '-')}-"


def _shared(name: str, share: float) -> str:
    return name if share == 1 else f"{name}{_PART}{share:.4g}"


def _own(ids: Sequence[str], here: Sequence[Gpu], variables: Mapping[str, str]) -> Sequence[Gpu]:
    """Those of the machine's GPUs that the ids stand for. All of them where that is not sure: without
    CUDA_DEVICE_ORDER, CUDA numbers GPUs of several models by their speed, and only CUDA knows how."""
    if len({gpu.model for gpu in here}) <= 1:
        return here
    by_number = variables.get("CUDA_DEVICE_ORDER") == "PCI_BUS_ID"
    found = []
    for one in ids:
        if by_number and one.isdecimal() and int(one) < len(here):
            found.append(here[int(one)])
        else:
            found += [gpu for gpu in here if one.startswith("GPU-") and gpu.uuid.startswith(one)]
    return found if len(found) == len(ids) > 0 else here


def differences(recorded: Mapping[str, object], now: Mapping[str, object]) -> tuple[str, ...]:
    """Where two environments differ in hardware or threads, in words. What only one of them knows counts for nothing.

    GPUs count by their kinds, not by how many there are: a replay has one, the recorded machine may have had eight.
    """
    found = []
    for key, word in (("machine", "machine type"), ("cpu", "processor"), ("threads", "number of threads")):
        was, is_now = recorded.get(key), now.get(key)
        if was and is_now and was != is_now:
            found.append(f"{word} {is_now} instead of {was}")
    if "gpus" in recorded and "gpus" in now and now.get("threads") is not None and recorded.get("threads") is not None:
        was_gpus, now_gpus = _kinds(recorded["gpus"]), _kinds(now["gpus"])
        if was_gpus != now_gpus:
            found.append(f"{' and '.join(now_gpus) or 'no GPU'} instead of {' and '.join(was_gpus) or 'no GPU'}")
    return tuple(found)


def library_differences(recorded: Mapping[str, object], now: Mapping[str, object]) -> tuple[str, ...]:
    """Where two environments differ in the versions of libraries that compute, in words. What only one of them knows
    counts for nothing."""
    was_packages, now_packages = recorded.get("packages"), now.get("packages")
    if not isinstance(was_packages, Mapping) or not isinstance(now_packages, Mapping):
        return ()
    pairs = [(name, was_packages.get(name), now_packages.get(name)) for name in _LIBRARIES]
    return tuple(f"{name} {new} instead of {old}" for name, old, new in pairs if old and new and str(old) != str(new))


def _kinds(gpus: object) -> list[str]:
    return sorted({str(gpu) for gpu in gpus}) if isinstance(gpus, list | tuple) else []
