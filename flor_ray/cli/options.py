"""Options that several commands have."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from flor_ray.planning.replay_plan import Prepared

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
    "--store", metavar="URL", envvar="FLOR_RAY_STORE", help="Where the store is; default: .flor in the repository."
)
_QUESTION = (
    click.argument("names", nargs=-1, required=True, metavar="NAME..."),
    where_option,
    workers_option,
    click.option(
        "--env",
        type=click.Choice(["current", "recorded"]),
        default="current",
        show_default=True,
        help="Replay with the packages that are installed, or with those that a version was recorded with.",
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
    click.option(
        "--price", type=click.FloatRange(0), metavar="X", envvar="FLOR_RAY_PRICE", help="Cost of one worker-hour."
    ),
)


@dataclass(frozen=True, slots=True)
class Question:
    """What `explain` and `replay` are asked, as it was written."""

    names: tuple[str, ...]
    where: str | None
    workers: int | None
    env: str
    budget: str | None
    deadline: str | None
    first: str | None
    price: float | None
    store: str | None

    def prepared(self, again: bool = False, executor: str | None = None) -> Prepared:
        """The plan, with a progress bar while it is made. Raises FlorError for what cannot be asked so."""
        from flor_ray import pipeline
        from flor_ray.cli import progress
        from flor_ray.store.project import Project

        terms = pipeline.parse_terms(self.workers, self.budget, self.deadline, self.first, self.price, executor)
        project = Project.open(store_url=self.store)
        with progress.counting() as tell:
            return pipeline.prepare(project, self.names, self.where, terms, again, tell, self.env)


_FIELDS = tuple(field.name for field in fields(Question))


def asks(command: Callable[..., None]) -> Callable[..., None]:
    """Gives a command that has `store_option` the other arguments of a Question, which becomes its first argument."""

    @functools.wraps(command)
    def asked(**given: Any) -> None:
        question = Question(**{name: given.pop(name) for name in _FIELDS})
        command(question, **given)

    found: Callable[..., None] = asked
    for option in reversed(_QUESTION):
        found = option(found)
    return found
