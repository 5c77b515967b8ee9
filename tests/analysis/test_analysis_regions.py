"""When the statements of a version's files run: a region that is too small loses values, one too large costs time.

Each case is a tiny repository. Every `flor.log("region", ...)` in it is named after the region that it must get, so
that a case says what is expected where it stands; `# stop` marks the line where an epoch's wanted statements end.
"""

# ruff: noqa: E501 - one case a line

from __future__ import annotations

import ast
import gc
import random
import textwrap
import time
import types
from collections.abc import Iterator

import pytest

from flor_ray.analysis.phases.phases import covering, phases_of, settled
from flor_ray.recording.context import Context, Role
from flor_ray.records import Level, Region, Stop
from tests.pace import slowness

MAIN = """
import flor_ray as flor
{imports}
{prefix}
for epoch in flor.loop("epoch", range(3)):
    {head}
    for step in flor.loop("step", range(3)):
        {inner}
    {tail}
{suffix}
"""


def repo(
    imports: str = "",
    prefix: str = "pass",
    head: str = "pass",
    inner: str = "pass",
    tail: str = "pass",
    suffix: str = "pass",
    **modules: str,
) -> dict[str, str]:
    """A script with code in its phases, and other files: `pkg__mod` is pkg/mod.py."""

    def at(depth: int, code: str) -> str:
        return textwrap.indent(textwrap.dedent(code).strip("\n"), "    " * depth).lstrip()

    script = MAIN.format(
        imports=imports, prefix=at(0, prefix), head=at(1, head), inner=at(2, inner), tail=at(1, tail), suffix=suffix
    )
    files = {
        f"{name.replace('__init__', 'INIT').replace('__', '/').replace('INIT', '__init__')}.py": f"import flor_ray as flor\n{textwrap.dedent(text)}"
        for name, text in modules.items()
    }
    return {"train.py": script, **files}


def log(name: str = "x") -> str:
    return f'flor.log("{name}", 1)'


