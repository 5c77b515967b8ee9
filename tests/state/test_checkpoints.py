"""Checkpoints: what is taken of a living script's state, and put back into it."""

from __future__ import annotations

import array
import collections
import copy
import functools
import io
import math
import random
import socket
import sys
import threading
import types
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np
import pytest
import torch
from torch import nn

from flor_ray.analysis.loops import LoopNames, loop_names
from flor_ray.errors import ReplayError, StoreError
from flor_ray.records import GRADIENTS
from flor_ray.state import selection
from flor_ray.state.checkpoints import Capturer, LoadedState
from flor_ray.state.fingerprint import checksum, fingerprint, hides, unchanged
from flor_ray.state.merge import Merger
from flor_ray.state.selection import Chooser, LoopFrame
from flor_ray.state.snapshots import Snapshot, SnapshotWriter
from flor_ray.store.files import Files
from flor_ray.store.objects import Objects

LINE = "for i in loop(x):\n"


def is_users(thing: Any) -> bool:
    name = thing.__name__ if isinstance(thing, types.ModuleType) else thing.__module__
    return name in (__name__, "script")


class Script:
    """A namespace that stands for a script's module, and a loop in it with this body."""

    def __init__(self, objects: Objects, body: str, listed: dict[str, Any] | None = None, **values: Any) -> None:
        self.values: dict[str, Any] = {"__name__": "script", "sys": sys, "torch": torch, **values}
        exec("frame = sys._getframe()", self.values)
        source = LINE + "".join(f"    {line}\n" for line in body.splitlines())
        self.names: LoopNames = loop_names(source, 1)
        self.scope = LoopFrame("main", self.values["frame"], self.names, only_live=True)
        self.objects = objects
        self.capturer = Capturer(Chooser(is_users), recording=False)
        self.capturer.add(listed or {})
        self.capturer.enter(self.scope)

    def run(self, code: str) -> None:
        exec(code, self.values)

    def take(self, with_gradients: bool = True) -> Snapshot:
        return self.capturer.take("main", with_gradients)

    def restore(self, snapshot: Snapshot) -> None:
        key = SnapshotWriter(self.objects).write(snapshot)
        self.capturer.restore(LoadedState.read(self.objects, key), "main")


@pytest.fixture
def script(tmp_path: Path) -> Callable[..., Script]:
    objects = Objects(Files(str(tmp_path / "store")))
    return functools.partial(Script, objects)


T = TypeVar("T")


class Box:
    """A class of the user's."""

    def __init__(self, **values: Any) -> None:
        vars(self).update(values)

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any: ...

        def __setattr__(self, name: str, value: Any) -> None: ...


def sets(*found: frozenset[str]) -> list[set[str]]:
    return [set(names) for names in found]


# values of variables


@pytest.mark.parametrize(
    "value",
    [1, 0.1, -0.0, math.inf, 2**70, "text", None, True, (1, [2]), [1, {"a": {1, 2}}], b"x", bytearray(b"x"), 1j],
    ids=repr,
)
def test_a_bound_variable_comes_back_equal_and_of_its_type(script: Callable[..., Script], value: Any) -> None:
    running = script("v = f(v)", v=copy.deepcopy(value), f=None)
    snapshot = running.take()
    running.values["v"] = "changed"
    running.restore(snapshot)
    assert (running.values["v"], type(running.values["v"])) == (value, type(value))
    assert sets(snapshot.captured, snapshot.uncaptured) == [{"v"}, set()]


def test_nan_comes_back(script: Callable[..., Script]) -> None:
    running = script("v = v + 1", v=math.nan)
    snapshot = running.take()
    running.run("v = 1")
    running.restore(snapshot)
    assert math.isnan(running.values["v"])


TENSORS = {
    "float": torch.randn(3, 4),
    "double": torch.randn(3, dtype=torch.float64),
    "bfloat16": torch.randn(300).bfloat16(),
    "half": torch.randn(5).half(),
    "int": torch.arange(5),
    "bool": torch.tensor([True, False]),
    "complex": torch.randn(2, dtype=torch.complex64),
    "0-dim": torch.tensor(3.5),
    "empty": torch.zeros(0, 3),
    "not contiguous": torch.arange(600.0).reshape(20, 30).t(),
    "leaf": torch.randn(3, requires_grad=True),
    "large": torch.randn(1000),
}


