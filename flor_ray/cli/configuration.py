"""The command about settings: config."""

from __future__ import annotations

from collections.abc import Mapping

import click

from flor_ray.cli.saying import say
from flor_ray.redaction import shown


@click.command(short_help="Show each setting, and where it is from.")
@click.option("--schema", is_flag=True, help="Print a JSON Schema of flor.yaml, for editors.")
def config(schema: bool) -> None:
    """Show each setting, and where it is from: flor.yaml, an environment variable, or the default.

    flor.yaml is looked for in the current folder and above it, up to the folder of the git repository. Environment
    variables outdo it, and what a command is given outdoes both: `--budget none` takes a budget back.

    \b
    Examples:
      flor-ray config
      flor-ray config --schema > flor.schema.json
    """
    import json

    from flor_ray import settings

    if schema:
        from flor_ray import settings_file

        click.echo(json.dumps(settings_file.schema(), indent=2))
        return
    from flor_ray.cli import terminal
    from flor_ray.reports import text_tables

    loaded = settings.load()
    rows = [
        (key.path, _told(getattr(loaded.settings, key.name), key.default), loaded.origin(key), key.variable)
        for key in settings.KEYS
    ]
    say(loaded.file or f"There is no {settings.FILE} here.")
    say("")
    say(text_tables.render(("setting", "value", "from", "variable"), rows, terminal.width()))


def _told(value: object, default: str) -> str:
    if isinstance(value, Mapping):
        value = ", ".join(f"{path} -> {place}" for path, place in value.items())
    text = f"({default})" if value is None else ", ".join(value) if isinstance(value, tuple) else str(value)
    return shown(text)  # before the table is laid out: a store's URL may have keys in it
