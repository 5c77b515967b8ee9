"""A hole in a curve is filled from the browser: plan, rows as they arrive, a killed server, pause, and going on."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from flor_ray.store import pins
from tests import page
from tests.conftest import Lab

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

EPOCHS = 8
SCRIPT = """
import os, time
import flor_ray as flor

lr = flor.arg("lr", 0.1)
weight = 1.0

def slowly(epoch, value):
    time.sleep(0.6 if epoch < 4 else 0)
    while epoch >= 4 and not os.path.exists({gate!r}):
        time.sleep(0.05)
    return value

for epoch in flor.loop("epoch", range({epochs})):
    for step in flor.loop("step", range(3)):
        weight *= 1 - lr
        flor.log("loss", float("nan") if epoch == 2 and step == 1 else weight)
"""
LATE = '    flor.log("late", slowly(epoch, weight * 2))\n'


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file without which no replay ends."""
    return tmp_path_factory.mktemp("gate") / "open"


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory, gate: Path) -> Lab:
    lab = Lab(tmp_path_factory.mktemp("backfill") / "project")
    script = SCRIPT.format(gate=str(gate), epochs=EPOCHS)
    lab.write("flor.yaml", "commit: 1s\n")  # rows come before a segment ends
    lab.record_forked(script, "--flor", "first")
    lab.record_forked(script, "--flor", "second", "--kwargs", "lr=0.01")
    lab.write("train.py", script + LATE)
    return lab


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with page.browser() as browser:
        yield browser


def answered(shown: Page) -> int:
    """Rows that the card of the replay says are answered."""
    found = re.search(r"(\d+) of \d+ rows", shown.get_by_label("The replay").inner_text())
    return int(found[1]) if found else 0


@pytest.mark.timeout(300)
def test_a_hole_is_filled_while_servers_and_browsers_come_and_go(chromium: Browser, lab: Lab, gate: Path) -> None:
    with page.serving(lab.root) as (url, process):
        with page.looked_at(chromium, f"{url}#/curves?name=loss&name=late") as seen:
            shown = seen.page
            shown.locator(".u-over").wait_for()
            chart = shown.get_by_role("img", name="loss")
            chart.press("ArrowRight")
            shown.locator(".tip").get_by_text("epoch 1, step 0").wait_for()
            chart.press("ArrowRight")
            shown.locator(".tip").get_by_text("epoch 1, step 1").wait_for()
            shown.get_by_role("link", name="Fill it").click()
            shown.get_by_role("heading", name="The plan").wait_for()
            assert "2 versions" in shown.locator(".plan").inner_text()
            shown.get_by_text("What is put into").click()
            shown.locator(".diff .plus").get_by_text("slowly(epoch, weight * 2)").wait_for()
            shown.get_by_label("Workers", exact=True).fill("1")
            shown.get_by_label("Where it runs").select_option("local")
            shown.get_by_role("button", name="Show the plan").click()
            shown.get_by_role("button", name="Run it").click()
            shown.locator(".feature").get_by_text(re.compile(r"[1-9]\d* values, [1-9]\d* places")).wait_for(
                timeout=150_000
            )
            assert shown.get_by_label("The replay").get_by_text("is running").is_visible()
            assert shown.locator(".gantt .open").count() == 1
            before = answered(shown)
        process.kill()
        process.wait(20)
    with (
        page.served(lab.root) as url,
        page.looked_at(chromium, f"{url}#/backfill") as seen,
        page.looked_at(chromium, f"{url}#/timeline") as other,
    ):
        shown = seen.page
        shown.get_by_role("button", name="late").click()
        shown.get_by_label("The replay").get_by_text("is running").wait_for()
        other.page.get_by_label("The replay").get_by_text("is running").wait_for()
        shown.get_by_role("button", name="Pause").click()
        shown.get_by_label("The replay").get_by_text("is paused").wait_for(timeout=30_000)
        other.page.get_by_label("The replay").get_by_text("is paused").wait_for()
        kept = answered(shown)
        assert before <= kept < 2 * EPOCHS
        gate.touch()
        shown.get_by_role("button", name="Go on with the rest").click()
        shown.get_by_label("The replay").get_by_text("has finished").wait_for(timeout=90_000)
        assert answered(shown) == 2 * EPOCHS - kept  # what was finished has not run again
        shown.locator(".feature").get_by_text(f"{2 * EPOCHS} values, 0 places").wait_for()
    assert lab.frame("late")["late"].notna().all()