@pytest.mark.parametrize("name", TENSORS)
def test_a_tensor_comes_back_bit_for_bit_and_in_place(script: Callable[..., Script], name: str) -> None:
    value = TENSORS[name].detach().clone().requires_grad_(TENSORS[name].requires_grad)
    before = value.detach().clone()
    running = script("f(v)", v=value, alias=[value], f=None)
    snapshot = running.take()
    with torch.no_grad():
        value.copy_(torch.zeros_like(value))
    running.restore(snapshot)
    assert running.values["v"] is value
    assert torch.equal(value.detach(), before)
    assert (value.dtype, value.requires_grad, value.is_leaf) == (before.dtype, TENSORS[name].requires_grad, True)


def test_a_rebound_tensor_comes_back_as_a_new_one(script: Callable[..., Script]) -> None:
    running = script("v = v + 1", v=torch.zeros(2))
    running.run("v = v + 1")
    snapshot = running.take()
    running.run("v = None")
    running.restore(snapshot)
    assert torch.equal(running.values["v"], torch.ones(2))


def test_a_leafs_gradient_is_kept_unless_the_next_step_clears_it(script: Callable[..., Script]) -> None:
    w = torch.ones(2, requires_grad=True)
    running = script("f(w)", w=w, f=None)
    w.sum().backward()  # type: ignore[no-untyped-call]
    kept, without = running.take(), running.take(with_gradients=False)
    w.grad = None
    running.restore(kept)
    assert w.grad is not None
    assert w.grad.tolist() == [1, 1]
    running.restore(without)
    assert w.grad is None


def test_a_tensor_with_a_graph_behind_it_is_kept_without_and_reported(script: Callable[..., Script]) -> None:
    w = torch.ones(2, requires_grad=True)
    read = script("loss = f(w)\nprint(loss)", w=w, f=None)
    read.values["loss"] = w.sum()
    assert read.take().uncaptured == {GRADIENTS}
    carried = script("total = total + f(w)", w=w, f=None, total=0.0)
    carried.values["total"] = w.sum()
    assert carried.take().uncaptured == {"total"}


@pytest.mark.parametrize(
    "value",
    [np.arange(6.0).reshape(2, 3), np.arange(6)[::2], np.array(3), np.zeros((0, 2)), np.array(["a"]), np.ones(20_000)],
    ids=["matrix", "view", "0-dim", "empty", "text", "large"],
)
def test_an_array_changed_by_a_function_comes_back_in_place(script: Callable[..., Script], value: Any) -> None:
    running = script("f(v)", v=value, f=None)
    value[...] = np.roll(value, 1) * 2 if value.dtype.kind in "if" else value[::-1].copy()
    before, snapshot = value.copy(), running.take()
    value[...] = np.zeros_like(value)
    running.restore(snapshot)
    assert running.values["v"] is value
    assert value.tobytes() == before.tobytes()


def test_large_data_that_no_function_changes_costs_nothing(script: Callable[..., Script]) -> None:
    images, rows = torch.randn(300_000), [float(i) for i in range(300_000)]
    running = script("f(images, rows)", images=images, rows=rows, f=None)
    snapshot = running.take()
    assert snapshot.bytes < 60_000  # most of it are random states
    assert sets(snapshot.captured, snapshot.uncaptured) == [set(), set()]


def test_large_data_is_kept_once_it_has_changed_and_refused_where_it_cannot_be_put_back(
    script: Callable[..., Script],
) -> None:
    buffer = torch.zeros(100_000)
    running = script("f(buffer)", buffer=buffer, f=None)
    before = running.take()
    buffer.data.add_(1)  # leaves the version counter alone
    after = running.take()
    assert sets(before.captured, after.captured) == [set(), {"buffer"}]
    buffer.add_(1)
    running.restore(after)
    assert float(buffer.sum()) == 100_000
    with pytest.raises(StoreError, match="'buffer' has been changed by epochs that this process has replayed"):
        running.restore(before)


