"""Random training scripts, as hypothesis draws them: simple ones are small numbers, so that it finds simple ones."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import strategies as st

from trusting.cases import TrustCase
from trusting.composing import Choices, Statement, composed
from trusting.parts import Part

_MANY = st.integers(0, 119)  # of what is to be taken modulo something


def scripts(table: Sequence[Part]) -> st.SearchStrategy[TrustCase]:
    """Scripts with at least one hindsight statement."""
    statements = st.builds(Statement, st.integers(0, 4), _MANY, _MANY, st.integers(0, 3))
    recorded = st.builds(Statement, st.integers(0, 4), _MANY, _MANY, st.just(0), st.just(True))
    epochs = st.lists(st.integers(0, 5), min_size=1, max_size=2).map(tuple)
    choices = st.builds(
        Choices,
        parts=st.lists(st.integers(0, len(table) - 1), min_size=1, max_size=5).map(tuple),
        statements=st.tuples(
            st.lists(recorded, min_size=1, max_size=2), st.lists(statements, min_size=1, max_size=6)
        ).map(lambda both: (*both[0], *both[1])),
        places=st.lists(_MANY, max_size=4).map(tuple),
        order=st.lists(st.integers(0, 4), max_size=5).map(tuple),
        layout=_mostly_first(7),
        epochs=_mostly_first(9),
        steps=_mostly_first(5),
        length=st.integers(0, 3),
        seeds=st.integers(0, 2),
        checkpointing=_mostly_first(5),
        where=st.lists(epochs, max_size=1).map(tuple),
        ignores=st.booleans(),
        versions=_mostly_first(2),
    )
    return choices.map(lambda chosen: composed(chosen, table))


def _mostly_first(count: int) -> st.SearchStrategy[int]:
    """Of so many ways: the first in every second script."""
    return st.one_of(st.just(0), st.integers(0, count - 1))
