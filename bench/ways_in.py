"""Does every way to a cluster work, and does a hostile store run or write anything, or a secret stay anywhere?

    ways       to a Ray cluster: each fills a column on a real head node with a token, or is refused in one line
    hostile    files in a store that nobody should have written; each is asked versions, dataframe, explain and replay
    secrets    planted where a run is given any; looked for in the store, shadow commits, messages, the cluster's jobs

    ways                    tried, and
    ways_working            that did what they should
    hostile_files           put into stores, and
    hostile_files_executed  of which anything ran: must be 0
    hostile_written_outside files that one of them wrote elsewhere: must be 0
    other_versions_answered_pct  of questions to the good version beside a hostile file
    secrets_planted, secrets_found   the latter must be 0

Prints a line per way that fails, and per file that does harm; last, one JSON object. `--quick` takes 40 of the files.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import boto3

sys.path.insert(0, str(Path(__file__).parents[1]))

from ways import hostile, planted
from ways.ways import MARK, WAYS, Ground, Way, ground, template

from flor_ray.replaying.version_process import WarmServers
from tests.ray_heads import RayHead
from tests.s3_servers import Moto

QUICK_FILES = 40


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help=f"only {QUICK_FILES} hostile files")
    parser.add_argument("--keep", action="store_true", help="write the result to bench/results")
    options = parser.parse_args()
    began = time.monotonic()
    files = list(hostile.HOSTILE)
    if options.quick:  # of each kind some
        files = [files[number * len(files) // QUICK_FILES] for number in range(QUICK_FILES)]
    with ExitStack() as ends:
        folder = Path(ends.enter_context(tempfile.TemporaryDirectory(prefix="flor-bench-")))
        head = ends.enter_context(cluster())
        template(folder / "recorded")
        pool = ends.enter_context(ThreadPoolExecutor(2))
        tried = [pool.submit(take, way, head, folder, number) for number, way in enumerate(WAYS)]
        secrets = pool.submit(secrets_found, head, folder / "secrets")
        harm = judged(files, folder / "hostile")
        wrong = [problem for one in tried if (problem := one.result())]
        found = secrets.result()
    for problem in (*wrong, *harm.told, *(f"secret {number} was found" for number in sorted(found))):
        print(problem)
    result = {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "date": time.strftime("%Y-%m-%d"),
        "seconds": round(time.monotonic() - began, 1),
        "ways": len(WAYS),
        "ways_working": len(WAYS) - len(wrong),
        "hostile_files": len(files),
        "hostile_files_executed": harm.executed,
        "hostile_written_outside": harm.written,
        "other_versions_answered_pct": round(100 * harm.answered / (len(files) * len(hostile.QUESTIONS)), 1),
        "secrets_planted": planted.PLANTED,
        "secrets_found": len(found),
    }
    text = json.dumps(result)
    if options.keep:
        stamp = f"{platform.machine()}-{os.cpu_count()}cores-{time.strftime('%Y-%m-%d')}"
        (Path(__file__).parent / "results" / f"ways-in-{stamp}.json").write_text(text + "\n")
    print(text)
    answered = harm.answered == len(files) * len(hostile.QUESTIONS)
    return int(bool(wrong or found or harm.executed or harm.written) or not answered)


@contextmanager
def cluster() -> Iterator[RayHead]:
    """A head node whose workers reach an S3 server's bucket `flor`, and have what tells them from others."""
    with Moto() as server:
        os.environ |= server.environment
        boto3.client("s3").create_bucket(Bucket="flor")
        os.environ[MARK] = "here"
        head = RayHead()
        head.__enter__()
        del os.environ[MARK]
        try:
            yield head
        finally:
            head.__exit__()


def take(way: Way, head: RayHead, folder: Path, number: int) -> str:
    """Nothing if a way works, and else what was seen."""
    try:
        seen = way.take(ground(head, folder / "recorded", folder / str(number), "flor"))
    except Exception as error:  # noqa: BLE001 - one way that fails is a result, and others are tried
        seen = f"{type(error).__name__}: {error}"
    return f"{way.name}: {seen}" if seen else ""


def secrets_found(head: RayHead, folder: Path) -> set[str]:
    """Which of the planted secrets are anywhere where they should not be."""
    (folder / "six").mkdir(parents=True)
    place = Ground(head, folder / "six")
    planted.plant(place.root)
    done = planted.run(place.root)
    planted.run(place.root, FAIL="1")  # the traceback is Python's, of the script's own words
    shown = planted.shown_by_cluster(head, place.root, place.user())
    return planted.found(done.stdout + done.stderr + shown + planted.left_behind(place.root))


class Harm:
    """What hostile files did."""

    def __init__(self) -> None:
        self.executed = self.written = self.answered = 0
        self.told: list[str] = []


def judged(files: list[str], folder: Path) -> Harm:
    """Every file in a store of its own."""
    hostile.template(folder / "template")
    harm, servers = Harm(), WarmServers()
    try:
        for number, name in enumerate(files):
            place = folder / str(number) / "place"
            shutil.copytree(folder / "template", place)
            verdict = hostile.judge(place, name, [servers])
            harm.executed += verdict.executed
            harm.written += len(verdict.written)
            harm.answered += len(verdict.answered)
            if verdict.executed or verdict.written or len(verdict.answered) < len(hostile.QUESTIONS):
                harm.told.append(f"{name}: {verdict}")
    finally:
        servers.close()
    return harm


if __name__ == "__main__":
    sys.exit(main())
