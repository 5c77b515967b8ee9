"""Is propagation right? Statements whose place in an older version is known beforehand are carried there.

    bench/propagation.py --quick                             committed synthetic cases, in 60 s
    bench/propagation.py --cases 2000 --baselines --hlast    more of them, and what others make of them
    bench/propagation.py --history ~/nanoGPT ~/examples      cases from the histories of local clones
    bench/propagation.py --show insert:wrong                 what was expected and what came, for each wrong case
    bench/propagation.py --history PATH ... --shares         what share of the confidence each doubt should take
    bench/propagation.py --latency                           files of 300 to 10 000 lines, and files made to be slow
    bench/propagation.py --whole                             a history of 300 versions of 20 files

Ground truth is by construction: a statement that both versions have is taken out of the older one. An answer is exact
(the same syntax tree), in an equivalent place (moved over statements that it commutes with only), wrong, or a refusal;
statements that are there already or whose context is missing are to be declined. Python's own parser decides.
Prints a table and, last, one JSON object; `--keep` writes it with all the rows to bench/results too.
"""

from __future__ import annotations

import argparse
import difflib
import json
import os
import platform
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path

from propagating import figure, histories, shares, sizes, synthetic, whole
from propagating.baselines import Hlast, HlastMissing, default_folder, difflib_statements, git_merge_file
from propagating.cases import Case, Propagator
from propagating.measuring import Result, Row, ask, groups, ours, reliability, totals
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from flor_ray.reports import text_tables

QUICK_CASES, CASES, HISTORY_CASES = 250, 1000, 60
SHOWN = 20  # diffs that --show prints at most
BASELINES: dict[str, Propagator] = {"git merge-file": git_merge_file, "difflib": difflib_statements}
COLUMNS = {
    "n": "n",
    "exact_pct": "exact %",
    "equivalent_pct": "+ equivalent %",
    "wrong_pct": "wrong %",
    "refused_pct": "refused %",
    "dropped_pct": "(dropped %)",
    "decline_right_pct": "declined right %",
    "ms_median": "ms",
    "ms_p99": "ms p99",
    "cpu_ms_median": "CPU ms",
}


def main() -> None:
    options = _options()
    if options.latency:
        result: dict[str, object] = _latency(options)
    elif options.whole:
        result = _whole(options)
    elif options.shares:
        result = _shares(options, _cases(options))
    else:
        cases = _cases(options)
        results = _answers(options, cases)
        result = _report(options, cases, results)
    line = json.dumps({key: value for key, value in result.items() if key not in ("rows", "edits", "reliability")})
    if options.keep:
        kinds = ("latency", "whole", "shares", "history")
        kind = next((kind for kind in kinds if getattr(options, kind)), "synthetic")
        stamp = f"{platform.machine()}-{os.cpu_count()}cores-{time.strftime('%Y-%m-%d')}"
        path = Path(__file__).parent / "results" / f"propagation-{kind}-{stamp}.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(result, indent=1) + "\n")
    print(line)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_CASES} synthetic cases, ours only, in 60 s")
    parser.add_argument("--history", nargs="+", type=Path, metavar="PATH", help="local clones, instead of synthetic")
    parser.add_argument(
        "--cases",
        type=int,
        metavar="N",
        help=f"so many synthetic ones (default {CASES}), or history cases per clone (default {HISTORY_CASES})",
    )
    parser.add_argument("--seed", type=int, default=0, help="other cases for another seed (default 0)")
    parser.add_argument("--jobs", type=int, default=1, help="processes that answer (default 1: they slow each other)")
    parser.add_argument("--baselines", action="store_true", help="compare with git merge-file and difflib")
    parser.add_argument("--hlast", nargs="?", type=Path, const=default_folder(), metavar="FOLDER", help=_HLAST_HELP)
    parser.add_argument("--figure", type=Path, metavar="PATH.svg", help="draw accuracy, latency and reliability")
    parser.add_argument("--show", metavar="STRATUM:SCORE", help=f"diffs of up to {SHOWN} cases, e.g. '*:wrong'")
    parser.add_argument("--shares", action="store_true", help="fit the doubts' shares to these cases, instead")
    parser.add_argument("--latency", action="store_true", help="time one statement by the size of the file, instead")
    parser.add_argument("--whole", action="store_true", help="time one statement into a history of 300 versions")
    parser.add_argument("--runs", type=int, default=50, help="of each size with --latency (default 50)")
    parser.add_argument("--keep", action="store_true", help="write the result to bench/results")
    options = parser.parse_args()
    if options.show and ":" not in options.show:
        parser.error("--show takes STRATUM:SCORE, such as renamed:wrong or '*:dropped'")
    if options.figure and options.figure.suffix != ".svg":
        parser.error(f"--figure writes SVG, not {options.figure.suffix or 'a file without a suffix'}")
    if options.history and options.quick:
        parser.error("--quick is for the committed synthetic cases")
    missing = [str(path) for path in options.history or () if not path.is_dir()]
    if missing:
        parser.error(f"no clones there: {', '.join(missing)}")
    return options


