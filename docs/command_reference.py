"""Sphinx extension: the reference of the command line, from click, in place of a marker line in a page.

    <!-- commands -->       every command of `flor-ray`: usage, what it does, examples, options

The Markdown that is made has a heading per command, `flor-ray NAME`, to which other pages can link.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from sphinx.application import Sphinx

MARKER = "<!-- commands -->"
_PROGRAM = "flor-ray"


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("source-read", _fill_in)
    return {"parallel_read_safe": True}


def _fill_in(app: Sphinx, page: str, source: list[str]) -> None:
    if MARKER in source[0]:
        from flor_ray.cli.commands import cli

        source[0] = source[0].replace(MARKER, reference(cli))


def reference(group: click.Group) -> str:
    """Markdown on every command of a group, in the order of its own help."""
    context = click.Context(group, info_name=_PROGRAM)
    commands = [(name, group.get_command(context, name)) for name in group.list_commands(context)]
    return "\n\n".join("\n\n".join(_of_command(name, command, context)) for name, command in commands if command)


def _of_command(name: str, command: click.Command, parent: click.Context) -> Iterator[str]:
    context = click.Context(command, info_name=name, parent=parent)
    yield f"## {_PROGRAM} {name}"
    usage = " ".join([context.command_path, *command.collect_usage_pieces(context)])
    yield f"```text\n{usage}\n```"
    yield from _paragraphs(inspect.cleandoc(command.help or ""))
    options = [option.get_help_record(context) for option in command.params if isinstance(option, click.Option)]
    if options:
        yield "\n\n".join(f"`{row[0]}`\n: {_prose(row[1])}" for row in options if row is not None)


def _paragraphs(help: str) -> Iterator[str]:
    """Paragraphs as they are; those that click does not wrap (after \\b) as they stand, under their first line."""
    for paragraph in re.split(r"\n{2,}", help):
        if not paragraph.startswith("\b"):
            yield _prose(paragraph)
            continue
        title, *lines = paragraph.removeprefix("\b").strip("\n").split("\n")
        if not title.endswith(":"):
            lines = [title, *lines]
        else:
            yield _prose(title)
        yield "```text\n" + inspect.cleandoc("\n".join(lines)) + "\n```"


def _prose(text: str) -> str:
    """Text for Markdown: what is not between backticks has no markup."""
    parts = re.split(r"(`[^`]*`)", text)
    return "".join(part if part.startswith("`") else re.sub(r"([\\*_\[\]<>|#$~])", r"\\\1", part) for part in parts)
