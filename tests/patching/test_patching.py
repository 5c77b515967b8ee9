"""Choosing where a statement comes from, and carrying it into a version's files."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Mapping

import pytest

from flor_ray import propagation
from flor_ray.patching import donors
from flor_ray.patching.donors import Donor, Revision, blob_of, features, find_donors, said, statements, unclear
from flor_ray.patching.patching import CarryingWays, Fate, Finding, narrowed, patch, patch_all, stale
from flor_ray.records import GRADIENTS, Level, Pin, PinnedPlace, Region, Statement

OLD = textwrap.dedent(
    """
    import flor_ray as flor
    total = 0
    for epoch in flor.loop("epoch", range(3)):
        for step in flor.loop("step", range(3)):
            total += step
        flor.log("total", total)
    """
)
NEW = OLD.replace('flor.log("total", total)', 'flor.log("total", total)\n    flor.log("twice", 2 * total)')
SCRIPTS = frozenset({"train.py"})


def test_names_come_from_the_first_candidate_that_logs_them() -> None:
    candidates = [("the working tree", {"train.py": NEW}), ("version 1", {"train.py": OLD, "b.py": OLD})]
    found = find_donors(["twice", "total", "unknown"], candidates, SCRIPTS)
    assert found == {
        "twice": (Donor("train.py", NEW, {"twice": (8,)}, True, "the working tree"),),
        "total": (Donor("train.py", NEW, {"total": (7,)}, True, "the working tree"),),
    }
    only_older = find_donors(["total"], [("the working tree", {"train.py": ""}), candidates[1]], SCRIPTS)
    assert [(donor.path, donor.is_script, donor.source) for donor in only_older["total"]] == [
        ("b.py", False, "version 1"),
        ("train.py", True, "version 1"),
    ]


def test_a_statement_is_carried_into_a_version_that_lacks_it() -> None:
    donors = find_donors(["twice"], [("the working tree", {"train.py": NEW})], SCRIPTS)
    patched = patch(["twice"], donors, "train.py", {"train.py": OLD, "other.txt": "x"})
    assert patched.files == {"train.py": NEW}
    assert patched.regions == {"twice": Region.TAIL}
    assert patched.refused == {}
    assert patched.tail_reads is not None
    assert "total" in patched.tail_reads
    assert GRADIENTS not in patched.tail_reads


def test_a_statement_of_a_notebook_is_carried_into_the_script_that_it_was() -> None:
    cells = [NEW[: NEW.index("for epoch")], NEW[NEW.index("for epoch") :]]
    code = [{"cell_type": "code", "source": cell.splitlines(True)} for cell in cells]
    texts = propagation.as_sources({"train.ipynb": json.dumps({"cells": code})})
    donors = find_donors(["twice"], [("the working tree's notebooks", texts)], SCRIPTS | {"train.ipynb"})
    patched = patch(["twice"], donors, "train.py", {"train.py": OLD})
    assert patched.files == {"train.py": NEW}
    assert patched.refused == {}


EVALUATED = textwrap.dedent(
    """
    import flor_ray as flor
    import torch
    from lab import build, entropy, histogram, norm, scheduler, step
    model, data = build()
    for epoch in flor.loop("epoch", range(3)):
        for batch in flor.loop("step", data):
            step(model, batch)
        with torch.no_grad():
            right = [model(batch).argmax(1) == batch.labels for batch in data]
        flor.log("accuracy", torch.cat(right).mean())
        print(epoch)
    """
)
ASKED = """
    with torch.no_grad():
        weights = model(data[0], attentions=True).attentions
    flor.log("entropy", [entropy(w) for w in weights])
    with torch.no_grad():
        hidden = model(data[0], states=True).states
    flor.log("histogram", [histogram(h) for h in hidden])
    flor.log("norm", norm(model))"""
HISTORY = [
    Revision(f"{n}" * 40, "train.py", {"train.py": text})
    for n, text in enumerate(
        (
            EVALUATED.replace("range(3)", "range(2)"),
            EVALUATED.replace("print(epoch)", "scheduler.step()\n    print(epoch)"),
            EVALUATED.replace("range(3)", "range(4)"),
            EVALUATED,
        )
    )
]
THROUGH = CarryingWays(through=propagation.propagate_tree_through)


def asking(text: str) -> str:
    line = '    flor.log("accuracy", torch.cat(right).mean())'
    return text.replace(line, line + ASKED)


def test_statements_of_several_lines_behind_one_line_are_carried_in_any_order_of_asking() -> None:
    """The versions between have none of them: where only one was there, the other was taken for it."""
    donors = find_donors(
        ["histogram", "entropy", "norm"], [("the working tree", {"train.py": asking(EVALUATED)})], SCRIPTS
    )
    for names in (["entropy", "histogram", "norm"], ["norm", "histogram", "entropy"]):
        patched = patch_all(names, donors, HISTORY, ways=THROUGH)
        for r in HISTORY:
            assert patched[r.version].files == {"train.py": asking(r.texts["train.py"])}
            assert [f.is_doubtful for f in patched[r.version].findings] == [False] * 3


def test_a_refused_statement_takes_none_with_it() -> None:
    newest = asking(EVALUATED).replace("norm(model)", "absent(model)")
    donors = find_donors(["histogram", "entropy", "norm"], [("the working tree", {"train.py": newest})], SCRIPTS)
    for patched in patch_all(["norm", "histogram", "entropy"], donors, HISTORY, ways=THROUGH).values():
        assert list(patched.refused) == ["norm"]
        assert {f.name: f.fate for f in patched.findings} == {
            "norm": Fate.REFUSED,
            "histogram": Fate.PLACED,
            "entropy": Fate.PLACED,
        }


def test_a_line_that_logs_two_names_is_carried_for_both() -> None:
    newest = EVALUATED.replace("print(epoch)", 'flor.log("a", flor.log("b", norm(model)))\n    print(epoch)')
    donors = find_donors(["a", "b"], [("the working tree", {"train.py": newest})], SCRIPTS)
    patched = patch_all(["a", "b"], donors, HISTORY, ways=THROUGH)["3" * 40]
    assert patched.files == {"train.py": newest}
    assert [(f.name, f.fate, f.line) for f in patched.findings] == [("a", Fate.PLACED, 12), ("b", Fate.PLACED, 12)]


def test_a_version_that_logs_the_name_itself_is_left_as_it_is() -> None:
    patched = patch(["total"], {}, "train.py", {"train.py": OLD})
    assert (patched.files, patched.regions) == ({}, {"total": Region.TAIL})


def test_what_a_version_logs_itself_at_another_level_is_told() -> None:
    def told(new: str, old: str = OLD) -> dict[str, str]:
        donors = find_donors(["total"], [("the working tree", {"train.py": new})], SCRIPTS)
        patched = patch(["total"], donors, "train.py", {"train.py": old})
        assert (patched.refused, patched.files) == ({}, {})
        return dict(patched.elsewhere)

    step = OLD.replace("total += step", 'total += step\n        flor.log("total", total)')
    why = "train.py:7 (the working tree): the version logs it itself, but not {}: log that under another name"
    assert told(step) == {"total": why.format("in the nested loop")}
    assert told(OLD, step) == told(step, step) == told(OLD) == {}
    first = OLD.replace("total = 0", 'total = flor.log("total", 0)')
    assert told(first) == {"total": why.format("outside of the main loop").replace(":7", ":3")}
    assert told("def f():\n" + textwrap.indent(OLD, "    ") + "g(f)\n") == {}  # nobody knows when that runs


def test_the_script_under_another_name_is_the_script() -> None:
    donors = find_donors(["twice"], [("the working tree", {"train.py": NEW})], SCRIPTS)
    assert patch(["twice"], donors, "main.py", {"main.py": OLD}).files == {"main.py": NEW}


def test_a_version_that_ran_something_else_is_refused_with_the_reason() -> None:
    donors = find_donors(["twice"], [("the working tree", {"train.py": NEW})], SCRIPTS)
    patched = patch(["twice"], donors, "other.py", {"other.py": "x = 1\n", "train.py": OLD})
    assert patched.files == {}
    assert patched.refused == {
        "twice": "it is logged in train.py (the working tree), and this version ran other.py",
    }


def test_a_statement_in_an_imported_file_may_run_anywhere() -> None:
    helper = "import flor_ray as flor\ndef f(x):\n    flor.log('x', x)\n"
    patched = patch(["x"], {}, "train.py", {"train.py": OLD, "helper.py": helper})
    assert patched.regions == {"x": Region.WHOLE}


def test_regions_that_use_gradients_before_a_step_has_run_need_everything() -> None:
    text = OLD.replace("    for step", '    flor.log("norm", net.weight.grad.norm())\n    for step')
    assert patch(["norm"], {}, "train.py", {"train.py": text}).regions == {"norm": Region.WHOLE}
    text = OLD.replace('    flor.log("total", total)', '    total.backward()\n    flor.log("total", total)')
    patched = patch(["total"], {}, "train.py", {"train.py": text})
    assert patched.regions == {"total": Region.TAIL}
    assert patched.tail_reads is not None
    assert GRADIENTS in patched.tail_reads


def test_what_head_and_tail_may_read_counts_for_names_that_are_logged_in_both() -> None:
    text = OLD.replace("    for step", '    flor.log("both", net.weight.grad)\n    for step')
    text = text.replace('    flor.log("total"', '    flor.log("both", 1)\n    flor.log("total"')
    patched = patch(["both"], {}, "train.py", {"train.py": text})
    assert patched.regions == {"both": Region.WHOLE}
    assert patched.whys == {"both": "it is logged where gradients may be read, which checkpoints do not hold"}
    assert patched.marking.stops == {}


def test_a_name_has_a_region_a_reason_and_a_stop_wherever_its_statement_is() -> None:
    helper = "import flor_ray as flor\ndef f(x):\n    flor.log('seen', x)\n    flor.log('x', x)\n"
    text = OLD.replace("import flor", "import helper\nimport flor").replace(
        "    flor.log", "    helper.f(1)\n    flor.log"
    )
    patched = patch(["x"], {}, "train.py", {"train.py": text, "helper.py": helper})
    assert patched.regions == {"x": Region.TAIL}
    assert patched.marking.stops == {"x": 9}
    assert (patched.whys, patched.witnesses) == ({}, frozenset())
    patched = patch(["x"], {}, "train.py", {"train.py": text + "hook(helper.f)\n", "helper.py": helper})
    assert patched.regions == {"x": Region.WHOLE}
    assert patched.whys["x"].startswith("`helper.f` is passed around as a value (train.py:10)")
    assert patched.witnesses == {"seen"}
    assert narrowed(patched, {"seen": frozenset({Level.INNER})}).regions == {"x": Region.INNER}
    assert narrowed(patched, {"seen": frozenset({Level.DATA_PREP})}).regions == {"x": Region.WHOLE}
    assert narrowed(patched, {}) == patched


def test_what_the_run_showed_is_not_enough_where_gradients_may_be_read() -> None:
    helper = "import flor_ray as flor\ndef f(x):\n    flor.log('seen', x)\n    flor.log('x', x.grad)\n"
    text = "import helper\n" + OLD + "hook(helper.f)\n"
    patched = patch(["x"], {}, "train.py", {"train.py": text, "helper.py": helper})
    assert narrowed(patched, {"seen": frozenset({Level.OUTER})}).regions == {"x": Region.WHOLE}
    assert narrowed(patched, {"seen": frozenset({Level.INNER})}).regions == {"x": Region.INNER}


def test_all_logged_names_are_features() -> None:
    assert features({"train.py": NEW, "empty.py": ""}) == {"total", "twice"}


# --- findings and pins ----------------------------------------------------------------------------------------------

RENAMED = OLD.replace("total", "amount").replace('"amount"', '"total"')
WORKING = find_donors(["twice"], [("the working tree", {"train.py": NEW})], SCRIPTS)


def pinned_at(donors: Mapping[str, tuple[Donor, ...]], text: str, after: int, path: str = "train.py") -> PinnedPlace:
    ((name, (donor,)),) = donors.items()
    ((words, ordinal),) = said(donor, name).values()
    return PinnedPlace(name, words, ordinal, path, blob_of(text), Pin(after), "v1")


def test_findings_say_where_and_how_sure_and_why() -> None:
    (found,) = patch(["twice"], WORKING, "train.py", {"train.py": RENAMED}).findings
    assert (found.name, found.fate, found.path, found.line) == ("twice", Fate.PLACED, "train.py", 8)
    assert found.renames == {"total": "amount"}
    assert found.donor == "train.py:8 (the working tree)"
    assert 0.5 <= found.confidence < 1
    (found,) = patch(["total"], {}, "train.py", {"train.py": OLD}).findings
    assert found == Finding("total", Fate.PRESENT, "train.py", 7, 1.0, "the version logs it itself")
    (found,) = patch(["twice"], WORKING, "train.py", {}).findings
    assert (found.fate, found.path) == (Fate.REFUSED, None)
    assert found.why == "its source files are neither in the store nor in git any more"


def test_lines_of_findings_are_those_of_the_file_with_all_statements_in_it() -> None:
    newest = NEW.replace("total = 0\n", 'total = 0\nflor.log("begin", total)\n')
    donors = find_donors(["twice", "begin"], [("the working tree", {"train.py": newest})], SCRIPTS)
    patched = patch(["twice", "begin"], donors, "train.py", {"train.py": OLD})
    assert patched.files == {"train.py": newest}
    assert {found.name: found.line for found in patched.findings} == {"twice": 9, "begin": 4}


def test_a_pin_decides_for_every_version_with_the_same_file_whatever_its_path() -> None:
    pin = pinned_at(WORKING, OLD, 6)
    for script in ("train.py", "main.py"):
        patched = patch(["twice"], WORKING, script, {script: OLD}, [pin])
        assert patched.files[script].splitlines()[6] == '        flor.log("twice", 2 * total)'
        (found,) = patched.findings
        assert (found.fate, found.line, found.confidence, found.why) == (Fate.PINNED, 7, 1.0, "pinned by hand")
        assert patched.regions == {"twice": Region.INNER}
    (found,) = patch(["twice"], WORKING, "train.py", {"train.py": OLD + "# changed\n"}, [pin]).findings
    assert found.fate is Fate.PLACED


def test_the_later_of_two_pins_holds() -> None:
    pins = [pinned_at(WORKING, OLD, 6), pinned_at(WORKING, OLD, 3)]
    (found,) = patch(["twice"], WORKING, "train.py", {"train.py": OLD}, pins).findings
    assert (found.fate, found.line) == (Fate.PINNED, 4)


def test_pins_of_several_names_mean_the_lines_of_the_file_as_it_was() -> None:
    newest = OLD + 'flor.log("a", total)\nflor.log("b", total)\n'
    donors = find_donors(["a", "b"], [("the working tree", {"train.py": newest})], SCRIPTS)
    pins = [pinned_at({name: donors[name]}, OLD, after) for name, after in (("a", 3), ("b", 6))]
    patched = patch(["b", "a"], donors, "train.py", {"train.py": OLD}, pins)
    lines = OLD.splitlines()
    lines[3:3] = ['flor.log("a", total)']
    lines[7:7] = ['        flor.log("b", total)']
    assert patched.files["train.py"].splitlines() == lines
    assert {found.name: found.line for found in patched.findings} == {"a": 4, "b": 8}


def test_a_pin_into_another_file_is_followed() -> None:
    newest = "import flor_ray as flor\ndef evaluate(x):\n    flor.log('x', x)\n    return x\n"
    engine = "import flor_ray as flor\n\n\ndef evaluate(x):\n    return x\n"
    donors = find_donors(["x"], [("the working tree", {"train.py": OLD, "old.py": newest})], SCRIPTS)
    texts = {"train.py": OLD, "engine.py": engine}
    patched = patch(["x"], donors, "train.py", texts, [pinned_at(donors, engine, 4, "engine.py")])
    assert patched.files == {"engine.py": engine.replace("    return", "    flor.log('x', x)\n    return")}


def test_a_pin_that_cannot_be_applied_is_a_refusal_with_the_reason() -> None:
    patched = patch(["twice"], WORKING, "train.py", {"train.py": OLD}, [pinned_at(WORKING, OLD, 99)])
    assert patched.files == {}
    (found,) = patched.findings
    assert found.fate is Fate.REFUSED
    assert found.why.startswith("pinned after line 99: ")
    assert patched.refused["twice"] == f"train.py:8 (the working tree): {found.why}"


def test_a_pin_is_stale_once_the_statement_is_edited() -> None:
    pin = pinned_at(WORKING, OLD, 6)
    assert stale([pin], WORKING) == ()
    edited = find_donors(["twice"], [("the working tree", {"train.py": NEW.replace("2 * t", "2.0 * t")})], SCRIPTS)
    assert stale([pin], edited) == (pin,)
    (found,) = patch(["twice"], edited, "train.py", {"train.py": OLD}, [pin]).findings
    assert found.fate is Fate.PLACED
    indented = find_donors(["twice"], [("the working tree", {"t.py": NEW.replace("    flor", "  flor")})], SCRIPTS)
    assert stale([pin], indented) == ()


def test_versions_near_a_pin_are_patched_from_there_where_that_is_surer() -> None:
    """The newest code has nothing in common with the old versions, but these have with each other."""
    newest = "import flor_ray as flor\nfor e in flor.loop('e', data()):\n    flor.log('twice', 2 * total)\n"
    other = OLD.replace("range(3)", "range(4)")
    history = [Revision(f"{n}" * 40, "train.py", {"train.py": text}) for n, text in enumerate((OLD, other, RENAMED))]
    donors = find_donors(["twice"], [("the working tree", {"train.py": newest})], SCRIPTS)
    before = [patched.findings[0] for patched in patch_all(["twice"], donors, history).values()]
    assert all(found.fate is Fate.REFUSED or found.is_doubtful for found in before)
    pin = pinned_at(donors, other, 7)
    ways = CarryingWays(through=propagation.propagate_tree_through)
    for patched in (patch_all(["twice"], donors, history, [pin]), patch_all(["twice"], donors, history, [pin], ways)):
        found = {version: each.findings[0] for version, each in patched.items()}
        assert [each.fate for each in found.values()] == [Fate.PLACED, Fate.PINNED, Fate.PLACED]
        first, second, third = (patched[r.version].files["train.py"].splitlines()[7].strip() for r in history)
        assert first == second == "flor.log('twice', 2 * total)"
        assert third == "flor.log('twice', 2 * amount)"
        assert found["0" * 40].donor == "train.py:8 (version 11111111, where it is pinned)"


def test_names_that_constants_make_are_found_and_others_are_told() -> None:
    text = "import flor_ray as flor\nHEAD = 'a' + 'b'\nflor.log(f'{HEAD}/c', 1)\nflor.log(given(), 1)\n"
    found = find_donors(["ab/c"], [("the working tree", {"train.py": text})], SCRIPTS)
    assert [donor.lines for donor in found["ab/c"]] == [{"ab/c": (3,)}]
    assert unclear({"train.py": text, "other.py": ""}) == ("train.py:4",)


@pytest.mark.parametrize(
    "call",
    [
        'flor.log(f"val_{1}", x)',
        'flor.log("val" + "_1", x)',
        'flor.log("val" "_1", x)',
        'note = flor.log\nnote("val" + "_1", x)',
        'from flor_ray import log as note\nnote(f"val_{1}", x)',
        'flor.log(name="val" + "_1", value=x)',
        'flor.log("va\\x6c_1", x)',
        'flor.log(NAME + "_1", x)',
    ],
)
def test_a_name_that_is_put_together_is_found_beside_plain_ones(call: str) -> None:
    text = f'import flor_ray as flor\nNAME = "val"\nx = {{}}\nflor.log("loss", x)\n{call}\n'
    (logged,) = [each for each in propagation.find_statements(text, "a.py") if each.name == "val_1"]
    assert statements("a.py", text, "val_1") == (logged,)
    assert statements("a.py", text, "val_2") == ()


def test_a_file_of_plain_names_is_not_read_for_another_one(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []

    def noted(text: str, path: str) -> tuple[Statement, ...]:
        read.append(path)
        return ()

    monkeypatch.setattr(donors, "find_statements", noted)
    text = 'import flor_ray as flor\nx = {"a": 1 + 2}\nflor.log("loss", x)\nflor.log( \'again\' , x)\n# plain names\n'
    assert statements("plain.py", text, "val_1") == ()
    assert read == []
    assert statements("plain.py", text, "loss") == ()
    assert read == ["plain.py"]


def test_of_two_scripts_that_log_a_name_the_one_that_ran_is_the_donor() -> None:
    texts = {"train.py": NEW, "eval.py": NEW}
    donors = find_donors(["twice"], [("the working tree", texts)], SCRIPTS | {"eval.py"})
    patched = patch(["twice"], donors, "train.py", {"train.py": OLD, "eval.py": OLD})
    assert patched.files == {"train.py": NEW}
    assert patched.refused == {}


def test_functions_that_have_moved_to_another_file_are_followed() -> None:
    """What `propagate_tree_through` does is tested with it; here, that it is asked with everything it needs."""
    function = (
        "def measure(batch, scale):\n    total = sum(batch) * scale\n    kept = total - min(batch)\n    return kept\n"
    )
    logged = function.replace("    kept", "    flor.log('sum', total)\n    kept", 1)
    head = "import flor_ray as flor\n"
    working = {"train.py": "import flor_ray as flor\nfrom tools import measure\n", "tools.py": head + logged}
    old = {"train.py": "from helpers import measure\n" + OLD, "helpers.py": head + function}
    donors = find_donors(["sum"], [("the working tree", working)], SCRIPTS)
    ways = CarryingWays(through=propagation.propagate_tree_through)
    patched = patch(["sum"], donors, "train.py", old, ways=ways)
    assert patched.files == {"helpers.py": head + logged}
    assert patched.regions == {"sum": Region.WHOLE}
    assert patch(["sum"], donors, "train.py", old).files == {}


def test_a_pin_moves_a_sure_place_only_in_versions_that_are_nearer_to_it_than_to_the_newest_code() -> None:
    history = [
        Revision(f"{n}" * 40, "train.py", {"train.py": OLD.replace("range(3)", f"range({n})", 1)}) for n in range(5)
    ]
    newest = NEW.replace("range(3)", "range(9)", 1)
    donors = find_donors(["twice"], [("the working tree", {"train.py": newest})], SCRIPTS)
    assert {p.findings[0].line for p in patch_all(["twice"], donors, history).values()} == {8}
    pin = pinned_at(donors, history[1].texts["train.py"], 6)
    for ways in (CarryingWays(), CarryingWays(through=propagation.propagate_tree_through)):
        patched = patch_all(["twice"], donors, history, [pin], ways)
        assert [patched[r.version].findings[0].line for r in history] == [7, 7, 7, 7, 8]
    only = patch_all(["twice"], donors, history, [pin], ways, chosen=[history[3].version])
    assert only == {history[3].version: patched[history[3].version]}
