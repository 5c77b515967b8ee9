"""Two replays do the same work where the same statements stand in the same place, and only there."""

from __future__ import annotations

import textwrap

from flor_ray.patching.donors import find_donors
from flor_ray.patching.patching import patch
from flor_ray.planning import statement_digests

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
TWICE = '    flor.log("twice", 2 * total)\n'
HALF = '    flor.log("half", (\n        total / 2\n    ))\n'


def digests(added: str, *names: str, old: str = OLD, surroundings: object = ()) -> dict[str, str]:
    """What asking for these names gives, with these lines at the end of the newest code's loop."""
    donors = find_donors(
        names, [("the working tree", {"train.py": old.rstrip("\n") + "\n" + added})], frozenset({"train.py"})
    )
    patched = patch(names, donors, "train.py", {"train.py": old})
    assert not patched.refused
    return statement_digests.of_version(patched, names, surroundings)


def test_a_digest_is_the_same_whichever_other_names_are_asked_for() -> None:
    alone, both = digests(HALF + TWICE, "twice"), digests(HALF + TWICE, "half", "twice")
    assert both["twice"] == alone["twice"]
    assert both["half"] == digests(HALF, "half")["half"]
    assert both["half"] != both["twice"]


def test_other_lines_of_the_newest_code_do_not_matter() -> None:
    assert digests(TWICE + "    print(total)\n", "twice") == digests(TWICE, "twice")


def test_another_statement_place_or_surrounding_is_another_digest() -> None:
    usual = digests(TWICE, "twice")["twice"]
    assert usual != digests('    flor.log("twice", total + total)\n', "twice")["twice"]
    assert usual != digests(TWICE * 2, "twice")["twice"]
    assert usual != digests(TWICE, "twice", surroundings={"data.csv": "s3://elsewhere"})["twice"]
    before = OLD.replace("total += step", 'total += step\n        flor.log("twice", 2 * total)')
    donors = find_donors(["twice"], [("the working tree", {"train.py": before})], frozenset({"train.py"}))
    inner = patch(["twice"], donors, "train.py", {"train.py": OLD})
    assert usual != statement_digests.of_version(inner, ["twice"], ())["twice"]


def test_what_else_was_changed_for_a_name_is_part_of_it() -> None:
    """The call whose result is logged gets a name in the version, which makes it once."""
    old = OLD.replace("total += step", "total += step\n        max(total, 1)")
    new = old.replace("max(total, 1)", 'most = max(total, 1)\n        flor.log("most", most)')
    donors = find_donors(["most"], [("the working tree", {"train.py": new})], frozenset({"train.py"}))
    patched = patch(["most"], donors, "train.py", {"train.py": old})
    assert not patched.refused
    assert statement_digests._changed_beside("train.py", patched) is not None
    assert len(statement_digests.of_version(patched, ["most"], ())["most"]) == 16