def test_what_is_too_large_to_keep_is_reported(script: Callable[..., Script], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selection, "_STATE_BYTES", 10_000)
    monkeypatch.setattr(selection, "_VARIABLE_BYTES", 10_000)
    running = script("v = v + 1", v=torch.zeros(5000))
    assert running.take().uncaptured == {"v"}


def test_a_large_average_that_a_function_updates_is_kept(script: Callable[..., Script]) -> None:
    average = Box(shadow={"w": torch.zeros(5 << 20)})  # 20 MB, in a class without state_dict
    running = script("average.update()", average=average)
    before = running.take()
    average.shadow["w"].add_(1)
    snapshot = running.take()
    average.shadow["w"].add_(1)
    running.restore(snapshot)
    assert sets(snapshot.captured, snapshot.uncaptured) == [{"average"}, set()]
    assert float(average.shadow["w"][0]) == 1
    with pytest.raises(StoreError, match=r"'Box.shadow' has been changed"):
        running.restore(before)


def test_a_writer_in_the_users_object_is_told_and_everything_else_is_kept(script: Callable[..., Script]) -> None:
    class Writer:
        __module__ = "library"

        def __init__(self) -> None:
            self.lock, self.written = threading.Lock(), 0

    writer = Writer()
    box = Box(n=1, writer=writer)
    running = script("box.step()\nwriter.add(1)", box=box, writer=writer)
    writer.written += 1
    snapshot = running.take()
    assert sets(snapshot.captured, snapshot.uncaptured, snapshot.opaque) == [{"box"}, set(), {"writer", "Box.writer"}]


@pytest.mark.parametrize(
    "make",
    [
        lambda: (n for n in range(3)),
        lambda: open(__file__),  # noqa: SIM115
        lambda: map(str, open(__file__)),  # noqa: SIM115
    ],
    ids=["generator", "file", "map over a file"],
)
def test_iterators_that_cannot_be_kept_are_reported_though_only_mentioned(
    script: Callable[..., Script], make: Callable[[], Any]
) -> None:
    value = make()
    assert script("f(v)", v=value, f=None).take().uncaptured == {"v"}


def test_iterators_that_can_be_kept_go_on_where_they_were(script: Callable[..., Script]) -> None:
    running = script("f(v)", v=iter([1, 2, 3, 4]), f=None)
    next(running.values["v"])
    snapshot = running.take()
    next(running.values["v"])
    running.restore(snapshot)
    assert list(running.values["v"]) == [2, 3, 4]


def test_what_is_called_and_cannot_be_kept_is_told_but_locks_that_are_only_passed_on_are_not(
    script: Callable[..., Script], tmp_path: Path
) -> None:
    with (tmp_path / "out.txt").open("w") as file:
        snapshot = script("file.write(x)\nf(lock)", file=file, lock=threading.Lock(), f=None, x="").take()
    assert sets(snapshot.opaque, snapshot.uncaptured) == [{"file"}, set()]


def test_a_bound_lambda_is_reported_and_a_function_with_a_name_comes_back(script: Callable[..., Script]) -> None:
    running = script("f = g(f)", f=math.sin, g=None)
    running.values["f"] = math.cos
    snapshot = running.take()
    running.values["f"] = None
    running.restore(snapshot)
    assert running.values["f"] is math.cos
    running.values["f"] = lambda: 1
    assert running.take().uncaptured == {"f"}


def test_a_variable_without_a_value_then_has_none_afterwards(script: Callable[..., Script]) -> None:
    running = script("a = 1\nif a: b = 1", n=0)
    snapshot = running.take()
    running.run("a = b = 2")
    running.restore(snapshot)
    assert not {"a", "b"} & running.values.keys()


# identity


