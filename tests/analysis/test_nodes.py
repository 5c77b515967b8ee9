"""All nodes of a tree, in the order of Python's own walk; nothing that is made of them needs the cyclic collector."""

from __future__ import annotations

import ast
import gc
import weakref
from pathlib import Path

import pytest

from flor_ray.analysis import nodes
from flor_ray.analysis.scopes import scopes_of

SOURCES = sorted(Path(nodes.__file__).parent.glob("*.py"))


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_the_order_is_that_of_pythons_own_walk(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert nodes.walk(tree) == list(ast.walk(tree))


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_reference_counts_free_the_scopes_of_a_source(path: Path) -> None:
    """Of hundreds of versions: the collector would walk all trees that are alive to free one."""
    scopes = scopes_of(ast.parse(path.read_text(encoding="utf-8")))
    tree = weakref.ref(scopes.module.node)
    gc.disable()
    try:
        del scopes
        assert tree() is None
    finally:
        gc.enable()
