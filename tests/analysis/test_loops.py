"""What a loop binds, changes, calls, mentions and carries."""

from __future__ import annotations

import textwrap

import pytest

from flor_ray.analysis.loops import LoopNames, as_recorded, loop_names


def names(source: str, line: int | None = None) -> LoopNames:
    """Names of the loop on the line that holds "loop(" first, unless another is named."""
    text = textwrap.dedent(source).strip("\n")
    found = next(number for number, content in enumerate(text.splitlines(), start=1) if "loop(" in content)
    return loop_names(text, line or found)


def test_names_are_sorted_by_how_the_body_uses_them() -> None:
    found = names(
        """
        for epoch in flor.loop("epoch", range(n)):
            total += 1
            d["k"] = 1
            obj.n += 1
            items.append(total)
            w.add_(g)
            helper(x)
            z = 1
        print(z)
        """
    )
    assert found.bound == {"epoch", "total", "z"}
    assert found.changed == {"d", "obj", "w"}
    assert found.called == {"items"}
    assert found.mentioned == {"flor", "range", "n", "d", "obj", "items", "total", "w", "g", "helper", "x"}
    assert found.live == {"total", "z", "d", "obj", "w"}
    assert found.carried == {"total", "d", "obj", "w"}


@pytest.mark.parametrize(
    ("body", "bound"),
    [
        ("a, (b, *c) = x", {"a", "b", "c"}),
        ("a: int = 1", {"a"}),
        ("a += 1", {"a"}),
        ("del a", {"a"}),
        ("with open(x) as a, y as (b, c): pass", {"a", "b", "c"}),
        ("for a in x: b = 1", {"a", "b"}),
        ("if (a := x) > 1: pass", {"a"}),
        ("x([1 for _ in y if (a := 1)])", {"a"}),
        ("x([b for b in y], lambda c: c, {d: 1 for d in y})", set()),
        ("import a.b, c as d\n    from e import f as g", {"a", "d", "g"}),
        ("try: pass\n    except E as a: pass", {"a"}),
        (
            "match x:\n        case [a, *b]: pass\n        case {'k': c, **d}: pass\n        case E() as e: pass",
            set("abcde"),
        ),
        ("def a(b):\n        c = 1", {"a"}),
        ("def a():\n        nonlocal b\n        b = 1", {"a", "b"}),
        ("class a:\n        b = 1", {"a"}),
        ("while x: a = 1", {"a"}),
    ],
)
def test_every_way_to_bind_a_name_is_seen(body: str, bound: set[str]) -> None:
    assert names(f"for i in loop(x):\n    {body}\n").bound == bound | {"i"}


def test_globals_assigned_in_any_function_of_the_file_count_as_bound() -> None:
    found = names("def f():\n    global n\n    n += 1\nfor i in loop(x):\n    f()\n")
    assert found.bound == {"i", "n"}
    assert found.live == {"n"}


@pytest.mark.parametrize(
    ("body", "carried"),
    [
        ("a = 1\n    b = a", set()),
        ("b = a\n    a = 1", {"a"}),
        ("if x: a = 1\n    b = a", {"a"}),
        ("if x: a = 1\n    else: a = 2\n    b = a", set()),
        ("for s in x: a = s\n    b = a", set()),  # a loop is taken to run at least once
        ("while x: a = a + 1", {"a"}),
        ("try: a = 1\n    except E: pass\n    b = a", {"a"}),
        ("with x: a = 1\n    b = a", set()),
        ("a += 1", {"a"}),
    ],
)
def test_what_the_next_iteration_may_read_is_carried(body: str, carried: set[str]) -> None:
    assert names(f"for i in loop(x):\n    {body}\n").carried == carried


def test_what_is_read_after_the_loop_or_in_a_loop_around_it_is_live() -> None:
    assert names("for i in loop(x):\n    a = 1\n    b = 1\nprint(a, i)\n").live == {"a", "i"}
    assert names("for k in y:\n    print(b)\n    for i in loop(x):\n        b = 1\n").live == {"b"}


def test_loops_are_found_by_the_line_of_their_iterable() -> None:
    source = """
        class Trainer:
            def fit(self):
                with context:
                    for epoch in flor.loop(
                        "epoch",
                        range(3),
                    ):
                        self.n += 1
                        for step in flor.loop("step", self.loader):
                            self.m += 1
        """
    text = textwrap.dedent(source).strip("\n")
    assert [loop_names(text, line).bound for line in (4, 5, 6, 9)] == [{"epoch", "step"}] * 3 + [{"step"}]
    assert loop_names(text, 9).changed == {"self"}


