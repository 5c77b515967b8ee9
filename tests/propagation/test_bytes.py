"""Every byte of the older source survives, and what is inserted looks like its surroundings."""

from __future__ import annotations

import pytest

from flor_ray.propagation import propagate

NEWER = """\
import flor_ray as flor
for epoch in flor.loop("epoch", range(3)):
    for x in flor.loop("step", data):
        loss = step(x)
        flor.log("loss", loss)
    save()
    if epoch > 1:
        flor.log(
            "saved",
            '''kept
  as it is''',
        )
"""
OLDER = """\
import flor_ray as flor
for epoch in flor.loop("epoch", range(3)):
    for x in flor.loop("step", data):
        loss = step(x)
    save()
"""
LINES = [5, 8]
EXPECTED = """\
import flor_ray as flor
for epoch in flor.loop("epoch", range(3)):
    for x in flor.loop("step", data):
        loss = step(x)
        flor.log("loss", loss)
    save()
    if epoch > 1:
        flor.log(
            "saved",
            '''kept
  as it is''',
        )
"""


def test_a_multi_line_statement_keeps_its_strings() -> None:
    assert propagate(NEWER, OLDER, LINES).source == EXPECTED


def test_carriage_returns_follow_the_older_file() -> None:
    assert propagate(NEWER, OLDER.replace("\n", "\r\n"), LINES).source == EXPECTED.replace("\n", "\r\n")
    assert propagate(NEWER.replace("\n", "\r\n"), OLDER, LINES).source == EXPECTED


def test_tabs_follow_the_older_file() -> None:
    assert propagate(NEWER, OLDER.replace("    ", "\t"), LINES).source == EXPECTED.replace("    ", "\t")


def test_two_spaces_follow_the_older_file() -> None:
    result = propagate(NEWER, OLDER.replace("    ", "  "), LINES).source
    assert result.splitlines()[4] == '    flor.log("loss", loss)'
    assert result.splitlines()[6:8] == ["  if epoch > 1:", "    flor.log("]


def test_a_byte_order_mark_stays_first() -> None:
    assert propagate("\ufeff" + NEWER, "\ufeff" + OLDER, LINES).source == "\ufeff" + EXPECTED
    first = propagate('import flor\nflor.log("a", 1)\nf()\n', "\ufefff()\n", [2]).source
    assert first == '\ufeffimport flor\nflor.log("a", 1)\nf()\n'


def test_a_missing_final_newline_stays_missing() -> None:
    assert propagate(NEWER, OLDER.removesuffix("\n"), LINES).source == EXPECTED.removesuffix("\n")


def test_comments_and_strange_spacing_survive() -> None:
    older = (
        "#!/usr/bin/env python\n# -*- coding: utf-8 -*-\nimport flor_ray as flor  # ü\n\x0c\n"
        'for epoch in flor.loop("epoch", range(3)):   # loop\n    for x in flor.loop("step", data):\n'
        "        loss   =  step( x )  # trailing\n        # belongs to the loop\n\n    # before save\n    save()   ;\n"
    )
    result = propagate(NEWER, older, LINES)
    inserted = '        flor.log("loss", loss)\n'
    assert inserted in result.source
    assert result.source.index(inserted) == older.index("        # belongs")
    kept = [line for line in result.source.splitlines(keepends=True) if line in older.splitlines(keepends=True)]
    assert "".join(kept) == older


def test_bytes_that_are_no_utf_8_survive() -> None:
    newer, older = NEWER, "# caf\udce9\n" + OLDER
    assert propagate(newer, older, LINES).source == "# caf\udce9\n" + EXPECTED


def test_an_empty_older_source_gets_what_needs_nothing() -> None:
    result = propagate('import flor_ray as flor\nflor.log("a", 1)\n', "", [2])
    assert result.source in ("", 'import flor_ray as flor\nflor.log("a", 1)\n')


@pytest.mark.parametrize("older", ["for x in (:\n", "\0", "def f(:\n  pass"])
def test_broken_sources_are_refused_with_a_reason(older: str) -> None:
    result = propagate(NEWER, older, LINES)
    assert result.source == older
    assert [each.line for each in result.refused] == LINES
    assert all("not valid Python" in each.reason for each in result.refused)


def test_bare_carriage_returns_are_refused() -> None:
    reason = "the older version ends lines in bare carriage returns, which makes its line numbers ambiguous"
    assert {each.reason for each in propagate(NEWER, "x = 1\ry = 2\r", LINES).refused} == {reason}


def test_sources_beyond_the_limits_are_refused_and_not_waited_for() -> None:
    long = propagate(NEWER, "x = 1\n" * 15_001, LINES)
    assert {each.reason for each in long.refused} == {"the older version has more than 15000 lines"}
    deep = propagate(NEWER, "x = " + "-" * 3_000 + "1\n", LINES)
    assert {each.reason for each in deep.refused} == {"the older version is nested more than 600 levels deep"}


def test_lines_without_a_statement_are_refused() -> None:
    result = propagate("import flor\n\n# nothing\n", "import flor\n", [2, 3, 99, 0, -1])
    assert [each.line for each in result.refused] == [-1, 0, 2, 3, 99]
