"""In this process: snapshots, logged tensors, generators and the guard of statements, on a device.

Each check returns figures, and under "wrong" what was not as it should be. With the CPU as device the same code runs,
and streams are left out.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from statistics import median
from typing import Any

import torch
from torch import nn

from flor_ray.records import Value
from flor_ray.replaying.guard import Observer
from flor_ray.state import random_states, snapshots
from flor_ray.state.laying import LaidArrays
from flor_ray.state.memory import ArrayTable
from flor_ray.state.snapshots import Arenas, ArenaSlot, Snapshot
from flor_ray.store import typed_values

Figures = dict[str, Any]
_CYCLES = 200_000_000  # of a GPU's clock, for which a kernel of a test runs: a tenth of a second
_NOTHING: frozenset[str] = frozenset()


def tensors(device: str, scale: int) -> dict[str, torch.Tensor]:
    """Tensors of every kind of memory and type that scripts train with."""
    base = torch.randn(64, 3 * scale, 8, 8, device=device)
    shared = torch.randn(1000 * scale, device=device)
    kinds = {
        "contiguous": torch.randn(1000, 250 * scale, device=device),
        "channels last": base.to(memory_format=torch.channels_last),
        "transposed": base.permute(1, 0, 3, 2),
        "every second": shared[::2],
        "a view of the same memory": shared[10:500],
        "expanded": torch.randn(1, 64, device=device).expand(32, 64),
        "of no dimension": torch.tensor(3.5, device=device),
        "empty": torch.empty(0, 4, device=device),
        "bfloat16": torch.randn(1001, device=device).bfloat16(),
        "half": torch.randn(1001, device=device).half(),
        "bool": torch.rand(1001, device=device) > 0.5,
        "int8, not aligned": torch.arange(100, device=device, dtype=torch.int8)[3:],
        "complex, conjugated": torch.randn(300, device=device, dtype=torch.complex64).conj(),
        "a parameter": nn.Parameter(torch.randn(128, 128, device=device)),
    }
    if hasattr(torch, "float8_e4m3fn"):
        kinds["float8"] = torch.randn(512, device=device).to(torch.float8_e4m3fn)
    return kinds


def snapshot(device: str, scale: int) -> Figures:
    """Copies are what tensors were, although the script changes and frees them at once, on streams of its own too."""
    wrong: list[str] = []
    ways: dict[str, Callable[[], contextlib.AbstractContextManager[Any]]] = {"the usual stream": contextlib.nullcontext}
    if device != "cpu":
        ways["a stream of the script's"] = lambda: torch.cuda.stream(torch.cuda.Stream())  # type: ignore[no-untyped-call]
    arenas = Arenas()
    for words, way in ways.items():
        for _ in range(3):
            with way():
                wrong += [f"{name}, {words}" for name in _changed_at_once(device, scale, arenas)]
    if device != "cpu" and not _sees_other_streams():
        wrong.append("what was queued on another stream")
    return {"wrong": wrong, "kinds": len(tensors(device, 1)), **_speed(device, scale, arenas)}


def _changed_at_once(device: str, scale: int, arenas: Arenas) -> list[str]:
    kept = tensors(device, scale)
    before = {name: _bits(tensor) for name, tensor in kept.items()}
    table = ArrayTable(with_gradients=False)
    indices = {name: table.add(tensor) for name, tensor in kept.items()}
    _busy(device)
    for tensor in kept.values():
        if not tensor.is_conj() and 0 not in tensor.stride() and tensor.dtype.is_floating_point and tensor.itemsize > 1:
            tensor.data.mul_(1)  # queued behind what keeps the device busy: a copy that does not wait comes too early
    snapshots.settle()
    table_of, sources = table.close({}, 0)
    slots = snapshots.gather(sources, arenas, [])
    for tensor in kept.values():
        if tensor.numel() and 0 not in tensor.stride():
            tensor.data.zero_()
    shapes = [(tensor.shape, tensor.dtype) for tensor in kept.values()]
    kept.clear()
    del tensor, sources
    for shape, dtype in shapes:  # the allocator may hand out their memory again
        torch.empty(shape, dtype=dtype, device=device).zero_()
    forms, blocks = table_of
    laid = LaidArrays(forms, blocks, [bytes(slot.data) for slot in slots])  # as a replay would lay them
    return [name for name, index in indices.items() if _bits(laid.array(index)) != before[name]]


def _bits(tensor: torch.Tensor) -> bytes:
    plain = tensor.detach().resolve_conj().cpu().contiguous().reshape(-1)
    return plain.view(torch.uint8).numpy().tobytes() if plain.numel() else b""


def _busy(device: str) -> None:
    if device != "cpu":
        torch.cuda._sleep(_CYCLES)  # type: ignore[no-untyped-call]


def _sees_other_streams() -> bool:
    """Whether a batch that a prefetcher is still copying goes into a snapshot as it will be."""
    batch, other = torch.zeros(1 << 20, device="cuda"), torch.cuda.Stream()  # type: ignore[no-untyped-call]
    other.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(other):
        torch.cuda._sleep(_CYCLES)  # type: ignore[no-untyped-call]
        batch.fill_(7)
    snapshots.settle()
    [slot] = snapshots.gather([batch], Arenas(), [])
    return bool((torch.frombuffer(bytearray(slot.data), dtype=torch.float32) == 7).all())


def _speed(device: str, scale: int, arenas: Arenas) -> Figures:
    """A state of optimizer and model, copied twenty times."""
    state = [torch.randn(1 << 20, device=device) for _ in range(12 * scale)]
    size = sum(tensor.nbytes for tensor in state)
    held, copied, memory = [], [], set()
    for _ in range(20):
        state[0].add_(1)
        _wait(device)
        started = time.perf_counter()
        slots = snapshots.gather(state, arenas, [])
        held.append(time.perf_counter() - started)
        copied.append(_snapshot_of(slots).device_seconds() or held[-1])
        memory.add(slots[0].arena.memory.ctypes.data)
        del slots
    return {
        "MB": round(size / 1e6),
        "host held up ms": round(1000 * median(held), 3),
        "device held up ms": round(1000 * median(copied), 3),
        "GB per second": round(size / median(copied) / 1e9, 1),
        "blocks of pinned memory": len(memory),
    }


def _snapshot_of(slots: list[ArenaSlot]) -> Snapshot:
    return Snapshot(b"", slots, (), _NOTHING, _NOTHING, _NOTHING, 0.0, False)


def _wait(device: str) -> None:
    if device != "cpu":
        torch.cuda.synchronize()


def deferred(device: str, scale: int) -> Figures:
    """Logged tensors are what they were when they were logged, and the script does not wait for them."""
    wrong, values = [], []
    counter = torch.zeros((), device=device)
    _busy(device)
    started = time.perf_counter()
    for _ in range(1000):
        counter += 1
        values.append(typed_values.encode_later(counter if device != "cpu" else counter.clone()))
    seconds = (time.perf_counter() - started) / 1000
    kinds = list(tensors(device, scale).items())
    logged = [(name, tensor.dtype, _bits(tensor), typed_values.encode_later(tensor)) for name, tensor in kinds]
    for _, tensor in kinds:
        if 0 not in tensor.stride():
            tensor.data.zero_()
    for name, dtype, bits, value in logged:
        found = _decoded(value)
        if _bits(torch.as_tensor(found).to(dtype)) != bits:  # numpy has no bfloat16: it is kept as float32
            wrong.append(name)
    numbers = [_decoded(value) for value in values]
    wrong += ["numbers"] if [float(n) for n in numbers] != [float(n) for n in range(1, 1001)] else []
    return {"wrong": wrong, "us per logged number": round(1e6 * seconds, 1)}


def _decoded(value: Value) -> Any:
    settled = value.arrived() if isinstance(value, typed_values.Deferred) else value
    return typed_values.decode(settled, lambda key: b"", pickles=True)  # nothing has been put into a store


def generators(device: str, scale: int) -> Figures:
    """Random states of every device are put back."""
    places = [device] if device == "cpu" else [f"cuda:{index}" for index in range(torch.cuda.device_count())]
    own = torch.Generator(places[-1])
    for place in places:
        torch.rand(3, device=place)
    state, mine = random_states.global_state(), random_states.state_of(own)

    def drawn() -> list[list[float]]:
        fixed = [torch.rand(3, device=place, generator=own).tolist() for place in places[-1:]]
        return [torch.randn(3, device=place).tolist() for place in places] + fixed

    first = drawn()
    random_states.set_global_state(state)
    random_states.put_state(own, mine)
    return {"wrong": [] if drawn() == first else ["what is drawn after a state was put back"], "devices": len(places)}


def observer(device: str, scale: int) -> Figures:
    """A statement that trains, draws and switches modes leaves no trace."""
    net = nn.Sequential(nn.Linear(64, 64), nn.BatchNorm1d(64), nn.Dropout(0.5), nn.Linear(64, 4)).to(device)
    optimizer = torch.optim.AdamW(net.parameters(), lr=0.1)
    batch = torch.randn(32, 64, device=device)
    net(batch).sum().backward()
    optimizer.step()
    known = {"net": net, "optimizer": optimizer}
    told: list[str] = []
    before, seconds = _state(known), []
    for _ in range(20):
        started = time.perf_counter()
        with Observer(lambda: known, dict, told.append).observe("net", "optimizer", "batch"):
            began = time.perf_counter()
            net.eval()
            net.train()
            net(batch).sum().backward()
            optimizer.step()
            torch.randn(5, device=device)
            inside = time.perf_counter() - began
        _wait(device)
        seconds.append(time.perf_counter() - started - inside)
    after = _state(known)
    wrong = [name for name in before if before[name] != after[name]] + told
    return {"wrong": wrong, "ms per statement": round(1000 * median(seconds), 2)}


def _state(known: Mapping[str, Any]) -> dict[str, object]:
    net, optimizer = known["net"], known["optimizer"]
    found: dict[str, object] = {name: _bits(tensor) for name, tensor in net.state_dict().items()}
    found |= {f"gradient of {name}": _bits(p.grad) for name, p in net.named_parameters()}
    for index, held in enumerate(optimizer.state.values()):
        found |= {f"{name} of {index}": _bits(tensor) for name, tensor in held.items()}
    return found | {f"rng {name}": repr(state) for name, state in random_states.global_state().items()}


def checks() -> Iterator[tuple[str, Callable[[str, int], Figures]]]:
    """All of these, by name."""
    yield from (("snapshots", snapshot), ("deferred values", deferred), ("generators", generators))
    yield "observer", observer