@pytest.mark.parametrize(
    ("head", "wrapped"),
    [
        ("flor.loop(x)", ""),
        ("tqdm(flor.loop(x), desc=y)", ""),
        ("progress.track(Flor.loop(x))", ""),
        ("enumerate(flor.loop(x))", "enumerate"),
        ("tqdm(enumerate(flor.loop(x)))", "enumerate"),
        ("zip(flor.loop(x), y)", "zip"),
        ("itertools.islice(loop(x), 3)", "itertools.islice"),
    ],
)
def test_iterators_around_the_loop_that_count_for_themselves_are_named(head: str, wrapped: str) -> None:
    assert names(f"for i in {head}:\n    pass\n").wrapped == wrapped


def test_a_loop_whose_iterator_is_held_by_a_variable_is_found_where_it_is_used() -> None:
    found = names("bar = tqdm(flor.loop(x))\nfor i in bar:\n    a = b\n    bar.update()\nprint(a)\n")
    assert (set(found.bound), set(found.called), found.lines, found.wrapped) == ({"i", "a"}, set(), range(2, 5), "")
    assert names("it = flor.loop(x)\nfor i in enumerate(it):\n    pass\n").wrapped == "enumerate"


def test_a_loop_whose_body_is_elsewhere_is_unknown() -> None:
    assert names("def epochs():\n    for e in flor.loop(x):\n        yield e\n").unknown != ""
    assert names("values = [f(e) for e in flor.loop(x)]\n").unknown != ""
    assert loop_names("for i in (", 1).unknown == "its source cannot be read"
    assert names("for e in flor.loop(x):\n    f = lambda: (yield)\n").unknown == ""


def test_breaks_of_the_loop_itself_and_its_else_are_known() -> None:
    found = names(
        """
        for i in loop(x):
            if a:
                break
            for j in y:
                break
            else:
                break
            while z:
                break
            with w:
                break
        else:
            pass
        """
    )
    assert found.breaks == {3, 7, 11}
    assert found.has_else


@pytest.mark.parametrize(
    ("body", "cleared"),
    [
        ("opt.zero_grad()\n    loss.backward()", {"opt"}),
        ("for s in y:\n        self.opt.zero_grad()\n        loss.backward()", {"self.opt"}),
        ("loss.backward()\n    opt.zero_grad()", set()),
        ("if n % 4 == 0: opt.zero_grad()\n    loss.backward()", set()),
        ("a.zero_grad()\n    b.zero_grad()\n    loss.backward()", {"a", "b"}),
        ("loss.backward()", set()),
    ],
)
def test_gradients_are_cleared_only_where_every_iteration_surely_does(body: str, cleared: set[str]) -> None:
    assert names(f"for i in loop(x):\n    {body}\n").cleared == cleared


def test_our_loop_is_told_from_others_that_are_called_so() -> None:
    source = """
        import flor_ray as flor
        for epoch in enumerate(history.loop(flor.loop("epoch", x))):
            pass
        bar = wheel.loop(y)
        for step in flor.loop("step", bar):
            bar = 1
        """
    assert names(source).wrapped == "enumerate"
    assert names(source, 2).wrapped == "enumerate"
    assert names(source, 5).bound == {"step", "bar"}  # wheel.loop is none of ours: what holds it is a variable like any


def test_on_a_line_that_has_called_us_an_unknown_name_is_ours() -> None:
    assert names("import tools\nfor e in enumerate(tools.loop(x)):\n    pass\n").wrapped == "enumerate"
    assert names("for e in zip(self.flor.loop('epoch', x), y):\n    pass\n").wrapped == "zip"
    assert (
        names("from flor_ray import loop as l\nfor e in zip(l('epoch', x), y):  # loop(\n    pass\n").wrapped == "zip"
    )


def test_what_was_added_since_counts_only_as_bound() -> None:
    then = "for i in loop(x):\n    pass\n    b = c\nprint(b)\n"
    now = "for i in loop(x):\n    a = d(e)\n    b = c\nprint(b)\n"
    found = as_recorded(loop_names(now, 1), loop_names(then, 1))
    assert [set(found.added), set(found.bound), set(found.mentioned)] == [{"a"}, {"i", "b"}, {"loop", "x", "c"}]
    unreadable = loop_names("for i in (", 1)
    assert as_recorded(loop_names(now, 1), unreadable) == loop_names(now, 1)