def test_containers_are_filled_in_place_however_deep_so_that_aliases_see_it(script: Callable[..., Script]) -> None:
    inner, box = [1], Box(items=[1], seen={1})
    deque, counts = collections.deque([1], maxlen=3), collections.defaultdict(list, a=[1])
    state = {"inner": inner, "box": box, "tuple": (inner, {2}), "deque": deque, "counts": counts, "n": 1}
    running = script("f(state)", state=state, f=None)
    snapshot = running.take()
    inner.append(2)
    box.items.append(2)
    box.new = 1
    box.seen.clear()
    deque.extend([2, 3, 4])
    counts["b"].append(1)
    state["more"] = 1
    del state["n"]
    running.restore(snapshot)
    assert running.values["state"] is state
    assert state.keys() == {"inner", "box", "tuple", "deque", "counts", "n"}
    assert state["inner"] is inner is state["tuple"][0]
    assert (inner, vars(box), list(deque), dict(counts)) == ([1], {"items": [1], "seen": {1}}, [1], {"a": [1]})
    assert state["deque"] is deque


def test_two_names_for_one_object_stay_that_also_when_the_loop_makes_a_new_one(script: Callable[..., Script]) -> None:
    running = script("a = b = []\nf(holder)", a=None, b=None, holder={}, f=None)
    running.run("a = b = [1]; holder['it'] = a")
    snapshot = running.take()
    running.run("a, b, holder['it'] = 1, 2, 3")
    running.restore(snapshot)
    values = running.values
    assert values["a"] == [1]
    assert values["a"] is values["b"] is values["holder"]["it"]


def test_swapped_names_come_back_swapped(script: Callable[..., Script]) -> None:
    first, second = [1], [2]
    running = script("a, b = b, a", a=first, b=second)
    running.run("a, b = b, a")
    snapshot = running.take()
    running.run("a, b = [], []")
    first.append(9)
    running.restore(snapshot)
    assert (running.values["a"], running.values["b"]) == ([2], [1])


def test_a_merged_graph_keeps_cycles_and_leaves_immutable_values_alone() -> None:
    living: list[Any] = [0]
    living.append(living)
    saved = copy.deepcopy(living)
    saved[0] = (1, "a", frozenset({2}))
    merged = Merger().merge(living, saved)
    assert merged is living
    assert merged[1] is merged
    assert merged[0] == (1, "a", frozenset({2}))


# the user's objects


def test_a_users_object_is_kept_without_what_cannot_be_and_has_not_changed(script: Callable[..., Script]) -> None:
    lock, data = threading.Lock(), torch.randn(2_000_000 // 4)
    box = Box(n=1, lock=lock, data=data, file=io.StringIO("a\nb\n"))
    running = script("box.step()", box=box)
    snapshot = running.take()
    assert sets(snapshot.captured, snapshot.uncaptured, snapshot.opaque) == [{"box"}, set(), set()]
    box.n = 2
    box.file.readline()
    running.restore(snapshot)
    assert (box.n, box.lock, box.data, box.file.readline()) == (1, lock, data, "a\n")


def test_a_users_object_with_a_generator_in_it_is_reported(script: Callable[..., Script]) -> None:
    snapshot = script("box.step()", box=Box(n=1, source=(n for n in range(3)))).take()
    assert snapshot.uncaptured == {"Box.source"}


def test_a_loader_is_kept_with_its_generator_and_the_state_of_its_data_set(script: Callable[..., Script]) -> None:
    class Data(torch.utils.data.Dataset[float]):
        def __init__(self) -> None:
            self.large, self.random, self.calls = torch.randn(500_000), random.Random(1), 0

        def __len__(self) -> int:
            return 4

        def __getitem__(self, index: int) -> float:
            self.calls += 1
            return index + self.random.random()

    loader = torch.utils.data.DataLoader(Data(), shuffle=True, generator=torch.Generator().manual_seed(1))
    running = script("for s in loop(loader): f(s)", loader=loader, f=None)
    list(loader)
    snapshot = running.take()
    expected = [float(batch) for batch in loader]
    running.restore(snapshot)
    assert [float(batch) for batch in loader] == expected
    assert loader.dataset.calls == 8  # type: ignore[attr-defined]


def test_what_a_loader_holds_of_a_loop_over_it_that_has_ended_is_no_state(script: Callable[..., Script]) -> None:
    class Ahead(torch.utils.data.DataLoader[float]):
        """As those of Ray Train and of accelerate."""

        running: Any = None

        def __iter__(self) -> Any:
            self.running = super().__iter__()
            yield from self.running

    loader = Ahead([1.0, 2.0, 3.0])  # type: ignore[arg-type]
    running = script("for s in loop(loader): f(s)", loader=loader, f=None)
    list(loader)
    snapshot = running.take()
    assert not snapshot.uncaptured | snapshot.opaque
    running.restore(snapshot)
    assert len(list(loader)) == 3
    next(iter(loader))  # of this loop something is left
    (name,) = running.take().uncaptured
    assert name.endswith("Ahead.running")


# what functions reach


def test_globals_closures_defaults_attributes_and_classes_behind_functions_are_kept(
    script: Callable[..., Script],
) -> None:
    running = script("f()")
    running.run(
        """
history, count, constant = [], 0, 5
class Meter:
    total = 0
def make():
    n = 0
    def bump():
        nonlocal n
        n += 1
        return n
    return bump
bump = make()
def g(x, cache=[]):
    cache.append(x)
    return len(cache)
def f():
    global count
    count += 1
    history.append(count)
    Meter.total += constant
    f.calls = getattr(f, "calls", 0) + 1
    return [count, len(history), Meter.total, f.calls, bump(), g(1)]
"""
    )
    running.capturer.enter(running.scope)
    f = running.values["f"]
    assert f() == [1, 1, 5, 1, 1, 1]
    snapshot = running.take()
    expected = f()
    for _ in range(3):
        f()
    running.restore(snapshot)
    assert f() == expected == [2, 2, 10, 2, 2, 2]
    assert snapshot.uncaptured == frozenset()


# objects with a state of their own


def network() -> nn.Sequential:
    return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 1))


