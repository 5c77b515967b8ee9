"""The pages of docs/: they can be built, nothing in them leads nowhere, and what users may meet is in them."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import click
import pytest

import flor_ray
from flor_ray.cli.commands import cli
from flor_ray.records import Level, LogRecord, Operator, Segment, SegmentReport
from flor_ray.store import typed_values
from flor_ray.store.store import Store
from tests.conftest import environment

ROOT = Path(__file__).parents[1]
REPORT = SegmentReport(Segment("v", 1, 1, Operator.DP_I, names=("norm",)), 1, 0.0, 0.0)
DOCS = ROOT / "docs"
CODE = [ROOT / name for name in ("flor_ray", "propagation", "scheduler", "cluster")]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, str]:
    """The pages as HTML by path, built as `make docs` does."""
    folder = tmp_path_factory.mktemp("docs")
    command = [sys.executable, "-m", "sphinx", "--fail-on-warning", "--keep-going", "--nitpicky", "--quiet"]
    done = subprocess.run(
        [*command, "-d", str(folder / "doctrees"), str(DOCS), str(folder / "html")],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    html = folder / "html"
    return {str(page.relative_to(html)): page.read_text(encoding="utf-8") for page in sorted(html.rglob("*.html"))}


class _Page(HTMLParser):
    """Where a page leads, and which of its places can be led to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.places: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        found = dict(attributes)
        if found.get("id"):
            self.places.add(str(found["id"]))
        link = found.get("href" if tag == "a" else "src" if tag == "img" else "")
        if link and not urlsplit(link).scheme:
            self.links.append(link)


def test_pages_are_built_without_a_warning(built: Mapping[str, str]) -> None:
    assert {f"{page.stem}.html" for page in DOCS.glob("*.md")} <= set(built)


def test_every_link_and_anchor_leads_somewhere(built: Mapping[str, str]) -> None:
    pages = {path: _Page(text) for path, text in built.items()}
    broken = []
    for path, page in pages.items():
        for link in page.links:
            target, fragment = urlsplit(link).path, unquote(urlsplit(link).fragment)
            there = os.path.normpath(os.path.join(os.path.dirname(path), target)) if target else path
            if there.endswith(".html") and (there not in pages or (fragment and fragment not in pages[there].places)):
                broken.append((path, link))
    assert broken == []
    assert sum(len(page.links) for page in pages.values()) > 100


def test_every_page_can_be_reached_from_the_index(built: Mapping[str, str]) -> None:
    reached, waiting = set(), ["index.html"]
    while waiting:
        path = waiting.pop()
        if path in reached or path not in built:
            continue
        reached.add(path)
        main = re.sub(r"<aside.*?</aside>", "", built[path], flags=re.DOTALL)  # the sidebar lists all pages anyway
        waiting += [urlsplit(link).path for link in _Page(main).links]
    assert {f"{page.stem}.html" for page in DOCS.glob("*.md")} <= reached


LINK = re.compile(r"\]\(([^)\s]+)\)")


def _links(page: Path) -> Iterator[str]:
    """Of Markdown, outside of code blocks; those into the web cannot be looked at here."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    yield from (link for link in LINK.findall(text) if "://" not in link)


def _anchors(page: Path) -> set[str]:
    """Of a page's headings, as GitHub and MyST make them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", [*ROOT.glob("*.md"), *DOCS.glob("*.md")], ids=lambda page: page.name)
def test_links_of_markdown_files_resolve_in_the_repository(page: Path) -> None:
    broken = []
    for link in _links(page):
        path, _, fragment = link.partition("#")
        target = page.parent / path if path else page
        generated = {f"flor-ray-{name}" for name in _commands()} if target.name == "commands.md" else set()
        if not target.exists() or (fragment and fragment not in _anchors(target) | generated):
            broken.append(link)
    assert broken == []


def test_the_readme_leads_to_every_page() -> None:
    assert {f"docs/{page.name}" for page in DOCS.glob("*.md")} - set(_links(ROOT / "README.md")) == {"docs/index.md"}


def _commands() -> list[str]:
    return cli.list_commands(click.Context(cli))


def _lines_of_text(html: str) -> str:
    return re.sub(r"<[^>]*>", "", html)


def test_every_command_and_option_is_in_the_reference(built: Mapping[str, str]) -> None:
    text = _lines_of_text(built["commands.html"])
    context = click.Context(cli, info_name="flor-ray")
    for name in _commands():
        command = cli.get_command(context, name)
        assert command is not None
        options = [word for option in command.params if isinstance(option, click.Option) for word in option.opts]
        assert f"flor-ray {name}" in text
        assert [option for option in options if option not in text] == []


def test_every_public_name_is_in_the_reference(built: Mapping[str, str]) -> None:
    places = _Page(built["python.html"]).places
    assert [name for name in flor_ray.__all__ if f"flor_ray.{name}" not in places] == []


