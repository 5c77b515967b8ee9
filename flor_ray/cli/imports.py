"""The command about runs that other programs recorded: import."""

from __future__ import annotations

import click

from flor_ray.cli.options import store_option
from flor_ray.cli.saying import say
from flor_ray.importing.kinds import KINDS


@click.command("import", short_help="Import runs of TensorBoard, wandb, MLflow or FlorDB.")
@click.argument("path", type=click.Path())
@click.option("--kind", type=click.Choice(list(KINDS)), help="Whose runs are meant, where PATH holds those of several.")
@click.option(
    "--as", "project", metavar="PROJECT", help="Project that they become a part of; default: the one you are in."
)
@click.option(
    "--epochs",
    metavar="WORD",
    help="What of the source are epochs: `step` (its steps), or the name of a metric that says the epoch.",
)
@click.option("--unfinished", is_flag=True, help="Also take runs that are still going on, as they are now.")
@click.option("--dry-run", is_flag=True, help="Only say what would be imported.")
@store_option
def import_(
    path: str,
    kind: str | None,
    project: str | None,
    epochs: str | None,
    unfinished: bool,
    dry_run: bool,
    store: str | None,
) -> None:
    """Import the runs that TensorBoard, wandb, MLflow or FlorDB recorded at PATH, a file or a folder.

    PATH is only read. Its runs become versions with values, without code: they are in every table and question like
    others, and nothing of them can be replayed. What is imported already is not imported again; what could not be taken
    is said. Exits with 1 if a run could not be read, is still going on, or has changed since it was imported.

    Parameters are values outside the main loop. Metrics keep their steps, in epoch 1, unless --epochs says what the
    epochs are. FlorDB's loops are the loops.

    \b
    Examples:
      flor-ray import runs/                              TensorBoard: each folder with event files
      flor-ray import wandb/ --dry-run                   what there is
      flor-ray import mlruns --epochs step               metrics were logged once an epoch
      flor-ray import mlflow.db --kind mlflow
      flor-ray import lightning_logs --epochs epoch      the metric `epoch` says the epoch
      flor-ray import ~/.flor/digits.db --as digits
    """
    from flor_ray.cli import progress
    from flor_ray.importing import arriving
    from flor_ray.reports import imports
    from flor_ray.store.project import Project

    opened = Project.open(store_url=store)
    wanted = arriving.ImportTerms(path, project or opened.name, kind, epochs, unfinished, dry_run)
    done = arriving.ImportDone()
    try:
        with progress.counting() as tell:
            arriving.import_runs(opened.store, wanted, done, tell)
    except BaseException:
        if done.arrivals:
            say(imports.table(done, wanted))
        raise
    say(imports.table(done, wanted))
    if project not in (None, opened.name) and not dry_run and opened.store.projects() == (project,):
        done.notes.append(
            f"{project} is the only project in {opened.store.url} now. Until there is another one, questions and runs "
            "here belong to it; `project:` in flor.yaml says otherwise."
        )
    for sentence in imports.sentences(done):
        say(f"Note: {sentence}", err=True)
    if any(arrival.fate in arriving.NOT_TAKEN for arrival in done.arrivals) or done.damaged:
        raise SystemExit(1)
