"""SQL that acquires what it lacks (paper, section 4.3.1): a question, its rounds, its answer.

    statement ─> lacking ─> tables, views ─> needed places ─> looked at ─> plan ─> agreed? ─> replay ─┐
     (relational)   ^       (database)        (needs)      (propagation)  (pipeline)                 │
                    └────────────────────────────────────────────────────────────────────────────────┘

What a statement needs is asked again after each round, until nothing is (`planning.rounds` says why that ends). The
user's own text answers, in the end: what is generated only finds out what is needed.
"""

from __future__ import annotations

import difflib
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from flor_ray import lookup, pipeline
from flor_ray.errors import BadStatement
from flor_ray.patching import statements
from flor_ray.patching.patching import Fate
from flor_ray.planning import catalogues, features, rounds
from flor_ray.planning.missing import Catalogue
from flor_ray.planning.replay_plan import Prepared
from flor_ray.planning.rounds import Places, Whereabouts
from flor_ray.planning.terms import Terms
from flor_ray.records import Level, Outcome, Status
from flor_ray.relational import database, needs, streams, views
from flor_ray.relational import statements as texts
from flor_ray.relational.database import Database
from flor_ray.relational.schema import Requirement
from flor_ray.relational.statements import SqlStatement
from flor_ray.reports import questions
from flor_ray.reports.plans import Explanation
from flor_ray.reports.questions import Shortfall
from flor_ray.scheduler.budget import NothingFits
from flor_ray.store import fragments
from flor_ray.store.project import Project

if TYPE_CHECKING:
    import pyarrow as pa

    from flor_ray.replaying.results import Judgement

_NOT_ASKED_FOR = "it was not to be acquired"
_NO_ROOM = "the budget or the deadline left no room for it; the same question goes on with the rest"
_UNANSWERED = "its replay has not come to it"
_COSTS = {Level.DATA_PREP: 1.0, Level.OUTER: 2.0, Level.INNER: 4.0}  # of a value, beside others: what runs for it
_NO_COLUMN = re.compile(r'(?:^Referenced column |column named |^Column )"([^"]+)"')
_SUFFIXES = re.compile(r"(_[doi])?(_logged)*")
_LEAST_SECONDS = 1e-3  # that a budget may have left: nothing fits into it
_PERHAPS_MORE = "What these values turn out to be may decide about more; the question then asks again."
_UNFINISHED = "the run ended within this epoch, and a replay answers whole epochs"
_UNKNOWN = "no file logs it any more, so there is no statement to replay"


@dataclass(frozen=True, slots=True)
class How:
    """How the values that an answer lacks are acquired."""

    terms: Callable[[], Terms]  # on which; asked for when something is lacking
    agreed: Callable[[Explanation], bool]  # whether a plan is carried out
    run: Callable[[Prepared], Outcome]
    env: str
    tell: statements.Tell = lambda what, done, total: None


@dataclass(frozen=True, slots=True)
class Answered:
    """The rows of a statement, and what their reader must know of them."""

    table: pa.Table
    shortfalls: tuple[Shortfall, ...]  # what the answer needs and has not got
    judgements: Mapping[str, Judgement]  # by version, of the replays whose values it may have read
    doubtful: Mapping[str, Mapping[str, str]]
    notes: tuple[str, ...] = ()  # on columns whose values fit no type

    @property
    def parquet(self) -> bytes:
        """The rows as a Parquet file."""
        return fragments.to_bytes(self.table)

    @property
    def sentences(self) -> list[str]:
        """Why the answer may not be that of the original runs, or not what one takes it for."""
        doubts = lookup.sentences(self.judgements, self.doubtful)
        return [*questions.incomplete(self.shortfalls), *doubts, *self.notes]


@dataclass(frozen=True, slots=True)
class Needed:
    """What a statement needs next."""

    places: Places
    whys: Mapping[str, tuple[str, ...]]  # by name: why, in words
    fallback: str = ""  # why all that is lacking of the columns is needed; "": it is not


