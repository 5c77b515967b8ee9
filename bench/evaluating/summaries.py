"""What was found of all systems: the last line, the table on the screen, and the page of the docs. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from statistics import fmean, median
from typing import Any

from evaluating.histories import System
from flor_ray.reports import text_tables

Systems = Mapping[str, Mapping[str, Any]]
_COLUMNS = (
    *("system", "parameters", "versions", "lines", "overhead %", "long run %", "bytes / torch.save"),
    *("from start s", "inner s", "outer s", "prefix s", "estimate off %", "values", "exact", "wrong", "refused"),
)
_FIGURES = (
    ("figure-7", "7", "What it takes to fill a column for one version, two, and all of them"),
    ("figure-8", "8", "What is stored, beside what a `torch.save` after each epoch writes"),
    ("figure-9", "9", "By how much the estimate of a version's replay is off"),
    ("figure-10", "10", "How much sooner a column is there on many workers"),
)


def summary(systems: Systems) -> dict[str, Any]:
    """The last line's figures."""
    measured = [found for found in systems.values() if "levels" in found]
    recorded = [found for found in systems.values() if "record_overhead_pct" in found]
    errors = [e for found in measured for told in found["levels"].values() for e in told["estimate_errors_pct"]]
    stored, saved = (sum(found[key] for found in measured) for key in ("bytes_stored", "bytes_saved"))
    return {
        "systems": len(measured),
        "systems_exact": sum(found["values_exact"] == found["values_compared"] > 0 for found in measured),
        **{key: sum(found[key] for found in measured) for key in ("values_compared", "values_exact", "values_wrong")},
        "refused": sum(found["refused"] for found in measured),
        "speedup_outer_median": _of([found["levels"]["outer"]["speedup"] for found in measured], median),
        "speedup_inner_median": _of([found["levels"]["inner"]["speedup"] for found in measured], median),
        "speedup_prefix_median": _of([found["levels"]["prefix"]["speedup"] for found in measured], median),
        "record_overhead_mean_pct": _of([found["record_overhead_pct"] for found in recorded], fmean),
        "long_run_overhead_mean_pct": _of([found["long_run_overhead_pct"] for found in recorded], fmean),
        "bytes_vs_torch_save": round(stored / saved, 3) if saved else None,
        "estimate_error_mean_pct": _of(errors, fmean),
        "lines_added_median": _of([found["lines_added"] for found in measured], median),
    }


def _of(values: Sequence[float | None], how: Callable[[Sequence[float]], float]) -> float | None:
    known = [value for value in values if value is not None]
    return round(how(known), 2) if known else None


def table(systems: Systems) -> str:
    """For a terminal."""
    return text_tables.render(_COLUMNS, [_row(found) for found in systems.values()], width=220)


def _row(found: Mapping[str, Any]) -> list[str]:
    """Of one system; "" for what was not measured."""
    if "levels" not in found:
        return ["", "", "", "", _cell(found, "record_overhead_pct"), _cell(found, "long_run_overhead_pct"), *[""] * 10]
    levels = found["levels"]
    errors = [e for told in levels.values() for e in told["estimate_errors_pct"]]
    seconds = [f"{sum(levels[level]['seconds']):.2f}" for level in ("inner", "outer", "prefix")]
    return [
        found["title"],
        f"{found['model_bytes'] / 1e6:.2f} MB",
        str(found["versions"]),
        str(found["lines_added"]),
        _cell(found, "record_overhead_pct"),
        _cell(found, "long_run_overhead_pct"),
        f"{found['bytes_vs_torch_save']:.2f}",
        f"{sum(found['from_start_seconds']):.2f}",
        *seconds,
        f"{fmean(errors):.0f}" if errors else "",
        *(str(found[key]) for key in ("values_compared", "values_exact", "values_wrong", "refused")),
    ]


def _cell(found: Mapping[str, Any], key: str) -> str:
    return f"{found[key]:.1f}" if key in found else ""


def page(result: Mapping[str, Any], all_systems: Iterable[System]) -> str:
    """docs/systems.md. Of what was not measured yet it has no numbers."""
    measured = {name: found for name, found in result["systems"].items() if "levels" in found}
    parts = [_INTRODUCTION, _about(all_systems), *(_numbers(result, measured) if measured else ())]
    return "\n\n".join([*parts, _AGAIN]) + "\n"


def _numbers(result: Mapping[str, Any], measured: Systems) -> list[str]:
    whole = summary(measured)
    return [
        f"## Numbers\n\nMeasured on {result['machine']}, {result['date']}, with the size *tiny*: "
        f"{whole['values_exact']:,} of {whole['values_compared']:,} values are exact, {whole['values_wrong']} are "
        f"wrong, {whole['refused']} were refused.",
        _markdown(_COLUMNS, [_row(found) for found in measured.values()]),
        _NOTES,
        *(f"## Figure {number}\n\n{say}.\n\n![{say}](pictures/systems-{name}.svg)" for name, number, say in _FIGURES),
    ]


def _about(all_systems: Iterable[System]) -> str:
    columns = ("model", "size in the papers", "data", "objective", "evaluation", "versions", "lines added")
    rows = [
        [s.title, s.paper_size, s.data, s.objective, s.evaluation, str(len(s.versions)), str(s.lines_added()[0])]
        for s in all_systems
    ]
    return f"{_markdown(columns, rows)}\n\nLines added are those beside `flor.log`: an import, the state, two loops."


def _markdown(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


_INTRODUCTION = """# The papers' systems

The paper and the poster name the models on which FlorDB was evaluated. `bench/systems` has them as their users
write them: plain training scripts with their data preparation and tokenizers, random weights, and a history of
versions each, in which hyper-parameters, names, optimizers and augmentation change, evaluation becomes a function
and a module is split off. `bench/systems.py` records all versions, adds statements to the newest one (a gradient
norm for each step; confusion matrices, attention entropies and activation histograms for each epoch; parameters and
statistics of the data before the loop), fills the columns for all versions on Ray, and compares every value, bit
for bit, with runs that had the statements in them from the start."""

_NOTES = """Seconds are those of processors, imports left out on both sides: a replay's are those of a warm worker
on Ray with all that is below it, those *from start* are of scripts with the statements in them, run again without
recording. *Overhead* is that of a run of a minute, start and exit included; *long run* is what checkpoints take of
the epochs' time, which is what a run of hours pays. *Bytes* are those of all that is stored, with a checkpoint
after each epoch, against `torch.save` of the same state after each epoch. *Estimate off* compares what `explain`
says with the worker's own clock; it is measured on machines that do other things too. A value of each step takes
all steps again, and with sizes as small as these the guards around it are seen beside them: on one worker that is
no faster than running again, and what it gains are the workers (Figure 10)."""

_AGAIN = """## Measure it yourself

```text
python bench/systems.py --quick              # three systems
python bench/systems.py --placing            # where statements come to stand; nothing runs
python bench/systems.py --only gpt2 --keep   # one system, kept beside what is there
python bench/systems.py --overhead --keep    # all of it
```

`--keep` writes the numbers to `bench/results`, and this page. Each script takes `--size paper`, the papers'
configuration, for a GPU."""
