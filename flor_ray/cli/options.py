"""Options that several commands have."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from flor_ray.planning.replay_plan import Prepared
    from flor_ray.settings import Loaded

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
executor_option = click.option(
    "--ray/--local",
    "on_ray",
    default=None,
    help="Run on Ray, or on worker processes of this machine. Default: on Ray, unless no cluster was named or runs "
    "here, and it should be done before one would be there.",
)
store_option = click.option(
    "--store", metavar="URL", help="Where the store is; default: that of flor.yaml, or .flor in the repository."
)


def _pairs(context: click.Context, parameter: click.Parameter, given: tuple[str, ...]) -> object:
    """A data map; None if none is given."""
    from flor_ray import settings

    if given in ((), ("none",)):
        return given[0] if given else None
    try:
        return settings.MAP.read(",".join(given))
    except ValueError:
        raise click.BadParameter(f"should be {settings.MAP.words}.") from None


data_option = click.option(
    "--data",
    multiple=True,
    callback=_pairs,
    metavar="PATH=PLACE",
    help="Where data are on the workers' machines: a recorded path, and a path or a URL there. May be repeated.",
)
_AGAIN = click.option("--again", is_flag=True, help="Also replay what an earlier replay has answered.")
_LIMITS = (
    click.option(
        "--time-limit",
        metavar="SPAN",
        help="End a segment that takes longer than this, set-up included: 90s, 10m, 2h; none: never; default: when an "
        "epoch takes far longer than it should.",
    ),
    click.option(
        "--memory-limit",
        metavar="SIZE",
        help="End a segment whose processes hold more than this: 8GB; default: 90% of the machine.",
    ),
    click.option(
        "--retries",
        type=click.IntRange(0),
        metavar="N",
        help="Further attempts at a segment whose worker or process was killed; default: 2.",
    ),
    click.option(
        "--wait", metavar="SPAN", help="Give up when there has been no worker for this long: 30m (the default), 2h."
    ),
)
_NAMES = (click.argument("names", nargs=-1, required=True, metavar="NAME..."), where_option)
_TERMS = (
    workers_option,
    click.option(
        "--env",
        "environment",
        type=click.Choice(["current", "recorded"]),
        help="Replay with the packages that are installed (the default), or with those that a version was recorded "
        "with.",
    ),
    click.option(
        "--budget", metavar="SPAN", help="Worker time to spend in all, such as 2h; what fits into it is replayed."
    ),
    click.option("--deadline", metavar="SPAN", help="Time to finish in, such as 30m; what fits into it is replayed."),
    click.option(
        "--first",
        metavar="WORDS",
        help="What is answered first: end, peak:NAME, peak:-NAME, coarse, newest; several with commas. With a limit, "
        "the default is each version's last epoch, then coarse to fine.",
    ),
    click.option("--gpus", metavar="X", help="GPUs of each worker on a cluster; 1/2: two share one."),
    data_option,
    click.option("--price", type=click.FloatRange(0), metavar="X", help="Cost of one worker-hour."),
)


@dataclass(frozen=True, slots=True)
class Question:
    """What `explain`, `replay` and `submit` are asked, as it was written."""

    names: tuple[str, ...]
    where: str | None
    first: str | None
    asked: Loaded  # its other options, and what settings have for those that were not given

    def prepared(self, again: bool = False, executor: str | None = None) -> Prepared:
        """The plan, with a progress bar while it is made. Raises FlorError for what cannot be asked so."""
        from flor_ray import asked_terms, pipeline
        from flor_ray.cli import progress
        from flor_ray.store.project import Project

        terms = asked_terms.terms_of(self.asked, self.first, executor)
        project = Project.of(self.asked)
        with progress.counting() as tell:
            env = asked_terms.environment_of(self.asked)
            return pipeline.prepare(project, self.names, self.where, terms, again, tell, env)


def limits(command: Callable[..., None]) -> Callable[..., None]:
    """Gives a command what a replay of names may be limited by."""
    return _AGAIN(bounds(command))


def bounds(command: Callable[..., None]) -> Callable[..., None]:
    """Gives a command what a segment may be limited by."""
    for option in reversed(_LIMITS):
        command = option(command)
    return command


def asks(command: Callable[..., None]) -> Callable[..., None]:
    """Gives a command that has `store_option` the other arguments of a Question, which becomes its first argument; so
    do its own options for what is a setting."""

    def asked(loaded: Loaded, **given: Any) -> None:
        command(Question(given.pop("names"), given.pop("where"), given.pop("first"), loaded), **given)

    found: Callable[..., None] = functools.update_wrapper(asked, command)
    found = terms(found)
    for option in reversed(_NAMES):
        found = option(found)
    return found


def terms(command: Callable[..., None]) -> Callable[..., None]:
    """Gives a command that has `store_option` the options of a replay's terms. Its first argument becomes what all its
    options for settings come to, and settings for those that were not given."""

    @functools.wraps(command)
    def asked(**given: Any) -> None:
        from flor_ray import asked_terms, settings

        chosen = {key.name: given.pop(key.name) for key in settings.KEYS if key.name in given}
        loaded = settings.load(**chosen)
        with asked_terms.on_cluster(loaded):
            command(loaded, **given)

    found: Callable[..., None] = asked
    for option in reversed(_TERMS):
        found = option(found)
    return found
