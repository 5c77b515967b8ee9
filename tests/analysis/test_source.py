"""What is a call to us: one rule, and the cases that hold both who read source by it."""

from __future__ import annotations

import ast
import builtins
import re
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from flor_ray.analysis import source
from flor_ray.analysis.lending import read_all
from flor_ray.propagation.reading.calls import calls
from flor_ray.propagation.reading.names import names_of
from flor_ray.propagation.reading.parse import parse

CASES = Path(__file__).parents[1] / "cases" / "recognition"
FILES = sorted(CASES.glob("*.py"))
_SAID = re.compile(r"(ours|perhaps): (\w+)(?: (\?|\"[^\"]*\"))?")
Said = tuple[int, str, str | None]  # line, function, and of those that have one the name


def said(text: str, kind: str) -> list[Said]:
    """What the comments of a case say: `# ours: log "x"; perhaps: loop`."""
    found = []
    for number, line in enumerate(text.splitlines(), start=1):
        for which, function, name in _SAID.findall(line.rpartition("  # ")[2]):
            if which == kind:
                found.append((number, function, ast.literal_eval(name) if name.startswith('"') else None))
    return sorted(found, key=repr)


def in_order(found: list[Said]) -> list[Said]:
    return sorted(found, key=repr)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_calls_to_us_are_those_that_the_rule_says(path: Path) -> None:
    text = path.read_text()
    read = source.read(text)
    assert in_order([(c.node.lineno, c.function, c.name) for c in read.calls]) == said(text, "ours")
    assert in_order([(c.node.lineno, c.function, c.name) for c in read.possible]) == said(text, "perhaps")


# tree-sitter goes on where Python gives up
@pytest.mark.parametrize("path", [path for path in FILES if path.stem != "broken"], ids=lambda path: path.stem)
def test_propagation_goes_by_the_same_rule_on_its_own_trees(path: Path) -> None:
    text = path.read_text()
    tree = parse(text)
    found = [(tree.line(c.node.start), c.function, _asked_for(c.function, c.feature)) for c in calls(names_of(tree))]
    assert in_order(found) == [
        (line, function, _asked_for(function, name)) for line, function, name in said(text, "ours")
    ]


def _asked_for(function: str, name: str | None) -> str | None:
    """Propagation asks for the names of what is logged and of arguments; MTK.loop's is its last argument."""
    return name if function in ("log", "arg") else None


# --- what other files give ------------------------------------------------------------------------------------------

COMMON = "import flor_ray as flor\nfrom flor_ray import log\n\nrecord = log\nflor_like = 3\n"
TRAIN = """\
from common import flor, record as note
from common import flor_like
import common
import common as c

flor.log("a", 1)
note("b", 1)
common.flor.log("c", 1)
c.log("d", 1)
flor_like.log("e", 1)
"""


def found(files: dict[str, str], path: str = "train.py") -> list[str | None]:
    return [call.name for call in read_all(files)[path].calls]


def test_names_that_another_file_of_the_users_passes_on_are_known() -> None:
    assert found({"train.py": TRAIN, "common.py": COMMON}) == ["a", "b", "c", "d"]
    assert found({"pkg/train.py": TRAIN, "pkg/common.py": COMMON, "common.py": ""}, "pkg/train.py") == list("abcd")
    assert found({"train.py": TRAIN, "common.py": "flor = note = log = 3\n"}) == []
    assert found({"train.py": TRAIN}) == []


def test_they_are_known_through_several_files_and_by_any_kind_of_import() -> None:
    files = {
        "train.py": "from middle import *\nfrom pkg.tools import note\nimport pkg.deep\nfrom pkg import deep as d\n\n"
        'flor.log("a", 1)\nnote("b", 1)\npkg.deep.flor.log("c", 1)\nd.flor.log("d", 1)\nlog("e", 1)\n',
        "middle.py": "from common import flor, log as log\n",
        "common.py": COMMON,
        "pkg/__init__.py": "from .tools import note\n",
        "pkg/tools.py": "from .deep import flor\n\nnote = flor.log\n",
        "pkg/deep.py": "import flor_ray as flor\n",
    }
    assert found(files) == ["a", "b", "c", "d", "e"]
    assert found({**files, "train.py": 'from pkg import note\nnote("a", 1)\n'}) == ["a"]


def test_two_files_that_a_module_may_be_have_to_agree() -> None:
    train = 'from common import flor\nflor.log("a", 1)\n'
    assert found({"train.py": train, "a/common.py": COMMON, "b/common.py": COMMON}) == ["a"]
    assert found({"train.py": train, "a/common.py": COMMON, "b/common.py": "flor = 3\n"}) == []


