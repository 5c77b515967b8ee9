"""The other replays of the same project, for a driver: what they run it does not run, and slots are shared with them.

    before a segment begins    claim it, with what begins soon; what others are at, or have done, is left to them
    now and then               look: what others hold, what they have left, how many slots are this replay's share

What they do is found in the store (`flor_ray.store.claims`). Where that cannot be asked, the replay goes on by itself,
and says so: then something may be run twice, which changes no value.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace

from flor_ray.errors import StoreError
from flor_ray.records import Claim, Operator, Segment, SegmentReport
from flor_ray.redaction import shown
from flor_ray.scheduler import fair_shares, sharing
from flor_ray.scheduler.dispatch import Dispatcher
from flor_ray.scheduler.fair_shares import Tenant
from flor_ray.scheduler.jobs import SegmentState
from flor_ray.scheduler.sharing import SegmentPart, Sifted, Statements, Whose
from flor_ray.store.claims import Other, ReplayClaims, Staff
from flor_ray.store.segment_reports import KeptReport
from flor_ray.store.store import Store

_LOOK_SECONDS = 2.0  # between two looks while nobody else is there
_LOOK_AT_OTHERS_SECONDS = 0.5  # they may wait for what has ended here
# What begins soon is claimed with one request. Who holds what it does not run keeps others from it, and estimates may
# be wrong: where others are, that is one segment for each worker.
_AHEAD_SECONDS, _AHEAD = 5.0, 16
_AHEAD_OF_OTHERS_SECONDS = 1.0
_REPEATS_WEIGHT = 1e-6  # in what has to be divided: one worker, and what nobody else wants
_AWAY_SECONDS = 30.0  # until a store that could not be asked is asked again

_Open = tuple[Segment, Sequence[int]]  # a segment, and the epochs that a piece of it can begin with


class Company:
    """What a driver knows of the other replays, and tells them. `fresh` are replays that were at work since the plan
    was made: what they have answered since is not run again."""

    def __init__(
        self, store: Store, project: str, claims: ReplayClaims, statements: Statements, fresh: Iterable[str] = ()
    ) -> None:
        self.reports: list[SegmentReport] = []  # of others, which answer segments of this replay
        self.notes: list[str] = []  # for the user
        self.at_work: dict[str, int] = {}  # who replays how many segments that are wanted here, too
        self.share: int | None = None  # of the cluster's slots; None: nobody else is there
        self._store, self._project, self._claims, self._statements = store, project, claims, statements
        self._held: set[Segment] = set()
        self._fresh = frozenset(fresh)
        self._alike: set[tuple[str, str, str]] = set()  # replay, version, name: logged by the same statements
        self._differ: set[str] = set()  # replays that log some name by others
        self._others: tuple[Other, ...] = ()  # of this project, whose work may be shared
        self._neighbours: tuple[Other, ...] = ()  # all that there are
        self._reported: list[KeptReport] = []
        self._known: dict[str, KeptReport] = {}
        self._used: set[tuple[str, str, str]] = set()  # replay, version and segment of `reports`
        self._said: set[str] = set()
        self._looked = self._away = -_AWAY_SECONDS

    # -- before a segment begins -------------------------------------------------------------------------------------

    def take(self, dispatcher: Dispatcher, segment: Segment, points: Sequence[int]) -> list[Sifted]:
        """Claim a segment that is about to begin, and what follows soon; [] if it may. Else what others do of it, and
        of what follows."""
        if segment in self._held or any(_is_within(segment, held) for held in self._held) or self._is_away():
            return []
        soon = [each for each in self._soon(dispatcher) if each[0] not in self._held]
        try:
            return self._claimed([(segment, points), *soon])
        except StoreError as error:
            self._went_away(error)
            self._held.add(segment)  # others will see it when it can be told
            return []

    def _claimed(self, wanted: Sequence[_Open]) -> list[Sifted]:
        others = self._claims.announce(sharing.claim([one for one, _ in wanted], self._statements))
        self._meet(others)
        sifted = self._sifted(wanted, others, self._answered({one.version for one, _ in wanted}))
        ours = {one.segment for one in sifted if _is_all(one, Whose.OURS)}
        self._held |= ours
        self._hold()
        if others:
            self._claims.flush()
        return [one for one in sifted if one.segment not in ours] if sifted[0].segment not in ours else []

    # -- now and then ------------------------------------------------------------------------------------------------

    @property
    def is_due(self) -> bool:
        """Whether it is time for another look."""
        patience = _LOOK_AT_OTHERS_SECONDS if self._neighbours else _LOOK_SECONDS
        return time.monotonic() - self._looked >= patience and not self._is_away()

    def look(self, dispatcher: Dispatcher, staff: Staff) -> tuple[Sifted, ...]:
        """What has changed of the segments that no worker is at."""
        self._looked = time.monotonic()
        try:
            return self._look(dispatcher, staff)
        except StoreError as error:
            self._went_away(error)
            return ()

    def _look(self, dispatcher: Dispatcher, staff: Staff) -> tuple[Sifted, ...]:
        soon = {one for one, _ in self._soon(dispatcher)}
        self._held = {*dispatcher.running.values(), *(one for one in self._held if one in soon)}
        self._hold(staff)
        self._claims.flush()
        self._meet(self._claims.others())
        self._divide(staff)
        waiting = dispatcher.open_segments(SegmentState.WAITING)
        awaited = dispatcher.open_segments(SegmentState.ELSEWHERE)
        waiting = [each for each in waiting if each[0] not in self._held]
        open_ = [one for one, _ in [*waiting, *awaited]]
        found = self._changed(waiting, awaited) if self._others or awaited or self._fresh else ()
        self._fresh = frozenset()
        self._tell_of_other_statements([*open_, *dispatcher.running.values()])
        self._count(open_)
        return found

    def _changed(self, waiting: Sequence[_Open], awaited: Sequence[_Open]) -> tuple[Sifted, ...]:
        left = {one.segment for one in self._sifted(awaited, self._others, ()) if not _is_all(one, Whose.THEIRS)}
        versions = {one.version for one in left}
        if self._fresh:
            versions |= {one.version for one, _ in waiting}
        answered = self._answered(versions)
        of_waiting = [one for one in self._sifted(waiting, self._others, answered) if not _is_all(one, Whose.OURS)]
        of_left = self._sifted([each for each in awaited if each[0] in left], self._others, answered)
        return (*of_waiting, *of_left)

    def ended(self) -> None:
        """All is done: nothing is held any more, which others hear before the workers have ended."""
        self._held.clear()
        self._hold()
        try:
            self._claims.flush()
        except StoreError as error:
            self._went_away(error)

    # -- what others do ----------------------------------------------------------------------------------------------

    def _meet(self, others: tuple[Other, ...]) -> None:
        """Note who is there, and whose work is the same."""
        self._neighbours = others
        again, project = self._claims.said.again, self._project
        self._others = tuple(one for one in others if one.project == project and (one.said.again or not again))
        for other in self._others:
            for one in other.theirs:
                own = self._statements.get(one.version, {})
                for name, digest in one.statements:
                    if own.get(name, digest) != digest:
                        self._differ.add(other.id)
                    elif name in own:
                        self._alike.add((other.id, one.version, name))

    def _sifted(self, segments: Sequence[_Open], others: Iterable[Other], answered: Iterable[Claim]) -> list[Sifted]:
        theirs, done = _by_version(one for other in others for one in other.theirs), _by_version(answered)
        found = []
        for segment, points in segments:
            at, ended = theirs.get(segment.version, ()), done.get(segment.version, ())
            parts = sharing.sift(segment, points, self._statements, at, ended)
            self._use(segment, parts)
            found.append(Sifted(segment, parts))
        return found

    def _answered(self, versions: set[str]) -> list[Claim]:
        """What others have done of these versions, as far as it is the same work."""
        origins = {id for id, _, _ in self._alike} | self._fresh
        if not origins or not versions:
            return []
        self._reported = self._store.replayed(self._project, versions, origins, self._known)
        return [self._done(kept) for kept in self._reported]

    def _done(self, kept: KeptReport) -> Claim:
        segment = kept.report.segment
        own = self._statements.get(segment.version, {})
        # Of whom no other statement was seen, what was done between two looks is the same work, too.
        alike = kept.origin in self._fresh or kept.origin not in self._differ
        names = [name for name in segment.names if alike or (kept.origin, segment.version, name) in self._alike]
        statements = tuple((name, own.get(name, "")) for name in sorted(names))
        return Claim(segment.version, segment.operator, statements, ((segment.first, segment.last),))

    def _use(self, segment: Segment, parts: Sequence[SegmentPart]) -> None:
        """Keep the reports that answer parts of a segment."""
        first = segment.first
        for part in parts:
            for kept in self._reported if part.whose is Whose.ANSWERED else ():
                of, key = kept.report.segment, (kept.origin, kept.report.segment.version, kept.segment_id)
                meets = of.operator is Operator.DP_STAR or (of.first <= part.last and first <= of.last)
                if of.version == segment.version and meets and key not in self._used:
                    self._used.add(key)
                    self.reports.append(kept.report)
            first = part.last + 1

    def _count(self, open_: Sequence[Segment]) -> None:
        found: Counter[str] = Counter()
        for other in self._others:
            sifted = self._sifted([(one, ()) for one in open_], [other], ())
            found[shown(f"{other.said.who} ({other.id})")] += sum(_is_all(one, Whose.THEIRS) for one in sifted)
        self.at_work = {who: number for who, number in sorted(found.items()) if number}

    def _tell_of_other_statements(self, segments: Sequence[Segment]) -> None:
        for other in self._others:
            names = sharing.differing(segments, self._statements, other.theirs)
            if names:
                self._tell(
                    f"{shown(other.said.who)} is replaying {', '.join(sorted(names))} with other statements "
                    f"({other.id}). Both are run; where both log a value, that of the replay that began later is shown."
                )

    # -- what is told to others --------------------------------------------------------------------------------------

    def _hold(self, staff: Staff | None = None) -> None:
        held = sharing.claim(self._held, self._statements)
        now = self._claims.said.staff if staff is None else staff
        self._claims.said = replace(self._claims.said, held=held, wanted=(), staff=now)

    def _divide(self, staff: Staff) -> None:
        """Slots of others are counted in workers like ours: a cluster may have room for more of another shape."""
        said = {one.id: one.said for one in self._neighbours}
        there = {id: one for id, one in said.items() if one.staff.cluster == staff.cluster and one.staff.slots > 0}
        if not there or not staff.cluster or staff.slots <= 0:
            self.share = None
            return
        tenants, asked = [], set()
        there[self._claims.id] = replace(self._claims.said, staff=staff)
        for id, one in sorted(there.items()):
            like_ours = staff.slots / one.staff.slots
            wants, holds = round(one.staff.wants * like_ours), round(one.staff.workers * like_ours)
            # Who asks what another one is replaying gains nothing by its workers, which would have to start anew.
            repeats = one.question in asked and id not in self._differ
            tenants.append(Tenant(id, wants, holds, _REPEATS_WEIGHT if repeats else 1.0))
            if one.question and id not in self._differ:
                asked.add(one.question)
        self.share = fair_shares.divided(staff.slots, tenants)[self._claims.id]

    # -- the store ---------------------------------------------------------------------------------------------------

    def _soon(self, dispatcher: Dispatcher) -> list[_Open]:
        if not self._others:
            return dispatcher.upcoming(_AHEAD_SECONDS, _AHEAD)
        return dispatcher.upcoming(_AHEAD_OF_OTHERS_SECONDS, 1)[: max(1, len(dispatcher.running))]

    def _is_away(self) -> bool:
        return time.monotonic() - self._away < _AWAY_SECONDS

    def _went_away(self, error: StoreError) -> None:
        self._away = time.monotonic()
        self._tell(f"What other replays do could not be asked for a while, and may have been run twice: {error}")

    def _tell(self, note: str) -> None:
        if note not in self._said:
            self._said.add(note)
            self.notes.append(note)


def _is_all(sifted: Sifted, whose: Whose) -> bool:
    return [part.whose for part in sifted.parts] == [whose]


def _is_within(segment: Segment, held: Segment) -> bool:
    if held.version != segment.version or not (held.first <= segment.first and segment.last <= held.last):
        return False
    return replace(held, first=segment.first, last=segment.last, restore=segment.restore) == segment


def _by_version(claims: Iterable[Claim]) -> dict[str, list[Claim]]:
    found: dict[str, list[Claim]] = {}
    for one in claims:
        found.setdefault(one.version, []).append(one)
    return found
