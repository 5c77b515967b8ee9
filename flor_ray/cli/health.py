"""The command about what replays need: doctor."""

from __future__ import annotations

import click

from flor_ray.cli.options import store_option
from flor_ray.cli.saying import say

_NODE_SECONDS = 120.0  # for all nodes together: a worker has to start, and torch to be imported


@click.command(short_help="Look whether store, cluster and nodes are as replays need them.")
@click.option("--local", "is_local", is_flag=True, help="Look at this machine only.")
@click.option(
    "--timeout",
    default=_NODE_SECONDS,
    show_default=True,
    type=click.FloatRange(1),
    metavar="SECONDS",
    help="For nodes.",
)
@store_option
def doctor(is_local: bool, timeout: float, store: str | None) -> None:
    """Look whether store, cluster and nodes are as replays need them: a line per check and machine.

    Of the store: whether it can be reached and written, whether of two writers one wins, whether its clock is the
    machine's, and whether the data that versions have read can be had. Of each node of the cluster that flor.yaml or
    RAY_ADDRESS names, or that runs here: the same, whether it has the versions of Python, Ray, torch and flor_ray that
    are here, and whether torch sees the GPUs that Ray counts. Starts no cluster. Exits with 1 if something is not as it
    should be; each such line says what to do.

    \b
    Examples:
      flor-ray doctor
      flor-ray doctor --local
      RAY_ADDRESS=10.0.0.1:6379 flor-ray doctor --store s3://bucket/flor
    """
    from flor_ray import asked_terms, settings
    from flor_ray.reports import checkups

    loaded = settings.load(store=store)
    with asked_terms.on_cluster(loaded):
        found = checkups.every(loaded, is_local, timeout)
    say(checkups.text(found))
    if not all(diagnosis.passed for _, diagnosis in found):
        raise SystemExit(1)
