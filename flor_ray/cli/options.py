"""Options that several commands have."""

from __future__ import annotations

import click

where_option = click.option(
    "--where", metavar="QUERY", help='pandas query over features, e.g. "accuracy < 95 and epoch >= 3".'
)
workers_option = click.option(
    "--workers",
    "-n",
    type=click.IntRange(1),
    metavar="N",
    help="How many workers; default: one per GPU, or one per CPU.",
)
budget_option = click.option(
    "--budget", metavar="SPAN", help="Worker time to spend in all, such as 2h; what fits into it is replayed."
)
deadline_option = click.option(
    "--deadline", metavar="SPAN", help="Time to finish in, such as 30m; what fits into it is replayed."
)
first_option = click.option(
    "--first",
    metavar="WORDS",
    help="What is answered first: end, peak:NAME, peak:-NAME, coarse, newest; several with commas. With a limit, the "
    "default is each version's last epoch, then coarse to fine.",
)
price_option = click.option(
    "--price", type=click.FloatRange(0), metavar="X", envvar="FLOR_RAY_PRICE", help="Cost of one worker-hour."
)
env_option = click.option(
    "--env",
    type=click.Choice(["current", "recorded"]),
    default="current",
    show_default=True,
    help="Replay with the packages that are installed, or with those that a version was recorded with.",
)
executor_option = click.option(
    "--ray/--local",
    "on_ray",
    default=None,
    help="Run on Ray, or on worker processes of this machine. Default: on Ray, unless no cluster was named or runs "
    "here, and it should be done before one would be there.",
)
store_option = click.option(
    "--store", metavar="URL", envvar="FLOR_RAY_STORE", help="Where the store is; default: .flor in the repository."
)
