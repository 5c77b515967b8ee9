"""The command about runs from before flor_ray: adopt."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING, Any

import click

from flor_ray.cli.options import store_option
from flor_ray.cli.saying import say

if TYPE_CHECKING:
    from flor_ray.adopting.proposing import AdoptionTerms


@click.command(
    short_help="Make versions of runs from before flor_ray.",
    context_settings={"ignore_unknown_options": False},
    options_metavar="[OPTIONS]",
)
@click.argument("commit", required=False)
@click.argument("command", nargs=-1, type=click.UNPROCESSED, metavar="-- COMMAND...")
@click.option(
    "--checkpoints",
    metavar="PATTERN",
    help="The run's checkpoint files: a folder, or a pattern such as 'ckpt/epoch_{epoch}.pt' or 'out/checkpoint-*'.",
)
@click.option(
    "--runs",
    metavar="FILE",
    help="Several runs: a CSV or YAML file with commit, command, checkpoints and, if wanted, run, for each; or, with "
    "COMMIT and COMMAND, a pattern for their folders, such as 'runs/*'.",
)
@click.option("--state", "states", multiple=True, metavar="KEY=VARIABLE", help="What fills a state: model=net.")
@click.option("--loop", type=click.IntRange(1), metavar="LINE", help="The line of the script's main loop.")
@click.option("--first-epoch", type=int, metavar="N", help="The number that files of the first epoch have.")
@click.option("--steps-per-epoch", type=click.IntRange(1), metavar="N", help="Where files are numbered by steps.")
@click.option("--unchanged", multiple=True, metavar="VARIABLE", help="A variable that no epoch changes.")
@click.option("--name", default="", help="The run's name.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--dry-run", is_flag=True, help="Only say what would be adopted.")
@store_option
def adopt(commit: str | None, command: tuple[str, ...], store: str | None, **given: Any) -> None:
    """Make a version of a run from before flor_ray, of which there are a git COMMIT, the COMMAND that started it, and
    its checkpoint files. What is logged at the end of epochs can then be answered from these files, also in statements
    that are written today; nothing is trained again.

    Files are torch.save's of state_dicts (.pt, .pth, .bin), safetensors, Lightning's .ckpt, and folders of Hugging
    Face's Trainer (checkpoint-500). They are read without running anything in them, and copied into the store; what
    several have in common is kept once. Which variable each part of a file fills is read in the script, shown, and
    confirmed. Your branch, index and files stay as they are. The same run twice is one version.

    \b
    Examples:
      flor-ray adopt HEAD~12 --checkpoints 'ckpt/epoch_{epoch}.pt' -- python train.py --lr 0.1
      flor-ray adopt 3f2c1d0 --checkpoints out/ --dry-run -- python finetune.py     Hugging Face: checkpoint-*
      flor-ray adopt main --checkpoints lightning_logs/version_3/checkpoints -- python fit.py
      flor-ray adopt HEAD --checkpoints w --state =net --first-epoch 0 -- python train.py
      flor-ray adopt HEAD --runs 'runs/*' -- python train.py      a folder of checkpoint files each
      flor-ray adopt --runs runs.csv --yes                        commit,command,checkpoints,run
    """
    from flor_ray.adopting import keeping, proposing
    from flor_ray.adopting.keeping import Adoption, AdoptionFate
    from flor_ray.cli import progress
    from flor_ray.errors import UsageError
    from flor_ray.patching import statements
    from flor_ray.reports import adoptions
    from flor_ray.store import not_loaded
    from flor_ray.store.project import Project

    project = Project.open(store_url=store)
    pickles = not_loaded.allowed(project.pickles)
    proposals = []
    for terms in _terms(commit, command, given):
        full, _ = project.repository.commit_of(terms.commit)
        texts = statements.texts_of_commit(project, full)
        found = proposing.proposal(terms, full, texts, project.repository.root, pickles)
        say(adoptions.proposed(found))
        proposals.append(found)
    if given["dry_run"]:
        fates = [keeping.what_would_be(project, each) for each in proposals]
        say(adoptions.done(fates, dry_run=True))
        return
    if not given["yes"]:
        if not sys.stdin.isatty():
            raise UsageError("Nobody is there to confirm that: look at it with --dry-run, and say --yes.")
        click.confirm(f"Adopt {'it' if len(proposals) == 1 else 'them'} so?", abort=True)
    made: list[Adoption] = []
    with progress.counting() as tell:
        for each in proposals:
            made.append(keeping.adopt(project, each, pickles, tell))
    say(adoptions.done(made, dry_run=False))
    if any(one.fate is AdoptionFate.CHANGED for one in made):
        say(
            "Note: a run that has other checkpoint files than when it was adopted stays as it was adopted. To have it "
            "anew, delete its version first, or adopt it into another store (--store).",
            err=True,
        )
        raise SystemExit(1)


def _terms(commit: str | None, command: tuple[str, ...], given: dict[str, Any]) -> list[AdoptionTerms]:
    """What is said of each run."""
    import glob
    import os
    import shlex

    from flor_ray.adopting.proposing import AdoptionTerms
    from flor_ray.errors import UsageError

    states = tuple(_pair(text) for text in given["states"])
    same = states, given["loop"], given["first_epoch"], given["steps_per_epoch"], given["unchanged"]
    listed = given["runs"]
    if listed is not None and commit is None:
        rows = _rows(listed)
        return [
            AdoptionTerms(r["commit"], tuple(shlex.split(r["command"])), r["checkpoints"], *same, r.get("run", ""))
            for r in rows
        ]
    if commit is None or not command:
        raise UsageError(
            "Say which commit ran, and how: flor-ray adopt COMMIT --checkpoints 'ckpt/epoch_{epoch}.pt' -- python "
            "train.py"
        )
    if listed is not None:
        folders = sorted(path for path in glob.glob(listed) if os.path.isdir(path))
        if not folders:
            raise UsageError(f"No folder is at {listed}.")
        inside = given["checkpoints"] or ""
        named = [(folder, os.path.join(folder, inside) if inside else folder) for folder in folders]
        return [AdoptionTerms(commit, command, path, *same, os.path.basename(f)) for f, path in named]
    if given["checkpoints"] is None:
        raise UsageError("Say where its checkpoint files are: --checkpoints 'ckpt/epoch_{epoch}.pt', or a folder.")
    return [AdoptionTerms(commit, command, given["checkpoints"], *same, given["name"])]


def _rows(path: str) -> list[dict[str, str]]:
    """The runs of a CSV or YAML file. Raises UsageError if it says too little of one."""
    import csv

    from flor_ray import settings_file
    from flor_ray.errors import UsageError

    try:
        if path.endswith((".yaml", ".yml")):
            listed = settings_file.rows_of(path)
        else:
            with open(path, newline="", encoding="utf-8") as file:
                listed = [dict(row) for row in csv.DictReader(file)]
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}.") from error
    for number, row in enumerate(listed, start=1):
        lacking = [key for key in ("commit", "command", "checkpoints") if not row.get(key)]
        if lacking:
            raise UsageError(f"Run {number} of {path} has no {lacking[0]}: each needs commit, command and checkpoints.")
    return [{key: str(value) for key, value in row.items() if value is not None} for row in listed]


def _pair(text: str) -> tuple[str, str]:
    from flor_ray.errors import UsageError

    key, equals, expression = text.rpartition("=")
    if not equals or not re.fullmatch(r"[^\W\d]\w*(\.[^\W\d]\w*)*", expression):
        raise UsageError(f"--state {text}: give KEY=VARIABLE, such as model=net; =net for files that are a state.")
    return key, expression
