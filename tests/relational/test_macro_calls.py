"""Macros in statements are seen as what they stand for."""

from __future__ import annotations

import pytest
import sqlglot
from sqlglot import exp

from flor_ray.relational import statements
from flor_ray.relational.database import RELATIONS
from flor_ray.relational.macro_calls import expanded
from flor_ray.relational.macros import MACROS, Macro


def text(statement: str) -> str:
    found: str = expanded(sqlglot.parse_one(statement, read="duckdb")).sql(dialect="duckdb")
    return found


def test_a_call_is_replaced_by_its_body_with_its_arguments() -> None:
    assert text("SELECT at_end(o.version, o.epoch + 1) FROM o") == (
        "SELECT (o.epoch + 1 = MAX(o.epoch + 1) OVER (PARTITION BY o.version)) FROM o"
    )


def test_arguments_may_have_the_names_of_parameters() -> None:
    assert text("SELECT at_end(e, v) FROM o") == "SELECT (v = MAX(v) OVER (PARTITION BY e)) FROM o"


def test_a_call_in_a_call_is_replaced_too() -> None:
    assert not sqlglot.parse_one(text("SELECT peak(nan_to_null(x), version, epoch) FROM o")).find(exp.Anonymous)


@pytest.mark.parametrize("macro", MACROS, ids=[macro.name for macro in MACROS])
def test_every_macro_is_known(macro: Macro) -> None:
    call = f"{macro.name}({', '.join('abc'[: len(macro.parameters)])})"
    found = sqlglot.parse_one(text(f"SELECT {call} FROM o"), read="duckdb")
    assert macro.name not in {node.name.lower() for node in found.find_all(exp.Anonymous)}


def test_a_call_with_other_arguments_stays() -> None:
    assert text("SELECT peak(acc) FROM o") == "SELECT PEAK(acc) FROM o"


def test_what_a_statement_needs_is_found_with_the_windows_of_macros() -> None:
    found = statements.parse("SELECT epoch FROM outer_loop_pivot QUALIFY peak(acc, version, epoch)", RELATIONS)
    assert found.text == "SELECT epoch FROM outer_loop_pivot QUALIFY peak(acc, version, epoch)"
    assert len(list(found.tree.find_all(exp.Window))) == 2
    assert {"acc", "version", "epoch"} <= found.columns
