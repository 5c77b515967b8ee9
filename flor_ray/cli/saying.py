"""How commands say anything: without secrets, and with nothing in it that a terminal would obey."""

from __future__ import annotations

import click

from flor_ray.redaction import shown


def say(text: object = "", err: bool = False) -> None:
    """Print a line, or several."""
    click.echo(shown(str(text)), err=err)
