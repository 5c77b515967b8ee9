"""Features that depend on what no checkpoint could keep."""

from __future__ import annotations

import pytest

from flor_ray.analysis.dependence import features_that_depend

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
    source = "for e in flor.loop('e', r):\n    flor.log('w', trainer.writer.count)\n    flor.log('x', trainer.x)"
    assert features_that_depend(["Trainer.writer"], source) == {"w": "Trainer.writer"}


def test_a_dependence_through_a_function_of_another_file_is_seen() -> None:
    script = "from helper import note\nhits = sock.recv(9)\nother = 1\nnote(hits)\n"
    helper = "def note(count):\n    flor.log('hits', count)\n\n\ndef more(n):\n    flor.log('none', n)\n\n\nmore(2)\n"
    assert features_that_depend(["sock"], script, helper) == {"hits": "sock"}
