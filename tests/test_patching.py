"""Choosing where a statement comes from, and carrying it into a version's files."""

from __future__ import annotations

import textwrap

from flor_ray.patching import Donor, features, find_donors, patch
from flor_ray.records import GRADIENTS, Region

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


def test_a_version_that_logs_the_name_itself_is_left_as_it_is() -> None:
    patched = patch(["total"], {}, "train.py", {"train.py": OLD})
    assert (patched.files, patched.regions) == ({}, {"total": Region.TAIL})


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


def test_all_logged_names_are_features() -> None:
    assert features({"train.py": NEW, "empty.py": ""}) == {"total", "twice"}
