"""Macros that statements may use, as texts. Whoever takes statements apart must put their bodies in place of the calls:
they read the rows of a whole version.

    SELECT version, epoch, grad_norm FROM outer_loop_pivot QUALIFY peak(acc, version, epoch) OR at_end(version, epoch)
    SELECT version, peak_epoch(acc, epoch) FROM outer_loop_pivot GROUP BY version
    SELECT avg(loss) FROM inner_loop_pivot WHERE NOT is_nan(loss)

A peak is the first of several epochs with the same value; where a version has no value but NaN, it has none. NaN is a
value, and DuckDB sorts it above all others: `max`, `ORDER BY ... DESC` and `>` find it first.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Macro:
    """A function of SQL expressions, and the expression that it stands for."""

    name: str
    parameters: tuple[str, ...]
    body: str  # names nothing but its parameters

    @property
    def sql(self) -> str:
        """The statement that makes it."""
        return f"CREATE MACRO {self.name}({', '.join(self.parameters)}) AS ({self.body})"


_PLAIN = "CASE WHEN isnan(CAST(x AS DOUBLE)) THEN NULL ELSE x END"


def _peak(name: str, order: str) -> Macro:
    """The rows of the epoch at which a feature is best in each version."""
    first = f"first_value(e) OVER (PARTITION BY v ORDER BY {_PLAIN} {order} NULLS LAST, e)"
    return Macro(name, ("x", "v", "e"), f"e = {first} AND count({_PLAIN}) OVER (PARTITION BY v) > 0")


def _peak_epoch(name: str, function: str, sign: str) -> Macro:
    """The epoch at which a feature is best among the rows of a group."""
    key = f"CASE WHEN x IS NULL OR isnan(CAST(x AS DOUBLE)) THEN NULL ELSE row(x, {sign}e) END"
    return Macro(name, ("x", "e"), f"{function}(e, {key})")


MACROS = (
    Macro("is_nan", ("x",), "isnan(CAST(x AS DOUBLE))"),
    Macro("nan_to_null", ("x",), _PLAIN),
    _peak("peak", "DESC"),
    _peak("peak_min", "ASC"),
    Macro("at_end", ("v", "e"), "e = max(e) OVER (PARTITION BY v)"),
    _peak_epoch("peak_epoch", "arg_max", "-"),
    _peak_epoch("peak_min_epoch", "arg_min", ""),
)
