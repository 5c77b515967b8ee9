"""How long one statement takes: in files of 300 to 10 000 lines, and in files made to be slow."""

from __future__ import annotations

import ast
import gc
import random
import re
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection

from propagating.drafts import Draft, end, stores
from propagating.edits import RESHAPING
from propagating.measuring import clear_caches, ours, percentile
from propagating.synthetic import scripts

SIZES = (300, 1000, 3000, 10_000)
PATIENCE_SECONDS = 60.0  # a pathological input is to be refused, not waited for
_EDITED = 0.3  # share of the scripts that differ between the versions


@dataclass(frozen=True, slots=True)
class Latency:
    lines: int
    runs: int
    placed: int  # how many of the runs ended in a placement
    ms_median: float
    ms_p99: float
    cpu_ms_median: float  # of this process: what the others would be on a machine that does nothing else
    cpu_ms_p99: float


@dataclass(frozen=True, slots=True)
class Slow:
    """What became of a pathological input; `ms` is None if it was not waited for."""

    name: str
    ms: float | None
    outcome: str


def latency(lines: int, runs: int, seed: int = 0, progress: Callable[[], None] = lambda: None) -> Latency:
    """One log into a file of so many lines, always another one, with cold caches."""
    rng = random.Random(f"latency {lines} {seed}")
    made = pieces(lines, rng)
    older = "\n".join(["import flor_ray as flor", *(piece.older for piece in made)])
    times, cpu_times, placed = [], [], 0
    for _ in range(runs):
        newer, line = _with_probe(made, rng)
        clear_caches()
        gc.collect()  # garbage of the run before is not this one's
        started, cpu_started = time.perf_counter(), time.process_time()
        answer = ours(newer, older, line)
        times.append(1000 * (time.perf_counter() - started))
        cpu_times.append(1000 * (time.process_time() - cpu_started))
        placed += answer.source is not None
        progress()
    return Latency(lines, runs, placed, *_middle_and_end(times), *_middle_and_end(cpu_times))


def _middle_and_end(times: list[float]) -> tuple[float, float]:
    return round(statistics.median(times), 2), round(percentile(sorted(times), 0.99), 2)


@dataclass(frozen=True, slots=True)
class Piece:
    """The definitions of a script, under names of their own."""

    newer: str
    older: str


def pieces(lines: int, rng: random.Random) -> list[Piece]:
    """So many lines' worth; the last piece is cut to measure."""
    found: list[Piece] = []
    missing = lines - 1
    while missing > 0:
        source = scripts()[rng.choice([name for name in sorted(scripts()) if name != "mlp_loop"])]
        changed = _reshaped(source, rng) if rng.random() < _EDITED else source
        newer, older = (_definitions(each, len(found), missing) for each in (source, changed))
        found.append(Piece(newer, older))
        missing -= newer.count("\n") + 1
    return found


def _reshaped(source: str, rng: random.Random) -> str:
    for _ in range(3):
        changed = RESHAPING[rng.choice(sorted(RESHAPING))](Draft(source), rng)
        try:
            ast.parse(changed or "")
        except SyntaxError:
            continue
        source = changed or source
    return source.replace("  #@edge", "")


def _definitions(source: str, number: int, most: int) -> str:
    draft = Draft(source)
    chosen = [s for s in draft.tree.body if isinstance(s, (ast.FunctionDef, ast.ClassDef))]
    text = "\n".join("\n".join([*draft.text(draft.start(s), end(s)), ""]) for s in chosen).rstrip("\n")
    names = "|".join(re.escape(s.name) for s in chosen)
    text = re.sub(rf"(?<![\w.])({names})\b", rf"\1_{number}", text)
    if text.count("\n") >= most:
        return "\n".join(f"setting_{number}_{k} = {k}" for k in range(most))  # what is left of the size
    return text


