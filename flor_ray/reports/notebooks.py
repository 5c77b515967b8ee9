"""What a notebook shows of our results: tables with marks, and a cell that is kept up to date. The door to IPython.

Nothing here imports IPython unless it is running already: elsewhere results are what they always were.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from flor_ray.reports import html, marked_tables
from flor_ray.reports.progress import standing

if TYPE_CHECKING:
    import pandas as pd

    from flor_ray.cluster.driver import Progress

_SECONDS = 0.5  # between two changes of a cell: each is a message to the browser, and stays in the saved notebook


def shell() -> Any:
    """The IPython that this process runs for a notebook; None anywhere else, a terminal's IPython included."""
    if "IPython" not in sys.modules:
        return None
    from IPython import get_ipython

    found = get_ipython()
    return found if found is not None and hasattr(found, "kernel") else None


def with_marks(frame: pd.DataFrame) -> pd.DataFrame:
    """A DataFrame as it is. In a notebook, DataFrames of ours are shown with their marks from now on; all others are
    shown as before, and so are ours where somebody has said how DataFrames are shown."""
    found = shell()
    if found is not None:
        show_marks(found.display_formatter.formatters["text/html"])
    return frame


def show_marks(formatter: Any) -> None:
    """Let an IPython formatter of HTML show our DataFrames with their marks."""
    import pandas as pd

    with contextlib.suppress(KeyError):
        formatter.lookup_by_type(pd.DataFrame)
        return
    formatter.for_type(pd.DataFrame, _as_html)


def _as_html(frame: Any) -> str | None:
    marked: str | None = marked_tables.of(frame)
    if marked is None:
        marked = frame._repr_html_()
    return marked


@contextlib.contextmanager
def live_progress(is_run: bool = True) -> Iterator[Callable[[Progress], None]]:
    """A function to be told how a replay stands: a notebook shows that in one cell, whose last words say how it ended.
    Elsewhere, and where nothing is run, it does nothing."""
    if not is_run or shell() is None:
        yield lambda progress: None
        return
    from IPython.display import HTML, display

    cell = display(HTML(_bar(0, 0, "starting")), display_id=True)  # type: ignore[no-untyped-call]
    last: list[Progress] = []
    shown_at = -_SECONDS

    def tell(progress: Progress) -> None:
        nonlocal shown_at
        last[:] = [progress]
        if time.monotonic() - shown_at >= _SECONDS:
            shown_at = time.monotonic()
            cell.update(HTML(_bar(progress.answered, progress.wanted, standing(progress))))  # type: ignore[no-untyped-call]

    words = "done"
    try:
        yield tell
    except KeyboardInterrupt:
        words = "interrupted; what was finished is kept, and the same call goes on with the rest"
        raise
    except BaseException as error:
        words = f"ended by {type(error).__name__}"
        raise
    finally:
        answered, wanted = (last[0].answered, last[0].wanted) if last else (0, 0)
        cell.update(HTML(_bar(answered, wanted, words)))  # type: ignore[no-untyped-call]


def _bar(answered: int, wanted: int, words: str) -> str:
    share = f'<progress max="{max(wanted, 1)}" value="{answered if wanted else 0}"></progress>'
    rows = f"{answered} of {wanted} rows, " if wanted else ""
    return f'<div role="status">{share} {html.text(f"Replaying: {rows}{words}")}</div>'
