"""Is a replayed value ever wrong without a word? Scripts that have been replayed wrongly, or needlessly not at all.

    trust     tests/cases/trust: inputs that once went wrong, after public bug reports and real scripts
    state     tests/cases/state: every way to hold state that is known to us, each script's expressions logged again
    scripts   the six training scripts of bench/replay.py, with statements of every region

Each is recorded, asked for statements that it did not have, and compared bit for bit with a run that had them from the
start. Of all values,

    exact                are as in that run
    warned               are wrong, and a sentence says so
    refused_needlessly   are not there, with the reason, though they could be
    wrong_unwarned       are wrong, or not there, without a word: must be 0

Prints a line per case and, last, one JSON object; `--keep` writes that to bench/results too.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path
from queue import SimpleQueue

from replaying.cases import CASES as SCRIPTS
from replaying.cases import Group
from replaying.exactness import Fidelity
from replaying.recording import Repository
from trusting.cases import TrustCase, every_case, state_cases
from trusting.trial import Verdict, judge

from flor_ray.cluster.worker import Worker

PARTS = ("trust", "state", "scripts")
COUNTS = ("wrong_unwarned", "warned", "exact", "refused_needlessly")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", help="these only (default: all)")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS, help="these only")
    parser.add_argument("--told", action="store_true", help="print what a user is told")
    parser.add_argument("--keep", action="store_true", help="write the result to bench/results")
    options = parser.parse_args()
    cases = [*(every_case() if "trust" in options.parts else ()), *(state_cases() if "state" in options.parts else ())]
    names = {*(case.name for case in cases), *(case.name for case in SCRIPTS if "scripts" in options.parts)}
    chosen = set(options.cases) or names
    if unknown := chosen - names:
        parser.error(f"no such case: {', '.join(sorted(unknown))}")
    total = dict.fromkeys(COUNTS, 0)
    for verdict, cannot in judged([case for case in cases if case.name in chosen], chosen & names):
        for name, count in counted(verdict, cannot).items():
            total[name] += count
        print(line(verdict), flush=True)
        if options.told:
            print("".join(f"    {sentence}\n" for sentence in dict.fromkeys(verdict.sentences)), end="", flush=True)
    result = {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "date": time.strftime("%Y-%m-%d"),
        "parts": list(options.parts),
        "cases": len(chosen),
        **total,
    }
    text = json.dumps(result)
    if options.keep:
        stamp = f"{platform.machine()}-{os.cpu_count()}cores-{time.strftime('%Y-%m-%d')}"
        (Path(__file__).parent / "results" / f"trust-{stamp}.json").write_text(text + "\n")
    print(text)
    return int(total["wrong_unwarned"] > 0)


def judged(cases: Sequence[TrustCase], chosen: set[str]) -> Iterator[tuple[Verdict, bool]]:
    """What became of each case, in order, and whether its values cannot be had. Two at a time, each with a worker of
    its own."""
    free: SimpleQueue[Worker] = SimpleQueue()
    with ExitStack() as ends:
        folder = Path(ends.enter_context(tempfile.TemporaryDirectory(prefix="flor-bench-")))
        for _ in range(2):
            free.put(ends.enter_context(closing(Worker())))

        def one(number: int, case: TrustCase) -> Verdict:
            worker = free.get()  # two threads, two workers: there always is one
            try:
                plain, truth = (
                    Repository(folder / str(number) / name, worker, case.folder) for name in ("plain", "truth")
                )
                return judge(case, plain, truth)
            finally:
                free.put(worker)

        pool = ends.enter_context(ThreadPoolExecutor(2))
        yield from zip(pool.map(one, range(len(cases)), cases), (case.warned for case in cases), strict=True)
        for script in SCRIPTS:
            if script.name in chosen:
                plain, truth = (Repository(folder / script.name / name) for name in ("plain", "truth"))
                fidelity = Fidelity(script, plain, truth, script.tiny)
                fidelity.record()
                found = fidelity.check(tuple(Group))
                wrong = found.compared - found.exact - found.told
                first = found.wrong[0] if found.wrong else ""
                yield Verdict(script.name, found.exact, found.told, wrong_unwarned=wrong, first=first), False


def counted(verdict: Verdict, cannot: bool) -> dict[str, int]:
    """`cannot`: its values cannot be had, so that a refusal is right."""
    refused, warned = verdict.refused, verdict.warned
    if cannot:
        refused, warned = 0, refused + warned
    return dict(zip(COUNTS, (verdict.wrong_unwarned, warned, verdict.exact, refused), strict=True))


def line(verdict: Verdict) -> str:
    """What became of a case, for people."""
    parts = [f"{verdict.exact} exact"]
    parts += [f"{verdict.warned} wrong with a warning"] * (verdict.warned > 0)
    parts += [f"{verdict.refused} refused"] * (verdict.refused > 0)
    parts += [f"{verdict.wrong_unwarned} WRONG"] * (verdict.wrong_unwarned > 0)
    return f"{verdict.case:36} {', '.join(parts)}{f'  ({verdict.first})' if verdict.first else ''}"


if __name__ == "__main__":
    sys.exit(main())