_HLAST_HELP = "compare with FlorDB's hlast, in an environment that is made in FOLDER (default: in the user's cache)"


# --- asking -------------------------------------------------------------------------------------------------------


def _cases(options: argparse.Namespace) -> list[Case]:
    if options.history:
        found: list[Case] = []
        with _progress("reading histories", len(options.history)) as step:
            for path in options.history:
                found += histories.cases(path, options.cases or HISTORY_CASES, options.seed)
                step()
        return found
    number = options.cases or (QUICK_CASES if options.quick else CASES)
    with ProcessPoolExecutor(max(os.cpu_count() or 1, 1)) as pool, _progress("making cases", number) as step:
        made = []
        for case in pool.map(partial(synthetic.case, seed=options.seed), *_numbered(number), chunksize=8):
            made.append(case)
            step()
    return made


def _numbered(number: int) -> tuple[list[str], list[int]]:
    pairs = list(synthetic.numbered(number))
    return [stratum for stratum, _ in pairs], [index for _, index in pairs]


def _answers(options: argparse.Namespace, cases: Sequence[Case]) -> list[Result]:
    """Of all systems to all cases; ours come first."""
    names = ["ours", *(BASELINES if options.baselines else ())]
    hlast = _hlast(options.hlast) if options.hlast else None
    if hlast is not None:
        names.append("hlast")
    found: list[Result] = []
    with ExitStack() as stack:
        if hlast is not None:
            stack.callback(hlast.close)
        for name in names:
            step = stack.enter_context(_progress(f"asking {name}", len(cases)))
            if name == "hlast" and hlast is not None:
                answers: Iterator[Result] = (ask(name, hlast, case) for case in cases)
            elif options.jobs > 1:
                pool = stack.enter_context(ProcessPoolExecutor(options.jobs))
                answers = pool.map(partial(_ask, name), cases, chunksize=8)
            else:
                answers = map(partial(_ask, name), cases)
            for result in answers:
                found.append(result)
                step()
    return found


def _ask(name: str, case: Case) -> Result:
    return ask(name, BASELINES.get(name, ours), case)


def _hlast(folder: Path) -> Hlast | None:
    print(f"hlast: in {folder} (the first time installs FlorDB there)", file=sys.stderr)
    try:
        return Hlast(folder)
    except HlastMissing as problem:
        print(f"hlast is left out: {problem}", file=sys.stderr)
        return None


@contextmanager
def _progress(what: str, total: int) -> Iterator[Callable[[], None]]:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(what, total=total)
        yield lambda: progress.advance(task)


# --- telling ------------------------------------------------------------------------------------------------------


def _report(options: argparse.Namespace, cases: Sequence[Case], results: Sequence[Result]) -> dict[str, object]:
    systems = list(dict.fromkeys(result.system for result in results))
    rows: dict[str, dict[str, Row]] = {}
    for group, belongs in groups(cases).items():
        inside = [result for result in results if belongs(result.case)]
        if inside:
            rows[group] = {system: totals([r for r in inside if r.system == system]) for system in systems}
    _print_rows(rows, systems)
    mine = [result for result in results if result.system == "ours"]
    edits = _by_edit(mine)
    if options.show:
        _show(options.show, mine)
    if options.figure:
        options.figure.write_text(_figure(rows, systems, mine), encoding="utf-8")
        print(f"figure: {options.figure}")
    hard = rows.get("all hard to insert", {}).get("ours", {})
    renamed = totals([r for r in mine if r.case.renamed])
    return {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "date": time.strftime("%Y-%m-%d"),
        "quick": options.quick,
        "seed": options.seed,
        "cases": "history" if options.history else "synthetic",
        **rows["all"]["ours"],
        "hard_equivalent_pct": hard.get("equivalent_pct"),
        "hard_wrong_pct": hard.get("wrong_pct"),
        "renamed_equivalent_pct": renamed["equivalent_pct"],
        "renamed_wrong_pct": renamed["wrong_pct"],
        **{f"{_key(name)}_equivalent_pct": rows["all"][name]["equivalent_pct"] for name in systems[1:]},
        **{f"{_key(name)}_wrong_pct": rows["all"][name]["wrong_pct"] for name in systems[1:]},
        "rows": rows,
        "edits": edits,
        "reliability": [asdict(each) for each in reliability(mine)],
    }


def _key(system: str) -> str:
    return system.replace(" ", "_").replace("-", "_")


def _print_rows(rows: dict[str, dict[str, Row]], systems: Sequence[str]) -> None:
    table = []
    for group, by_system in rows.items():
        for system in systems:
            values = [by_system[system][column] for column in COLUMNS]
            table.append([group, system, *("" if value is None else f"{value:g}" for value in values)])
    print(text_tables.render(["cases", "system", *COLUMNS.values()], table, width=200))


