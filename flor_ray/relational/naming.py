"""Names in SQL: what a feature's column is called, and names of ours that no feature has. Pure.

DuckDB does not tell `Loss` from `loss`, quoted or not (it folds ASCII letters only). A feature with the name of a
dimension gets `_logged`, as in DataFrames. Columns whose names differ in nothing but case are *twins*: inside the
database each has a name of ours, and statements must quote them as they were logged.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

_LOWER = {ord(letter): letter.lower() for letter in "ABCDEFGHIJKLMNOPQRSTUVWXYZ"}


def folded(name: str) -> str:
    """What DuckDB compares names by."""
    return name.translate(_LOWER)


def column_name(name: str, taken: Collection[str]) -> str:
    """What a column is called, given the folded names that are taken."""
    shown = name.replace("\0", "\\0")  # names in DuckDB end there
    while not shown or folded(shown) in taken:
        shown += "_logged"
    return shown


def feature_columns(names: Iterable[str], dimensions: Collection[str]) -> dict[str, str]:
    """What the column of each feature is called; `dimensions` are folded."""
    names = tuple(dict.fromkeys(names))
    found = {name: name for name in names if column_name(name, dimensions) == name}
    taken = {*dimensions, *map(folded, found)}
    for name in names:
        if name not in found:
            found[name] = column_name(name, taken)
            taken.add(folded(found[name]))
    return {name: found[name] for name in names}


def free(wanted: str, taken: Collection[str]) -> str:
    """A name of ours like `wanted`, whose folded form is not taken."""
    while folded(wanted) in taken:
        wanted += "_"
    return wanted


def twins(names: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Names that differ in case only, by their folded form."""
    found: dict[str, list[str]] = {}
    for name in dict.fromkeys(names):
        found.setdefault(folded(name), []).append(name)
    return {form: tuple(sorted(same)) for form, same in found.items() if len(same) > 1}


def inner_names(names: Iterable[str]) -> dict[str, str]:
    """What twins are called inside the database."""
    names = tuple(names)
    taken = {folded(name) for name in names}
    found: dict[str, str] = {}
    for form, same in sorted(twins(names).items()):
        for number, name in enumerate(same, 1):
            found[name] = free(f"{form}_case_{number}", taken)
            taken.add(folded(found[name]))
    return found


def quoted(name: str) -> str:
    """A name as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def unquoted(identifier: str) -> str:
    """The name that an SQL identifier stands for."""
    return identifier[1:-1].replace('""', '"') if identifier.startswith('"') else identifier


def literal(text: str) -> str:
    """A text as an SQL literal."""
    return "'" + text.replace("'", "''") + "'"
