"""What is told of the data that versions have read. Values in, text out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from flor_ray.environment.data_places import FileSource
from flor_ray.planning.needed_data import NeededFile, PushedFile
from flor_ray.records import LackingFile, Segment
from flor_ray.wording import size, some_versions

COLUMNS = ("file", "size", "versions", "here", "store")
NONE = "No version has read a file that is not its own."
_HERE = {FileSource.HERE: "yes", FileSource.STORED: "no", FileSource.WITHOUT: "not needed"}


def row(one: NeededFile) -> tuple[str, ...]:
    """Of the table of all files."""
    located = one.located
    here = _HERE.get(located.source) or ("another file" if located.differs else "no")
    if located.source is FileSource.MAPPED:
        here = located.place
    return one.file.path, size(one.file.bytes), str(len(one.versions)), here, "yes" if one.is_stored else "no"


def became(one: PushedFile) -> str:
    """What became of a file that was to be put into the store."""
    path = one.needed.file.path
    if one.why_not:
        return f"{path}: left out, {one.why_not}"
    if one.needed.is_stored:
        return f"{path}: it is in the store already"
    return f"{path}: {size(one.needed.file.bytes)}, of which {size(one.new_bytes)} were not in the store yet"


def total(pushed: Sequence[PushedFile]) -> str:
    """The last line of a push."""
    kept = [one for one in pushed if not one.why_not]
    files = "1 file" if len(kept) == 1 else f"{len(kept)} files"
    return f"The store has {files} for every machine." if kept else "Nothing of it is here."


def nowhere(lacking: Mapping[Segment, Iterable[LackingFile]]) -> list[str]:
    """A sentence for each file that no machine of a replay had: which versions were not replayed, and what to do."""
    versions: dict[str, dict[str, None]] = {}
    known: dict[str, LackingFile] = {}
    for segment, files in lacking.items():
        for file in files:
            versions.setdefault(file.path, {})[segment.version] = None
            known[file.path] = file
    return [f"{some_versions([*versions[path]])}: not replayed, {_nowhere(file)}" for path, file in known.items()]


def _nowhere(file: LackingFile) -> str:
    path = file.path
    where = f"for {path} is on no machine {'with workers ' if file.at_hand else ''}as it was read"
    if file.differs:
        where += " (another file is there)"
    push = f"`flor-ray data push {path}`"
    what = f"Put it into the store {'from here' if file.at_hand else 'where it is'} ({push})"
    return (
        f"{where}. {what}, or say where it is (`data:` in flor.yaml, or `--data {path}=PLACE`; with none as PLACE they "
        "are replayed without it)."
    )
