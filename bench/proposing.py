"""Claim: what `flor-ray init` proposes is right, or it proposes nothing. 27 scripts of different shape, with the
lines that each needs; most are recorded with what is proposed, asked for a value that they did not log, and compared
bit for bit with runs that logged it from the start.

    python bench/proposing.py [--only NAME] [--keep]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1]))

from proposals.trial import Outcome, judge, proposals_of, script_cases
from replaying.forked import Forked
from replaying.recording import Repository

from flor_ray.cluster.worker import Worker
from flor_ray.reports import text_tables


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", help="only the script of this name")
    parser.add_argument("--keep", action="store_true", help="keep the results in bench/results")
    options = parser.parse_args()
    began = time.perf_counter()
    outcomes: list[Outcome] = []
    with tempfile.TemporaryDirectory() as folder:
        worker, python = Worker(), Forked()
        try:
            for case in script_cases():
                if options.only in (None, case.name):
                    place = Path(folder, case.name)
                    print(f"{case.name} ...", file=sys.stderr, flush=True)
                    if case.is_asked:
                        plain, truth = (Repository(place / name, worker, python=python) for name in ("plain", "truth"))
                        outcomes.append(judge(case, plain, truth))
                    else:
                        outcomes.append(proposals_of(case))
        finally:
            worker.close()
            python.close()
    rows = [_row(each) for each in outcomes]
    print(text_tables.render(["script", "added", "changed", "exact", "from checkpoints", "refused"], rows))
    told = _summary(outcomes) | {"seconds": round(time.perf_counter() - began, 1)}
    if options.keep:
        machine = f"{platform.machine()}-{os.cpu_count()}cores-{time.strftime('%Y-%m-%d')}"
        path = Path(__file__).parent / "results" / f"proposing-{machine}.json"
        path.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(told))


def _row(each: Outcome) -> list[str]:
    exact = f"{each.exact}/{each.values}" if each.values else "-"
    begun = str(each.from_checkpoints) if each.values else "-"
    return [each.name, str(each.lines_added), str(each.lines_changed), exact, begun, "; ".join(each.refused)]


def _summary(outcomes: list[Outcome]) -> dict[str, object]:
    changed = [each.lines_added + each.lines_changed for each in outcomes if each.lines_added]
    return {
        "scripts": len(outcomes),
        "scripts_with_proposals": sum(each.lines_added > 0 for each in outcomes),
        "scripts_run": sum(each.values > 0 for each in outcomes),
        "scripts_exact": sum(each.values > 0 and each.exact == each.values for each in outcomes),
        "values_compared": sum(each.values for each in outcomes),
        "values_exact": sum(each.exact for each in outcomes),
        "refused": sum(len(each.refused) for each in outcomes),
        "lines_added": {each.name: each.lines_added for each in outcomes},
        "lines_added_median": statistics.median(each.lines_added for each in outcomes if each.lines_added),
        "lines_added_or_changed_median": statistics.median(changed),
    }


if __name__ == "__main__":
    main()
