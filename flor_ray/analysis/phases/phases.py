"""When the statements that log a name run: the region that surely covers them, why it is no smaller, and where in an
epoch they end. From a walk through the version's files (`running`), and from what the recorded run showed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

from flor_ray.analysis.phases.outline import Block, Do, Log, steps
from flor_ray.analysis.phases.running import Running
from flor_ray.records import Level, Region, Stop

_WHEN = {
    Region.PREFIX: "before the main loop",
    Region.HEAD: "at an epoch's beginning",
    Region.INNER: "in the nested loop",
    Region.TAIL: "at an epoch's end",
    Region.SUFFIX: "after the main loop",
}


@dataclass(frozen=True, slots=True)
class Clue:
    """What is known of when one log statement runs. `regions` is empty where nothing is."""

    regions: frozenset[Region]
    witnesses: frozenset[str] = frozenset()  # names that are logged whenever its function is called
    at_outer: Region = Region.TAIL  # where it runs if these were logged in epochs, but outside of nested loops


@dataclass(frozen=True, slots=True)
class Logged:
    """When a name is logged, from its statements."""

    region: Region
    why: str = ""  # of a region that is larger than its statements' places: a part of a sentence
    clues: tuple[Clue, ...] = ()
    stop: Stop | None = None


def covering(regions: Iterable[Region]) -> Region:
    """The smallest region whose replay runs all of these."""
    found = frozenset(regions)
    if len(found) == 1:
        return next(iter(found))
    if found and found <= {Region.HEAD, Region.TAIL}:
        return Region.TAIL
    if found and found <= {Region.HEAD, Region.INNER, Region.TAIL}:
        return Region.INNER
    if found and found <= {Region.PREFIX, Region.SUFFIX}:
        return Region.SUFFIX
    return Region.WHOLE


def settled(clues: Sequence[Clue], observed: Mapping[str, frozenset[Level]]) -> Region:
    """The region of a name, given at which levels a recorded run logged other names."""
    return covering(region for clue in clues for region in _settled(clue, observed))


def _settled(clue: Clue, observed: Mapping[str, frozenset[Level]]) -> frozenset[Region]:
    if clue.regions and Region.WHOLE not in clue.regions and covering(clue.regions) is not Region.WHOLE:
        return clue.regions
    for name in sorted(clue.witnesses):
        levels = observed.get(name, frozenset())
        if levels == {Level.OUTER}:
            return frozenset({clue.at_outer})
        if levels and levels <= {Level.OUTER, Level.INNER}:
            return frozenset({Region.INNER})
    return frozenset({Region.WHOLE})


@lru_cache(maxsize=256)
def _phases(script: str, files: frozenset[tuple[str, str]]) -> Phases:
    return Phases(script, dict(files))


def phases_of(script: str, files: Mapping[str, str]) -> Phases:
    """Of a version that ran `script`, with all its Python files."""
    return _phases(script, frozenset(files.items()))


class Phases:
    """Phases of all statements that a script may run."""

    def __init__(self, script: str, files: Mapping[str, str]) -> None:
        self._script = script
        self._running = Running(script, files)
        self._graph, self.problem = self._running.graph, self._running.problem

    # --- answers --------------------------------------------------------------------------------------------------

    @property
    def reached(self) -> frozenset[str]:
        """Files that may run."""
        return frozenset(self._graph.outlines)

    def regions_of(self, path: str, line: int) -> frozenset[Region]:
        """When the statements run that begin on a line of a reached file; none: nothing is seen to run them."""
        if self.problem:
            return frozenset(Region)
        found = self._lines.get((path, line))
        return frozenset({Region.WHOLE}) if found is None else frozenset(found)

    @cached_property
    def _lines(self) -> Mapping[tuple[str, int], set[Region]]:
        found: dict[tuple[str, int], set[Region]] = {}
        for path, outline in self._graph.outlines.items():
            for number, statement in enumerate(outline.statements):
                found.setdefault((path, statement.line), set()).update(self._running.met.get((path, number), ()))
        return found

    def logged(self, name: str) -> Logged:
        """When the statements that log a name run."""
        found = [(p, log) for p, o in self._graph.outlines.items() for log in o.logs if log.feature == name]
        if not found:
            return Logged(Region.WHOLE, f"nothing that {self._script} is seen to import logs it")
        clues = tuple(self._clue(path, log) for path, log in found)
        region = covering(r for clue in clues for r in clue.regions or {Region.WHOLE})
        why = self._why(found, clues, region)
        return Logged(region, why, clues, self._stop(name, region))

    def names_read_in_tail(self) -> frozenset[str] | None:
        """Names loaded after the nested loop's end within the main loop; None without such loops."""
        if self.problem or not self._running.mains or not self._running.nested:
            return None
        if self._is_driven:  # its code is not here: it may come to whatever has a name
            statements = [one for outline in self._graph.outlines.values() for one in outline.statements]
            return frozenset().union(*(one.reads | one.own_reads | one.attributes for one in statements))
        own = {unit for unit, _ in (*self._running.mains.values(), *self._running.nested.values())}
        read: set[str] = set()
        for (path, index), met in self._running.met.items():
            if met & {Region.TAIL, Region.WHOLE}:
                statement = self._graph.outlines[path].statements[index]
                read |= statement.reads
                if (path, statement.unit) in own:
                    read |= statement.own_reads
        return frozenset(read)

    @property
    def _is_driven(self) -> bool:
        """Whether a library may run the main loop, of whose code nothing is known."""
        return any(record.is_driven for _, record in self._running.mains.values())

    def words_in(self, region: Region) -> frozenset[str] | None:
        """Names and attributes in statements that run in this phase, or nobody knows when; None: unknown.

        Without a nested loop, the steps are in no phase of their own, and nothing is said of head and tail.
        """
        if self.problem:
            return None
        if region in (Region.HEAD, Region.TAIL) and not self._running.nested:
            return frozenset()
        words: set[str] = set()
        for (path, index), met in self._running.met.items():
            if met & {region, Region.WHOLE}:
                statement = self._graph.outlines[path].statements[index]
                words |= statement.reads | statement.own_reads | statement.attributes
        return frozenset(words)

    def _clue(self, path: str, log: Log) -> Clue:
        outline = self._graph.outlines[path]
        statement = outline.statements[log.statement]
        met = frozenset() if log.lazy or self.problem else frozenset(self._running.met.get((path, log.statement), ()))
        unit = path, statement.unit
        if log.lazy or outline.units[statement.unit].is_lazy or statement.unit == 0:
            return Clue(met)
        witnesses = frozenset(
            other.feature
            for other in outline.logs
            if other.is_sure and other.feature not in (None, log.feature)
            if outline.statements[other.statement].unit == statement.unit
        )
        has_loops = statement.in_recorded or unit in self._graph.recording
        return Clue(met, frozenset(w for w in witnesses if w), Region.INNER if has_loops else Region.TAIL)

    # --- reasons --------------------------------------------------------------------------------------------------

    def _why(self, found: Sequence[tuple[str, Log]], clues: Sequence[Clue], region: Region) -> str:
        if self.problem or region is Region.TAIL:  # to run what is before the nested loop too costs nothing
            return self.problem
        each = [covering(clue.regions or {Region.WHOLE}) for clue in clues]
        for (path, log), clue, own in zip(found, clues, each, strict=True):
            if own is Region.WHOLE or len(clue.regions) > 1:
                return self._why_wide(path, log, clue)
        if len(set(each)) > 1:
            places = [f"{_WHEN[own]} ({path}:{log.line})" for (path, log), own in zip(found, each, strict=True)]
            return f"it is logged {_listed(list(dict.fromkeys(places)))}"
        return ""

    def _why_wide(self, path: str, log: Log, clue: Clue) -> str:
        unit = path, self._graph.outlines[path].statements[log.statement].unit
        name = self._graph.name_of(unit)
        if log.lazy:
            return f"{path}:{log.line} is in {log.lazy}, so nobody knows when it runs"
        if unit in self._graph.loose:
            return f"`{name}` {self._graph.loose[unit]}, so nobody knows when it runs"
        if not clue.regions:
            return f"nothing is seen to {'call' if unit[1] else 'import'} `{name}`"
        if Region.WHOLE not in clue.regions:
            regions = [r for r in _WHEN if r in clue.regions]
            sites = {region: self._running.sites.get((unit, region)) for region in regions}
            said = [f"{_WHEN[r]}{f' ({site})' if (site := sites[r]) else ''}" for r in regions]
            return f"{f'`{name}` is called' if unit[1] else f'{path}:{log.line} may run'} {_listed(said)}"
        site = self._running.sites.get((unit, Region.WHOLE))
        if site is not None:
            return f"`{name}` is called at a time that nobody knows ({site})"
        return f"{path}:{log.line} runs between the iterations of a loop around flor.iteration"

    # --- where an epoch's wanted statements end -------------------------------------------------------------------

    def _stop(self, name: str, region: Region) -> Stop | None:
        if len(self._running.mains) != 1 or region not in (Region.HEAD, Region.INNER, Region.TAIL):
            return None
        (((path, _), (_, record)),) = self._running.mains.items()
        if record.is_driven:
            return None
        last = None
        for number, child in enumerate(record.children):
            if self._may_log(path, child.block, name):
                last = number
        if last is None:
            return None
        while last + 1 < len(record.children) and record.children[last + 1].is_talk:
            last += 1
        return Stop(path, record.children[last].end_line)

    def _may_log(self, path: str, block: Block, name: str) -> bool:
        own = {(path, step.statement) for step in steps(block) if isinstance(step, Do)}
        called = self._graph.closure(self._graph.callees_of(path, block))
        for where, outline in self._graph.outlines.items():
            for log in outline.logs:
                unit = where, outline.statements[log.statement].unit
                if log.feature == name and (unit in called or (where, log.statement) in own):
                    return True
        return False


def _listed(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
