"""What a statement may not do: settings of the database, and functions that are refused. Pure.

With these settings DuckDB reaches no file, no network, no extension and no variable of Python. What is refused beside
that are functions which tell of the process, change it, or trust their arguments with its memory (`arrow_scan` takes an
address). Of functions that make tables, those are listed that may be called, so that no new one is forgotten.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

from flor_ray.errors import BadStatement
from flor_ray.relational.naming import folded

SETTINGS: Mapping[str, str] = {
    "enable_external_access": "false",
    "autoload_known_extensions": "false",
    "autoinstall_known_extensions": "false",
    "allow_community_extensions": "false",
    "python_enable_replacements": "false",
    "max_temp_directory_size": "20GB",  # for what does not fit into memory
}
_TABLE_FUNCTIONS = frozenset({"generate_series", "json_each", "json_tree", "range", "repeat", "unnest"})
_REFUSED = frozenset(
    {
        *("combine", "finalize", "to_aggregate_state"),
        *("current_setting", "getenv", "getvariable", "set_config", "setseed"),
        *("currval", "nextval", "setval", "write_log"),
        *("json_execute_serialized_sql", "json_serialize_plan", "query", "query_table"),
        *("pg_sleep", "sleep_ms"),
    }
)


def expect_harmless(tree: Any, relations: Collection[str]) -> None:
    """Raise BadStatement unless a statement, as DuckDB's `json_serialize_sql` describes it, reads these relations only,
    and calls nothing that is refused."""
    for makes_table, name in _called(tree):
        if _is_refused(name) or (makes_table and folded(name) not in _TABLE_FUNCTIONS):
            _refuse(name)
    for path in _others(tree, frozenset(map(folded, relations))):
        name = ".".join(path)
        raise BadStatement(f"there is no relation {name!r}", "Ask for the tables and views that there are, by name.")


def expect_harmless_words(words: Iterable[str], table_functions: Collection[str]) -> None:
    """Raise BadStatement for a word that a refused function has, in a statement of which only the words are known;
    `table_functions` are all that DuckDB has."""
    makers = {folded(name) for name in table_functions} - _TABLE_FUNCTIONS
    for word in words:
        if _is_refused(word) or folded(word) in makers:
            _refuse(word)


def _is_refused(name: str) -> bool:
    return folded(name) in _REFUSED or name.startswith("__")  # the latter are DuckDB's own


def _refuse(name: str) -> None:
    raise BadStatement(f"it calls {name}", "Statements see what was recorded, and nothing else.")


def _called(node: Any) -> Iterator[tuple[bool, str]]:
    """The functions that a tree calls, and whether they make tables."""
    if isinstance(node, list):
        for item in node:
            yield from _called(item)
    elif isinstance(node, dict):
        if node.get("type") == "TABLE_FUNCTION":
            function = node["function"]
            yield True, str(function.get("function_name") or function.get("type"))
        elif "function_name" in node:
            yield False, str(node["function_name"])
        for item in node.values():
            yield from _called(item)


def _others(node: Any, known: frozenset[str]) -> Iterator[tuple[str, ...]]:
    """The tables that a tree reads, and that neither are known nor were defined by a WITH around them: each with its
    catalog and schema, if they are said."""
    if isinstance(node, list):
        for item in node:
            yield from _others(item, known)
    elif isinstance(node, dict):
        known |= {folded(str(defined["key"])) for defined in (node.get("cte_map") or {}).get("map", ())}
        if node.get("type") == "BASE_TABLE":
            path = tuple(str(node[part]) for part in ("catalog_name", "schema_name", "table_name") if node.get(part))
            if len(path) > 1 or folded(path[0]) not in known:
                yield path
        for item in node.values():
            yield from _others(item, known)