class Acquisition:
    """One statement to a project's recorded versions, on its way to an answer.

    Raises:
        BadStatement: it is not one that is answered.
        NothingRecorded: there are no versions.
    """

    def __init__(self, project: Project, text: str, tell: statements.Tell = lambda what, done, total: None) -> None:
        self.statement = texts.parse(text, database.RELATIONS)
        self._project, self._tell = project, tell
        self.experiments = {e.version: e for e in project.experiments()}
        self._given_up: dict[tuple[str, str, int | None], str] = {}
        self._rounds = 0
        self._bound = False  # whether the columns that it names have been looked for
        self._find_columns()

    def _find_columns(self, in_versions: bool = False) -> None:
        """Find out which features the statement names, in the store and in the sources."""

        def named(name: str) -> bool:
            return any(_is_column_of(column, name.lower()) for column in self.statement.columns)

        shown = (lambda name: True) if self.statement.star else named
        found = features.asked(self._project, tuple(self.experiments.values()), shown, in_versions)
        self._levels, self._repeating = found.levels, found.repeating
        self._found_at = found.found_at
        self._names = tuple(sorted(filter(named, found.levels)))  # SELECT * acquires nothing
        self._whereabouts = Whereabouts(own=found.recorded)
        self._begun = features.begun_epochs(self._project, tuple(self.experiments.values())) if self._names else {}
        for version, last in self._begun.items():
            if self.experiments[version].status is not Status.RUNNING:
                epochs = range(self.experiments[version].epochs + 1, last + 1)
                self._given_up |= {(name, version, e): _UNFINISHED for name in self._names for e in epochs}
        self._refresh()

    def _refresh(self) -> None:
        """Ask the store what is answered."""
        have = catalogues.have(self._project, self._names, again=False) if self._names else {}
        begun = {v: replace(self.experiments[v], epochs=last) for v, last in self._begun.items()}
        self._catalogue = Catalogue({**self.experiments, **begun}, have, {})

    @property
    def lacking(self) -> Places:
        """All that nobody has answered of the columns that the statement names."""
        return rounds.lacking(self._names, self._catalogue, self._whereabouts)

    @property
    def open(self) -> Places:
        """What of it has not been given up."""
        return rounds.minus(self.lacking, self._given_up)

    # --- what it needs ------------------------------------------------------------------------------------------------

    def needed(self) -> Needed:
        """What must be acquired next, of versions that have been looked at. Runs nothing."""
        while True:
            places = self.open
            with self._database(places) as known:
                if self._finds_more(known):
                    continue
                found = self._needed(known, places)
            if not self._look(found.places):
                return found

    def _database(self, places: Places) -> Database:
        every = tuple(self.experiments.values())
        return database.opened(self._project, self.statement, every, self._levels, places, self._repeating)

    def _inner(self, known: Database) -> SqlStatement:
        """The statement with the names that columns have in the database."""
        return texts.parse(known.inner(self.statement.text), database.RELATIONS)

    def _finds_more(self, known: Database) -> bool:
        """Whether the statement names a column that only the code of older versions logs; they are read if it names
        one that is not there."""
        if self._bound:
            return False
        self._bound, before = True, self._levels
        try:
            known.rows(f"SELECT 1 FROM ({self.statement.text}\n) LIMIT 0")
        except BadStatement as error:
            missing = _NO_COLUMN.search(error.seen)
            if missing is None:  # told when it is run
                return False
            self._find_columns(in_versions=True)
            if self._levels == before:
                raise self._hinted(error, missing[1]) from error
        return self._levels != before

    def _hinted(self, error: BadStatement, column: str) -> BadStatement:
        """The error of a column that is not there, with the features of names like that."""
        every = tuple(self.experiments.values())
        known = sorted(features.asked(self._project, every, lambda name: True).levels)
        close = difflib.get_close_matches(column, known, n=3)
        meant = f"Did you mean {', '.join(close)}? " if close else ""
        return BadStatement(
            error.seen, f"{meant}`flor-ray columns` lists the features, and at which level each is logged."
        )

    def _needed(self, known: Database, places: Places) -> Needed:
        """The places of the first stage that needs some."""
        costs = {
            c: max((_COSTS[level] for level in self._levels.get(f, ())), default=1.0) for c, f in known.features.items()
        }
        found = needs.lacking(self._inner(known), known.relations.values(), costs, self._rounds)
        wanted: list[Places] = []
        whys: dict[str, dict[str, None]] = {}
        stage = None
        for one in sorted(found.needed, key=lambda one: one.stage):
            if stage not in (None, one.stage):
                break
            of = self._places(known, one, places)
            if of:
                wanted.append(of)
                stage = one.stage
                for name in of:
                    whys.setdefault(name, {})[one.why] = None
        return Needed(rounds.merged(wanted), {name: tuple(of) for name, of in whys.items()}, found.fallback)

    def _places(self, known: Database, one: Requirement, places: Places) -> Places:
        """The places that a requirement's rows show."""
        address = known.relations[one.relation].address
        rows = [dict(zip(address, row, strict=True)) for row in known.rows(one.sql)]
        name = known.features.get(one.column, one.column)
        of = rounds.wanted(places, name, [(row["version"], row.get("epoch")) for row in rows])
        return {name: of} if of else {}

    def _look(self, wanted: Places) -> bool:
        """Look where the statements of wanted names stand in versions of which that is not known; whether there were
        any."""
        unseen = {name: [v for v in of if (v, name) not in self._whereabouts] for name, of in wanted.items()}
        names = sorted(name for name, versions in unseen.items() if versions)
        if not names:
            return False
        versions = {v for of in unseen.values() for v in of}
        found = statements.propagated(self._project, names, tell=self._tell, versions=versions)
        by_version = found.experiments
        patched = catalogues.with_entries(catalogues.with_observed(self._project, found.patched), by_version)
        own, regions, refused = set(), {}, {}
        for version in versions:
            patch = patched[version]
            for name in names:
                if any(f.name == name and f.fate is Fate.PRESENT for f in patch.findings) and name not in patch.refused:
                    own.add((version, name))
                elif name in patch.regions:
                    regions[version, name] = patch.regions[name]
                else:
                    refused[version, name] = patch.refused.get(name, _UNKNOWN)
        self._whereabouts = self._whereabouts.with_more(Whereabouts(regions, frozenset(own), refused))
        for name, of in self.lacking.items():
            for version, epochs in of.items():
                if why := refused.get((version, name)):
                    self._given_up |= {(name, version, epoch): why for epoch in epochs}
        return True

    # --- acquiring it -------------------------------------------------------------------------------------------------

    def planned(self, needed: Needed, terms: Terms, env: str) -> Prepared:
        """The plan that gets what is needed. Raises NothingFits if the terms leave no room for any of it."""
        return pipeline.prepare_places(self._project, rounds.requests(needed.places), terms, self._tell, env)

    def acquire(self, how: How) -> None:
        """Replay what the statement needs, round by round, until it needs nothing or the user has enough of it."""
        left: Terms | None = None
        while (needed := self.needed()).places:
            left = left or how.terms()
            try:
                prepared = self.planned(needed, left, how.env)
            except NothingFits as error:
                self._give_up(needed.places, str(error))
                continue
            outcome = Outcome()
            if not prepared.is_empty:
                if not how.agreed(pipeline.explained(prepared)):
                    return
                began = time.monotonic()
                outcome = how.run(prepared)
                left = _less(left, outcome, time.monotonic() - began)
            self._rounds += 1
            self._settle(needed.places, prepared, outcome)

    def _settle(self, wanted: Places, prepared: Prepared, outcome: Outcome) -> None:
        """After a round: what was wanted is answered, or given up with a reason."""
        self._refresh()
        refused = {(version, name): reason for version, name, reason in prepared.refusals}
        skipped = {one.version: one.reason for one in prepared.skipped}
        otherwise = _NO_ROOM if prepared.terms.limited else _UNANSWERED
        still = rounds.each(self.lacking)
        for place in rounds.each(wanted) & still:
            self._given_up[place] = rounds.why_not(*place, refused, skipped, outcome.failures) or otherwise

    def _give_up(self, places: Places, why: str) -> None:
        self._given_up |= dict.fromkeys(rounds.each(places), why)

    # --- the answer ---------------------------------------------------------------------------------------------------

    def answer(self) -> Answered:
        """The statement's rows, as far as is known."""
        while True:
            places = self.lacking
            with self._database(places) as known:
                if self._finds_more(known):
                    continue
                short = self._needed(known, places).places if places else {}
                if self._look(short):  # what seems to be lacking may have no place there
                    continue
                table, notes = known.arrow(self.statement.text), known.notes
                break
        reports = self._project.store.logged(self._project.name, None if self._reads_all else self._names).reports
        judged = lookup.judged_by_version(reports, () if self._reads_all else self._names) if reports else ({}, {})
        depths = [views.DEPTHS[name] for name in self.statement.relations if name in views.DEPTHS]
        deeper = questions.deeper(self._found_at, max(depths, default=None))
        return Answered(table, questions.shortfalls(short, self._given_up, _NOT_ASKED_FOR), *judged, (*notes, *deeper))

    def settled(self) -> pa.Table | None:
        """The rows of the answer that nothing still lacking can change, by what the store has now; None if its rows do
        not stand for themselves. May be asked for while another thread acquires."""
        have = catalogues.have(self._project, self._names, again=False) if self._names else {}
        places = rounds.lacking(self._names, replace(self._catalogue, have=have), self._whereabouts)
        with self._database(places) as known:
            text = streams.settled(self._inner(known), known.relations)
            if text is None:
                return None
            names = known.arrow(f"SELECT * FROM ({self.statement.text}\n) LIMIT 0").column_names
            return known.arrow(text).rename_columns(names)

    @property
    def _reads_all(self) -> bool:
        """Whether it may show values of features that it does not name."""
        return self.statement.star or "log_records" in self.statement.relations

    def explained(self, how: How) -> tuple[list[list[str]], str]:
        """What the statement needs first, and what not: rows with the columns of `questions.EXPLAINED`, and what that
        takes, in words. Runs nothing."""
        needed = self.needed()
        rows = questions.kept(needed.places, self.lacking, needed.whys, self._given_up)
        lines = [f"All that is lacking of the named columns is needed, because {needed.fallback}."] * bool(
            needed.fallback
        )
        if needed.places:
            try:
                lines.append(str(pipeline.explained(self.planned(needed, how.terms(), how.env))))
            except NothingFits as error:
                lines.append(str(error))
            lines.append(_PERHAPS_MORE)
        else:
            lines.append("The statement needs nothing that could be replayed.")
        return questions.explained(rows, self.experiments), "\n".join(lines)


def _is_column_of(column: str, name: str) -> bool:
    """Whether a column, as a statement names it, has the values of a feature: of one level perhaps, as loss_o has."""
    return column.startswith(name) and _SUFFIXES.fullmatch(column, len(name)) is not None


def _less(terms: Terms, outcome: Outcome, seconds: float) -> Terms:
    """What is left of a budget and a deadline after a round, which may be next to nothing."""
    spent = sum(stint.ended - stint.began for stint in outcome.stints)
    budget, deadline = terms.gpu_seconds, terms.deadline_seconds
    return replace(
        terms,
        gpu_seconds=None if budget is None else max(_LEAST_SECONDS, budget - spent),
        deadline_seconds=None if deadline is None else max(_LEAST_SECONDS, deadline - seconds),
    )