def bits(*modules: nn.Module) -> list[bytes]:
    return [tensor.numpy().tobytes() for module in modules for tensor in module.state_dict().values()]


def test_model_optimizer_scheduler_scaler_and_average_go_on_as_they_were(script: Callable[..., Script]) -> None:
    class Scaler:
        def __init__(self) -> None:
            self.scale = 2.0

        def state_dict(self) -> dict[str, float]:
            return {"scale": self.scale}

        def load_state_dict(self, state: dict[str, float]) -> None:
            self.scale = state["scale"]

    net = network()
    ema, optimizer, scaler = copy.deepcopy(net), torch.optim.Adam(net.parameters(), lr=0.1), Scaler()
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 1, 0.5)
    running = script(
        "opt.step(); sched.step(); scaler.update(); f(ema)",
        {"net": net, "optimizer": optimizer},
        net=net, ema=ema, opt=optimizer, sched=scheduler, scaler=scaler, f=None,
    )  # fmt: skip

    def step() -> list[Any]:
        optimizer.zero_grad()
        (net(torch.randn(6, 4)) ** 2).mean().backward()
        optimizer.step()
        scheduler.step()
        scaler.scale *= 2
        with torch.no_grad():
            for average, parameter in zip(ema.parameters(), net.parameters(), strict=True):
                average.mul_(0.9).add_(parameter, alpha=0.1)
        return [*bits(net, ema), scheduler.get_last_lr(), scaler.scale]

    step()
    net.eval()
    net[0].requires_grad_(False)
    snapshot = running.take()
    assert snapshot.captured >= {"net", "optimizer", "ema", "sched", "scaler"}
    expected = [step(), step()]
    net.train()
    net[0].requires_grad_(True)
    running.restore(snapshot)
    assert [module.training for module in net.modules()] == [False] * 6
    assert [parameter.requires_grad for parameter in net[0].parameters()] == [False, False]
    assert [step(), step()] == expected


