"""GPUs as far as they can be looked at without one: which device stands for which, and who is asked when."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from flor_ray.environment import surroundings
from flor_ray.state import devices, memory, random_states, snapshots
from flor_ray.state.snapshots import Arena, Arenas, gather
from flor_ray.store.typed_values import Deferred, encode, waiting_bytes


@pytest.fixture(autouse=True)
def _nothing_is_remembered() -> Iterator[None]:
    devices.here.cache_clear()
    yield
    devices.here.cache_clear()


def test_a_recorded_device_stands_for_one_that_is_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 1)
    asked = ("cpu", "meta", "cuda", "cuda:0", "cuda:1", "cuda:5", "mps:0", "privateuseone:0")
    assert [devices.here(one) for one in asked] == [
        *("cpu", "meta", "cuda", "cuda:0", "cuda:1", "cuda:1"),
        *("cpu", "cpu"),
    ]


def test_without_a_gpu_all_is_put_on_the_cpu() -> None:
    assert [devices.here(one) for one in ("cuda:0", "xpu:1", "mps")] == ["cpu", "cpu", "cpu"]


def _never(*_: object) -> Any:
    raise AssertionError("CUDA was asked, and is initialised by that or useless in forks")


def test_cuda_is_not_asked_before_the_script_has_used_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("is_available", "device_count", "get_device_name", "get_rng_state_all", "synchronize"):
        monkeypatch.setattr(torch.cuda, name, _never)
    assert "cuda" not in random_states.global_state()
    assert "gpus" in surroundings.processors()
    snapshots.settle()


def test_generators_of_all_devices_are_put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    states = [torch.arange(4, dtype=torch.uint8), torch.arange(4, 8, dtype=torch.uint8)]
    put: list[torch.Tensor] = []
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)  # fewer than when it was recorded
    monkeypatch.setattr(torch.cuda, "get_rng_state_all", lambda: states)
    monkeypatch.setattr(torch.cuda, "set_rng_state_all", put.extend)
    random_states.set_global_state(random_states.global_state())
    assert [state.tolist() for state in put] == [[0, 1, 2, 3]]


def test_only_gpus_that_the_process_uses_are_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[int] = []
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    monkeypatch.setattr(torch._C, "_cuda_hasPrimaryContext", lambda index: index == 1, raising=False)
    monkeypatch.setattr(torch.cuda, "synchronize", waited.append)
    snapshots.settle()
    assert waited == [1]


# copies


class _Event:
    """Of a stream that takes its time: what is before it has been done once somebody waits."""

    def __init__(self, said: list[str], name: str) -> None:
        self._said, self._name = said, name

    def synchronize(self) -> None:
        self._said.append(f"host waits for {self._name}")

    def elapsed_time(self, other: _Event) -> float:
        return 250.0


class _Stream:
    def __init__(self, said: list[str], name: str) -> None:
        self._said, self._name, self._events = said, name, 0

    def wait_stream(self, other: _Stream) -> None:
        self._said.append(f"{self._name} waits for {other._name}")

    def wait_event(self, event: _Event) -> None:
        self._said.append(f"{self._name} waits for {event._name}")

    def record_event(self, event: object) -> _Event:
        self._events += 1
        return _Event(self._said, f"event {self._events}")

    def __enter__(self) -> None:
        self._said.append(f"on {self._name}")

    def __exit__(self, *_: object) -> None:
        self._said.append(f"off {self._name}")


class _OnGpu(torch.Tensor):
    """A tensor that says that it is on a GPU."""

    said: list[str] = []  # noqa: RUF012 - of the test that runs
    is_cuda = property(lambda self: True)
    device = property(lambda self: torch.device("cuda:0"))

    def record_stream(self, stream: Any) -> None:
        self.said.append(f"kept for {stream._name}")


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What streams are told, in its order."""
    lines: list[str] = []
    training, aside = _Stream(lines, "training"), _Stream(lines, "aside")
    on_device = SimpleNamespace(__enter__=None)
    monkeypatch.setattr(_OnGpu, "said", lines)
    monkeypatch.setattr(torch.cuda, "device", lambda device: _Stream([], "a device"))
    monkeypatch.setattr(torch.cuda, "current_stream", lambda: training)
    monkeypatch.setattr(torch.cuda, "stream", lambda stream: stream)
    monkeypatch.setattr(torch.cuda, "Event", lambda enable_timing: on_device)
    monkeypatch.setattr(snapshots, "_side_streams", {torch.device("cuda:0"): aside})
    monkeypatch.setattr(snapshots, "_memory", lambda size, pinned: np.empty(size, np.uint8))
    return lines


def test_copies_from_a_gpu_begin_after_what_is_queued_and_end_before_what_follows(said: list[str]) -> None:
    tensor = torch.arange(64.0).as_subclass(_OnGpu)
    [slot] = gather([tensor], Arenas(), [])
    assert said == [
        "aside waits for training",
        "on aside",
        "kept for aside",
        "off aside",
        "training waits for event 2",
    ]
    assert bytes(slot.data) == torch.arange(64.0).numpy().tobytes()
    assert said[-1] == "host waits for event 2"  # whoever reads the copy
    assert slot.arena.device_seconds() == 0.25
    assert slot.arena.device_seconds() == 0  # told once


def test_a_copy_that_is_given_up_is_waited_for_before_its_memory_is_used_again(said: list[str]) -> None:
    arenas = Arenas()
    slots = gather([torch.arange(64.0).as_subclass(_OnGpu)], arenas, [])
    said.clear()
    slots.clear()
    assert said == ["host waits for event 2"]


def test_where_no_memory_can_be_pinned_ordinary_memory_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(size: int, pinned: bool) -> Any:
        if pinned:
            raise RuntimeError("CUDA error: out of memory")
        return np.empty(size, np.uint8)

    monkeypatch.setattr(snapshots, "_memory", refused)
    arena: Arena = Arenas().get(100, pinned=True)
    assert len(arena.memory) == 100


def test_a_logged_tensor_on_its_way_counts_as_memory() -> None:
    assert waiting_bytes(Deferred(copy=torch.zeros(1000), copied=None)) == 4000
    assert waiting_bytes(encode(1.5)) == 0
    assert waiting_bytes(encode(b"x" * 300)) == 300


def test_addresses_of_other_devices_say_nothing_of_other_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    def on(kind: str, block: int, offset: int) -> Any:
        class Device:
            type = kind

            def __str__(self) -> str:
                return f"{kind}:0"

        return SimpleNamespace(
            device=Device(),
            data_ptr=lambda: block + offset,
            element_size=lambda: 4,
            numel=lambda: 1000,
            is_contiguous=lambda: True,
            untyped_storage=lambda: SimpleNamespace(data_ptr=lambda: block),
        )

    monkeypatch.setattr(memory, "is_torch", lambda value: True)
    for kind, groups in (("mps", [[0, 2], [1]]), ("cuda", [[0, 1, 2]])):
        spans = [memory.span_of(on(kind, block, offset)) for block, offset in ((4096, 0), (4224, 0), (4096, 64))]
        assert memory._overlapping(spans) == groups