def _with_probe(pieces: list[Piece], rng: random.Random) -> tuple[str, int]:
    """The newer version with a log behind some assignment, and the line of the log."""
    while True:
        at = rng.randrange(len(pieces))
        draft = Draft(pieces[at].newer)
        simple = [s for b in draft.blocks for s in b.statements if isinstance(s, ast.Assign) and len(stores([s])) == 1]
        if simple:
            break
    chosen = rng.choice(simple)
    probe = f'{" " * chosen.col_offset}flor.log("probe", {stores([chosen])[0]})'
    changed = draft.replaced(end(chosen) + 1, end(chosen), [probe])
    head = ["import flor_ray as flor", *(piece.newer for piece in pieces[:at])]
    line = "\n".join(head).count("\n") + 1 + end(chosen) + 1
    return "\n".join([*head, changed, *(piece.newer for piece in pieces[at + 1 :])]), line


# --- pathological -------------------------------------------------------------------------------------------------

_PROBE = 'flor.log("probe", x)'


def pathological() -> dict[str, tuple[str, str, int]]:
    """By name: newer, older, line of the log."""
    nested = [" " * depth + f"if x > {depth}:" for depth in range(90)]
    wide = [f"x = first_{k}(x, {k})" for k in range(2000)]
    shuffled = random.Random(0).sample(wide, len(wide))
    functions = ["def f(x):", "    x = x + 1", "    return x"] * 2000
    numbers = ["table = [", *(f"    {k}," for k in range(15_000)), "]", "x = table"]
    return {
        "90 blocks deep": _with_log([*nested, " " * 90 + "x = 1"], 91),
        "180 parentheses deep": _with_log(["x = " + "(" * 180 + "1" + ")" * 180], 1),
        "sum of 5 000 terms": _with_log(["x = " + " + ".join(f"a{k}" for k in range(5000))], 1),
        "list of 15 000 numbers": _with_log(numbers, len(numbers)),
        "string of 1 MB": _with_log([f'x = "{"a" * 1_000_000}"'], 1),
        "5 000 equal statements": _with_log(["x = f(x)"] * 5000, 2500),
        "2 000 equal functions": _with_log(functions, 3 * 1000 + 2),
        "2 000 statements shuffled": _with_log(wide, 1000, shuffled),
        "2 000 statements all renamed": _with_log(wide, 1000, [w.replace("first", "other") for w in wide]),
        "20 000 lines": _with_log([f"x = g(x, {k})" for k in range(20_000)], 10_000),
        "100 000 lines": _with_log(["x = f(x)"] * 100_000, 50_000),
        "not Python": _with_log(["x = ((("] * 3000, 1500),
    }


def _with_log(lines: list[str], after: int, older: list[str] | None = None) -> tuple[str, str, int]:
    above = lines[after - 1]
    log = " " * (len(above) - len(above.lstrip())) + _PROBE
    newer = [*lines[:after], log, *lines[after:]]
    head = "import flor_ray as flor\n"
    return head + "\n".join(newer) + "\n", head + "\n".join(older or lines) + "\n", after + 2


def slow(name: str) -> Slow:
    """A pathological input in a process of its own, which is ended if it takes too long."""
    receiver, sender = get_context("spawn").Pipe(duplex=False)
    process = get_context("spawn").Process(target=_answer, args=(name, sender))
    process.start()
    sender.close()
    try:
        found = receiver.recv() if receiver.poll(PATIENCE_SECONDS) else None
    except EOFError:
        process.join()
        return Slow(name, None, f"the process ended with {process.exitcode}")
    process.kill()
    process.join()
    return found if isinstance(found, Slow) else Slow(name, None, f"no answer within {PATIENCE_SECONDS:.0f} s")


def _answer(name: str, sender: Connection) -> None:
    newer, older, line = pathological()[name]
    ours("x = 1\nprint(x)\n", "x = 1\n", 2)  # imports are not what is measured
    started = time.perf_counter()
    answer = ours(newer, older, line)
    ms = 1000 * (time.perf_counter() - started)
    outcome = "placed" if answer.source is not None else f"refused: {answer.why}"
    sender.send(Slow(name, round(ms, 1), "already there" if answer.present else outcome))