F = f"def f():\n    {log()}\n"
METHOD = f"class Trainer:\n    def f(self):\n        {log()}\n"
R = Region
CASES: dict[str, tuple[dict[str, str], Region, str]] = {
    # the script itself
    "before the loop": (repo(prefix=log()), R.PREFIX, ""),
    "in the head": (repo(head=log()), R.HEAD, ""),
    "in the steps": (repo(inner=log()), R.INNER, ""),
    "in the tail": (repo(tail=log()), R.TAIL, ""),
    "after the loop": (repo(suffix=log()), R.SUFFIX, ""),
    "in a with": (repo(tail=f"with a() as b:\n    {log()}"), R.TAIL, ""),
    "in an if": (repo(inner=f"if a:\n    {log()}"), R.INNER, ""),
    "in an elif": (repo(head=f"if a:\n    pass\nelif b:\n    {log()}"), R.HEAD, ""),
    "in an else": (repo(tail=f"if a:\n    pass\nelse:\n    {log()}"), R.TAIL, ""),
    "in a try": (repo(tail=f"try:\n    {log()}\nexcept E:\n    pass"), R.TAIL, ""),
    "in an except": (repo(tail=f"try:\n    a()\nexcept E:\n    {log()}"), R.TAIL, ""),
    "in a finally": (repo(suffix=f"try:\n    a()\nfinally:\n    {log()}"), R.SUFFIX, ""),
    "in a match": (repo(head=f"match a:\n    case 1:\n        {log()}\n    case _:\n        pass"), R.HEAD, ""),
    "in a while": (repo(tail=f"while a:\n    {log()}"), R.TAIL, ""),
    "in a while's else": (repo(tail=f"while a:\n    pass\nelse:\n    {log()}"), R.TAIL, ""),
    "in a comprehension": (repo(tail=f"a = [{log()} for _ in b]"), R.TAIL, ""),
    "in a walrus": (repo(tail=f"if (a := {log()}):\n    pass"), R.TAIL, ""),
    "in a sum": (repo(tail=f"a = sum({log()} for _ in b)"), R.TAIL, ""),
    "in a lambda": (repo(tail=f"a = lambda: {log()}"), R.WHOLE, "in a lambda"),
    "in a lazy generator": (repo(head=f"a = ({log()} for _ in b)"), R.WHOLE, "in a generator expression"),
    "in the main loop's else": (repo(suffix=f"for e in flor.loop('b', a):\n    pass\nelse:\n    {log()}"), R.SUFFIX, ""),
    "in a second loop": (repo(suffix=f"for e in flor.loop('b', a):\n    {log()}"), R.SUFFIX, ""),
    "in a second nested loop": (repo(tail=f"for s in flor.loop('b', a):\n    {log()}"), R.TAIL, ""),
    "in a deeper loop": (repo(inner=f"for s in flor.loop('b', a):\n    {log()}"), R.INNER, ""),
    "in several places of an epoch": (repo(head=log(), tail=log()), R.TAIL, ""),
    "in the steps and the tail": (repo(inner=log(), tail=log()), R.INNER, "in the nested loop (train.py:8)"),
    "before and after": (repo(prefix=log(), suffix=log()), R.SUFFIX, "before the main loop"),
    "before and in the loop": (repo(prefix=log(), tail=log()), R.WHOLE, "before the main loop (train.py:4)"),
    "round a nested loop": (repo(head=f"for k in a:\n    {log()}\n    for s in flor.loop('b', a):\n        pass"), R.TAIL, ""),
    "after a nested loop that may be left out": (
        repo(head=f"if a:\n    for s in flor.loop('b', a):\n        pass\n{log()}"), R.TAIL, "",
    ),
    "an exception leaves the nested loop": (
        repo(head=f"try:\n    for s in flor.loop('b', a):\n        pass\nexcept E:\n    {log()}"), R.TAIL, "",
    ),
    # helpers of the script
    "a function": (repo(prefix=F, tail="f()"), R.TAIL, ""),
    "a function through another": (repo(prefix=F + "def g():\n    return f()", inner="g()"), R.INNER, ""),
    "a function in two phases": (repo(prefix=F, inner="f()", tail="f()"), R.INNER, "`f` is called in the nested loop (train.py:9)"),
    "a function before and in the loop": (repo(prefix=F + "f()", tail="f()"), R.WHOLE, "before the main loop (train.py:6) and at an epoch's end"),
    "a function that nothing calls": (repo(prefix=F), R.WHOLE, "nothing is seen to call `f`"),
    "a nested function": (repo(prefix=f"def g():\n    def f():\n        {log()}\n    f()", tail="g()"), R.TAIL, ""),
    "a function that is passed on": (repo(prefix=F, tail="f()\nopt.step(f)"), R.WHOLE, "`f` is passed around as a value (train.py:11)"),
    "a function under another name": (repo(prefix=F + "g = f", tail="g()"), R.WHOLE, "passed around"),
    "a function in a lambda": (repo(prefix=F, head="g = lambda: f()"), R.WHOLE, "is called in a lambda"),
    "a function in a consumed generator": (repo(prefix=F, tail="a = max(f() for _ in b)"), R.TAIL, ""),
    "a function in a loop's head": (repo(prefix=F, tail="for a in f():\n    pass"), R.TAIL, ""),
    "a generator": (repo(prefix=f"def f():\n    {log()}\n    yield 1", head="g = f()"), R.WHOLE, "is a generator"),
    "an awaited coroutine": (repo(prefix=f"async def f():\n    {log()}\nasync def g():\n    await f()", tail="asyncio.run(g())"), R.TAIL, ""),
    "a coroutine that waits": (repo(prefix=f"async def f():\n    {log()}", head="t = f()"), R.WHOLE, "is async and not awaited"),
    "a decorated function": (repo(prefix=f"@torch.no_grad()\n{F}", tail="f()"), R.TAIL, ""),
    "a registered function": (repo(prefix=f"@registry.add\n{F}", tail="f()"), R.WHOLE, "handed to the decorator `registry.add`"),
    "a default value": (repo(prefix=F + "def g(a=f()):\n    pass", tail="g()"), R.PREFIX, ""),
    "looked up in globals": (repo(prefix=F, tail="globals()['f']()\nf()"), R.WHOLE, "may be looked up by its name"),
    "evaluated": (repo(prefix=F, tail="f()\neval(a)"), R.WHOLE, "text that is evaluated (train.py:11)"),
    "a function that is only compared": (repo(prefix=F, tail="f()\nif f is None:\n    pass\nprint(f)"), R.TAIL, ""),
    "an argument runs before what it is given to": (
        {"train.py": f"import flor_ray as flor\ndef f():\n    {log()}\ndef run(a):\n    for e in flor.loop('e', a):\n        pass\nrun(f())\n"}, R.PREFIX, "",
    ),
    # methods
    "a method": (repo(prefix=METHOD, tail="t.f()"), R.TAIL, ""),
    "a method through self": (repo(prefix=METHOD + "    def g(self):\n        self.f()", inner="t.g()"), R.INNER, ""),
    "a method of that name elsewhere too": (repo(prefix=METHOD + "class B:\n    def f(self):\n        pass", tail="b.f()"), R.TAIL, ""),
    "a method through super": (repo(prefix=METHOD + "class B(Trainer):\n    def g(self):\n        super().f()", tail="b.g()"), R.TAIL, ""),
    "an initialiser": (repo(prefix=f"class A:\n    def __init__(self):\n        {log()}\na = A()"), R.PREFIX, ""),
    "an inherited initialiser": (repo(prefix=f"class A:\n    def __init__(self):\n        {log()}\nclass B(A):\n    pass", tail="b = B()"), R.TAIL, ""),
    "an initialiser through cls": (
        repo(prefix=f"class A:\n    def __init__(self):\n        {log()}\n    @classmethod\n    def make(cls):\n        return cls()", tail="A.make()"), R.TAIL, "",
    ),
    "a class that is passed on": (repo(prefix=f"class A:\n    def __init__(self):\n        {log()}\nkinds = [A]\na = A()"), R.WHOLE, "passed around"),
    "a property": (repo(prefix=f"class A:\n    @property\n    def f(self):\n        {log()}", tail="b = a.f + 1"), R.TAIL, ""),
    "a method that is passed on": (repo(prefix=METHOD, tail="t.f()\nhook(t.f)"), R.WHOLE, "`Trainer.f` is passed around"),
    "an option of that name": (repo(prefix=METHOD, head="if args.f:\n    a = cfg.f.lr", tail="t.f()"), R.TAIL, ""),
    "forward": (repo(prefix=f"class A(nn.Module):\n    def forward(self, x):\n        {log()}", inner="net(x)"), R.WHOLE, "called by `nn.Module`"),
    "another method of a module": (repo(prefix=f"class A(nn.Module):\n    def loss(self, x):\n        {log()}", inner="net.loss(x)"), R.INNER, ""),
    "an item of a dataset": (repo(prefix=f"class A(Dataset):\n    def __getitem__(self, i):\n        {log()}"), R.WHOLE, "called by Python itself"),
    "a library's callback": (repo(prefix=f"class A(Callback):\n    def f(self):\n        {log()}", tail="a.f()"), R.WHOLE, "may be called by `Callback`"),
    "looked up by a computed name": (repo(prefix=METHOD, tail="t.f()\ngetattr(t, name)()"), R.WHOLE, "a name that is computed (train.py:12)"),
    "looked up by its name": (repo(prefix=METHOD, tail="t.f()\ng = getattr(t, 'f')"), R.WHOLE, "looked up by its name"),
    "looked up in a library": (repo("import torch", prefix=METHOD, head="getattr(torch.optim, name)(p)", tail="t.f()"), R.TAIL, ""),
    # other files
    "another file": (repo("import helper", tail="helper.f()", helper=F), R.TAIL, ""),
    "from another file": (repo("from helper import f as g", inner="g()", helper=F), R.INNER, ""),
    "a package's file": (repo("import pkg.mod as m", tail="m.f()", pkg____init__="", pkg__mod=F), R.TAIL, ""),
    "a package's file by its path": (repo("import pkg.mod", tail="pkg.mod.f()", pkg____init__="", pkg__mod=F), R.TAIL, ""),
    "a folder without init": (repo("from pkg import mod", tail="mod.f()", pkg__mod=F), R.TAIL, ""),
    "passed on by a package": (repo("from pkg import f", tail="f()", pkg____init__="from .mod import f", pkg__mod=F), R.TAIL, ""),
    "passed on by a star": (repo("from pkg import *", tail="f()", pkg____init__="from pkg.mod import *", pkg__mod=F), R.TAIL, ""),
    "a relative import": (repo("from pkg.a import g", tail="g()", pkg____init__="", pkg__a="from .b import f\ndef g(): f()", pkg__b=F), R.TAIL, ""),
    "a sibling by dots": (repo("from pkg.a import g", tail="g()", pkg____init__="", pkg__a="from . import b\ndef g(): b.f()", pkg__b=F), R.TAIL, ""),
    "up by dots": (repo("from pkg.a.b import g", tail="g()", pkg____init__="", pkg__c=F, pkg__a____init__="", pkg__a__b="from ..c import f\ndef g(): f()"), R.TAIL, ""),
    "imported in a function": (repo(prefix="def g():\n    from helper import f\n    f()", tail="g()", helper=F), R.TAIL, ""),
    "imported in a try": (repo("try:\n    from helper import f\nexcept ImportError:\n    f = None", tail="f()", helper=F), R.TAIL, ""),
    "a folder on sys.path": (repo("import helper", tail="helper.f()", src__helper=F), R.TAIL, ""),
    "at another file's top": (repo("import helper", helper=log()), R.PREFIX, ""),
    "under another file's main": (repo("import helper", tail="helper.f()", helper=F + "if __name__ == '__main__':\n    f()"), R.TAIL, ""),
    "a method in another file": (repo("import helper\nt = helper.Trainer()", tail="t.f()", helper=METHOD), R.TAIL, ""),
    "an initialiser in another file": (repo("import helper", tail="t = helper.A()", helper=f"class A:\n    def __init__(self):\n        {log()}"), R.TAIL, ""),
    "in a with of another file": (repo("import helper", inner="helper.f()", helper=f"def f():\n    with a:\n        if b:\n            try:\n                {log()}\n            finally:\n                pass"), R.INNER, ""),
    "passed on by another file": (repo("import helper", tail="helper.g()", helper=F + "def g(): hook(f)"), R.WHOLE, "`helper.f` is passed around as a value (helper.py:4)"),
    "given to a loader": (repo("import helper\nd = DataLoader(a, collate_fn=helper.f)", tail="helper.f()", helper=F), R.WHOLE, "(train.py:4)"),
    "a file that nothing imports": (repo(other=log()), R.WHOLE, "nothing that train.py is seen to import"),
    "a file that nothing imports does not count": (repo("import helper", tail="helper.f()", helper=F, other="import helper\nhelper.f()"), R.TAIL, ""),
    "a file loaded by name": (repo(prefix="exec(open('config.py').read())", config=log()), R.WHOLE, "loaded at train.py:4"),
    "a module that is passed on": (repo("import helper", head="use(helper)", tail="helper.f()", helper=F), R.WHOLE, "passed around"),
    "a member nobody sees bound": (repo("import helper", tail="helper.f()", helper=f"def make():\n    def f():\n        {log()}\n    globals().update(f=f)"), R.WHOLE, "passed around"),
    "what a passed-on function calls": (repo("import helper", tail="helper.f()\nhook(helper.g)", helper=F + "def g(): f()"), R.WHOLE, "at a time that nobody knows (helper.py:4)"),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_the_region_is_the_smallest_that_surely_covers_a_statement(case: str) -> None:
    files, region, why = CASES[case]
    phases = phases_of("train.py", files)
    assert not phases.problem
    logged = phases.logged("x")
    assert (logged.region, why in logged.why) == (region, True), logged
    assert bool(why) == bool(logged.why)


ENGINE = f"""
def run(net):
    {log("before")}
    for epoch in flor.loop("epoch", range(3)):
        {log("head")}
        for step in flor.loop("step", range(3)):
            {log("steps")}
        evaluate(net)
        net.save()
    {log("after")}
def evaluate(net):
    {log("tail")}
"""
TRAINER = (
    "class Trainer:\n"
    + textwrap.indent(
        ENGINE.replace("(net)", "(self)").replace("evaluate(self)\n        net", "self.evaluate()\n        self"),
        "    ",
    )
    + "\n"
)
TRAINER = TRAINER.replace("            evaluate(self)\n", "            self.evaluate()\n")
AROUND = {"begin": R.PREFIX, "before": R.PREFIX, "head": R.HEAD, "steps": R.INNER, "tail": R.TAIL, "after": R.SUFFIX}
STARTS = {
    "in another file": ("from engine import run\n{begin}\nrun(1)\n{end}", ENGINE),
    "under main": ("from engine import run\n{begin}\nif __name__ == '__main__':\n    run(1)\n    {end}", ENGINE),
    "in a method": ("import engine\nt = engine.Trainer()\n{begin}\nt.run()\n{end}", TRAINER),
    "only if asked for": ("import engine\n{begin}\nif args.train:\n    engine.run(1)\n{end}", ENGINE),
    "in a try": ("import engine\n{begin}\ntry:\n    engine.run(1)\nexcept KeyboardInterrupt:\n    pass\n{end}", ENGINE),
    "after an early return": ("import engine\ndef main():\n    if a:\n        return\n    engine.run(1)\n{begin}\nmain()\n{end}", ENGINE),
    "at a file's top": ("{begin}\nimport engine\n{end}", ENGINE + "run(1)\n"),
    "under a context": ("import engine\n{begin}\nwith a, b() as c:\n    engine.run(1)\n{end}", ENGINE),
}  # fmt: skip


@pytest.mark.parametrize("start", STARTS)
def test_the_main_loop_may_be_in_another_file(start: str) -> None:
    script, engine = STARTS[start]
    script = "import flor_ray as flor\n" + script.format(begin=log("begin"), end=log("end"))
    phases = phases_of("train.py", {"train.py": script, "engine.py": "import flor_ray as flor\n" + engine})
    assert not phases.problem
    for name, region in (AROUND | {"end": R.SUFFIX}).items():
        assert phases.logged(name).region is region, (name, phases.logged(name))
    stop = phases.logged("tail").stop
    assert stop is not None
    assert stop.path == "engine.py"
    reads = phases.names_read_in_tail()
    assert reads is not None
    assert {"self" if "method" in start else "net"} <= reads


@pytest.mark.parametrize(
    ("script", "why"),
    [
        ("launch(run)", "`engine.run`, which comes to the main loop, is passed around as a value (train.py:3)"),
        ("pass", "train.py is not seen to come to a main loop"),
        ("getattr(engine, name)()", "which comes to the main loop, may be looked up"),
    ],
)
def test_nothing_is_known_of_phases_where_the_main_loops_own_time_is_not(script: str, why: str) -> None:
    files = {
        "train.py": f"from engine import run\nimport engine\n{script}\n",
        "engine.py": "import flor_ray as flor\n" + ENGINE,
    }
    logged = phases_of("train.py", files).logged("tail")
    assert logged.region is R.WHOLE
    assert why in logged.why
    assert logged.stop is None
    assert phases_of("train.py", files).names_read_in_tail() is None


@pytest.mark.parametrize(
    ("sweep", "region"),
    [
        ("[train(lr) for lr in (1, 2)]", Region.WHOLE),
        ("{lr: train(lr) for lr in (1, 2)}", Region.WHOLE),
        ("{1 for lr in (1, 2) if train(lr)}", Region.WHOLE),
        ("sum(train(a) for a in (1, 2))", Region.WHOLE),
        ("(train(a) for a in (1, 2))", Region.WHOLE),
        ("[a for b in (1, 2) for a in train(b)]", Region.WHOLE),
        ("train(1) < 0 or train(2)", Region.WHOLE),
        ("train(1) if ready else None", Region.INNER),
        ("[1 for a in train(1)]", Region.INNER),  # what is gone through first is evaluated once
    ],
)
def test_a_main_loop_may_be_entered_again_where_its_call_may_come_many_times(sweep: str, region: Region) -> None:
    script = f"""
import flor_ray as flor

def train(lr):
    for epoch in flor.loop("epoch", range(3)):
        for step in flor.loop("step", range(3)):
            flor.log("x", lr)
    return [1]

results = {sweep}
"""
    assert phases_of("train.py", {"train.py": script}).logged("x").region is region


@pytest.mark.parametrize(
    ("script", "region"),
    [
        ("TorchTrainer(run, scaling_config=two).fit()", Region.INNER),
        ("t = TorchTrainer(train_loop_per_worker=run)\nt.fit()", Region.INNER),
        ("TorchTrainer(run).fit()\nTorchTrainer(run).fit()", Region.WHOLE),
        ("t = TorchTrainer(run)\nt.fit()\nt.fit()", Region.WHOLE),
        ("t = TorchTrainer(run)\nt = TorchTrainer(other)\nt.fit()", Region.WHOLE),
        ("t = TorchTrainer(run)\nlaunch(t)", Region.WHOLE),
        ("for rate in rates:\n    TorchTrainer(run).fit()", Region.WHOLE),
        ("TorchTrainer(run).fit()\nhook(run)", Region.WHOLE),
        ("Trainer(run).fit()", Region.WHOLE),
    ],
)
def test_a_function_that_ray_train_is_given_runs_when_its_trainer_is_fitted(script: str, region: Region) -> None:
    text = f"""
import flor_ray as flor
from ray.train.torch import TorchTrainer

def run(config):
    for epoch in flor.loop("epoch", range(3)):
        for step in flor.loop("step", range(3)):
            flor.log("x", step)

{script}
"""
    assert phases_of("train.py", {"train.py": text}).logged("x").region is region


def test_recursion_round_the_main_loop_and_broken_files_are_on_the_safe_side() -> None:
    source = f"import flor_ray as flor\ndef f(n):\n    if n:\n        f(n - 1)\n    for e in flor.loop('e', a):\n        {log()}\nf(1)\n"
    assert "calls itself" in phases_of("train.py", {"train.py": source}).logged("x").why
    files = repo("import helper", tail=log(), helper="def f(:\n")
    assert phases_of("train.py", files).logged("x").region is R.WHOLE
    assert "helper.py cannot be read" in phases_of("train.py", files).logged("x").why
    assert phases_of("gone.py", {}).logged("x").region is R.WHOLE


@pytest.mark.parametrize(
    ("loop", "region"),
    [
        ("for e in enumerate(tqdm(flor.loop('e', a))):\n    {x}", R.HEAD),
        ("bar = tqdm(flor.loop('e', a))\nfor e in bar:\n    {x}", R.HEAD),
        ("def epochs():\n    return flor.loop('e', a)\nfor e in epochs():\n    {x}", R.WHOLE),
        ("b = [f(e) for e in flor.loop('e', a)]\n{x}", R.WHOLE),
        ("def epochs():\n    for e in flor.loop('e', a):\n        yield e\nfor e in epochs():\n    {x}", R.WHOLE),
        ("with tqdm(flor.loop('e', a)) as bar:\n    for e in bar:\n        {x}", R.WHOLE),
        ("for e in flor.loop('e', a):\n    pass\nb = list(flor.loop('f', a))\n{x}", R.WHOLE),
    ],
)
def test_a_recorded_loop_must_be_the_head_of_a_for(loop: str, region: Region) -> None:
    logged = phases_of("train.py", {"train.py": "import flor_ray as flor\n" + loop.format(x=log())}).logged("x")
    assert logged.region is region
    assert bool(logged.why) == (region is R.WHOLE)


def test_of_two_loops_in_a_row_the_second_is_the_main_loop_if_the_first_was_left_out() -> None:
    loop = "for e in flor.loop('{0}', a):\n{1}    flor.log('{0}', 1)\n"
    first, second = loop.format("a", ""), loop.format("b", "")
    head = "import flor_ray as flor\n"

    def regions(text: str) -> list[Region]:
        phases = phases_of("train.py", {"train.py": head + text})
        return [phases.logged(name).region for name in "ab"]

    assert regions(first + second) == [R.HEAD, R.SUFFIX]
    assert regions(f"if c:\n{textwrap.indent(first, '    ')}{second}") == [R.HEAD, R.WHOLE]
    either = f"if c:\n{textwrap.indent(first, '    ')}else:\n{textwrap.indent(second, '    ')}"
    assert regions(either) == [R.HEAD, R.HEAD]
    assert phases_of("train.py", {"train.py": head + either}).logged("a").stop is None
    assert regions(first + "flor.checkpointing(n=n)\n" + second) == [R.PREFIX, R.HEAD]
    methods = "class A:\n    def go(self):\n{}\nclass B:\n    def go(self):\n{}\nx.go()\n"
    either = methods.format(textwrap.indent(first, " " * 8), textwrap.indent(second, " " * 8))
    assert regions(either) == [R.HEAD, R.HEAD]
    assert regions(f"for fold in folds:\n{textwrap.indent(first, '    ')}")[0] is R.WHOLE  # of later folds, it is not


def test_a_function_that_a_library_starts_is_the_one_that_nothing_calls() -> None:
    source = f"import flor_ray as flor\napp = Typer()\n@app.command()\ndef go():\n    {log('p')}\n    for e in flor.loop('e', a):\n        {log('h')}\napp()\n{log('q')}\n"
    phases = phases_of("train.py", {"train.py": source})
    assert [phases.logged(name).region for name in "phq"] == [R.PREFIX, R.HEAD, R.SUFFIX]


WHILE = """
import flor_ray as flor
n = 0
flor.log("p", n)
while n < 9:
    flor.log("w", n)
    with flor.iteration("epoch", n):
        flor.log("h", n)
        k = 0
        while k < 3:
            flor.log("v", n)
            with flor.iteration("step", k):
                flor.log("i", k)
            k += 1
        flor.log("t", n)
        test(n)
    n += 1
flor.log("s", n)
"""


def test_what_is_recorded_with_iteration_is_a_loop_whose_rounds_begin_and_end_there() -> None:
    phases = phases_of("train.py", {"train.py": WHILE})
    expected = {"p": R.PREFIX, "w": R.WHOLE, "h": R.HEAD, "v": R.INNER, "i": R.INNER, "t": R.TAIL, "s": R.SUFFIX}
    assert {name: phases.logged(name).region for name in expected} == expected
    assert "between the iterations" in phases.logged("w").why
    assert phases.logged("t").stop == Stop("train.py", 15)
    lonely = "import flor_ray as flor\ndef f(n):\n    with flor.iteration('e', n):\n        flor.log('x', 1)\nf(1)\n"
    assert "no `while`" in phases_of("train.py", {"train.py": lonely}).logged("x").why


# --- where an epoch's wanted statements end -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("parts", "line"),
    [
        ({"head": f"{log()}\na = 1"}, 6),
        ({"head": f"with a:\n    {log()}\n    b()\nc()"}, 8),
        ({"inner": f"{log()}\nb()", "tail": "c()"}, 9),
        ({"tail": f"{log()}\nc()"}, 9),
        ({"tail": f"c()\n{log()}"}, 10),
        (
            {
                "tail": f"{log()}\nprint('acc', a.b, f'{{c:.3f}}')\nflor.log('y', a * 100 / n)\nlogger.info('x %s', a)\nc()"
            },
            12,
        ),
        ({"tail": f"{log()}\nflor.log('y', f())\nc()"}, 9),
        ({"tail": f"{log()}\na = 1\nprint(a)"}, 9),
        ({"prefix": F, "tail": "f()\nc()"}, 10),
        ({"imports": "import helper", "tail": "helper.f()\nc()\nif d:\n    helper.f()\ne()", "helper": F}, 12),
    ],
)
def test_an_epoch_may_stop_after_the_last_statement_in_which_a_name_may_be_logged(
    parts: dict[str, str], line: int
) -> None:
    assert phases_of("train.py", repo(**parts)).logged("x").stop == Stop("train.py", line)


