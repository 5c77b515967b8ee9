"""The page for tests: its server in this process or in one of its own, and a real Chromium that looks at it."""

from __future__ import annotations

import contextlib
import os
import queue
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.conftest import environment

if TYPE_CHECKING:
    from playwright.sync_api import Browser, ConsoleMessage, Dialog, Page, Request
    from starlette.testclient import TestClient

TOKEN = "a token of tests"
_START_SECONDS = 180.0


def client(path: str, store: str | None = None, read_only: bool = False, root_path: str = "") -> TestClient:
    """Asks a page's server in this process, as its page would."""
    from starlette.testclient import TestClient

    from flor_ray import settings
    from flor_ray.store.project import Project
    from flor_ray.ui import app, notices
    from flor_ray.ui.access import Access
    from flor_ray.ui.opened import Opened

    notices.install()
    loaded = settings.load(path, store=store)
    opens = Access(TOKEN, 80, frozenset(), read_only)
    opened = Opened(Project.of(loaded, path, read_only), loaded, path)
    asking = TestClient(app.make_app(opened, opens, root_path), "http://127.0.0.1", raise_server_exceptions=False)
    asking.cookies.set(opens.cookie_name, opens.cookie)
    asking.headers["x-flor-write"] = opens.write_word
    return asking


@contextlib.contextmanager
def served(path: Path, *options: str) -> Iterator[str]:
    """`flor-ray ui` in a process of its own; gives the URL with the token."""
    with serving(path, *options) as (url, _):
        yield url


@contextlib.contextmanager
def serving(path: Path, *options: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """As `served`, with the process, which may be killed."""
    command = [sys.executable, "-m", "flor_ray.cli", "ui", "--no-browser", "--port", "0", *options]
    process = subprocess.Popen(
        command,
        cwd=path,
        env=environment(PYTHONUNBUFFERED="1"),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    lines: queue.Queue[str] = queue.Queue()
    output = process.stdout
    assert output is not None

    def read() -> None:
        for line in output:
            lines.put(line)

    reading = threading.Thread(target=read, daemon=True)
    reading.start()
    try:
        said: list[str] = []
        while True:
            said.append(lines.get(timeout=_START_SECONDS))
            if found := re.search(r"http://\S+", said[-1]):
                break
        yield found[0], process
    finally:
        process.terminate()
        process.wait(20)
        reading.join(5)


def chromium() -> str:
    """The browser's executable. Skips where it, or what drives it, is not installed."""
    pytest.importorskip("playwright", reason="playwright is not installed: pip install playwright")
    found = os.environ.get("FLOR_RAY_CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    if found is None:
        pytest.skip("no Chromium here: apt-get install chromium, or name one in FLOR_RAY_CHROMIUM")
    return found


@contextlib.contextmanager
def browser() -> Iterator[Browser]:
    """A headless Chromium."""
    executable = chromium()
    from playwright.sync_api import sync_playwright

    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []  # which root cannot have
    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=executable, args=arguments)
        try:
            yield found
        finally:
            found.close()


@dataclass
class Seen:
    """A page in a browser, and what must not have happened while it was looked at."""

    page: Page
    errors: list[str] = field(default_factory=list)  # on the console, or raised
    elsewhere: list[str] = field(default_factory=list)  # requests to other hosts

    def expect_clean(self) -> None:
        """Fails if the console has an error, a script ran that is not ours, or another host was asked."""
        assert self.errors == []
        assert self.elsewhere == []


@contextlib.contextmanager
def looked_at(browser: Browser, url: str, expected_errors: str = "", **context: Any) -> Iterator[Seen]:
    """A new tab at this URL; at the end it must be clean. `expected_errors`: a pattern of what the console may say."""
    with contextlib.closing(browser.new_context(**context)) as opened:
        page = opened.new_page()
        page.set_default_timeout(60_000)
        seen = Seen(page)
        host = url.split("/")[2]

        def note(text: str) -> None:
            if not (expected_errors and re.search(expected_errors, text)):
                seen.errors.append(text)

        def asked(request: Request) -> None:
            if not request.url.startswith((f"http://{host}/", "blob:", "data:")):
                seen.elsewhere.append(request.url)

        def dialog(found: Dialog) -> None:
            note(f"a dialog: {found.message}")
            found.dismiss()

        def console(message: ConsoleMessage) -> None:
            if message.type in ("error", "warning"):
                note(message.text)

        page.on("console", console)
        page.on("pageerror", lambda error: note(str(error)))
        page.on("dialog", dialog)
        page.on("request", asked)
        page.goto(url)
        yield seen
        seen.expect_clean()