def test_files_that_import_each_other_in_a_circle_are_read_to_an_end() -> None:
    files = {
        "train.py": 'from a import flor, late\nflor.log("a", 1)\nlate("b", 1)\n',
        "a.py": "from b import flor, late\n",
        "b.py": "import flor_ray as flor\nfrom a import late\nlate = flor.log\n",
    }
    assert found(files) == ["a"]  # what `late` is in b.py, a.py may have changed by then


def test_a_file_by_itself_may_get_us_from_any_module_that_is_not_pythons_own() -> None:
    read = source.read('from common import flor\nimport math\nflor.log("a", 1)\nmath.log(2.0)\n')
    assert read.calls == ()
    assert [call.name for call in read.possible] == ["a"]


# --- whether anybody else may call us -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "is_handed_out"),
    [
        ("import flor_ray as flor\nflor.log('a', 1)\nf = flor\nrecord = flor.log\n", False),
        ("import flor_ray as flor\nif flor is not None:\n    flor.log('a', 1)\nif flor:\n    pass\n", False),
        ("import flor_ray as flor\nprint(flor.__version__)\nx = flor.dataframe('a')\n", False),
        ("import flor_ray as flor\nfit(net, flor)\n", True),
        ("import flor_ray as flor\nfit(net, flor.log)\n", True),
        ("import flor_ray as flor\nfit(net, log=flor.MTK)\n", True),
        ("import flor_ray as flor\nself.log = flor.log\n", True),
        ("import flor_ray as flor\nclass A:\n    log = flor.log\n", True),
        ("import flor_ray as flor\nloggers = [flor.log]\n", True),
        ("import flor_ray as flor\ndef f():\n    return flor\n", True),
        ("from flor_ray import log\nmap(log, names, values)\n", True),
        ("import importlib\nflor = importlib.import_module('flor_ray')\n", True),
        ("log = print\nfit(log)\n", False),
    ],
)
def test_who_passes_us_on_is_told(text: str, is_handed_out: bool) -> None:
    assert source.read(text).hands_out is is_handed_out


# --- reading --------------------------------------------------------------------------------------------------------


def test_a_text_is_parsed_once_and_what_is_kept_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    parsed: list[str] = []
    parse_once = source.parse

    def counted(text: str) -> ast.Module:
        parsed.append(text)
        return parse_once(text)

    monkeypatch.setattr(source, "parse", counted)
    texts = [f"x = {number}  # {'y' * 300_000}\n" for number in range(4)]
    for text in (texts[0], texts[0], *texts, texts[0]):
        assert source.read(text).tree is not None
        source.read(text, frozenset())
    assert parsed == [texts[0], texts[1], texts[2], texts[3], texts[0]]


def test_an_encoding_that_a_file_names_holds_and_what_is_no_python_has_no_tree() -> None:
    latin = "# -*- coding: latin-1 -*-\nname = '\xe9'\n".encode("latin-1").decode("utf-8", "surrogateescape")
    tree = source.read(latin).tree
    assert tree is not None
    assert ast.unparse(tree) == "name = 'é'"
    assert source.read("\ufefffor x in y: pass\n").tree is not None
    assert source.read("import flor_ray\nflor_ray.log('a', 1\n").tree is None
    assert source.read("\0").calls == ()


def test_deep_expressions_are_read_to_the_end() -> None:
    text = "import flor_ray as flor\nx = " + "+".join(["flor.log('a', 1)"] * 900) + "\n"
    assert len(source.read(text).calls) == 900


# --- the rule against what Python does ------------------------------------------------------------------------------

NAMES = st.sampled_from(["flor", "log", "f", "note", "MTK"])
VALUES = st.sampled_from(
    ["flor", "log", "f", "note", "MTK", "flor.log", "f.MTK", "flor.MTK.log", "None", "3", "own", "Own()", "Own().log"]
)
IMPORTS = st.sampled_from(
    [
        *("import flor_ray as flor", "import flor_ray as f", "from flor_ray import MTK", "from flor_ray import log"),
        *("from flor_ray import log as note", "from flor_ray import *", "from math import log", "import math as flor"),
        *("from flor_ray import MTK as flor", "import flor as f", "from math import *"),
    ]
)
CALLS = st.sampled_from(
    ["flor.log({})", "log({})", "f.log({})", "note({})", "MTK.log({})", "flor.MTK.log({})", "own.log({})"]
).map(lambda text: text.format("'x', 1"))


def _block(lines: list[str], head: str) -> str:
    return "\n".join([head, *(f"    {line}" for part in lines for line in part.split("\n"))])