def test_nobody_knows_where_to_stop_for_what_runs_outside_the_loop_or_anytime() -> None:
    for files in (repo(prefix=log()), repo(suffix=log()), repo(prefix=F, tail="f()\nhook(f)"), repo(prefix=F)):
        assert phases_of("train.py", files).logged("x").stop is None


# --- what the recorded run showed -----------------------------------------------------------------------------------

BOTH = frozenset({Level.OUTER, Level.INNER})


@pytest.mark.parametrize(
    ("body", "levels", "region"),
    [
        ("flor.log('w', 1)\n{x}", {Level.INNER}, R.INNER),
        ("flor.log('w', 1)\n{x}", {Level.OUTER}, R.TAIL),
        ("{x}\nflor.log('w', 1)", BOTH, R.INNER),
        ("flor.log('w', 1)\n{x}", {Level.DATA_PREP}, R.WHOLE),
        ("flor.log('w', 1)\n{x}", {Level.DATA_PREP, Level.INNER}, R.WHOLE),
        ("flor.log('w', 1)\n{x}", set(), R.WHOLE),
        ("if a:\n    flor.log('w', 1)\n{x}", {Level.INNER}, R.WHOLE),
        ("if a:\n    return\nflor.log('w', 1)\n{x}", {Level.INNER}, R.WHOLE),
        ("for s in flor.loop('s', a):\n    {x}\nflor.log('w', 1)", {Level.OUTER}, R.INNER),
        ("flor.log('w', 1)\nreturn lambda: {x}", {Level.INNER}, R.WHOLE),
        ("flor.log('w', 1)\nyield 1\n{x}", {Level.INNER}, R.WHOLE),
    ],
)
def test_a_name_logged_whenever_its_function_runs_tells_when_that_was(
    body: str, levels: set[Level], region: Region
) -> None:
    function = "def f(a):\n" + textwrap.indent(body.format(x=log()), "    ")
    logged = phases_of("train.py", repo("from helper import f\nhook(f)", helper=function)).logged("x")
    assert logged.region is R.WHOLE
    assert settled(logged.clues, {"w": frozenset(levels)}) is region