def test_tied_weights_stay_tied_and_gradients_come_back(script: Callable[..., Script]) -> None:
    net = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    net[1].weight = net[0].weight
    running = script("net(x)", net=net, x=0)
    net(torch.ones(1, 3)).sum().backward()
    before = [parameter.grad.clone() for parameter in net.parameters() if parameter.grad is not None]
    kept, without = running.take(), running.take(with_gradients=False)
    assert sets(kept.uncaptured, without.uncaptured) == [set(), {GRADIENTS}]
    net.zero_grad()
    running.restore(kept)
    assert net[1].weight is net[0].weight
    assert all(torch.equal(p.grad, g) for p, g in zip(net.parameters(), before, strict=True) if p.grad is not None)
    running.restore(without)
    assert [parameter.grad for parameter in net.parameters()] == [None] * 3


def test_parameters_that_only_an_optimizer_holds_are_kept_with_it(script: Callable[..., Script]) -> None:
    w = nn.Parameter(torch.ones(3))
    optimizer = torch.optim.SGD([w], lr=0.1)
    group = optimizer.param_groups[0]
    running = script("opt.step()", opt=optimizer)
    snapshot = running.take()
    with torch.no_grad():
        w.zero_()
    group["lr"] = 5.0
    running.restore(snapshot)
    assert w.tolist() == [1, 1, 1]
    assert optimizer.param_groups[0] is group
    assert group["lr"] == 0.1


def test_attributes_and_lasting_buffers_that_a_modules_state_dict_does_not_know_are_kept(
    script: Callable[..., Script],
) -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.drop, self.calls, self.seen = nn.Dropout(0.5), 0, [1]
            self.register_buffer("hidden", torch.zeros(2), persistent=False)

    net: Any = Net()
    running = script("net(x)", net=net, x=0)
    net.drop.p = 0.4
    net.calls = 3
    snapshot = running.take()
    net.drop.p, net.calls = 0.1, 9
    net.seen.append(2)
    net.hidden += 1
    net.late = 1
    running.restore(snapshot)
    assert (net.drop.p, net.calls, net.seen, net.hidden.tolist()) == (0.4, 3, [1], [0, 0])
    assert not hasattr(net, "late")


def test_a_model_made_in_the_loop_is_kept_whole_and_a_replaced_optimizer_keeps_its_parameters(
    script: Callable[..., Script],
) -> None:
    net = nn.Linear(2, 1)
    running = script(
        "best = copy(net)\nopt = new(opt)", {"net": net}, net=net, best=None, opt=torch.optim.SGD(net.parameters(), 0.1)
    )
    running.values["best"] = copy.deepcopy(net)
    running.values["opt"] = torch.optim.Adam(net.parameters())
    expected, snapshot = bits(running.values["best"]), running.take()
    running.values["best"] = running.values["opt"] = None
    running.restore(snapshot)
    assert bits(running.values["best"]) == expected
    assert type(running.values["opt"]) is torch.optim.Adam
    assert running.values["opt"].param_groups[0]["params"][0] is net.weight


def test_listed_objects_without_state_dict_are_put_back_in_place_or_refused(script: Callable[..., Script]) -> None:
    box, pair = Box(n=1), {"deep": [1]}
    running = script("f()", {"box": box, "0": pair}, f=None)
    snapshot = running.take()
    box.n = 2
    pair["deep"].append(2)
    running.restore(snapshot)
    assert (box.n, pair) == (1, {"deep": [1]})


def test_a_listed_object_that_is_not_there_any_more_is_one_clear_error(script: Callable[..., Script]) -> None:
    net = nn.Linear(1, 1)
    snapshot = script("f(net)", {"model": net}, net=net, f=None).take()
    with pytest.raises(ReplayError, match="The checkpoint holds 'model', which this version does not have"):
        script("f(net)", net=net, f=None).restore(snapshot)


def test_random_generators_are_put_back_wherever_they_are(script: Callable[..., Script]) -> None:
    box, numpy_generator = Box(rng=random.Random(1)), np.random.default_rng(1)
    running = script("f(box, g)", box=box, g=numpy_generator, f=None)

    def draw() -> list[float]:
        return [box.rng.random(), numpy_generator.normal(), random.random(), np.random.rand(), float(torch.rand(()))]

    draw()
    snapshot = running.take()
    expected = draw()
    running.restore(snapshot)
    assert draw() == expected


# the store


