"""The command about data: data."""

from __future__ import annotations

import click

from flor_ray.cli.options import data_option, store_option
from flor_ray.cli.saying import say
from flor_ray.errors import UsageError


@click.command(short_help="Show the data that versions have read, or put them into the store.")
@click.argument("action", required=False, default="list", type=click.Choice(["list", "push"]), metavar="[push]")
@click.argument("paths", nargs=-1, metavar="[PATH]...")
@data_option
@store_option
def data(action: str, paths: tuple[str, ...], data: object, store: str | None) -> None:
    """Show the files that versions have read, and where they are: here, in the store, or elsewhere.

    A replay needs them as they were. Each worker looks where they were recorded, then where `data:` of flor.yaml (or
    --data) says, then in the store. `push` puts files into the store: those at or below PATH, or all that are here, as
    far as a version has read them as they are now. What is there already is not sent again. Files with secrets are left
    out.

    \b
    Examples:
      flor-ray data                             what versions have read, and where it is
      flor-ray data push                        put all of it that is here into the store
      flor-ray data push data/train.csv         one file
      flor-ray data push ../images              a folder outside of the repository
      flor-ray data --data data=/mnt/data       what would be found there
    """
    from flor_ray import settings
    from flor_ray.cli import terminal
    from flor_ray.planning import needed_data
    from flor_ray.reports import data_files, text_tables
    from flor_ray.store.project import Project

    project = Project.of(settings.load(store=store, data=data))
    if action == "list":
        if paths:
            raise UsageError(f"`flor-ray data` shows all files; to put {paths[0]} into the store, use `data push`.")
        found = needed_data.needed(project)
        rows = [data_files.row(one) for one in found]
        say(text_tables.render(data_files.COLUMNS, rows, terminal.width()) if rows else data_files.NONE)
        return
    pushed = []
    for one in needed_data.push(project, paths):
        pushed.append(one)
        say(data_files.became(one))
    say(data_files.total(pushed))
    if any(one.why_not for one in pushed):
        raise SystemExit(1)
