"""The pictures of docs/ui.md, and the one of the README: of a demo, before and after a column of it was filled."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from PIL import Image

from flor_ray.store.project import Project
from looking import live
from tests import page

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

FOLDER = Path(__file__).parents[2] / "docs/pictures"
_COLOURS = 128  # of a picture: more are not told apart, and take twice the bytes
_NAME = "accuracy"  # the column that is filled
_COLUMNS = ("run", "version", "status", "hidden_size", "lr", "batch_size", "loss", _NAME, "cf_matrix")
_PHONE: dict[str, Any] = {"viewport": {"width": 390, "height": 720}, "color_scheme": "dark"}


def take(demo: Path | None, folder: Path = FOLDER) -> None:
    """Take all of them; `demo` is a recorded demo, which is copied, None: it is recorded now."""
    with tempfile.TemporaryDirectory() as temporary, page.browser() as browser:
        root = live.copied(demo, Path(temporary, "demo"))
        versions = [run.version for run in Project.open(str(root)).listed_runs()]
        with page.served(root) as url:

            def shot(name: str, place: str, ready: Callable[[Page], Any], height: int = 520, **context: Any) -> None:
                picture(browser, f"{url}#/{place}", folder / f"{name}.png", ready, height, context)

            shot("ui-compare", f"compare?versions={versions[0]},{versions[1]}", _compared, 860)
            shot("ui-backfill", f"backfill?name={_NAME}", _planned, 760)
            _fill(browser, f"{url}#/backfill?name={_NAME}")
            columns = urlencode({"columns": _COLUMNS}, doseq=True)
            shot("ui-runs", f"runs?{columns}", _runs, 470)  # with values that were filled, and holes
            shot("ui-curves", f"curves?name=loss&name={_NAME}", _drawn, 560)
            shot("ui-timeline", "timeline", _told, 460)
            shot("ui-phone", f"curves?name={_NAME}", _drawn, **_PHONE)


def picture(
    browser: Browser, url: str, to: Path, ready: Callable[[Page], Any], height: int, context: dict[str, Any]
) -> None:
    """One, once the page is ready."""
    with page.looked_at(browser, url, **{"viewport": {"width": 1100, "height": height}} | context) as seen:
        ready(seen.page)
        seen.page.wait_for_timeout(1500)  # whatever else is on its way
        seen.page.screenshot(path=str(to))
    with Image.open(to) as taken:
        taken.convert("RGB").quantize(_COLOURS).save(to, optimize=True)
    print(f"{to.name}: {to.stat().st_size} bytes", flush=True)


def _runs(shown: Page) -> None:
    shown.get_by_role("link", name="fill", exact=True).first.wait_for()


def _compared(shown: Page) -> None:
    shown.locator("table.sides").first.wait_for()


def _planned(shown: Page) -> None:
    shown.get_by_role("heading", name="The plan").wait_for()


def _drawn(shown: Page) -> None:
    shown.locator(".u-over").last.wait_for()


def _told(shown: Page) -> None:
    shown.locator(".gantt").first.wait_for()


def _fill(browser: Browser, url: str) -> None:
    with page.looked_at(browser, url) as seen:
        _planned(seen.page)
        seen.page.get_by_label("Where it runs").select_option("local")
        seen.page.get_by_label("Workers", exact=True).fill("2")
        seen.page.get_by_role("button", name="Show the plan").click()
        seen.page.get_by_role("button", name="Run it").click()
        seen.page.get_by_label("The replay").get_by_text("has finished").wait_for(timeout=300_000)
