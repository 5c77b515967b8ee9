"""The poster's story, for real: six versions of a digits classifier, one late log statement, a filled column."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from importlib import resources
from pathlib import Path

from flor_ray import asked_terms, lookup, pipeline
from flor_ray.acquisition import Acquisition, How
from flor_ray.cli.saying import say
from flor_ray.cli.terminal import print_frame, print_rows, run_with_progress, width
from flor_ray.cluster.places import LOCAL, RAY, Place
from flor_ray.errors import FlorError, UsageError
from flor_ray.planning.replay_plan import Prepared
from flor_ray.planning.terms import Terms
from flor_ray.records import Outcome
from flor_ray.reports import questions, replays
from flor_ray.reports.text_tables import render
from flor_ray.store.project import Project

_COLUMNS = ("cf_matrix", "hidden_size", "lr", "batch_size", "accuracy")
_WANTED = ("cf_matrix", "accuracy")
_BEFORE = '    flor.log("accuracy"'
_STATEMENT = '    flor.log("confidence", logits.softmax(1).max(1).values.mean().item())\n'
_SQL = """SELECT run, epoch, accuracy, confidence
FROM outer_loop_pivot
ORDER BY accuracy DESC, timestamp, epoch
LIMIT 3"""


def tell(directory: Path | None, workers: int | None) -> None:
    """Record, ask, replay and read, in `directory` (default: the first free of flor-demo, flor-demo-2, ...).

    Raises:
        UsageError: the folder is not empty, or scikit-learn is not installed.
        FlorError: something could not be recorded or replayed.
    """
    place = record_all(directory, say)
    say("\nThe last version logs two things that the others do not:\n")
    _show_table(place)

    say(f"\nflor.replay({list(_WANTED)}, 'cf_matrix.isna()')\n")
    project = Project.open(str(place))
    prepared = pipeline.prepare(project, _WANTED, "cf_matrix.isna()", asked_terms.parse_terms(workers))
    say(f"{pipeline.explained(prepared, Place(RAY))}\n")
    outcome = run_with_progress(prepared, executor=RAY)  # as on a cluster, although it is over before Ray has started
    problems = replays.problems(prepared, outcome)
    for problem in problems:
        say(f"Warning: {problem}", err=True)

    say("\nThe same table:\n")
    _show_table(place)
    say("\nTime per version:\n")
    seconds = replays.summary(prepared, outcome)[["run", "timestamp", "version", "seconds", "outcome"]]
    print_frame(seconds.assign(version=seconds["version"].str[:8]))
    problems += _ask(place)
    say(
        f"\nAll of it is in {place}: change train.py, run it, ask for another column.\n"
        f"  cd {place}\n"
        "  flor-ray dataframe loss accuracy\n"
        "  flor-ray columns\n"
        "  flor-ray versions"
    )
    if problems:
        raise FlorError(f"{len(problems)} of the demo's replays did not go as they should; see the warnings above.")


def _ask(place: Path) -> list[str]:
    """One more statement, and one question in SQL that replays no more than its answer needs. What went wrong."""
    script = place / "train.py"
    script.write_text(script.read_text(encoding="utf-8").replace(_BEFORE, _STATEMENT + _BEFORE), encoding="utf-8")
    say(f"\nA statement more, saved and not run:\n\n{_STATEMENT}\nHow sure was the model in the best epochs of all?\n")
    say("\n".join(f"  {line}" for line in _SQL.splitlines()))
    question = Acquisition(Project.open(str(place)), _SQL)
    problems: list[str] = []

    def run(prepared: Prepared) -> Outcome:
        outcome = run_with_progress(prepared, executor=LOCAL)  # for three epochs
        problems.extend(replays.problems(prepared, outcome))
        return outcome

    how = How(lambda: Terms(1), lambda explanation: True, run, "current")
    rows, text = question.explained(how)
    say(f"\n{render(questions.EXPLAINED, rows, width())}\n{text}\n")
    question.acquire(how)
    answer = question.answer()
    say("")
    print_rows(answer.table.column_names, list(zip(*(c.to_pylist() for c in answer.table.columns), strict=True)))
    problems += answer.sentences
    for problem in problems:
        say(f"Warning: {problem}", err=True)
    return problems


def record_all(directory: Path | None, say: Callable[[str], object] = lambda line: None) -> Path:
    """Record the six versions, one after another, in a new git repository. Returns its folder."""
    place = _make(directory)
    say(f"Recording six versions of train.py in {place}\n")
    for name, text in _versions():
        _record(place, name, text, say)
    return place


def _make(directory: Path | None) -> Path:
    try:
        import sklearn  # noqa: F401 - the demo's script needs it, for its data
    except ImportError:
        raise UsageError("The demo uses scikit-learn's digits: pip install 'flor_ray[demo]'") from None
    if directory is None:
        candidates = (Path(f"flor-demo{suffix}") for suffix in ["", *(f"-{n}" for n in range(2, 1000))])
        directory = next(path for path in candidates if not path.exists())
    if directory.exists() and any(directory.iterdir()):
        raise UsageError(f"{directory} is not empty. Choose another folder with --dir, or delete it.")
    directory.mkdir(parents=True, exist_ok=True)
    subprocess.run(["git", "init", "--quiet", str(directory)], check=True)
    return directory.resolve()


def _versions() -> list[tuple[str, str]]:
    """Run name and text of each version, in order."""
    files = sorted(resources.files("flor_ray").joinpath("demo_versions").iterdir(), key=lambda file: file.name)
    scripts = [file for file in files if file.name.endswith(".py")]
    return [(file.name.removesuffix(".py").partition("_")[2], file.read_text(encoding="utf-8")) for file in scripts]


def _record(place: Path, name: str, text: str, say: Callable[[str], object]) -> None:
    (place / "train.py").write_text(text, encoding="utf-8")
    say(f"$ python train.py --flor {name}")
    command = [sys.executable, "train.py", "--flor", name]
    environment = {"OMP_WAIT_POLICY": "PASSIVE"} | os.environ  # on a busy machine, threads that spin double the time
    ran = subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True, check=False)
    if ran.returncode != 0:
        raise FlorError(f"`{' '.join(command)}` in {place} ended with status {ran.returncode}:\n{ran.stderr}")
    for line in (*ran.stdout.splitlines()[-1:], *ran.stderr.splitlines()):
        say(f"  {line}")


def _show_table(place: Path) -> None:
    """One row per version, as on the poster: the values of its last epoch."""
    frame = lookup.dataframe(*_COLUMNS, path=str(place))
    last = frame.groupby("version", sort=False).tail(1)
    print_frame(last[["run", "timestamp", *_COLUMNS]])
