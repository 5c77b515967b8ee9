"""Which statements may change places."""

from __future__ import annotations

import pytest

from flor_ray.propagation.adapting.edits import statements_of
from flor_ray.propagation.placing.touching import Touching
from flor_ray.propagation.reading.names import names_of
from flor_ray.propagation.reading.parse import parse

OWN = "class History:\n    def log(self, value): self.seen += 1\n"


@pytest.mark.parametrize(("before", "conflict"), [("", False), (OWN, True)])
def test_a_method_that_only_tells_by_its_name_does_so_unless_the_file_defines_it(before: str, conflict: bool) -> None:
    tree = parse(f"{before}history.log(w)\nprint(history.seen)\n")
    *_, left, right = statements_of(tree.root)
    assert Touching(names_of(tree)).conflict(left, right) is conflict
