"""Random training scripts and random statements, until one is wrong without a word: make soak.

Hypothesis draws scripts (bench/trusting/drawing.py). Each is judged as those of tests/cases/trust are: recorded
without its hindsight statements, replayed with them, and compared bit for bit with a run that had them from the start.
The first that is wrong is made as small as it can be and printed, as a folder that tests/cases/trust can have. Then
statements in SQL are drawn and acquired (tests/relational/soak.py). Last come replays of sleeping scripts in which
something goes wrong at random moments (bench/clustering/faults.py): in virtual time, on worker processes that are
killed, and on a Ray cluster that loses processes, nodes and its store. Prints progress, and one JSON object at last.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, given, seed, settings

from flor_ray.cluster.worker import Worker
from tests.bench_modules import bench_module, bench_repository
from tests.conftest import close_servers, warm_servers
from tests.examples import no_constants
from tests.relational import soak as statements

_SETTINGS = settings(deadline=None, database=None, suppress_health_check=list(HealthCheck), print_blob=False)


class Judge:
    """Judges cases, in folders below `root`."""

    def __init__(self, root: Path, worker: Worker) -> None:
        self.counts: Counter[str] = Counter()
        self._judged: dict[str, Any] = {}  # hypothesis draws some scripts again
        self._root, self._worker = root, worker
        self._judge = bench_module("trusting.trial").judge

    def __call__(self, case: Any) -> Any:
        """The verdict."""
        key = repr((case.marked, case.where, case.commands))
        if key not in self._judged:
            self._judged[key] = self._judged_afresh(case)
        return self._judged[key]

    def _judged_afresh(self, case: Any) -> Any:
        folder = Path(tempfile.mkdtemp(dir=self._root))
        try:
            plain, truth = (bench_repository(folder / which, self._worker, case.folder) for which in ("plain", "truth"))
            verdict = self._judge(case, plain, truth)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        self.counts.update(
            examples=1,
            values=verdict.exact + verdict.warned + verdict.refused + verdict.wrong_unwarned,
            exact=verdict.exact,
            warned=verdict.warned,
            refused=verdict.refused,
            wrong_unwarned=verdict.wrong_unwarned,
        )
        return verdict


def soak(examples: int, number: int | None, check: Callable[[Any], None], shrinks: bool = True) -> None:
    """Draw scripts and check them. Raises what `check` raises, for a script that is as small as could be found.

    `number` starts another sequence of scripts; without one it is always the same, for one release of hypothesis.
    """
    parts = bench_module("trusting.parts").every_part()
    phases = [Phase.generate, Phase.shrink] if shrinks else [Phase.generate]
    chosen = settings(_SETTINGS, max_examples=examples, derandomize=number is None, phases=phases)

    @chosen
    @given(bench_module("trusting.drawing").scripts(parts))
    def checked(case: Any) -> None:
        check(case)

    with no_constants():
        (checked if number is None else seed(number)(checked))()


def told(case: Any, verdict: Any) -> str:
    """What is wrong, what a user was told, and the script as a folder of tests/cases/trust."""
    files = bench_module("trusting.composing").folder_of(case)
    texts = "\n".join(f"--- {path}\n{text}" for path, text in sorted(files.items()))
    return f"{verdict.first}; told: {verdict.sentences}\n{texts}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--examples", type=int, default=400, help="how many scripts (default: 400)")
    parser.add_argument("--seed", type=int, default=0, help="of another sequence of scripts (default: 0)")
    parser.add_argument("--statements", type=int, default=2000, help="how many statements (default: 2000)")
    parser.add_argument("--faults", type=int, default=200, help="how many replays with faults (default: 200)")
    parser.add_argument("--all", type=Path, help="go on after a wrong one, and write each to a folder in this one")
    options = parser.parse_args()
    started = time.perf_counter()
    with ExitStack() as ends:
        ends.callback(close_servers)
        root = Path(ends.enter_context(tempfile.TemporaryDirectory(prefix="flor-soak-")))
        judge = Judge(root, ends.enter_context(closing(Worker(servers=warm_servers()[0]))))

        def check(case: Any) -> None:
            try:
                verdict = judge(case)
            except Exception as error:
                if options.all is None:
                    raise
                judge.counts["broken"] += 1
                _write(options.all / f"broken{judge.counts['broken']}", case, repr(error))
                return
            n = judge.counts["examples"]
            if n % 10 == 0:
                print(f"{n} scripts, {time.perf_counter() - started:.0f} s: {dict(judge.counts)}", flush=True)
            if options.all is not None:
                for kind in ("wrong_unwarned", "warned", "refused"):
                    if getattr(verdict, kind):
                        _write(options.all / f"{kind}{n}", case, told(case, verdict))
                        break
            elif verdict.wrong_unwarned:
                raise AssertionError(told(case, verdict))

        try:
            if options.examples:
                soak(options.examples, options.seed, check, shrinks=options.all is None)
        except AssertionError as wrong:
            print(wrong, flush=True)
    of_sql = statements.Judge()
    try:
        if options.statements:
            statements.soak(options.statements, options.seed, of_sql)
    except AssertionError as wrong:
        print(wrong, flush=True)
    of_faults = faults(options.faults, options.seed) if options.faults else None
    names = ("examples", "values", "exact", "warned", "refused", "wrong_unwarned")
    result = {n: judge.counts[n] for n in names} | of_sql.summary | (of_faults.summary if of_faults else {})
    print(json.dumps(result | {"seconds": round(time.perf_counter() - started, 1)}))
    wrong_faults = of_faults is not None and bool(of_faults.wrong)
    return int(judge.counts["wrong_unwarned"] > 0 or of_sql.counts["wrong"] > 0 or wrong_faults)


def faults(runs: int, number: int) -> Any:
    """Replays with faults, of each kind as large a share as there is in 200. Says what is wrong with which."""
    module = bench_module("clustering.faults")
    whole = module.WHOLE
    ray, processes = (-(-runs * each // 200) for each in (whole.ray, whole.processes))
    found = module.soak(module.Runs(max(0, runs - ray - processes), processes, ray), number, quick=False, said=True)
    for line in found.wrong:
        print(f"WRONG: {line}", flush=True)
    return found


def _write(folder: Path, case: Any, text: str) -> None:
    for path, content in bench_module("trusting.composing").folder_of(case).items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(content, encoding="utf-8")
    (folder / "TOLD").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
