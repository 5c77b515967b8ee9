"""Is a replayed value ever wrong without a word? Scripts that have been replayed wrongly, or needlessly not at all.

Each case of tests/cases/trust is recorded, asked for statements that it did not have, and compared bit for bit with a
run that had them from the start:

    exact                as in that run
    warned               wrong, and a sentence says so
    refused_needlessly   not there, with the reason, though it could be
    wrong_unwarned       wrong, or not there, without a word: must be 0

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
from pathlib import Path

from replaying.recording import Repository
from trusting.cases import every_case
from trusting.trial import Verdict, judge

from flor_ray.cluster.worker import Worker


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", help="these only (default: all)")
    parser.add_argument("--told", action="store_true", help="print what a user is told")
    parser.add_argument("--keep", action="store_true", help="write the result to bench/results")
    options = parser.parse_args()
    chosen = [case for case in every_case() if not options.cases or case.name in options.cases]
    if unknown := set(options.cases) - {case.name for case in chosen}:
        parser.error(f"no such case: {', '.join(sorted(unknown))}")
    total = dict.fromkeys(("wrong_unwarned", "warned", "exact", "refused_needlessly"), 0)
    worker = Worker()
    try:
        for case in chosen:
            with tempfile.TemporaryDirectory(prefix="flor-bench-") as folder:
                plain, truth = (Repository(Path(folder, name), worker, case.folder) for name in ("plain", "truth"))
                verdict = judge(case, plain, truth)
            for name, count in counted(verdict, case.warned).items():
                total[name] += count
            print(line(verdict), flush=True)
            if options.told:
                print("".join(f"    {sentence}\n" for sentence in dict.fromkeys(verdict.sentences)), end="", flush=True)
    finally:
        worker.close()
    result = {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "date": time.strftime("%Y-%m-%d"),
        "cases": len(chosen),
        **total,
    }
    text = json.dumps(result)
    if options.keep:
        stamp = f"{platform.machine()}-{os.cpu_count()}cores-{time.strftime('%Y-%m-%d')}"
        (Path(__file__).parent / "results" / f"trust-{stamp}.json").write_text(text + "\n")
    print(text)
    return int(total["wrong_unwarned"] > 0)


def counted(verdict: Verdict, cannot: bool) -> dict[str, int]:
    """`cannot`: its values cannot be had, so that a refusal is right."""
    refused, warned = verdict.refused, verdict.warned
    if cannot:
        refused, warned = 0, refused + warned
    return {
        "wrong_unwarned": verdict.wrong_unwarned,
        "warned": warned,
        "exact": verdict.exact,
        "refused_needlessly": refused,
    }


def line(verdict: Verdict) -> str:
    parts = [f"{verdict.exact} exact"]
    parts += [f"{verdict.warned} wrong with a warning"] * (verdict.warned > 0)
    parts += [f"{verdict.refused} refused"] * (verdict.refused > 0)
    parts += [f"{verdict.wrong_unwarned} WRONG"] * (verdict.wrong_unwarned > 0)
    return f"{verdict.case:28} {', '.join(parts)}{f'  ({verdict.first})' if verdict.first else ''}"


if __name__ == "__main__":
    sys.exit(main())