def test_several_regions_are_covered_by_the_smallest_that_runs_them_all() -> None:
    assert covering([R.HEAD, R.TAIL]) is R.TAIL
    assert covering([R.HEAD, R.INNER]) is R.INNER
    assert covering([R.PREFIX, R.SUFFIX]) is R.SUFFIX
    assert covering([R.PREFIX, R.HEAD]) is R.WHOLE
    assert covering([]) is R.WHOLE


# --- programs made at random: what a statement's region says holds for every run -----------------------------------

COVERED = {
    R.PREFIX: {R.PREFIX},
    R.HEAD: {R.HEAD},
    R.INNER: {R.HEAD, R.INNER, R.TAIL},
    R.TAIL: {R.HEAD, R.TAIL},
    R.SUFFIX: {R.PREFIX, R.SUFFIX},
    R.WHOLE: set(R),
}


CALLED = (*3 * ["{}"], "[{} for _ in range(dice())]", "[coin() or {} for _ in range(dice())]", "coin() and {}")
CALLED += ("any({} for _ in range(dice()))", "{{_: [{} for _ in range(dice())] for _ in range(dice())}}")


class Program:
    """A random program of three files whose functions call those after them; every log has a name of its own."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self.names: list[str] = []
        self._home = [self._random.choice(("train", "a", "b")) for _ in range(5)]
        files = {name: ["import flor_ray as flor", "import a, b"] for name in ("train", "a", "b")}
        for number in range(4, -1, -1):
            body = self.block(2, number + 1, self._home[number], "function")
            files[self._home[number]] += [f"def f{number}():", *body]
        files["train"] += [line[4:] for line in self.block(3, 0, "train", "")]
        self.files = {f"{name}.py": "\n".join(lines) + "\n" for name, lines in files.items()}

    def block(self, depth: int, function: int, home: str, around: str) -> list[str]:
        lines = []
        for _ in range(self._random.randint(1, 4)):
            lines += self.statement(depth, function, home, around)
        return ["    " + line for line in lines]

    def statement(self, depth: int, function: int, home: str, around: str) -> list[str]:
        kinds = ["log", "log", "call", "call"]
        if depth:
            kinds += ["if", "for", "record", "record", "try", "while"]
        kinds += ["jump"] if around else []
        kind = self._random.choice(kinds)

        def inner(more: str = around) -> list[str]:
            return self.block(depth - 1, function, home, more)

        if kind == "call" and function < 5:
            called = self._random.randint(function, 4)
            if self._home[called] in (home, "a", "b"):
                call = f"f{called}()" if self._home[called] == home else f"{self._home[called]}.f{called}()"
                return [self._random.choice(CALLED).format(call)]
        if kind == "if":
            return ["if coin():", *inner(), "else:", *inner()]
        if kind == "for":
            return ["for _ in range(dice()):", *inner("loop")]
        if kind == "while":
            return ["while coin():", *inner("loop")]
        if kind == "record":
            return ["for _ in flor.loop('l', range(2)):", *inner("loop")]
        if kind == "try":
            return ["try:", *inner(), "except ValueError:", *inner(), "finally:", "    flag()"]
        if kind == "jump":
            jumps = ["raise ValueError", *(["break", "continue"] if around == "loop" else ["return"])]
            return ["if coin():", f"    {self._random.choice(jumps)}"]
        self.names.append(f"n{len(self.names)}")
        return [f"flor.log('{self.names[-1]}', 1)"]


def phases_of_a_run(files: dict[str, str], seed: int) -> dict[str, set[Region]] | None:
    """Where a run of the program with this luck logs its names; None if it has no main loop."""
    luck, context, met = random.Random(seed), Context(), dict[str, set[Region]]()

    def loop(name: str, values: range) -> Iterator[int]:
        role = context.enter()
        try:
            for value in values:
                if role is Role.MAIN:
                    context.begin_epoch(value + 1)
                yield value
        finally:
            context.leave(role)

    def phase() -> Region:
        if Role.MAIN not in context.stack:
            return R.SUFFIX if context.main_seen else R.PREFIX
        if Role.NESTED in context.stack:
            return R.INNER if context.nested_in_epoch == 1 else R.TAIL
        return R.TAIL if context.nested_in_epoch else R.HEAD

    def log(name: str, value: int) -> None:
        met.setdefault(name, set()).add(phase())
        if len(met) + luck.randint(0, 400) > 10_000:
            raise SystemExit

    flor = types.SimpleNamespace(loop=loop, log=log)
    spaces = {name: types.SimpleNamespace() for name in ("train", "a", "b")}
    for name in ("a", "b", "train"):
        space = vars(spaces[name])
        space |= {"flor": flor, "a": spaces["a"], "b": spaces["b"], "flag": lambda: None}
        space |= {"coin": lambda: luck.random() < 0.5, "dice": lambda: luck.randint(0, 2)}
        text = "\n".join(line for line in files[f"{name}.py"].splitlines() if not line.startswith("import"))
        try:
            exec(text, space)
        except ValueError:
            break
    return met if context.main_seen else None


def test_no_run_of_a_random_program_logs_a_name_outside_of_its_region() -> None:
    told = runs = 0
    for seed in range(150):
        program = Program(seed)
        phases = phases_of("train.py", program.files)
        found = {name: phases.logged(name).region for name in program.names}
        told += sum(region is not R.WHOLE for region in found.values())
        for luck in range(8):
            for name, met in (phases_of_a_run(program.files, luck) or {}).items():
                runs += 1
                assert met <= COVERED[found[name]], (seed, luck, name, met, phases.logged(name), program.files)
    assert told > 100
    assert runs > 1000


@pytest.mark.parametrize(
    ("imports", "call"),
    [
        ("from common import flor as f", "f.log('x', 1)"),
        ("import common", "common.flor.log('x', 1)"),
        ("from common import *", "record('x', 1)"),
        ("record = flor.log", "record('x', 1)"),
        ("again = flor; record = again.log", "record(name='x', value=1)"),
        ("from flor_ray import *", "log('x', 1)"),
        ("try:\n    import flor_ray as f\nexcept ImportError:\n    f = None", "f.log('x', 1)"),
    ],
)
def test_a_statement_is_seen_by_whatever_name_it_calls_us(imports: str, call: str) -> None:
    files = repo(imports, inner=call) | {"common.py": "import flor_ray as flor\nrecord = flor.log\n"}
    assert phases_of("train.py", files).logged("x").region is R.INNER


def test_what_only_has_our_name_is_none_of_ours() -> None:
    own = "class History:\n    def log(self, name, value): pass\nhistory = History()"
    both = repo(prefix=own, inner="history.log('x', 1)", tail="flor.log('x', 2)")
    assert phases_of("train.py", both).logged("x").region is R.TAIL
    assert phases_of("train.py", repo(prefix=own, inner="history.log('x', 1)")).logged("x").why.startswith("nothing")


def test_fifty_files_of_five_hundred_lines_take_less_than_a_second_once() -> None:
    def function(file: int, number: int) -> str:
        call = f"m{file - 1}.f{number}(x)" if file else "x.y.z(1, k=2)"
        return f"def f{number}(x):\n    a = x + 1\n    if a:\n        b = {call}\n    for c in range(3):\n        a += g(b)[0]\n    print(a, b)\n    flor.log('n{file}_{number}', a)\n    return a\n\n"

    modules = {
        f"m{file}": (f"import m{file - 1}\n" if file else "") + "".join(function(file, n) for n in range(50))
        for file in range(50)
    }
    files = repo("import m49", tail="m49.f7(1)", **modules)
    began = time.process_time()
    assert phases_of("train.py", files).logged("n0_7").region is R.TAIL
    first, began = time.process_time() - began, time.process_time()
    files["train.py"] += "print(1)\n"
    assert phases_of("train.py", files).logged("n0_8").region is R.WHOLE
    again = time.process_time() - began
    assert first < 4 * slowness()  # alone it is less than one
    assert again < first


def test_the_tail_reads_what_it_and_its_functions_load() -> None:
    source = """\