def _compound(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    body = st.lists(inner, min_size=1, max_size=4)
    return st.one_of(
        st.builds(lambda n, b: _block(b, f"def g({n}=own):") + "\ng()", NAMES, body),
        st.builds(lambda n, v, b: _block(b, f"def g({n}):") + f"\ng({v})", NAMES, VALUES, body),
        st.builds(lambda n, b: _block([f"global {n}", *b], "def g():") + "\ng()", NAMES, body),
        st.builds(lambda b: _block(b, "class Inner:"), body),
        st.builds(lambda n, v, b: _block(b, f"for {n} in [{v}, 1]:"), NAMES, VALUES, body),
        st.builds(lambda b: _block(b, "if True:"), body),
        st.builds(lambda n, v, c: f"[{c} for {n} in [{v}]]", NAMES, VALUES, CALLS),
        st.builds(lambda n, v, c: f"(lambda {n}: {c})({v})", NAMES, VALUES, CALLS),
    )


SIMPLE = st.one_of(
    IMPORTS,
    CALLS,
    CALLS,
    st.builds(lambda n, v: f"{n} = {v}", NAMES, VALUES),
    st.builds(lambda n, m, v, w: f"{n}, {m} = {v}, {w}", NAMES, NAMES, VALUES, VALUES),
    st.builds(lambda n, v: f"({n} := {v})", NAMES, VALUES),
    st.builds(lambda v: f"own.log = {v}", VALUES),
)
DELETED = st.builds(lambda n: f"del {n}", NAMES)
STATEMENTS = st.lists(st.one_of(st.recursive(SIMPLE, _compound, max_leaves=6), DELETED), min_size=1, max_size=8)


class _Program:
    """A program while it runs: from which lines it calls flor_ray, and from which something of another's called log."""

    def __init__(self, text: str) -> None:
        self.ours, self.others = set[int](), set[int]()
        log, other = self._function(self.ours), self._function(self.others)
        own = type("Own", (), {"log": staticmethod(other)})
        face = type("MTK", (), {"log": staticmethod(log)})
        modules = {
            **dict.fromkeys(("flor_ray", "flor"), self._module(log=log, MTK=face)),
            "math": self._module(log=other),
        }
        names: dict[str, Any] = {**vars(builtins), "__import__": lambda name, *given: modules[name]}
        exec(compile(text, "program", "exec"), {"__builtins__": names, "Own": own, "own": own()})

    def _function(self, lines: set[int]) -> Callable[..., None]:
        return lambda *given: lines.add(sys._getframe(1).f_lineno)

    def _module(self, **members: object) -> types.ModuleType:
        made = types.ModuleType("made")
        vars(made).update(members, __all__=sorted(members))
        return made


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(STATEMENTS)
def test_what_a_program_calls_is_what_was_read(statements: list[str]) -> None:
    """No sure call ever calls another's function, and none of ours is called unseen unless we were passed on."""
    text = "\n".join(_block([each], "try:") + "\nexcept Exception:\n    pass" for each in statements) + "\n"
    try:
        compile(text, "program", "exec")
    except SyntaxError:  # such as `global` behind a use
        assume(False)
    program = _Program(text)
    read = source.read(text, frozenset())
    sure = {call.node.lineno for call in read.calls}
    seen = sure | {call.node.lineno for call in read.possible}
    assert not sure & program.others
    assert read.hands_out or program.ours <= seen
    tree = parse(text)
    assert {tree.line(call.node.start) for call in calls(names_of(tree))} == sure


# --- checkpointing --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "calls_it"),
    [
        ("import flor_ray as flor\nflor.checkpointing(net=net)\n", True),
        ("from flor_ray import MTK as Flor\nFlor.checkpoints(net)\n", True),
        ("from common import flor\nwith flor.checkpointing(net=net):\n    pass\n", True),  # who knows what common is
        ("import flor_ray as flor\n# with flor.checkpointing(net=net):\nflor.log('a', 1)\n", False),
        ("import flor_ray as flor\n'call checkpointing(net) first'\n", False),
        ("import flor_ray as flor\nclass A:\n    def fit(self):\n        self.checkpointing()\n", False),
        ("def checkpointing(net):\n    pass\n\n\ncheckpointing(net)\n", False),
    ],
)
def test_a_script_waits_for_checkpointing_only_if_it_may_call_it(text: str, calls_it: bool) -> None:
    assert source.calls_checkpointing(text) is calls_it


@pytest.mark.parametrize(
    ("head", "is_loop"),
    [
        ("flor.loop(x)", True),
        ("enumerate(tqdm(flor.loop(x)))", True),
        ("(f(e) for e in flor.loop(x))", True),
        ("[f(e) for e in flor.loop(x)]", False),
        ("np.array([f(e) for e in flor.loop(x)])", False),
        ("list(flor.loop(x))", False),
        ("collect(flor.loop(x))", False),  # it may have gone through all of it
        ("track(flor.loop(x))", False),  # the one that is defined here
    ],
)
def test_a_for_is_the_main_loop_where_the_epochs_surely_run_while_it_does(head: str, is_loop: bool) -> None:
    parsed = source.read(f"import flor_ray as flor\ndef track(x): return list(x)\nfor e in {head}:\n    pass\n")
    assert parsed.tree is not None
    assert parsed.is_loop(parsed.tree.body[-1]) is is_loop
