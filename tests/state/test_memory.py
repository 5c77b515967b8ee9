"""What shares memory when it is kept shares it when it is put back, and nobody else's memory is written into."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from flor_ray.state.memory import lies_as, span_of
from flor_ray.state.pickling import Findable, LoadedState, StatePickler
from flor_ray.state.snapshots import Arenas, gather

NUMPY = np.arange(600, dtype=np.float64)
TORCH = torch.arange(600, dtype=torch.float64)
VIEWS: dict[str, Callable[[Any], Any]] = {
    "all": lambda base: base,
    "row": lambda base: base.reshape(20, 30)[7],
    "rows": lambda base: base.reshape(20, 30)[3:9],
    "column": lambda base: base.reshape(20, 30)[:, 4],
    "transposed": lambda base: base.reshape(20, 30).T,
    "steps": lambda base: base[5:500:7],
    "tail": lambda base: base[590:],
    "one": lambda base: base[3:4].reshape(()),
    "none": lambda base: base[5:5],
    "other dtype": lambda base: base.view(torch.int32 if isinstance(base, torch.Tensor) else np.int32)[10:40],
}
TORCH_VIEWS = VIEWS | {
    "expanded": lambda base: base[8:12].unsqueeze(0).expand(50, 4),
    "windows": lambda base: base[:40].unfold(0, 8, 1),
    "as an array": lambda base: base.numpy()[20:60],
}
NUMPY_VIEWS = VIEWS | {
    "reversed": lambda base: base[::-1],
    "corner, reversed": lambda base: base.reshape(20, 30)[10:2:-2, ::-3],
    "read-only": lambda base: np.broadcast_to(base[2:5], (7, 3)),
    "as a tensor": lambda base: torch.from_numpy(base)[20:60],
}
VIEWS_OF = {"torch": TORCH_VIEWS, "numpy": NUMPY_VIEWS}


def kept(values: Any, known: dict[Any, Any]) -> LoadedState:
    pickler = StatePickler(Findable(), {}, with_gradients=True)
    pickler.dump(values)
    skeleton = pickler.close(known)
    slots = gather(pickler.sources, Arenas(), [])
    return LoadedState(skeleton, [bytes(slot.data) for slot in slots], tuple(pickler.buffers))


def base_of(library: str) -> Any:
    return TORCH.clone() if library == "torch" else NUMPY.copy()


def same(left: Any, right: Any) -> bool:
    return np.asarray(left).tobytes() == np.asarray(right).tobytes() and left.dtype == right.dtype


chosen = st.sampled_from(sorted(VIEWS_OF)).flatmap(
    lambda library: st.tuples(
        st.just(library), st.lists(st.sampled_from(sorted(VIEWS_OF[library])), min_size=1, max_size=5)
    )
)


@given(chosen)
def test_views_are_rebuilt_with_what_they_share(case: tuple[str, list[str]]) -> None:
    library, names = case
    base = base_of(library)
    views = [VIEWS_OF[library][name](base) for name in names]
    restored: Any = kept(views, {}).body(lambda reference: None)
    for old, new in zip(views, restored, strict=True):
        assert type(old) is type(new) and old.shape == new.shape and same(old, new)  # noqa: PT018
        assert not isinstance(old, np.ndarray) or old.flags.writeable == new.flags.writeable
        if span_of(old) is not None:
            assert steps(old) == steps(new)
    for i, left in enumerate(views):
        for j, right in enumerate(views[:i]):
            spans = [span_of(value) for value in (left, right, restored[i], restored[j])]
            a, b, c, d = spans
            if a is not None and b is not None and c is not None and d is not None and overlap(a, b):
                assert c.first - d.first == a.first - b.first


def steps(value: Any) -> Any:
    steps = value.stride() if isinstance(value, torch.Tensor) else value.strides
    return [step for step, size in zip(steps, value.shape, strict=True) if size > 1]


def overlap(a: Any, b: Any) -> bool:
    return bool(a.begin < b.end and b.begin < a.end)


@given(chosen)
def test_views_of_what_is_known_are_rebuilt_on_it(case: tuple[str, list[str]]) -> None:
    library, names = case
    base, here = base_of(library), base_of(library)
    state = kept([VIEWS_OF[library][name](base) for name in names], {("base",): base})
    here *= -1
    restored: Any = state.body(lambda reference: None, state.arrays(lambda key: here))
    for name, new in zip(names, restored, strict=True):
        there = VIEWS_OF[library][name](here)
        assert span_of(new) is None or lies_as(new, there)
        assert same(there, VIEWS_OF[library][name](base))
    before = max((span.end for new in restored if (span := span_of(new)) is not None), default=0)
    begin = span_of(here)
    assert begin is not None
    rest = here[max(0, before - begin.begin) // 8 + 1 :]
    assert same(rest, (base * -1)[600 - len(rest) :])


@pytest.mark.parametrize("library", ["torch", "numpy"])
def test_what_is_not_known_is_written_nowhere(library: str) -> None:
    base = base_of(library)
    state = kept({"row": base[3:9]}, {})
    base *= 0
    state.body(lambda reference: None)
    assert not np.asarray(base).any()


def test_memory_that_is_no_longer_as_it_was_is_not_written_into() -> None:
    base = TORCH.clone()
    state = kept([base], {("base",): base})
    for here in (TORCH.float(), TORCH[:10].clone(), torch.zeros(300, 2, dtype=torch.float64)):
        before = here.clone()
        (restored,) = state.body(lambda reference: None, state.arrays(lambda key, here=here: here))  # type: ignore[misc]
        assert same(restored, base)
        assert torch.equal(here, before)


def test_a_gradient_is_the_one_that_others_hold() -> None:
    weight = torch.ones(400, requires_grad=True)
    weight.grad = torch.arange(400.0)
    held = {"weight": weight, "grad": weight.grad, "again": weight, "part": weight.grad[:3]}
    restored = kept(held, {}).body(lambda reference: None)
    assert restored["grad"] is restored["weight"].grad
    assert restored["again"] is restored["weight"]
    restored["part"].fill_(7.0)
    assert restored["weight"].grad[:4].tolist() == [7.0, 7.0, 7.0, 3.0]


def test_far_parts_of_what_is_known_do_not_keep_what_is_between_them() -> None:
    base = torch.zeros(100_000)
    columns = base.view(1000, 100)
    state = kept([columns[:, 0], columns[:, 1], base[5:9], base[99_000:]], {("base",): base})
    assert sum(map(len, state.parts)) <= 3 * 4000


def test_memory_that_cannot_be_written_is_left_if_it_is_as_it_was() -> None:
    base = np.frombuffer(bytes(range(200)) * 10, np.uint8)
    state = kept({"all": base, "part": base[5:900]}, {("base",): base})
    restored: Any = state.body(lambda reference: None, state.arrays(lambda key: base))
    assert lies_as(restored["part"], base[5:900])
