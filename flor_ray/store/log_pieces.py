"""Log records in pieces, for readers that keep less of them than all. Of the pyarrow door by way of `log_reading`.

The files are listed once. A piece has some versions, as many as it can hold, or a part of what their files hold.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from flor_ray.errors import Damaged
from flor_ray.store import log_assembly
from flor_ray.store.log_assembly import Wanted
from flor_ray.store.log_files import PART_ROWS
from flor_ray.store.log_reading import Listing, LoggedName, LogReader, ReadFragments
from flor_ray.store.reading import RETRIES

COLUMNS = ("version", "origin", "level", "epoch", "step", "name", "iteration", "type", "number", "integer", "text")
_OF_SEGMENT = 1000  # records of a replayed segment, as a guess: its file's name does not say it


@dataclass(frozen=True, slots=True)
class LogPiece:
    """Some versions, and what they have logged."""

    versions: Sequence[str]
    logged: LoggedName


class PartlyRead(Exception):
    """A file is damaged or gone of which some parts were answered: all is to be read again, in whole pieces."""


def pieces(
    reader: LogReader,
    project: str,
    names: Sequence[str],
    versions: Sequence[str],
    most_records: int,
    splits: bool = False,
) -> Iterator[LogPiece]:
    """The records of `names` (none: of all) of each version, with COLUMNS, in the order of `versions`; those of one
    version and name not in the order of logging. If it `splits`, the same versions may be in several pieces, one after
    the other: of files that hold no record of which another one may go before it, a part at a time.

    Raises:
        StoreError: the store cannot be read.
        PartlyRead: see there; only if it `splits`.

    Warns:
        FlorWarning: a file that does not hold what it should is left out.
    """
    left, tries = list(versions), 0
    wanted = Wanted(None, frozenset(names) or None, None, COLUMNS, in_order=False)
    known = ReadFragments()
    while left:
        listing = reader.listing(project, replace(wanted, versions=frozenset(left)))
        try:
            for group in _groups(left, _records_of(listing), most_records):
                part = _part(listing, frozenset(group))
                if splits and log_assembly.is_each_once(part.choices):
                    yield from _split(reader, part, wanted, group)
                else:
                    logged = reader.read(part, wanted, known)
                    known = ReadFragments()  # what was read is no longer needed
                    yield LogPiece(group, logged)
                left, tries = left[len(group) :], 0
        except FileNotFoundError:  # it was merged into another one, so list again
            tries += 1
            if tries > RETRIES:
                raise


def _split(reader: LogReader, listing: Listing, wanted: Wanted, versions: Sequence[str]) -> Iterator[LogPiece]:
    try:
        for logged in reader.read_parts(listing, wanted, PART_ROWS):
            yield LogPiece(versions, logged)
    except (Damaged, FileNotFoundError) as error:
        raise PartlyRead from error


def _records_of(listing: Listing) -> dict[str, int]:
    """How many records each version has, as far as that can be seen."""
    found: dict[str, int] = {}
    for (version, _), choice in listing.choices.items():
        fresh = sum(_OF_SEGMENT if f.segment is not None else f.last - f.first + 1 for f in choice.fragments)
        held = sum(listing.compacted[one.file].rows_of[one.index] for one in choice.held)
        found[version] = found.get(version, 0) + fresh + held
    return found


def _groups(versions: Sequence[str], records: dict[str, int], most_records: int) -> Iterator[list[str]]:
    group: list[str] = []
    count = 0
    for version in versions:
        if group and count + records.get(version, 0) > most_records:
            yield group
            group, count = [], 0
        group.append(version)
        count += records.get(version, 0)
    if group:
        yield group


def _part(listing: Listing, versions: frozenset[str]) -> Listing:
    return replace(listing, choices={place: one for place, one in listing.choices.items() if place[0] in versions})
