"""Where a script uses gradients outside of its steps: a false alarm costs time, a miss would cost a wrong value."""

from __future__ import annotations

import textwrap

import pytest

from flor_ray import gradients
from flor_ray.analysis.phases.phases import phases_of
from flor_ray.records import Region

LOOP = """
import flor_ray as flor
{prefix}
for epoch in flor.loop("epoch", range(3)):
    {head}
    for x in flor.loop("step", loader):
        opt.zero_grad()
        loss.backward()
    {tail}
{suffix}
"""


def read_in(source: str, files: dict[str, str]) -> frozenset[Region]:
    return gradients.read_in(phases_of("train.py", {"train.py": source, **files}).words_in)


def regions(prefix: str = "", head: str = "pass", tail: str = "pass", suffix: str = "") -> set[Region]:
    return set(read_in(LOOP.format(prefix=prefix, head=head, tail=tail, suffix=suffix), {}))


def test_gradients_of_the_steps_themselves_concern_no_other_region() -> None:
    assert regions() == set()
    assert regions(head="with torch.no_grad(): evaluate()", tail="p.requires_grad_(False); opt.zero_grad()") == set()


@pytest.mark.parametrize(
    "use", ["print(p.grad)", "total.backward()", "clip_grad_norm_(net)", "g = torch.autograd.grad(l, p)"]
)
def test_each_region_that_uses_them_is_found(use: str) -> None:
    assert regions(head=use) == {Region.HEAD}
    assert regions(tail=use) == {Region.TAIL}
    assert regions(suffix=use) == {Region.SUFFIX}


def test_functions_that_are_called_count_through_others_too() -> None:
    helper = "def norm(p): return p.grad\ndef report(): return norm(1)\ndef other(): pass"
    assert regions(prefix=helper, tail="report()") == {Region.TAIL}
    assert regions(prefix=helper, tail="other()") == set()


def test_functions_imported_from_files_that_use_them_count() -> None:
    source = "from tools import norm\nimport tools.more\n" + LOOP.format(
        prefix="", head="pass", tail="norm(net)", suffix="tools.more.f()"
    )
    assert read_in(source, {"tools.py": "def norm(p): return p.grad"}) == {Region.TAIL}
    assert read_in(source, {"tools.py": "x = 1", "tools/more.py": "def f(): return y.grad"}) == {Region.SUFFIX}
    assert read_in(source, {"tools.py": "x = 1"}) == set()


def test_what_calls_the_main_loop_is_not_what_follows_it() -> None:
    source = textwrap.dedent(
        """
        import flor_ray as flor
        def step(): loss.backward()
        def train():
            for epoch in flor.loop("epoch", range(3)):
                for x in flor.loop("step", loader):
                    step()
            {after}
        def main():
            train()
        main()
        {suffix}
        """
    )
    assert read_in(source.format(after="pass", suffix="print(1)"), {}) == set()
    assert read_in(source.format(after="print(p.grad)", suffix=""), {}) == {Region.SUFFIX}
    assert read_in(source.format(after="pass", suffix="step()"), {}) == {Region.SUFFIX}


def test_a_nested_loop_in_a_block_makes_the_block_part_of_the_tail() -> None:
    source = """\
from flor_ray import loop
for e in loop(x):
    with a:
        for s in loop(y): loss.backward()
        print(p.grad)
"""
    assert read_in(source, {}) == {Region.TAIL}


def test_a_file_that_does_not_parse_is_on_the_safe_side() -> None:
    assert read_in("for (", {}) == {Region.HEAD, Region.TAIL, Region.SUFFIX}
