"""How far iterators have come, without moving them."""

from __future__ import annotations

import collections
import itertools
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from flor_ray.state.comparing import first_difference, position


def numbers() -> Iterator[int]:
    yield from range(9)
    yield 10


ITERATORS: list[Callable[[], Iterator[Any]]] = [
    numbers,
    lambda: iter([1, 2, 3]),
    lambda: iter({1: 2, 3: 4}.items()),
    lambda: iter(range(3)),
    lambda: reversed([1, 2]),
    lambda: enumerate([1, 2]),
    lambda: zip(range(3), [1, 2], strict=False),
    lambda: map(abs, [1, 2]),
    lambda: filter(None, [1, 2]),
    lambda: itertools.count(3),
    lambda: itertools.repeat(3, 4),
    lambda: (n for n in range(3)),
]


@pytest.mark.parametrize("make", ITERATORS)
def test_a_position_differs_as_soon_as_an_iterator_has_gone_on(make: Callable[[], Iterator[Any]]) -> None:
    one, other = make(), make()
    assert position(one) == position(other) is not None
    assert first_difference("it", one, other) is None
    first = next(one)
    assert position(one) != position(other)
    found = first_difference("it", one, other)
    assert found is not None
    assert found.path == "it"
    assert next(other) == first  # looking has not moved it
    assert position(one) == position(other)


def test_what_is_no_iterator_has_no_position() -> None:
    assert [position(each) for each in ([1], "a", 1, None, open)] == [None] * 5


def test_queues_are_compared_by_their_items() -> None:
    assert first_difference("q", collections.deque([1, 2]), collections.deque([1, 2])) is None
    for other in ([1, 3], [1]):
        assert first_difference("q", collections.deque([1, 2]), collections.deque(other)) is not None
