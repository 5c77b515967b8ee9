"""The command about settings: config."""

from __future__ import annotations

import click


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
    click.echo(loaded.file or f"There is no {settings.FILE} here.")
    click.echo("")
    click.echo(text_tables.render(("setting", "value", "from", "variable"), rows, terminal.width()))


def _told(value: object, default: str) -> str:
    text = ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)
    text = f"({default})" if value is None else text
    return text if text.isprintable() else repr(text)