def test_what_did_not_change_costs_nothing_twice(script: Callable[..., Script], tmp_path: Path) -> None:
    net = nn.Linear(100, 100)
    running = script("f(net)", net=net, f=None)

    def stored() -> int:
        return sum(path.stat().st_size for path in (tmp_path / "store").rglob("*") if path.is_file())

    writer = SnapshotWriter(running.objects)
    snapshot = running.take()
    writer.write(snapshot)
    first = stored()
    writer.write(running.take())
    assert snapshot.bytes > 40_000
    assert stored() == first
    random.random()
    writer.write(running.take())
    assert stored() - first < 6_000  # the weights are there already, and so are the other generators
    SnapshotWriter(running.objects).write(snapshot)  # another run
    assert stored() - first < 6_000


def test_a_copy_is_taken_at_once(script: Callable[..., Script]) -> None:
    values, tensor = [1], torch.zeros(2000)
    running = script("values.append(1); tensor.add_(1)", values=values, tensor=tensor)
    snapshot = running.take()
    values.append(2)
    tensor.add_(1)
    running.restore(snapshot)
    assert (values, float(tensor.sum())) == ([1], 0.0)


class Slotted:
    __slots__ = ("n",)

    def __init__(self, n: int) -> None:
        self.n = n


class Holding(Generic[T]):
    """Of a base that is made in C from Python 3.12 on, and with what cannot be pickled."""

    def __init__(self, n: T) -> None:
        self.n, self.lock = n, threading.Lock()


@pytest.mark.parametrize(
    ("value", "change"),
    [
        ([1, [2]], lambda v: v[1].append(3)),
        ({"a": 1}, lambda v: v.update(a=2)),
        (Box(n=1), lambda v: setattr(v, "n", 2)),
        (torch.zeros(5), lambda v: v.add_(1)),
        (torch.zeros(5), lambda v: v.data.add_(1)),
        (np.zeros(5), lambda v: v.__setitem__(0, 1)),
        (bytearray(b"a"), lambda v: v.append(1)),
        ((n for n in range(9)), next),
        (["a" * 300 + "b"], lambda v: v.__setitem__(0, "a" * 300 + "c")),
        ([0.0] * 200_000, lambda v: v.__setitem__(50_000, 20.0)),
        ([lambda: 0, *range(30_000)], lambda v: v.__setitem__(25_000, 20.0)),
        ({n: [n] for n in range(30_000)}, lambda v: v[29_000].append(1)),
        ([threading.Lock(), [0] * 30_000], lambda v: v[1].__setitem__(25_000, 1)),
        ([threading.Lock()] * 2000 + [[0]], lambda v: v[-1].append(1)),
        (collections.deque([1, 2], 2), lambda v: v.append(3)),
        (Box(held=collections.deque([[1], [2]])), lambda v: v.held[1].append(3)),
        (array.array("i", [1, 2]), lambda v: v.append(3)),
        (io.BytesIO(b"ab"), lambda v: v.write(b"c")),
        (random.Random(0), lambda v: v.random()),
        (np.random.default_rng(0), lambda v: v.random()),
        ([torch.Generator()], lambda v: torch.rand(1, generator=v[0])),
        (np.zeros(5_000_000), lambda v: v.__setitem__(1234, 1)),
        (torch.zeros(5_000_000), lambda v: v.data.__setitem__(1234, 1)),
        (np.array([[1], None, "a"] * 10_000, object), lambda v: v.__setitem__(29_999, 1)),
        (torch.eye(3).to_sparse(), lambda v: v.values().add_(1)),
        (Slotted(1), lambda v: setattr(v, "n", 2)),
        (Holding(1), lambda v: setattr(v, "n", 2)),
    ],
    ids=[
        *("nested list", "dict", "object", "tensor", "tensor.data", "array", "bytearray", "generator", "long text"),
        *("long list", "long list with code", "long dict", "beside a lock", "list that cannot be pickled", "deque"),
        *("deque in an object", "array.array", "buffer", "random.Random", "numpy's generator", "torch's generator"),
        *("large array", "large tensor.data", "array of objects", "sparse tensor", "slots", "generic class"),
    ],
)
def test_a_fingerprint_tells_that_a_value_has_changed(value: Any, change: Callable[[Any], Any]) -> None:
    before = fingerprint(value)
    assert fingerprint(value) == before
    change(value)
    assert fingerprint(value) != before