@pytest.mark.timeout(300)
def test_a_click_on_a_line_pins_a_statement_and_a_cancelled_replay_keeps_what_it_has(
    chromium: Browser, lab: Lab, gate: Path
) -> None:
    script = SCRIPT.format(gate=str(gate), epochs=EPOCHS)
    lab.write("train.py", script + LATE + '    flor.log("later", slowly(epoch, weight * 3))\n')
    gate.unlink(missing_ok=True)
    with page.served(lab.root) as url, page.looked_at(chromium, f"{url}#/backfill?name=later") as seen:
        shown = seen.page
        shown.get_by_text("What is put into").click()
        shown.get_by_role("button", name="See the code, and pin it").first.click()
        code = shown.get_by_role("group", name="train.py")
        code.locator("button[aria-current]", has_text="stands after this line").wait_for()
        code.get_by_role("button", name="weight *= 1 - lr").click()
        code.get_by_role("button", name="pinned after this line").get_by_text("weight *= 1 - lr").wait_for()
        shown.get_by_role("heading", name="The plan").wait_for()  # another one, with the code still below it
        (pin,) = pins.kept(lab.project.store.files, lab.project.name)
        assert (pin.name, script.splitlines()[pin.pin.after - 1].strip()) == ("later", "weight *= 1 - lr")
        shown.get_by_role("button", name="Remove the pin").click()
        code.locator("button[aria-current]", has_text="stands after this line").wait_for()
        assert pins.kept(lab.project.store.files, lab.project.name) == ()
        shown.get_by_label("Workers", exact=True).fill("1")
        shown.get_by_label("Where it runs").select_option("local")
        shown.get_by_role("button", name="Show the plan").click()
        shown.get_by_role("button", name="Run it").click()
        shown.locator(".feature").get_by_text(re.compile(r"[1-9]\d* values, [1-9]\d* places")).wait_for(timeout=90_000)
        shown.get_by_role("button", name="Cancel").click()
        shown.get_by_label("The replay").get_by_text("was cancelled; what was finished is kept").wait_for()
        assert shown.get_by_role("button", name="Go on with the rest").is_visible()
        kept = answered(shown)
        assert 0 < kept < 2 * EPOCHS
        assert lab.frame("later")["later"].notna().sum() == kept


def test_the_page_is_read_only_when_it_is_told_to_be(chromium: Browser, lab: Lab) -> None:
    with page.served(lab.root, "--read-only") as url, page.looked_at(chromium, f"{url}#/backfill?name=late") as seen:
        seen.page.get_by_role("heading", name="The plan").wait_for()
        assert seen.page.get_by_role("button", name="Run it").is_disabled()


def test_curves_are_grouped_smoothed_zoomed_and_opened(chromium: Browser, lab: Lab) -> None:
    def fits(shown: Page) -> None:
        assert shown.evaluate("document.documentElement.scrollWidth <= innerWidth")

    phone = {"width": 390, "height": 800}
    with (
        page.served(lab.root) as url,
        page.looked_at(chromium, f"{url}#/curves?name=loss", viewport=phone) as seen,
    ):
        shown = seen.page
        shown.locator(".u-over").wait_for()
        fits(shown)
        box = shown.locator(".u-over").bounding_box()
        assert box is not None
        shown.mouse.move(box["x"] + box["width"] * 0.5, box["y"] + 30)
        shown.mouse.down()
        shown.mouse.move(box["x"] + box["width"] * 0.8, box["y"] + 30, steps=4)
        shown.mouse.up()
        shown.get_by_role("button", name="All of it").click()
        shown.get_by_text("Drag to zoom").wait_for()
        shown.get_by_label("group by").select_option("lr")
        shown.get_by_role("button", name="lr = 0.01").wait_for()
        shown.get_by_text("In numbers").click()
        shown.get_by_role("cell", name="1 value that is no finite number").first.wait_for()
        fits(shown)
