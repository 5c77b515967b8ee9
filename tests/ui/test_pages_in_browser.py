"""Each page in a real browser, of a store of thirty thousand runs and two: sorted, filtered, drawn, compared, planned,
on a phone, by keyboard, and by names that mean harm."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests import page
from tests.conftest import Lab
from tests.ui import worlds
from tests.ui.test_hostile import hostile

if TYPE_CHECKING:
    from playwright.sync_api import Browser

RUNS = 30_000
EVERY = f"{RUNS + 2} runs"
SCRIPT = """
import flor_ray as flor
lr = flor.arg("lr", 0.1)
for epoch in flor.loop("epoch", range(3)):
    flor.log("loss", lr / (epoch + 1))
"""


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with page.browser() as browser:
        yield browser


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory, chromium: Browser) -> Lab:
    lab = Lab(tmp_path_factory.mktemp("browser") / "project")
    worlds.many(lab.root, RUNS, 20)
    lab.record_forked(SCRIPT, "--flor", "first")
    lab.record_forked(SCRIPT.replace("lr /", "2 * lr /"), "--flor", "second", "--kwargs", "lr=0.01")
    lab.write("train.py", SCRIPT + '    flor.log("new", epoch)\n')
    return lab


@pytest.fixture(scope="module")
def url(lab: Lab) -> Iterator[str]:
    with page.served(lab.root) as url:
        yield url


def test_each_page_is_reached_by_keyboard_and_has_a_name(chromium: Browser, url: str) -> None:
    with page.looked_at(chromium, url) as seen:
        for name in ("Runs", "Curves", "Compare", "Backfill", "Timeline"):
            seen.page.get_by_role("navigation").get_by_role("link", name=name, exact=True).focus()
            seen.page.keyboard.press("Enter")
            seen.page.get_by_role("heading", level=1, name=name).wait_for()
            assert seen.page.title().startswith(name)
        assert "token" not in seen.page.url


def test_the_table_is_filtered_sorted_scrolled_and_shared_by_its_url(chromium: Browser, url: str) -> None:
    with page.looked_at(chromium, url, expected_errors="400") as seen:
        shown = seen.page
        shown.get_by_text(EVERY, exact=True).wait_for()
        table = shown.get_by_role("table", name="Runs")
        table.get_by_role("cell", name="second", exact=True).wait_for()
        shown.get_by_label("Runs", exact=True).first.evaluate("node => node.scrollTop = 1e9")
        table.get_by_role("cell", name="run0", exact=True).wait_for()
        table.get_by_role("columnheader", name="seed").get_by_role("button").click()
        table.get_by_role("cell", name=f"run{RUNS - 1}", exact=True).wait_for()
        shown.get_by_label("Filter in SQL").fill("status = 'failed' AND lr > 9.5")
        shown.keyboard.press("Enter")
        failed = sum(number % 50 == 7 and number % 97 == 96 for number in range(RUNS))
        shown.get_by_text(f"{failed} of {EVERY}").wait_for()
        shared = shown.url
        shown.get_by_label("Filter in SQL").fill("los <")
        shown.keyboard.press("Enter")
        shown.get_by_role("alert").get_by_text("syntax error").wait_for()
        shown.goto("about:blank")
        shown.goto(shared)
        shown.get_by_text(f"{failed} of {EVERY}").wait_for()
        shown.locator('th[aria-sort="descending"]', has_text="seed").wait_for()


def test_numbers_stand_below_the_end_of_their_header(chromium: Browser, url: str) -> None:
    right = "nodes => nodes.map((one) => getComputedStyle(one).textAlign === 'right')"
    with page.looked_at(chromium, url) as seen:
        seen.page.get_by_text(EVERY, exact=True).wait_for()
        row = "table.runs tbody tr:not(.spacer):first-of-type td"
        seen.page.locator(row).first.wait_for()
        heads, cells = (seen.page.locator(of).evaluate_all(right) for of in ("table.runs thead th", row))
        assert heads == cells
        assert sum(heads) >= 4


def test_curves_show_the_newest_runs_and_the_chosen_ones(chromium: Browser, url: str) -> None:
    chosen = ",".join(worlds.version_of(RUNS - number) for number in (1, 2))
    with page.looked_at(chromium, f"{url}#/curves?name=loss") as seen:
        seen.page.get_by_text(f"The newest 12 of {RUNS + 2} runs are shown.").wait_for()
        seen.page.locator(".u-over").wait_for()
        assert seen.page.locator(".legend button").count() == 12
        seen.page.evaluate(f"location.hash = '#/curves?name=loss&versions={chosen}'")
        seen.page.locator(".legend button").nth(2).wait_for(state="detached")
        seen.page.locator(".u-over").wait_for()


def test_two_of_them_are_compared_by_the_beginnings_of_their_ids(chromium: Browser, url: str) -> None:
    with page.looked_at(chromium, f"{url}#/compare") as seen:
        seen.page.get_by_label("Versions").fill(" ".join(worlds.version_of(RUNS - n)[:12] for n in (1, 2)))
        seen.page.keyboard.press("Enter")
        seen.page.get_by_text("first different at epoch 1, in loss").wait_for()


def test_a_hole_leads_to_the_plan_for_those_that_have_code(chromium: Browser, url: str) -> None:
    with page.looked_at(chromium, f"{url}#/runs?columns=run&columns=new&columns=script") as seen:
        seen.page.get_by_role("link", name="fill", exact=True).first.wait_for()
        seen.page.locator("th .share").click()
        seen.page.get_by_role("heading", name="The plan").wait_for()
        plan = seen.page.locator(".plan").inner_text()
        assert "2 versions" in plan
        assert f"{RUNS} versions" in plan  # which were imported, and came without code
        seen.page.get_by_role("navigation").get_by_role("link", name="Timeline").click()
        seen.page.get_by_text("No replay has run yet").wait_for()


def test_columns_are_chosen_and_a_column_of_the_newest_code_offers_to_be_filled(chromium: Browser, url: str) -> None:
    with page.looked_at(chromium, f"{url}#/runs?columns=run&columns=new") as seen:
        seen.page.get_by_text("0 %").wait_for()
        seen.page.get_by_role("link", name="fill", exact=True).first.wait_for()
        seen.page.get_by_text("Columns", exact=True).click()
        seen.page.get_by_label("Find a column").fill("loss_min")
        seen.page.get_by_role("checkbox", name="loss_min").check()
        seen.page.get_by_role("columnheader", name="loss_min").wait_for()
        assert "columns=loss_min" in seen.page.url
        seen.page.get_by_role("columnheader", name="loss_min").get_by_role("button").click()
        seen.page.locator('th[aria-sort="descending"]', has_text="loss_min").wait_for()


def test_versions_are_chosen_in_the_table_and_compared(chromium: Browser, url: str, lab: Lab) -> None:
    with page.looked_at(chromium, f"{url}#/runs?where=run+in+('first','second')") as seen:
        for name in ("first", "second"):
            seen.page.get_by_role("checkbox", name=f"Choose {name}").check()
        seen.page.get_by_role("link", name="Compare 2 chosen").click()
        seen.page.get_by_text("first different at epoch 1, in loss").wait_for()
        seen.page.get_by_text('flor.log("loss", 2 * lr').first.wait_for()
        seen.page.get_by_label("Feature").fill("new")
        seen.page.get_by_role("button", name="Show").click()
        seen.page.get_by_text('flor.log("new", epoch)').first.wait_for()


def test_on_a_phone_nothing_is_wider_than_the_screen_in_light_and_dark(chromium: Browser, url: str) -> None:
    colours = set()
    for scheme in ("light", "dark"):
        with page.looked_at(chromium, url, viewport={"width": 360, "height": 700}, color_scheme=scheme) as seen:
            seen.page.get_by_text(EVERY, exact=True).wait_for()
            assert seen.page.evaluate("document.documentElement.scrollWidth") <= 360
            colours.add(seen.page.evaluate("getComputedStyle(document.body).backgroundColor"))
    assert len(colours) == 2


def test_a_page_without_its_token_asks_for_it(chromium: Browser, url: str) -> None:
    with page.looked_at(chromium, url.partition("?")[0], expected_errors="401") as seen:
        seen.page.get_by_label("Token").fill(url.partition("token=")[2])
        seen.page.get_by_role("button", name="Open").click()
        seen.page.get_by_text(EVERY, exact=True).wait_for()


def test_names_that_mean_harm_are_texts_and_nothing_of_them_runs(chromium: Browser, tmp_path: Path) -> None:
    root = worlds.folder(tmp_path / "project")
    versions = hostile(root)
    with page.served(root, "--read-only") as url, page.looked_at(chromium, url) as seen:
        seen.page.get_by_text(re.compile(r"^\d+ runs$")).wait_for()
        seen.page.get_by_text("Columns", exact=True).click()
        seen.page.get_by_role("cell", name="<img src=x onerror=alert(1)>").first.wait_for()
        assert seen.page.locator("main img, main script, main iframe").count() == 0
        assert not set(seen.page.inner_text("body")) & {"\x1b", "\u202e", "\u2066", "\x07"}
        host = url.partition("?")[0]
        seen.page.goto(f"{host}#/compare?versions={','.join(versions[:4])}")
        seen.page.get_by_role("heading", name="Environment").wait_for()
        assert seen.page.locator("main img, main script, main iframe").count() == 0
        leads = seen.page.evaluate("[...document.links].map(link => link.getAttribute('href'))")
        assert [one for one in leads if not one.startswith("#")] == []
