"""What depends on state that no checkpoint keeps: features on variables, and regions on gradients.

Of gradients, a false alarm costs time; a miss would cost a wrong value.
"""

from __future__ import annotations

import textwrap

import pytest

from flor_ray.analysis.dependence import features_that_depend, gradients_read_in
from flor_ray.analysis.phases.phases import phases_of
from flor_ray.records import Region

LOOP = """
import flor_ray as flor
sock = connect()
best = 0
def ask(question):
    return sock.send(question)
for epoch in flor.loop("epoch", range(3)):
    for x in flor.loop("step", data):
        loss = train(x)
        flor.log("loss", loss)
{body}
"""


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("flor.log('acc', evaluate(net))", {}),
        ("flor.log('reply', sock.recv(9))", {"reply": "sock"}),
        ("reply = sock.recv(9)\nwords = [w for w in reply]\nflor.log('n', len(words))", {"n": "sock"}),
        ("a, (b, *c) = 1, sock.recv(2)\nflor.log('c', c)", {"c": "sock"}),
        ("flor.log('answer', ask('x'))", {"answer": "sock"}),
        ("if sock.ready():\n    best += 1\nflor.log('best', best)", {"best": "sock"}),
        ("while (part := sock.recv(1)):\n    pass\nflor.log('part', part)", {"part": "sock"}),
        ("for line in sock:\n    flor.log('line', 1)", {"line": "sock"}),
        ("with sock.open() as channel:\n    flor.log('first', channel.read())", {"first": "sock"}),
        ("history = []\nhistory.append(sock.recv(1))\nflor.log('h', history)", {"h": "sock"}),
        ("seen = {}\nseen['x'] = sock.recv(1)\nflor.log(name='h', value=seen)", {"h": "sock"}),
        ("import torch\nt = torch.tensor(sock.recv(4))\nflor.log('acc', torch.ones(1))", {}),
        ("sock.send(loss)\nflor.log('again', loss)", {}),
        ("def f(", {}),
    ],
)
def test_values_are_followed_from_the_variable_to_the_log_statement(body: str, expected: dict[str, str]) -> None:
    indented = "\n".join(f"    {line}" for line in body.splitlines())
    assert features_that_depend(["sock"], LOOP.replace("{body}", indented)) == expected


def test_an_attribute_of_an_object_is_found_by_its_name() -> None:
    source = "import flor\nfor e in r:\n    flor.log('w', trainer.writer.count)\n    flor.log('x', trainer.x)"
    assert features_that_depend(["Trainer.writer"], source) == {"w": "Trainer.writer"}


def test_a_dependence_through_a_function_of_another_file_is_seen() -> None:
    script = "from helper import note\nhits = sock.recv(9)\nother = 1\nnote(hits)\n"
    helper = (
        "import flor\ndef note(count):\n    flor.log('hits', count)\ndef more(n):\n    flor.log('none', n)\nmore(2)\n"
    )
    assert features_that_depend(["sock"], script, helper) == {"hits": "sock"}


def test_a_method_that_is_called_log_may_keep_what_it_is_given() -> None:
    script = "import flor_ray as flor\nhistory = History()\nhistory.log('x', sock.recv(9))\nflor.log('n', history.n)\n"
    own = "class History:\n    def log(self, name, value):\n        self.n = value\n\n\n"
    assert features_that_depend(["sock"], own + script) == {"n": "sock"}
    # of a parameter nobody knows whether it is ours: then both may be
    unknown = "import flor\ndef f(history):\n    history.log('x', sock.recv(9))\n    flor.log('n', history.n)\n"
    assert features_that_depend(["sock"], unknown) == {"x": "sock", "n": "sock"}


# --- gradients ------------------------------------------------------------------------------------------------------

STEPS = """
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
    return gradients_read_in(phases_of("train.py", {"train.py": source, **files}).words_in)


def regions(prefix: str = "", head: str = "pass", tail: str = "pass", suffix: str = "") -> set[Region]:
    return set(read_in(STEPS.format(prefix=prefix, head=head, tail=tail, suffix=suffix), {}))


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
    source = "from tools import norm\nimport tools.more\n" + STEPS.format(
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


def test_a_name_that_python_writes_otherwise_is_the_same_name() -> None:
    source = "import flor_ray as flor\n\N{MICRO SIGN} = connect()\nflor.log('a', \N{MICRO SIGN})\n"
    assert features_that_depend(["\N{GREEK SMALL LETTER MU}"], source) == {"a": "\N{GREEK SMALL LETTER MU}"}