def _by_edit(results: Sequence[Result]) -> dict[str, Row]:
    """How ours fare where this edit was among those that made the case: tells which one is to be looked at."""
    found: dict[str, list[Result]] = defaultdict(list)
    for result in results:
        for edit in sorted(set(synthetic.edits_of(result.case.origin))):
            found[edit].append(result)
    rows = {edit: totals(inside) for edit, inside in sorted(found.items())}
    columns = ("n", "equivalent_pct", "wrong_pct", "refused_pct", "decline_right_pct")
    table = [
        [edit, *("" if row[column] is None else f"{row[column]:g}" for column in columns)] for edit, row in rows.items()
    ]
    if table:
        print(text_tables.render(["cases with", *(COLUMNS[column] for column in columns)], table, width=200))
    return rows


def _show(chosen: str, results: Sequence[Result]) -> None:
    stratum, _, score = chosen.partition(":")
    fitting = [
        result
        for result in results
        if stratum in ("*", result.case.stratum) and (score in ("*", result.score.value) or _is_dropped(score, result))
    ]
    for result in fitting[:SHOWN]:
        case, answer = result.case, result.answer
        print("-" * 120)
        print(f"{case.stratum}, {result.score.value}{', hard' if case.hard else ''}: {case.origin}")
        print(f"confidence {answer.confidence:.2f}{', said to be there' if answer.present else ''}: {answer.why}")
        newer = case.newer.split("\n")
        print(f"newer, line {case.line}:")
        for number in range(max(case.line - 4, 1), min(case.line + 5, len(newer) + 1)):
            print(f"  {'>' if number == case.line else ' '} {newer[number - 1]}")
        _print_diff("expected", case.older, case.expected)
        _print_diff("answered", case.older, answer.source)
    print(f"{len(fitting)} cases are {chosen}" + (f", {SHOWN} of them shown" if len(fitting) > SHOWN else ""))


def _is_dropped(score: str, result: Result) -> bool:
    return score == "dropped" and result.is_dropped


def _print_diff(what: str, older: str, patched: str | None) -> None:
    if patched is None:
        print(f"{what}: nothing inserted")
        return
    print(f"{what}:")
    for line in list(difflib.unified_diff(older.split("\n"), patched.split("\n"), lineterm="", n=4))[2:]:
        print(f"  {line}")


def _figure(rows: dict[str, dict[str, Row]], systems: Sequence[str], mine: Sequence[Result]) -> str:
    accuracy = {
        group: {system: _accuracy(row) for system, row in by_system.items()}
        for group, by_system in rows.items()
        if by_system["ours"]["n_insert"] and group != "all hard to insert"
    }
    all_rows = rows["all"]
    times = {s: figure.Times(all_rows[s]["ms_median"] or 0.0, all_rows[s]["ms_p99"] or 0.0) for s in systems}
    title = f"Propagation of {all_rows['ours']['n']:g} statements"
    return figure.draw(title, accuracy, times, reliability(mine))


def _accuracy(row: Row) -> figure.Accuracy:
    exact, right = row["exact_pct"] or 0.0, row["equivalent_pct"] or 0.0
    return figure.Accuracy(exact, right - exact, row["refused_pct"] or 0.0, row["wrong_pct"] or 0.0)


# --- shares of doubts ---------------------------------------------------------------------------------------------


def _shares(options: argparse.Namespace, cases: Sequence[Case]) -> dict[str, object]:
    found = shares.measured(cases, max(options.jobs, 1))
    table = [[s.name, f"{s.placements}", f"{s.wrong}", f"{s.before:g}", f"{s.share:g}"] for s in found]
    print(text_tables.render(["doubt", "placements", "wrong", "share now", "share that fits"], table, width=200))
    return {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "date": time.strftime("%Y-%m-%d"),
        "seed": options.seed,
        "clones": sorted(histories.name_of(path) for path in options.history or ()),
        "cases": len(cases),
        "shares": {each.name: asdict(each) for each in found},
    }


# --- latency ------------------------------------------------------------------------------------------------------


def _whole(options: argparse.Namespace) -> dict[str, object]:
    machine = {"machine": f"{platform.machine()}, {os.cpu_count()} cores", "date": time.strftime("%Y-%m-%d")}
    return machine | asdict(whole.whole(options.seed))


def _latency(options: argparse.Namespace) -> dict[str, object]:
    measured = []
    for lines in sizes.SIZES:
        with _progress(f"{lines} lines", options.runs) as step:
            measured.append(sizes.latency(lines, options.runs, options.seed, step))
    columns = ("ms_median", "ms_p99", "cpu_ms_median", "cpu_ms_p99")
    table = [[f"{m.lines}", f"{m.placed}/{m.runs}", *(f"{getattr(m, c):g}" for c in columns)] for m in measured]
    print(text_tables.render(["lines", "placed", *columns], table, width=200))
    inputs = list(sizes.pathological())
    with _progress("made to be slow", len(inputs)) as step:
        slow = []
        for name in inputs:
            slow.append(sizes.slow(name))
            step()
    table = [[each.name, "" if each.ms is None else f"{each.ms:g}", each.outcome] for each in slow]
    print(text_tables.render(["made to be slow", "ms", "outcome"], table, width=200))
    return {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "date": time.strftime("%Y-%m-%d"),
        "lines": {m.lines: asdict(m) for m in measured},
        "slow": {each.name: asdict(each) for each in slow},
    }


if __name__ == "__main__":
    main()
