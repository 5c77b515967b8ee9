"""Which class of worker somebody is who was given these GPUs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from flor_ray.environment import hardware, surroundings
from flor_ray.environment.hardware import is_of_type, kind_of

A100, T4 = "NVIDIA A100-SXM4-40GB", "Tesla T4"
BUS = {"CUDA_DEVICE_ORDER": "PCI_BUS_ID"}


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder in which the driver of GPUs tells of them; there are none yet."""
    monkeypatch.setattr(surroundings, "_GPUS", tmp_path)
    return tmp_path


def add(machine: Path, bus: str, model: str, uuid: str) -> None:
    (machine / bus).mkdir()
    (machine / bus / "information").write_text(
        f"Model: \t\t {model}\nIRQ:   \t\t 0\nGPU UUID: \t {uuid}\nBus Location: \t {bus}\nDevice Minor: \t 0\n"
    )


@pytest.mark.parametrize(
    ("ids", "variables", "expected"),
    [
        (["0"], BUS, A100),
        (["1"], BUS, T4),
        (["GPU-bbbb"], {}, T4),
        (["GPU-aaaa-1"], {}, A100),
        (["1"], {}, f"{A100} and {T4}"),  # CUDA's own order, which nobody else knows
        (["7"], BUS, f"{A100} and {T4}"),
        ([], BUS, f"{A100} and {T4}"),
        (["GPU-cccc"], {}, f"{A100} and {T4}"),
    ],
)
def test_it_is_the_own_gpu_that_counts_and_not_the_first_of_the_machine(
    machine: Path, ids: Sequence[str], variables: Mapping[str, str], expected: str
) -> None:
    add(machine, "0000:81:00.0", T4, "GPU-bbbb-2")
    add(machine, "0000:01:00.0", A100, "GPU-aaaa-1")
    assert kind_of(ids, 1, "A100", variables) == expected


def test_a_share_of_a_gpu_is_a_class_of_its_own(machine: Path) -> None:
    add(machine, "0000:01:00.0", A100, "GPU-aaaa-1")
    assert kind_of(["0"], 1) == A100 == hardware.kind_here()
    assert kind_of(["0"], 0.5) == f"{A100} x 0.5"
    assert kind_of(["0"], 0.3333) == f"{A100} x 0.3333"
    assert kind_of(["0", "1"], 2) == f"{A100} x 2"
    assert kind_of(["MIG-11c29e81"], 1) == f"{A100} (MIG)"


def test_where_the_machine_does_not_name_them_ray_does(machine: Path) -> None:
    assert kind_of(["0"], 1, "MI300X") == "MI300X"
    assert kind_of(["0"], 0.25, "T4") == "T4 x 0.25"
    assert kind_of(["0"], 1, "") == hardware.kind_here(with_gpu=False)


@pytest.mark.parametrize(
    ("kind", "ray_type", "share", "expected"),
    [
        (A100, "A100", 1, True),
        (A100, "A100", 0.5, False),
        (f"{A100} x 0.5", "A100", 0.5, True),
        (f"{A100} x 0.5", "A100", 1, False),
        (T4, "T4", 1, True),
        (T4, "T", 1, False),
        ("NVIDIA RTX A6000", "RTX-A6000", 1, True),
        ("NVIDIA A10G", "A10", 1, False),
        ("MI300X", "MI300X", 1, True),
        ("AMD EPYC 7763", "A100", 1, False),
        ("", "A100", 1, False),
    ],
)
def test_ray_s_types_are_found_in_the_names_of_models(kind: str, ray_type: str, share: float, expected: bool) -> None:
    assert is_of_type(kind, ray_type, share) is expected
