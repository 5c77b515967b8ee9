"""The ways to a cluster, each as its user takes it, on one head node with a token: the table of bench/ways."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.bench_modules import bench_module
from tests.ray_heads import RayHead

ways: Any = bench_module("ways.ways")
pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ways")
    ways.template(folder)
    return folder


@pytest.fixture(scope="module")
def head(_bucket: str) -> Iterator[RayHead]:
    """With the variables of the bucket's server, as nodes have them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(ways.MARK, "here")
        head = RayHead()
        head.__enter__()
    try:
        yield head
    finally:
        head.__exit__()


@pytest.mark.parametrize("way", ways.WAYS, ids=lambda way: way.name)
def test_each_way_fills_the_column_or_is_refused_in_one_line(
    way: Any, head: RayHead, recorded: Path, tmp_path: Path, bucket: str
) -> None:
    assert way.take(ways.ground(head, recorded, tmp_path / "a", bucket)) == ""