import flor
def evaluate(net):
    local = net(held_out)
    return local + bias
for epoch in flor.loop(r):
    before = 1
    for x in flor.loop(d):
        loss = step(x)
    best = max(best, evaluate(model))
    count += 1
"""
    read = phases_of("train.py", {"train.py": source}).names_read_in_tail()
    assert read is not None
    assert {"evaluate", "model", "held_out", "bias", "best", "count"} <= read
    assert not {"local", "before", "x", "loss", "step", "d"} & read


@pytest.mark.parametrize("source", ["", "x = 1\n", "import flor\nfor e in flor.loop(r):\n    f(e)\n", "(((", "\0"])
def test_without_a_nested_loop_there_is_no_tail(source: str) -> None:
    assert phases_of("train.py", {"train.py": source}).names_read_in_tail() is None


def test_what_is_remembered_of_a_version_does_not_hold_its_syntax_trees() -> None:
    """Of a history's hundreds of versions the regions are remembered: their trees would be gigabytes."""

    def assignments() -> int:
        gc.collect()
        return sum(type(each) is ast.Assign for each in gc.get_objects())  # some objects of ours refuse all questions

    before = assignments()
    repositories = [repo(prefix=f"x = [{number}] * 3") for number in range(60)]
    kept = [
        phases_of("train.py", {f"unused_{i}.py": "import flor_ray as flor\n" + f"x{i} = flor.log\n" * 2_000, **files})
        for i, files in enumerate(repositories)
    ]
    assert len(kept) == 60
    assert assignments() - before < 40 * 2_000
