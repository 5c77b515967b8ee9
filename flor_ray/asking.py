"""The public questions: what can be asked for, and SQL that acquires what it lacks."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, overload

from flor_ray import asked_terms, pipeline, settings
from flor_ray.acquisition import Acquisition, Answered, How
from flor_ray.errors import FlorWarning, UsageError
from flor_ray.planning import features
from flor_ray.planning.coverage import Covered
from flor_ray.planning.replay_plan import Prepared
from flor_ray.records import Fidelity, Outcome
from flor_ray.relational.database import RELATIONS
from flor_ray.reports import replays
from flor_ray.reports.plans import Explanation
from flor_ray.reports.questions import EXPLAINED
from flor_ray.settings import Loaded
from flor_ray.store.project import Project
from flor_ray.streaming import Landings

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    from flor_ray.cluster.driver import Progress

ASK, NEVER, ALWAYS = WAYS = ("ask", "never", "always")


@overload
def query(
    sql: str,
    acquire: str = ASK,
    budget: float | str | None = None,
    stream: Literal[False] = False,
    workers: int | None = None,
    path: str = ".",
    store_url: str | None = None,
    time_limit: float | str | None = None,
    memory_limit: int | str | None = None,
    env: str | None = None,
    deadline: float | str | None = None,
    first: str | Sequence[str] | None = None,
    executor: str | None = None,
    retries: int | None = None,
    wait: float | str | None = None,
    data: Mapping[str, str] | None = None,
) -> pd.DataFrame: ...


@overload
def query(
    sql: str,
    acquire: str = ASK,
    budget: float | str | None = None,
    *,
    stream: Literal[True],
    workers: int | None = None,
    path: str = ".",
    store_url: str | None = None,
    time_limit: float | str | None = None,
    memory_limit: int | str | None = None,
    env: str | None = None,
    deadline: float | str | None = None,
    first: str | Sequence[str] | None = None,
    executor: str | None = None,
    retries: int | None = None,
    wait: float | str | None = None,
    data: Mapping[str, str] | None = None,
) -> Iterator[pa.RecordBatch]: ...


def query(
    sql: str,
    acquire: str = ASK,
    budget: float | str | None = None,
    stream: bool = False,
    workers: int | None = None,
    path: str = ".",
    store_url: str | None = None,
    time_limit: float | str | None = None,
    memory_limit: int | str | None = None,
    env: str | None = None,
    deadline: float | str | None = None,
    first: str | Sequence[str] | None = None,
    executor: str | None = None,
    retries: int | None = None,
    wait: float | str | None = None,
    data: Mapping[str, str] | None = None,
) -> pd.DataFrame | Iterator[pa.RecordBatch]:
    """Answer one SELECT over what was logged, and replay just what its answer needs and nobody has acquired yet.

    Example::

        flor.query("SELECT version, epoch, grad_norm FROM outer_loop_pivot WHERE accuracy < 90", acquire="always")

    It reads the tables experiments, source_code, checkpoints, object_store and log_records, and the views
    data_prep_pivot, outer_loop_pivot, inner_loop_pivot and full_pivot, in which each feature is a column: also those
    that the newest code (a saved file is enough) logs and that have no value yet. A statement that names such columns
    needs their values in the rows that decide about its answer, and no others; `SELECT *` needs none. With EXPLAIN
    before it, it says what it needs, why, and what that would cost, and runs nothing.

    Args:
        sql: the statement, in DuckDB's SQL.
        acquire: "ask" shows the plan and asks, at a terminal; elsewhere it acquires nothing and says what is lacking.
            "never" does only that; "always" replays without asking.
        budget: seconds of all workers together, or a span such as "2h", for all that the question replays.
        stream: give the rows as Arrow record batches, each row once and as soon as no value that is still lacking can
            change it: as the replay comes to it, the most important first. Of a statement that groups, joins, cuts or
            sorts out duplicates all rows come in the end; the order of others is not that of ORDER BY.

    Other arguments are those of `replay`.

    Returns:
        The answer as a DataFrame. `attrs["incomplete"]` lists what it needs and has not got: name, version, epochs,
        outside (of the main loop), reason. `attrs` also has fidelity, diverged and doubtful, as `dataframe` has them.

    Raises:
        BadStatement: it is not one SELECT over these relations.

    Warns:
        FlorWarning: the answer is incomplete; or it may rest on replayed values that are not those of the original run.
    """
    if acquire not in WAYS:
        raise UsageError(f"acquire={acquire!r}: give 'ask', 'never' or 'always'.")
    asked = settings.load(
        path,
        store=store_url,
        workers=workers,
        time_limit=time_limit,
        memory_limit=memory_limit,
        retries=retries,
        wait=wait,
        environment=env,
        budget=budget,
        deadline=deadline,
        data=data,
    )
    with asked_terms.on_cluster(asked):
        question, landings = Acquisition(Project.of(asked, path), sql), Landings()
        how = how_of(asked, first, executor, _agreed(acquire), _runs(asked, executor, landings.tell))
        if question.statement.explains:
            return _explained(*question.explained(how))
        acquires = acquire == ALWAYS or (acquire == ASK and _at_terminal())
        if acquires and not stream:
            question.acquire(how)
        if not stream:
            return framed(question.answer())
    return _streamed(question, how if acquires else None, landings, asked)


def _streamed(question: Acquisition, how: How | None, landings: Landings, asked: Loaded) -> Iterator[pa.RecordBatch]:
    """The rows of an answer as they are settled; None: nothing is acquired."""
    if how is None:
        answer = question.answer()
        yield from answer.table.to_batches()
    else:
        with asked_terms.on_cluster(asked):
            answer = yield from landings.batches(question, how)
    for sentence in answer.sentences:
        warnings.warn(sentence, FlorWarning, stacklevel=3)


def relation(name: str, path: str = ".", store_url: str | None = None) -> LazyRelation:
    """A table or view of what was logged, such as "full_pivot", read when its rows are asked for: `df()` gives a pandas
    DataFrame, `arrow()` an Arrow table, `pl()` a polars DataFrame. Nothing is replayed for it.

    Raises:
        UsageError: there is no such relation.
    """
    if name not in RELATIONS:
        raise UsageError(f"There is no relation {name!r}. There are {', '.join(RELATIONS)}.")
    return LazyRelation(name, path, store_url)


class LazyRelation:
    """A table or view that nobody has read yet. `flor.relation` makes them."""

    def __init__(self, name: str, path: str, store_url: str | None) -> None:
        self.name, self._path, self._store_url = name, path, store_url

    def __repr__(self) -> str:
        return f"flor.relation({self.name!r})"

    def df(self) -> pd.DataFrame:
        """The rows as a DataFrame, with the attrs and warnings of `query`."""
        return framed(self._answer())

    def arrow(self) -> pa.Table:
        """The rows as an Arrow table. Warns as `query` does."""
        answer = self._answer()
        for sentence in answer.sentences:
            warnings.warn(sentence, FlorWarning, stacklevel=2)
        return answer.table

    def pl(self) -> Any:
        """The rows as a polars DataFrame; polars has to be installed. Warns as `query` does."""
        try:
            import polars
        except ImportError:
            raise UsageError("polars is not installed: pip install polars, or take df() or arrow().") from None
        return polars.from_arrow(self.arrow())

    def _answer(self) -> Answered:
        return Acquisition(Project.open(self._path, self._store_url), f"SELECT * FROM {self.name}").answer()


def how_of(
    asked: Loaded,
    first: str | Sequence[str] | None,
    executor: str | None,
    agreed: Callable[[Explanation], bool],
    run: Callable[[Prepared], Outcome],
) -> How:
    """How values are acquired, as settings have it."""
    return How(lambda: asked_terms.terms_of(asked, first, executor), agreed, run, asked_terms.environment_of(asked))


def framed(answer: Answered) -> pd.DataFrame:
    """An answer as a DataFrame; what its reader must know is warned of, and in its attrs."""
    from flor_ray.store.pivoting import arrow_frames

    frame = arrow_frames.frame_of(answer.table)
    frame.attrs["incomplete"] = [
        {"name": s.name, "version": s.version, "epochs": list(s.epochs), "outside": s.outside, "reason": s.reason}
        for s in answer.shortfalls
    ]
    judgements = answer.judgements
    frame.attrs["fidelity"] = {version: judgement.plain for version, judgement in sorted(judgements.items())}
    frame.attrs["diverged"] = sorted(v for v, one in judgements.items() if one.verdict is Fidelity.DIVERGED)
    frame.attrs["doubtful"] = {version: sorted(doubts) for version, doubts in sorted(answer.doubtful.items())}
    for sentence in answer.sentences:
        warnings.warn(sentence, FlorWarning, stacklevel=3)
    return frame


def _runs(asked: Loaded, executor: str | None, tell: Callable[[Progress], None]) -> Callable[[Prepared], Outcome]:
    """Replays, and warns of what a replay's user must know and its answer does not tell."""
    limits = asked_terms.limits_of(asked)

    def run(prepared: Prepared) -> Outcome:
        outcome = pipeline.run(prepared, executor, tell, limits)
        for sentence in replays.problems(prepared, outcome):
            warnings.warn(sentence, FlorWarning, stacklevel=5)
        return outcome

    return run


