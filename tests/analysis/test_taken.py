"""Whether something is taken from an object that no checkpoint can hold: forms of use, one line each."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from flor_ray.analysis.taking.taken import Takings, taken_from
from flor_ray.records import Region

HEAD, INNER, TAIL, SUFFIX = Region.HEAD, Region.INNER, Region.TAIL, Region.SUFFIX


def taken(
    before: str = "",
    head: str = "pass",
    inner: str = "pass",
    tail: str = "pass",
    after: str = "",
    name: str = "x",
    files: Mapping[str, str] | None = None,
) -> Takings:
    """What is taken from `x` in a script with these statements before, in and after its loops."""
    lines = [
        "import flor_ray as flor",
        "import lib",
        "x = lib.make()",
        "n, a, d, batch = 0, lib.A(), {}, lib.batch()",
        *before.splitlines(),
    ]
    lines += ["flor.checkpointing()", "for epoch in flor.loop('epoch', range(9)):"]
    lines += [f"    {line}" for line in head.splitlines()]
    lines += ["    for step in flor.loop('step', range(9)):"]
    lines += [f"        {line}" for line in inner.splitlines()]
    lines += [f"    {line}" for line in tail.splitlines()]
    lines += ["    flor.log('n', n)"]
    texts = {"train.py": "\n".join([*lines, *after.splitlines()]) + "\n", **(files or {})}
    return taken_from({name}, "train.py", texts)[name]


GIVEN = [
    "x.write(text)",
    "x.write(str(loss.item()) + '\\n')",
    "x.writerow([epoch, loss])",
    "x.add_scalar('loss', loss, epoch)",
    "x.set_postfix(loss=loss)",
    "x.update(1)",
    "x.update(len(batch))",
    "x.update(n=step)",
    "x.flush()",
    "x.close()",
    "x.info('epoch %d', epoch)",
    "_ = x.write(text)",
    "x.console.print(text)",
    "x.handlers[0].flush()",
    "x.acquire(timeout=2)",
    "x.n = 3",
    "x['a'] = batch",
    "x",
    "x.write(text); del x",
    "print('loss', loss, file=x)",
    "print(x)",
    "json.dump(history, x)",
    "torch.save(net, x)",
    "np.save(x, batch)",
    "table.to_csv(x)",
    "lib.talk(stdout=x)",
    "with x: n += 1",
    "with x as y: y.write(text)",
    "if x: n += 1",
    "if x is not None: x.write(text)",
    "if not x: n += 1",
    "assert x is not None",
    "n = 1 if x else 2",
    "if isinstance(x, lib.Writer): n += 1",
    "y = x; y.write(text)",
    "(y := x).write(text)",
    "y = x or lib.make(); y.write(text)",
    "n = x.name",
    "x.record()",
    "n = x.elapsed_time(end)",
    "with lib.cuda.stream(x): n += 1",
    "path = os.path.join(x.log_dir, 'a')",
    "progress = x; progress.update(loss)",
    "progress = x; progress.update()",
]


@pytest.mark.parametrize("use", GIVEN)
def test_what_is_only_given_something_or_asked_whether_it_is_there_is_not_taken_from(use: str) -> None:
    assert taken(inner=use).regions == frozenset()


TAKEN = [
    "n = x.step(action)",
    "n, reward = x.step(action)",
    "n += x.n",
    "n += len(x)",
    "n = x[0]",
    "n = x.total",
    "if x.mode == 'train': n += 1",
    "y = {'a': x}; n = y.popitem()[1].get()",
    "y = [x]; n = y.__getitem__(0).get()",
    "n = x['a'].value",
    "n = x.parts[0].value",
    "n = x + 1",
    "n = f'{x}'",
    "n = x == y",
    "n = 3 in x",
    "n = next(x)",
    "n = list(x)",
    "n = x()",
    "for y in x: n += y",
    "n = [z for z in x]",
    "n = net(x)",
    "net(x)",
    "lib.fill(batch, x)",
    "x.readinto(batch)",
    "x.update(batch)",
    "x.update()",
    "x.step(batch)",
    "x.step()",
    "x.backward(loss)",
    "if x.acquire(False): n += 1",
    "if x.count > 2: n += 1",
    "while x.get(): n += 1",
    "with x.section(): n += 1",
    "with x.section() as y: y.write(text)",
    "flor.log('n', x)",
    "flor.log('n', x.n)",
    "n = x.write(text); n += 1",
    "print(x.n)",
    "y = x; n = y.get()",
    "(y := x).get(batch)",
    "y = lambda: x.get(); n = y()",
    "y = x.get; n = y()",
    "y = lib.partial(x.get, 1); n = y()",
    "y = [x]; n = y[0].get()",
    "y = {'a': x}; n = y['a'].get()",
    "for y in [x, None]: n = y.get()",
    "for k, y in {'a': x}.items(): n = y.get()",
    "y = [x for _ in range(2)]; n = y[1].get()",
    "a, y = 1, x; n = y.get()",
    "a.b = x; n = a.b.get()",
    "a[0] = x; n = a[0].get()",
    "a.append(x); n = a.pop().get()",
    "setattr(a, 'b', x); n = a.b.get()",
    "n = getattr(x, 'n')",
    "a.b = x; n = getattr(a, 'b').get()",
    "a.b = x; n = getattr(a, name).get()",
    "a.b = x; n = vars(a)['b'].get()",
    "n = globals()['x'].get()",
    "exec('n = x.get()')",
    "lib.run(work, x)",
    "y = x if n else None; n = y.get()",
    "x += 1",
    "raise Stop(x)",
    "n += sum(z.get() for z in (x,))",
    "match x.state:\n    case 1: n += 1",
    "n[x.get()] = 1",
    "n = d[x]",
    "writer = csv.writer(x); n = writer.writerow([1]); m = n",
]


@pytest.mark.parametrize("use", TAKEN)
def test_what_is_not_known_to_leave_the_rest_as_it_is_is_taken(use: str) -> None:
    assert taken(inner=use).regions & {INNER, Region.WHOLE}


@pytest.mark.parametrize(
    ("before", "use"),
    [
        ("def f(y): return y.get()", "n = f(x)"),
        ("def f(n, *, y): return y.get()", "n = f(1, y=x)"),
        ("def f(*y): return y[0].get()", "n = f(x)"),
        ("def f(**y): return y['a'].get()", "n = f(a=x)"),
        ("def f(a, y): return y.get()", "n = f(*[1, x])"),
        ("def f(a, y): return g(y)\ndef g(z): return z.get()", "n = f(1, x)"),
        ("def f(): return x", "n = f().get()"),
        ("def f(): return x.get()", "n = f()"),
        ("def f():\n    global n\n    n = x.get()", "f()"),
        ("def f(y=x): return y.get()", "n = f()"),
        ("f = lambda: x.get()", "n = f()"),
        ("f = lambda y: y.get()", "n = f(x)"),
        ("f = x.get", "n = f()"),
        ("f = lib.partial(x.get, 1)", "n = f()"),
        ("import functools\nf = functools.partial(lib.act, x)", "n = f()"),
        (
            "class A:\n    def __init__(self, y): self.y = y\n    def act(self): return self.y.get()\na = A(x)",
            "n = a.act()",
        ),
        ("class A:\n    def __init__(self, y): self.y = y\na = A(x)", "n = a.y.get()"),
        ("class A:\n    def act(self, y): return y.get()\na = A()", "n = a.act(x)"),
        ("class A:\n    y: object\n    def act(self): return self.y.get()\na = A(x)", "n = a.act()"),
        ("class A:\n    y = x\n    def act(self): return self.y.get()\na = A()", "n = a.act()"),
        (
            "class A:\n"
            "    def __init__(self, y): self._y = y\n"
            "    @property\n"
            "    def y(self): return self._y\n"
            "a = A(x)",
            "n = a.y.get()",
        ),
        (
            "class B:\n"
            "    def __init__(self, y): self.y = y\n"
            "class A(B):\n"
            "    def act(self): return self.y.get()\n"
            "a = A(x)",
            "n = a.act()",
        ),
        ("class A(lib.Wrapper):\n    pass\na = A(x)", "n = a.step()"),
        ("class A(lib.Wrapper):\n    def __init__(self, y): super().__init__(y)\na = A(x)", "n = a.step()"),
        ("def deco(f):\n    def g(*a): return f(*a)\n    return g\n@deco\ndef f(y): y.write('')", "f(x)"),
        ("a = lib.wrap(x)", "n = a.step()"),
        ("a = lib.Wrapper(x)", "a.step(batch)"),
        ("a = lib.Trainer()\na.set_env(x)", "n = a.step()"),
        ("a = x.cursor()", "n = a.fetch()"),
        ("a = [x]", "n = a[0].get()"),
        ("a = [x]\nb, = a", "n = b.get()"),
        ("a = []\na.append(x)", "for b in a: n += b.get()"),
        ("a = {}\na['k'] = x", "n = a['k'].get()"),
        ("a = dict(k=x)", "n = a['k'].get()"),
        (
            "import threading\n"
            "def work(y):\n"
            "    while True: d['n'] = y.get()\n"
            "threading.Thread(target=work, args=(x,)).start()",
            "n = d['n']",
        ),
        ("obs = x.reset()", "n = net(obs)"),
        ("class A:\n    def act(self, y): pass\nother = lib.make()", "n = other.act(x)"),
    ],
)
def test_it_is_followed_to_where_it_is_used(before: str, use: str) -> None:
    assert taken(before, inner=use).regions


@pytest.mark.parametrize(
    ("before", "use"),
    [
        ("def f(y, text): y.write(text)", "f(x, text)"),
        ("def f(y): return 3", "n = f(x)"),
        ("def f(text): print(text, file=x)", "f(text)"),
        (
            "class A:\n"
            "    def __init__(self, y): self.y, self.n = y, 0\n"
            "    def act(self, v):\n"
            "        self.n += 1\n"
            "        self.y.write(v)\n"
            "a = A(x)",
            "a.act(loss); n = a.n",
        ),
        (
            "class A:\n"
            "    def __init__(self, y=None): self.y = y\n"
            "    def act(self, v):\n"
            "        if self.y is not None: self.y.add_scalar('a', v)\n"
            "a = A(x)",
            "a.act(loss)",
        ),
        (
            "class A:\n"
            "    def __init__(self, y): self.lock = y\n"
            "    def act(self):\n"
            "        with self.lock: self.n += 1\n"
            "a = A(x)",
            "a.act()",
        ),
        ("import csv\na = csv.writer(x)\na.writerow(['epoch'])", "a.writerow([loss])"),
        ("import logging\nlogging.getLogger('a').addHandler(logging.StreamHandler(x))", "n += 1"),
        ("x.write('head')\nm = x.tell()", "x.write(text)"),
        ("a = [x]", "for b in a: b.write(text)"),
        ("obs = x.reset()", "n += 1"),
        ("task = x.add_task('train')", "x.update(task, advance=1)"),
        ("def unused(): return x.get()", "x.write(text)"),
    ],
)
def test_what_is_only_handed_around_is_not_taken_from(before: str, use: str) -> None:
    assert taken(before, inner=use).regions == frozenset()


def test_when_something_is_taken() -> None:
    use = "n = x.get()"
    assert taken(head=use).regions == {HEAD}
    assert taken(tail=use).regions == {TAIL}
    assert taken(after=use).regions == {SUFFIX}
    assert taken(head=use, after=use).regions == {HEAD, SUFFIX}
    assert taken("def f():\n    return x.get()", inner="n = f()", after="n = f()").regions == {INNER, SUFFIX}
    assert taken("first = x.get()").regions == frozenset()
    assert taken("first = x.get()", tail="n += first").regions == {TAIL}


def test_other_variables_of_the_same_name_are_others() -> None:
    before = "def f(x): return x.get()\ndef g():\n    x = lib.make()\n    return x.get()"
    assert taken(before, inner="n = f(3) + g(); x.write(text)").regions == frozenset()


def test_it_is_found_in_other_files() -> None:
    helper = {"helper.py": "from train import x\n\ndef f():\n    return x.get()\n"}
    assert taken("import helper", inner="n = helper.f()", files=helper).regions >= {INNER}
    helper = {"helper.py": "def f(y):\n    return y.get()\n"}
    assert taken("from helper import f", inner="n = f(x)", files=helper).regions == {INNER}
    helper = {"helper.py": "import lib\ny = lib.make()\n\ndef f():\n    return y.get()\n"}
    assert taken("import helper", inner="n = helper.f()", name="helper.y", files=helper).regions == {INNER}
    assert taken("import helper", inner="n = helper.y.get()", name="helper.y", files=helper).regions == {INNER}
    assert taken("from helper import y", inner="n = y.get()", name="helper.y", files=helper).regions == {INNER}


@pytest.mark.parametrize(
    ("name", "before", "use"),
    [
        ("A.y", "class A:\n    def act(self): return self.y.get()\na = A()", "n = a.act()"),
        ("__main__.x", "def f(): return x.get()", "n = f()"),
        ("objects.f.__self__", "f = x.get", "n = f()"),
        ("objects.f.0.__self__", "f = lib.partial(x.get)", "n = f()"),
        ("objects.__main__:f.<default 0>", "def f(y=x): return y.get()", "n = f()"),
        ("nowhere", "", "n += 1"),
    ],
)
def test_objects_are_found_by_the_names_that_checkpoints_give_them(name: str, before: str, use: str) -> None:
    assert taken(before, inner=use, name=name).regions


def test_names_by_which_code_may_come_to_it() -> None:
    found = taken("class A:\n    def __init__(self, y): self.z = y\na = A(x)\nb = x", inner="n = b.get()")
    assert found.names >= {"x", "a", "b", "y", "z"}
    assert "n" not in found.names