def test_the_example_reads_a_store_as_the_page_says(tmp_path: Path) -> None:
    """Ranges that were merged count once; of one key the recorded value wins, then that of the newest replay."""
    store = Store(str(tmp_path / "store"))
    recorded = [_record("loss", epoch, epoch / 2) for epoch in (1, 2, 3, 4)]
    store.append_logs("p", "v", "recorded", 0, recorded[:2])
    store.append_logs("p", "v", "recorded", 2, recorded[2:])
    store.append_logs("p", "v", "recorded", 0, recorded)  # a merge that was killed before it deleted the two
    for origin, value in (("replay-2", 2.0), ("replay-1", 1.0)):
        rows = [_record("loss", 1, 99.0), _record("norm", 1, value)]
        store.write_replay("p", "v", origin, "dp_i-000001-000001", rows, REPORT)
    page = (DOCS / "store.md").read_text(encoding="utf-8")
    code = re.search(r"```python\n(# read_store.py\n.*?)```", page, re.DOTALL)
    assert code is not None
    example: dict[str, Any] = {"__name__": "read_store"}
    exec(code[1], example)
    read = example["log_records"](str(tmp_path / "store"))
    columns = ["version", "epoch", "name", "number", "origin"]
    assert [tuple(row) for row in read[columns].itertuples(index=False)] == [
        ("v", 1, "loss", 0.5, "recorded"),
        ("v", 1, "norm", 2.0, "replay-2"),
        ("v", 2, "loss", 1.0, "recorded"),
        ("v", 3, "loss", 1.5, "recorded"),
        ("v", 4, "loss", 2.0, "recorded"),
    ]


def _record(name: str, epoch: int, value: float) -> LogRecord:
    return LogRecord(Level.OUTER, epoch, None, name, 0, typed_values.encode(value), 0.0)


# --- troubleshooting ------------------------------------------------------------------------------------------------

HOLE = "…"
_WARNS = ("warn", "_warn", "_tell", "_tell_once")  # functions that warn users of a message
_BY_CLASS = ("FlorError", "UsageError")  # whose messages say themselves what to do


@cache
def _modules() -> list[ast.Module]:
    paths = sorted({path.resolve() for folder in CODE for path in folder.rglob("*.py")})
    return [ast.parse(path.read_text(encoding="utf-8")) for path in paths]


@cache
def _error_classes() -> frozenset[str]:
    """Names of all classes below FlorError."""
    bases = {
        node.name: {base.id for base in node.bases if isinstance(base, ast.Name)}
        for module in _modules()
        for node in ast.walk(module)
        if isinstance(node, ast.ClassDef)
    }
    found = {"FlorError"}
    while more := {name for name, of in bases.items() if of & found} - found:
        found |= more
    return frozenset(found)


def _template(node: ast.AST) -> str | None:
    """A string with holes in it, as source has it."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(_template(part) or HOLE for part in node.values)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return f"{_template(node.left) or HOLE}{_template(node.right) or HOLE}"
    return None


def _messages() -> set[str]:
    """What is raised and warned of: first arguments of errors and of the functions that warn."""
    errors = _error_classes() - set(_BY_CLASS)
    found = set()
    for call in (node for module in _modules() for node in ast.walk(module) if isinstance(node, ast.Call)):
        name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
        is_ours = name != "warn" or any(isinstance(a, ast.Name) and a.id == "FlorWarning" for a in call.args)
        if call.args and (name in errors or (name in _WARNS and is_ours)) and (text := _template(call.args[0])):
            found.add(text)
    return {text for text in found if len(re.findall(r"\w\w+", text)) > 1}  # others are made of messages


@cache
def _phrases() -> list[str]:
    """The messages on the page, in backticks in the tables' column of messages."""
    rows = [
        line.split(" | ")
        for line in (DOCS / "troubleshooting.md").read_text(encoding="utf-8").splitlines()
        if line.startswith("| `")
    ]
    cells = [cell for row in rows for cell in row[:-1]]
    return [phrase for cell in cells for phrase in re.findall(r"`([^`]*)`", cell) if " " in phrase]


def _says(message: str, phrase: str) -> bool:
    """Whether a phrase, in which … stands for anything, is in a message."""
    at = 0
    for piece in phrase.split(HOLE):
        if (begin := message.find(piece, at)) < 0:
            return False
        at = begin + len(piece)
    return True


def test_troubleshooting_has_every_error_class() -> None:
    text = (DOCS / "troubleshooting.md").read_text(encoding="utf-8")
    assert [name for name in sorted(_error_classes()) if not re.search(rf"\b{name}\b", text)] == []


def test_troubleshooting_has_every_message_that_does_not_say_it_all_itself() -> None:
    messages = _messages()
    assert len(messages) > 50
    assert [text for text in sorted(messages) if not any(_says(text, phrase) for phrase in _phrases())] == []


def test_troubleshooting_has_no_message_that_is_not_in_the_code() -> None:
    texts = {text for module in _modules() for node in ast.walk(module) if (text := _template(node)) is not None}
    assert [phrase for phrase in _phrases() if not any(_says(text, phrase) for text in texts)] == []
