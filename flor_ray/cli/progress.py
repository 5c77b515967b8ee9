"""Progress of work that counts things, on stderr: a bar in a terminal, a line now and then where there is none."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator

from flor_ray.cli.saying import say

_PLAIN_SECONDS = 5.0  # between two plain lines: logs of batch jobs stay short


@contextlib.contextmanager
def counting() -> Iterator[Callable[[str, int, int], None]]:
    """Gives a function to be told (what is being done, how much of it, of how much). The bar goes when it is over."""
    if not sys.stderr.isatty():
        yield _plain()
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        tasks = {}

        def tell(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bar.add_task(what, total=total)
            bar.update(tasks[what], completed=done, total=total)

        yield tell


def _plain() -> Callable[[str, int, int], None]:
    last = time.monotonic()

    def tell(what: str, done: int, total: int) -> None:
        nonlocal last
        if time.monotonic() - last >= _PLAIN_SECONDS:
            last = time.monotonic()
            say(f"{what}: {done} of {total}", err=True)

    return tell
