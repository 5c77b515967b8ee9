"""The ways to a cluster, each as its user takes it, on one head node with a token: the table of bench/ways."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from flor_ray import lookup
from tests.bench_modules import bench_module
from tests.e2e.test_readme import blocks
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


def test_the_readme_leads_from_a_laptop_to_a_filled_column_in_five_commands(head: RayHead, tmp_path: Path) -> None:
    found = blocks("README.md")
    (script,) = [text for language, text in found if language == "python" and text.startswith("# train.py\n")]
    (commands,) = [text for language, text in found if "$DASHBOARD" in text]
    assert len(commands.splitlines()) == 5
    (tmp_path / "project").mkdir()
    laptop = ways.Ground(head, tmp_path / "project")
    (laptop.root / "train.py").write_text(script)
    given = laptop.user(SHARED=str(tmp_path / "flor"), DASHBOARD=head.dashboard, FLOR_RAY_WORKERS="1")
    done = laptop.run(["bash", "-euo", "pipefail", "-c", f"git init --quiet .\n{commands}"], given)
    assert done.status == 0, done.output
    frame = lookup.dataframe("grad_max", path=str(laptop.root))
    assert (len(frame), frame["grad_max"].isna().sum()) == (4 * 8, 0)


@pytest.mark.parametrize("way", ways.WAYS, ids=lambda way: way.name)
def test_each_way_fills_the_column_or_is_refused_in_one_line(
    way: Any, head: RayHead, recorded: Path, tmp_path: Path, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ways, "REFUSED_SECONDS", 60.0)  # the machine is shared; bench/ways_in.py measures
    assert way.take(ways.ground(head, recorded, tmp_path / "a", bucket)) == ""