@pytest.mark.parametrize(
    ("after", "live"),
    [
        ("print(a)", {"a"}),
        ("with open(x) as a: print(a)", set()),
        ("if x:\n    with open(x) as a: a.write(x)", set()),
        ("for a in x: print(a)", set()),
        ("for b in x: print(a)", {"a"}),
        ("for a in x: pass\nprint(a)", {"a"}),  # it may have run not once
        ("print([a for a in x])", set()),
        ("print([b for b in a])", {"a"}),
        ("print(sorted(x, key=lambda a: a.n))", set()),
        ("def f(a): return a\nf(x)", set()),
        ("def f(): return a\nf()", {"a"}),
        ("try: a = x\nexcept E: a = 1\nprint(a)", set()),
        ("try: a = x\nexcept E: print(a)", {"a"}),
        ("import a\nprint(a)", set()),
        ("a: int\nprint(a)", {"a"}),
        ("a = 1\nprint(a)", set()),
    ],
)
def test_what_is_bound_again_after_the_loop_is_not_live(after: str, live: set[str]) -> None:
    assert names(f"for i in loop(x):\n    a = f(i)\n{after}\n").live == live


@pytest.mark.parametrize(
    ("around", "live"),
    [
        ("def main():\n    with x:\n        {}\n        print(a)", {"a"}),
        ("def main():\n    if x:\n        {}\n    a = 1\n    print(a)", set()),
        ("try:\n    {}\nexcept E:\n    print(a)", {"a"}),
        ("try:\n    {}\n    a = 1\nfinally:\n    print(a)", {"a"}),
        ("try:\n    pass\nfinally:\n    {}\nprint(a)", {"a"}),
        ("if x:\n    {}\nelse:\n    print(a)", set()),
    ],
)
def test_what_follows_the_loop_is_found_through_what_it_stands_in(around: str, live: set[str]) -> None:
    indent = " " * next(len(line) - len(line.lstrip()) for line in around.splitlines() if "{}" in line)
    assert names(around.format(f"for i in loop(x):\n{indent}    a = f(i)")).live == live


@pytest.mark.parametrize(
    ("before", "first", "live"),
    [
        ("def g(): return a", "g()", {"a"}),
        ("def g(a): return a", "g(x)", set()),
        ("def g(): return h()\ndef h(): return a", "g()", {"a"}),
        ("class C:\n    def m(self): return a", "c.m()", {"a"}),
        ("class C:\n    def __len__(self): return a", "len(c)", {"a"}),
        ("g = lambda: a", "g()", {"a"}),
        ("def g(): return a\nk = partial(g)", "k()", {"a"}),
        ("def g(): return a", "h()", set()),  # nobody gave it to h
    ],
)
def test_what_functions_of_the_file_read_is_live_where_they_may_be_called_first(
    before: str, first: str, live: set[str]
) -> None:
    assert names(f"{before}\nfor i in loop(x):\n    {first}\n    a = 1\n").live == live
    assert names(f"{before}\nfor i in loop(x):\n    a = 1\n    {first}\n").live == set()


def test_what_is_made_anew_before_it_is_changed_is_not_live() -> None:
    assert names("for i in loop(x):\n    d = {}\n    d[i] = 1\n    e[i] = 1\n").live == {"e"}
    assert names("for i in loop(x):\n    def f(n): return f(n - 1)\n    f(i)\n").live == set()
    assert names("for i in loop(x):\n    @f\n    def f(n): return n\n    f(i)\n").live == {"f"}


@pytest.mark.parametrize(
    ("head", "found"),
    [
        ("[f(e) for e in loop(x)]", False),
        ("{f(e): e for e in loop(x)}", False),
        ("sorted(loop(x))", False),
        ("enumerate(list(loop(x)))", False),
        ("(f(e) for e in loop(x))", True),
        ("tqdm(loop(x))", True),
    ],
)
def test_a_loop_whose_epochs_are_over_when_it_begins_is_not_the_main_loop(head: str, found: bool) -> None:
    assert (names(f"for i in {head}:\n    a = 1\n").unknown == "") is found
    assert (names(f"held = {head}\nfor i in held:\n    a = 1\n").unknown == "") is found
    outer = f"for k in x:\n    for i in {head}:\n        a = 1\n"
    assert (loop_names(outer, 2).unknown == "") is found
