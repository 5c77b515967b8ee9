"""Variables and features that follow the order in which a set yields its items."""

from __future__ import annotations

import pytest

from flor_ray.analysis.chance import drawn_names, features_called
from flor_ray.analysis.orders import orders


@pytest.mark.parametrize(
    "text",
    [
        "x = list({'a', 'b'})",
        "s = set(words)\nx = [w for w in s]",
        "s = set()\ns = s | {'a'}\nx = {w: i for i, w in enumerate(s)}",
        "s = frozenset(words)\nx, y = 0, ' '.join(s)",
        "x = {}\nfor w in set(words):\n    x[w] = len(x)",
        "x = []\nfor i, w in enumerate({v for v in words}):\n    x.append(w)",
        "self.s = set(words)\nx = [*self.s.union(others)]",
        "s = set(words)\nx = s.pop()",
        "x = dict.fromkeys(set(words))",
    ],
)
def test_a_variable_follows_the_order_of_a_set(text: str) -> None:
    assert "x" in orders(text).names
    assert "x" in drawn_names(text).names


@pytest.mark.parametrize(
    "text",
    [
        "x = sorted({'a', 'b'})",
        "x = len({'a', 'b'})",
        "x = sorted(w for w in set(words))",
        "s = set(words)\nx = 'a' in s",
        "s = set(words)\nx = max(len(w) for w in s)",
        "x = list({1, 2, 3})",
        "x = list({int(w) for w in words})",
        "x = [y for y in words]",
        "s = {}\nx = list(s)",
        "s = set(words)\ns = load()\nx = list(s)",
        "x = (",
    ],
)
def test_a_variable_does_not(text: str) -> None:
    assert "x" not in orders(text).names


def test_features_are_told_with_the_set_that_they_follow() -> None:
    text = "import flor_ray as flor\ns = set(words)\nx = list(s)\nflor.log('a', next(iter(s)))\nflor.log('b', x[0])\n"
    found = orders(text + "flor.log('c', len(s))\nflor.log('d', sorted(x))\n")
    assert found.features == {"a": "the order of a set in s"}
    assert found.derived == {"b": "the order of a set in x", "d": "the order of a set in x"}


def test_a_statement_that_draws_itself_is_told_from_one_that_logs_what_was_drawn() -> None:
    text = "import flor_ray as flor, uuid\nt = uuid.uuid4()\nflor.log('kept', t)\n"
    text += "flor.log('made', str(uuid.uuid4()))\n"
    assert features_called(text + "flor.log('many', len({id(x) for x in y}))\n") == {"made": "uuid4()"}
