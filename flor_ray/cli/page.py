"""The command that serves the page: ui."""

from __future__ import annotations

import click

from flor_ray.cli.options import store_option
from flor_ray.cli.saying import say
from flor_ray.errors import UsageError

_TOKEN = "FLOR_RAY_UI_TOKEN"  # not an option: those of a process can be read by all users of a machine


@click.command(short_help="Look at runs, curves and what is missing in a browser.")
@click.option("--host", default="127.0.0.1", show_default=True, metavar="ADDRESS", help="Where to listen.")
@click.option("--port", type=click.IntRange(0, 65535), metavar="N", help="Default: the first free one from 8378 on.")
@click.option("--read-only", is_flag=True, help="Nothing can be replayed, cancelled or pinned from the page.")
@click.option("--root-path", default="", metavar="PATH", help="Path under which a proxy shows the page, as in /flor.")
@click.option(
    "--allow-host",
    "allowed",
    multiple=True,
    metavar="NAME",
    help="A name by which a proxy asks for it; repeatable.",
)
@click.option("--no-browser", is_flag=True, help="Print the URL and open no browser.")
@store_option
def ui(
    host: str,
    port: int | None,
    read_only: bool,
    root_path: str,
    allowed: tuple[str, ...],
    no_browser: bool,
    store: str | None,
) -> None:
    """Serve a page on which runs, curves, versions and replays of this project are looked at, until Ctrl-C.

    Only who has the URL that is printed, with its token, can open it; it listens on this machine only, unless --host
    says otherwise. The token is a new one each time, or what FLOR_RAY_UI_TOKEN has. The page needs no network, and
    `pip install 'flor_ray[ui]'`.

    \b
    Examples:
      flor-ray ui                                    open it in a browser
      flor-ray ui --no-browser --port 9000           on a server, then: ssh -L 9000:localhost:9000 server
      flor-ray ui --read-only --store s3://team/flor look only
      flor-ray ui --root-path /flor --allow-host hub.example.org    behind a proxy
    """
    import os

    from flor_ray import settings

    try:
        from flor_ray.ui import server
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("flor_ray"):
            raise
        raise UsageError(f"The page needs {error.name}, which is not installed: pip install 'flor_ray[ui]'.") from None
    serving = server.ServerOptions(
        host, port, read_only, root_path, allowed, os.environ.get(_TOKEN, ""), not no_browser
    )
    loaded = settings.load(store=store)

    def tell(url: str) -> None:
        say("The page is at")
        click.echo(f"    {url}")  # with its secret: `say` would hide it
        say("Ctrl-C ends it.")

    server.serve(loaded, serving, tell)