def _agreed(acquire: str) -> Callable[[Explanation], bool]:
    def agreed(explanation: Explanation) -> bool:
        if acquire == ALWAYS:
            return True
        sys.stdout.write(f"{explanation}\n")
        return input("Replay it? [y/N] ").strip().lower() in ("y", "yes")

    return agreed


def _at_terminal() -> bool:
    return sys.stdin is not None and sys.stdin.isatty() and sys.stdout.isatty()


def _explained(rows: list[list[str]], text: str) -> pd.DataFrame:
    import pandas as pd

    frame = pd.DataFrame(rows, columns=list(EXPLAINED))
    frame.attrs["plan"] = text
    return frame


def columns(path: str = ".", store_url: str | None = None) -> pd.DataFrame:
    """Every feature that can be asked for: those with values, and virtual columns, which the newest code (a saved file
    is enough) or any version's logs, and of which nobody has acquired a value yet.

    Returns:
        One row per feature: name, type (of its values; "" while there are none), level ("d" outside of the main loop,
        "o" in it, "i" in the nested loop, several of them, or "" where only a run can tell), kind (recorded, or
        hindsight where no version logged it when it was recorded), versions (that have values), coverage (the share of
        places that are answered: a version's epochs, or the version itself for what is logged outside of its loop),
        logged_at ("train.py:12") and source (the working tree, or the newest version whose code logs it).
    """
    import pandas as pd

    found = features.features(Project.open(path, store_url))
    rows = [(*row(one)[:5], one.coverage, ", ".join(one.logged_at), one.source) for one in found]
    return pd.DataFrame(rows, columns=["name", "type", "level", "kind", "versions", "coverage", "logged_at", "source"])


def row(one: Covered) -> tuple[str, str, str, str, int]:
    """What a listing says first of a feature: name, type, level, kind, versions."""
    kind = "hindsight" if one.is_hindsight else "recorded"
    return one.name, ", ".join(one.types), ", ".join(one.levels), kind, one.versions
