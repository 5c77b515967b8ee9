"""What the ranks of a run keep that are not its first: a run of several processes is one version.

    ranks/<project>/<version>/<rank>.json                 RankRecord
    checkpoints/<project>.ranks/<version>-rank<n>/...     their states, as table C has them
    log_records/<project>.ranks/<version>-rank<n>/...     what they log while they are replayed, as table F has it

The first rank's are where those of any run are. Who does not ask for ranks never meets what is here: no run has such a
project. A rank is the only writer of its own.
"""

from __future__ import annotations

import json

from flor_ray.errors import Damaged
from flor_ray.records import Checkpoint, RankRecord
from flor_ray.store import checks, typed_json
from flor_ray.store.files import Files
from flor_ray.store.fragments import quote
from flor_ray.store.reading import retried
from flor_ray.store.store import Store

FOLDER = "ranks"


def place(project: str, version: str, rank: int) -> tuple[str, str]:
    """The project and the version under which the tables have what is a rank's own."""
    return (project, version) if rank == 0 else (f"{project}.ranks", f"{version}-rank{rank}")


def write(files: Files, project: str, version: str, record: RankRecord) -> None:
    """Keep what a rank says of itself. The latest word holds."""
    data = json.dumps(typed_json.to_plain(record)).encode()
    files.write(f"{_folder(project, version)}/{record.rank}.json", data)


def read(files: Files, project: str, version: str) -> dict[int, RankRecord]:
    """What the ranks of a run say of themselves, by rank; the first one says nothing here.

    Raises:
        Damaged: a file does not hold what it should.
        StoreError: the store cannot be read.
    """
    return retried(lambda: dict(map(lambda path: _parsed(files, path), files.list(_folder(project, version)))))


def checkpoints(store: Store, project: str, version: str, rank: int) -> tuple[Checkpoint, ...]:
    """Those of a rank, as `Store.checkpoints` has the first one's."""
    return store.checkpoints(*place(project, version, rank))


def of_version(store: Store, project: str, version: str) -> tuple[int, ...]:
    """Ranks of a version that have checkpoints, but the first."""
    of_ranks, begin = f"{project}.ranks", f"{version}-rank"
    names = store.files.folders(f"checkpoints/{quote(of_ranks)}")
    found = [name.removeprefix(begin) for name in names if name.startswith(begin)]
    return tuple(sorted(int(number) for number in found if number.isdecimal()))


def _folder(project: str, version: str) -> str:
    return f"{FOLDER}/{quote(project)}/{quote(version)}"


def _parsed(files: Files, path: str) -> tuple[int, RankRecord]:
    try:
        found = typed_json.from_plain(checks.parsed(files.read(path)), RankRecord)
    except ValueError as error:
        raise Damaged(f"{files.url}/{path} does not hold what a rank says of itself: {error}") from error
    return found.rank, found