def test_what_nobody_can_look_at_may_have_changed() -> None:
    value = [[threading.Lock()] for _ in range(150_000)]
    assert fingerprint(value) == ""
    assert not unchanged(value, "")


@pytest.mark.parametrize("hold", [lambda thing: thing, lambda thing: [{"a": thing}], lambda thing: Box(thing=thing)])
def test_a_fingerprint_says_what_it_could_not_look_into(hold: Callable[[Any], Any]) -> None:
    near, far = socket.socketpair()
    with near, far:
        value = hold(near)
        before = fingerprint(value)
        far.send(b"x")
        near.recv(1)
        assert unchanged(value, before)
        assert hides(before)
    assert not any(hides(fingerprint(hold(thing))) for thing in (threading.Lock(), math.sin, 3, {"a": [None]}))


def test_what_nobody_can_look_into_is_named_though_it_is_only_passed_on(
    script: Callable[..., Script], tmp_path: Path
) -> None:
    near, far = socket.socketpair()
    with near, far:
        snapshot = script("f(near)\nf(both)\nf(box)", near=near, both=[near, far], box=Box(far=far, n=1), f=None).take()
    assert sets(snapshot.opaque, snapshot.uncaptured) == [{"near", "both", "Box.far"}, set()]


@functools.lru_cache(maxsize=4)
def _cached(number: int) -> list[int]:
    return [number]


def test_what_a_cached_function_has_come_to_remember_is_named(script: Callable[..., Script]) -> None:
    _cached.cache_clear()
    _cached(1)
    _cached(2)
    running = script("f(1)", f=_cached)
    _cached(1)
    assert running.take().opaque == frozenset()
    _cached(1).append(3)
    assert running.take().opaque == {"f"}
    _cached(1).pop()
    assert running.take().opaque == frozenset()
    _cached(3)
    assert running.take().opaque == {"f"}


def test_a_checksum_tells_words_that_changed_or_changed_places() -> None:
    words = torch.arange(2_500_000)
    before = checksum(words)
    assert checksum(words.clone()) == before
    for places in ([0, 1], [5, 2_400_000], [2_499_998, 2_499_999]):
        swapped = words.clone()
        swapped[places] = swapped[places[::-1]]
        assert checksum(swapped) != before
        flipped = words.clone()
        flipped[places[0]] ^= -(2**63)
        assert checksum(flipped) != before


class Anything:
    """Like a mock or a proxy: it has whatever attribute is asked for, and calling that fails."""

    def __getattr__(self, name: str) -> Callable[..., object]:
        if name.startswith("__"):
            raise AttributeError(name)
        return lambda *arguments: 1 / 0


def test_an_object_with_any_attribute_is_not_taken_for_one_with_a_state(script: Callable[..., Script]) -> None:
    running = script("proxy.call(x)", proxy=Anything(), x=[1])
    running.values["x"].append(2)
    snapshot = running.take()
    running.values["x"].clear()
    running.restore(snapshot)
    assert running.values["x"] == [1, 2]


def test_weak_references_come_back_to_what_a_replay_finds(script: Callable[..., Script]) -> None:
    box, gone = Box(n=1), weakref.ref(Box())
    made = script("watch.append(f(box))", box=box, watch=[])
    made.values["watch"] += [weakref.ref(box), gone]
    snapshot = made.take()
    assert snapshot.uncaptured == frozenset()
    made.run("watch.clear()\nbox.n = 2")
    made.restore(snapshot)
    alive, dead = made.values["watch"]
    assert (alive() is box, box.n, dead()) == (True, 1, None)


def test_a_weak_reference_to_what_only_the_loop_has_made_cannot_be_kept(script: Callable[..., Script]) -> None:
    made = script("watch.append(f(x))", watch=[])
    lone = Box()
    made.values["watch"].append(weakref.ref(lone))
    assert made.take().uncaptured == {"watch"}
