"""The command line, `flor-ray`. Its commands about replays, storage and settings are in `replays`, `storage`,
`configuration` and `health`.

What lives in these: words, questions, progress and exit statuses. What the commands do is in `flor_ray.pipeline`. With
these modules only words are imported: each command imports what it needs when it runs, so that it answers at once.

    exit status   0 done   1 something could not be answered   2 the command line was wrong   130 Ctrl-C
"""

from __future__ import annotations

import io
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, TracebackType
from typing import TextIO

import click

from flor_ray import __version__
from flor_ray.cli.options import store_option, workers_option
from flor_ray.cli.saying import say
from flor_ray.errors import FlorError, FlorWarning, ReplayStopped, UsageError

_CAPTURE = "--capture"  # of `run`


def _about_replays() -> ModuleType:
    from flor_ray.cli import replays

    return replays


def _about_questions() -> ModuleType:
    from flor_ray.cli import questions

    return questions


def _about_storage() -> ModuleType:
    from flor_ray.cli import storage

    return storage


def _about_jobs() -> ModuleType:
    from flor_ray.cli import jobs

    return jobs


def _about_settings() -> ModuleType:
    from flor_ray.cli import configuration

    return configuration


def _about_data() -> ModuleType:
    from flor_ray.cli import data

    return data


def _about_imports() -> ModuleType:
    from flor_ray.cli import imports

    return imports


def _about_the_page() -> ModuleType:
    from flor_ray.cli import page

    return page


def _about_adopting() -> ModuleType:
    from flor_ray.cli import adopting

    return adopting


def _about_health() -> ModuleType:
    from flor_ray.cli import health

    return health


def _about_proposals() -> ModuleType:
    from flor_ray.cli import proposing

    return proposing


_ELSEWHERE: dict[str, Callable[[], ModuleType]] = {
    **dict.fromkeys(("explain", "replay", "simulate", "timeline"), _about_replays),
    **dict.fromkeys(("columns", "query"), _about_questions),
    **dict.fromkeys(("compact", "gc", "storage"), _about_storage),
    **dict.fromkeys(("cancel", "jobs", "logs", "status", "submit"), _about_jobs),
    "adopt": _about_adopting,
    "config": _about_settings,
    "data": _about_data,
    "doctor": _about_health,
    "import": _about_imports,
    "init": _about_proposals,
    "ui": _about_the_page,
}


class _Commands(click.Group):
    """The commands of this module, and those of others, which are imported when one of theirs is asked for."""

    def list_commands(self, context: click.Context) -> list[str]:
        return sorted({*self.commands, *_ELSEWHERE})

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        if name in _ELSEWHERE and name not in self.commands:
            module = _ELSEWHERE[name]()
            self.add_command(getattr(module, name, None) or getattr(module, f"{name}_"))  # `import_`
        return super().get_command(context, name)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__)
@click.pass_context
def cli(context: click.Context) -> None:
    """Multiversion hindsight logging: add a log line today, read its values for every past run.

    \b
    Examples:
      flor-ray demo                                  see all of it in two minutes
      flor-ray init train.py                         the calls that a script needs, as a diff
      flor-ray run train.py --lr 0.01                record a run
      flor-ray versions                              what was recorded
      flor-ray propagate grad_norm --diff            where a new log line would stand in old versions
      flor-ray explain grad_norm                     what a new column would cost
      flor-ray replay grad_norm --where "epoch >= 3" fill it
      flor-ray submit replay grad_norm               the same on a cluster, as a job of its own
      flor-ray jobs                                  which replays run, wherever they do
      flor-ray timeline                              what each worker did meanwhile
      flor-ray simulate grad_norm --workers 1,8,64   how long it would take elsewhere
      flor-ray dataframe grad_norm loss              read it
      flor-ray columns                               what can be asked for
      flor-ray query "SELECT ..."                    ask in SQL; what the answer lacks is replayed
      flor-ray ui                                    look at it in a browser
      flor-ray storage                               what the store holds
      flor-ray gc --keep last --dry-run              what could be deleted
      flor-ray compact                               few large files instead of many small ones
      flor-ray data push                             what runs have read, for every machine
      flor-ray import mlruns                         runs that MLflow, wandb or TensorBoard recorded
      flor-ray adopt HEAD~9 --checkpoints ckpt -- python train.py    a run from before flor_ray
      flor-ray doctor                                whether store, cluster and nodes are well
      flor-ray config                                the settings, and where each is from
    """
    if context.invoked_subcommand != run.name and isinstance(sys.stdout, io.TextIOWrapper):
        # Names of runs, arguments and values may stand for bytes that are no UTF-8. What a script prints is its own.
        sys.stdout.reconfigure(errors="backslashreplace")


@cli.command(
    short_help="Record a run of a training script.",
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False, "help_option_names": []},
    add_help_option=False,
    options_metavar="",
)
@click.argument(
    "words",
    nargs=-1,
    type=click.UNPROCESSED,
    metavar="[--flor NAME] [--kwargs k=v ...] [--capture] SCRIPT [ARGUMENTS ...]",
)
@click.pass_context
def run(context: click.Context, words: tuple[str, ...]) -> None:
    """Record a run of a training script. What follows SCRIPT is its own; no flag of ours is among it.

    --flor gives the run a name, --kwargs gives values to flor.arg. With --capture, numbers that the script prints or
    logs with `logging` become features, such as `loss` from "loss: 0.3", "loss=0.3" or "epoch 2 - loss 0.3", also in a
    tqdm bar. Names that the script gives to flor.log stay its own. Not captured: tables, numbers with a unit, and what
    subprocesses and worker processes print.

    \b
    Examples:
      flor-ray run train.py --lr 0.01
      flor-ray run --flor bigger_batch --kwargs batch_size=256 train.py --epochs 5
      flor-ray run --capture train.py
    """
    import contextlib
    import runpy

    from flor_ray.recording import flags, session

    ours, rest = _split_run(words)
    taken, unknown = flags.parse([word for word in ours if word != _CAPTURE])
    if not rest or rest[0] in ("-h", "--help"):
        say(context.get_help(), err=not rest)
        context.exit(0 if rest else 2)
    if unknown:
        raise UsageError(f"flor-ray run does not know {' '.join(unknown)}; arguments of the script come after it.")
    from flor_ray.automatic.capture import capturing
    from flor_ray.recording.recorder import Recorder

    script = Path(rest[0])
    if not script.is_file():
        raise UsageError(f"There is no script {script} here. Usage: flor-ray run [--flor NAME] SCRIPT [ARGUMENTS ...]")
    if _CAPTURE in ours and taken.replaying:
        raise UsageError(
            "--capture records what a script prints; captured output is not replayed. Leave one of them out."
        )
    flags.set_current(taken)
    sys.argv = [str(script), *rest[1:]]
    sys.path[0] = str(script.resolve().parent)
    try:
        with capturing(script) if _CAPTURE in ours else contextlib.nullcontext():
            runpy.run_path(str(script), run_name="__main__")
    except BaseException as error:
        recorder = session.installed()
        if isinstance(recorder, Recorder):
            recorder.failed(error)
        if not isinstance(error, Exception) or isinstance(error, FlorError | click.ClickException):
            raise
        error.__traceback__ = _from_script(error.__traceback__, script)
        sys.excepthook(type(error), error, error.__traceback__)  # the script's own, if it has set one
        raise SystemExit(1) from None


def _from_script(trace: TracebackType | None, script: Path) -> TracebackType | None:
    """The part of a traceback that the script would have without us."""
    while trace is not None and trace.tb_frame.f_code.co_filename != str(script):
        trace = trace.tb_next
    return trace


def _split_run(words: tuple[str, ...]) -> tuple[list[str], list[str]]:
    """Our flags before the script, and the script with all that follows it."""
    from flor_ray.recording import flags

    index = 0
    while index < len(words) and words[index].startswith("--"):
        name, _, attached = words[index].partition("=")
        index += 1
        if name == "--":
            break
        if name == "--flor" and not attached:
            index += 1
        elif name == "--kwargs":
            while index < len(words) and "=" in words[index] and not words[index].startswith("-"):
                index += 1
        elif name not in (*flags.NAMES, _CAPTURE):
            return [], list(words[index - 1 :])
    return [word for word in words[:index] if word != "--"], list(words[index:])


@cli.command()
@click.option("--verbose", "-v", is_flag=True, help="Say of each version which checkpoints were taken, and why.")
@store_option
def versions(verbose: bool, store: str | None) -> None:
    """List recorded versions, oldest first.

    \b
    Examples:
      flor-ray versions               one line per run
      flor-ray versions --verbose     and which checkpoints each of them has
    """
    from flor_ray.cli import terminal
    from flor_ray.store.project import Project

    project = Project.open(store_url=store)
    terminal.print_versions(project.listed_runs())
    if not verbose:
        return
    from flor_ray.reports import replays

    for experiment in project.experiments():
        place = project.name, experiment.version
        taken, skips = project.store.checkpoints(*place), project.store.skips(*place)
        say("\n" + replays.checkpointing(experiment, taken, skips, experiment.profile.epochs))


@cli.command(short_help="Print logged values as a table.")
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--csv", type=click.Path(dir_okay=False), help="Write to this file instead of the terminal.")
@click.option(
    "--level",
    type=click.Choice(["d", "o", "i"]),
    help="Rows and values of one level: d outside the main loop, o in it, i in the nested loop.",
)
@click.option(
    "--ranks",
    type=click.Choice(["first", "all"]),
    default="first",
    help="Of runs of several processes, the values of the first one, or of all that were replayed.",
)
@store_option
def dataframe(names: tuple[str, ...], csv: str | None, level: str | None, ranks: str, store: str | None) -> None:
    """Print logged values as a table, recorded and replayed ones alike; all features if no NAME is given.

    There is a row per version, per epoch or per step: the finest of these at which one of the features was logged.
    What is missing is NaN; `flor-ray replay` fills it. Where a version logged one name at several levels, such as loss
    per step and per epoch, its column has the finest, and loss_o and loss_d have those in and outside of the main loop.

    \b
    Examples:
      flor-ray dataframe                         everything
      flor-ray dataframe loss accuracy           two features side by side
      flor-ray dataframe loss --level o          its values per epoch
      flor-ray dataframe loss --csv loss.csv     all rows, in a file
    """
    from flor_ray import lookup
    from flor_ray.cli import terminal

    if csv is not None:
        frame = lookup.dataframe(*names, store_url=store, level=level, ranks=ranks)
        terminal.write_csv(frame, csv)
        say(f"{len(frame)} rows written to {csv}.")
        return
    if ranks == "all":
        say(lookup.dataframe(*names, store_url=store, level=level, ranks=ranks).to_string(index=False))
        return
    found = lookup.answer(names, store_url=store, level=level)
    for sentence in found.sentences:
        say(f"Warning: {sentence}", err=True)
    terminal.print_pivot(found.pivot)


@cli.command(short_help="Say where a log statement would stand in old versions.")
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@click.option(
    "--versions",
    "prefixes",
    multiple=True,
    metavar="V",
    help="Only versions whose ids begin with this; separate several by commas, or repeat it.",
)
@click.option("--diff", is_flag=True, help="Print what is put into each version's files.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON: one object per version and statement.")
@click.option("--version", metavar="V", help="Pin: in the file of the version whose id begins with this,")
@click.option("--line", type=click.IntRange(1), metavar="N", help="... after line N; at a header: first in its body,")
@click.option(
    "--indent", type=click.IntRange(0), metavar="COLUMN", help="... in the block at this column, if several end there;"
)
@click.option("--file", metavar="PATH", help="... in this file of the version; default: the one that corresponds.")
@click.option(
    "--statement", type=click.IntRange(1), metavar="LINE", help="Line of the statement to pin, if NAME has several."
)
@click.option("--remove", is_flag=True, help="Remove the pins of --version V.")
@store_option
def propagate(
    names: tuple[str, ...],
    prefixes: tuple[str, ...],
    diff: bool,
    as_json: bool,
    version: str | None,
    line: int | None,
    indent: int | None,
    file: str | None,
    statement: int | None,
    remove: bool,
    store: str | None,
) -> None:
    """Say where the statements that log NAME would stand in old versions, and how sure that is. Runs nothing.

    Lines are those of the patched file; of what was refused, the line of the version's own file after which it might
    belong. Exits with 1 if anything was refused.

    With --version and --line you decide: the statement stands after that line, in all versions with the same file, and
    versions near by are patched from there. Pins are kept in the store, until the statement itself is edited.

    \b
    Examples:
      flor-ray propagate grad_norm                                 a line per version
      flor-ray propagate grad_norm --diff | less                   what is put where
      flor-ray propagate grad_norm --versions a1b2c3,d4e5f6 --diff
      flor-ray propagate grad_norm --version a1b2c3 --line 42      pin it there
      flor-ray propagate grad_norm --version a1b2c3 --line 42 --indent 4
      flor-ray propagate grad_norm --version a1b2c3 --remove       leave it to us again
    """
    deciding = {
        "--line": line,
        "--indent": indent,
        "--file": file,
        "--statement": statement,
        "--remove": remove or None,
    }
    given = [option for option, value in deciding.items() if value is not None]
    if version is None:
        if given:
            raise UsageError(f"{given[0]} needs --version V, the version whose file it refers to.")
        _look(names, prefixes, diff, as_json, store)
        return
    if prefixes or diff or as_json or len(names) != 1:
        raise UsageError("A pin is for one NAME in one --version; leave out --versions, --diff and --json.")
    if remove == (line is not None) or (remove and len(given) > 1):
        raise UsageError("--version V goes with either --line N, to pin, or --remove. (--versions V only looks.)")
    _decide(names[0], version, line, indent, file, statement, store)


def _look(names: tuple[str, ...], prefixes: tuple[str, ...], diff: bool, as_json: bool, store: str | None) -> None:
    """Say where statements would stand; exits with 1 if one would nowhere."""
    import json

    from flor_ray.cli import progress, terminal
    from flor_ray.patching import statements
    from flor_ray.reports import placements
    from flor_ray.store.project import Project

    words = [prefix.strip() for word in prefixes for prefix in word.split(",")]
    with progress.counting() as tell:
        found = statements.propagated(Project.open(store_url=store), names, words or None, tell)
    if as_json:
        say(json.dumps(placements.as_json(found, diff), indent=1))
    elif diff:
        terminal.print_diff(placements.diffs(found))
    else:
        say(placements.table(found, terminal.width()))
        for sentence in placements.advice(found):
            say(sentence)
    for note in found.notes:
        say(f"Note: {note}.", err=as_json or diff)
    if any(patched.refused for patched in found.patched.values()):
        raise SystemExit(1)


def _decide(
    name: str,
    version: str,
    line: int | None,
    indent: int | None,
    file: str | None,
    statement: int | None,
    store: str | None,
) -> None:
    """Pin a statement, or remove its pins, and show what that comes to."""
    from flor_ray.cli import progress, terminal
    from flor_ray.patching import statements
    from flor_ray.records import Pin
    from flor_ray.reports import placements
    from flor_ray.store.project import Project

    project = Project.open(store_url=store)
    if line is None:
        say(placements.unpinned(statements.unpin(project, name, version)))
        return
    with progress.counting() as tell:
        done = statements.pin(project, name, version, Pin(line, indent), file, statement, tell)
    terminal.print_diff(placements.pinned(done) + "\n")


@cli.command(short_help="See all of it in two minutes.")
@click.option(
    "--dir",
    "directory",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder to create; default: flor-demo, or flor-demo-2, ...",
)
@workers_option
def demo(directory: Path | None, workers: int | None) -> None:
    """Record six versions of a digits classifier, add a log statement, and fill its column for all of them.

    The folder stays, with a git repository and the recorded versions in it, for you to play on. Its replay runs on
    Ray, as on a cluster.

    \b
    Examples:
      flor-ray demo
      flor-ray demo --dir /tmp/flor-demo --workers 2
    """
    from flor_ray.cli import demo as story

    story.tell(directory, workers)


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Our warnings are for the user, and need no file name and line."""
    say(f"Warning: {message}" if issubclass(category, FlorWarning) else f"{category.__name__}: {message}", err=True)


def main() -> None:
    """Entry point: errors that are ours become one message and an exit status."""
    warnings.showwarning = _show_warning
    try:
        status = cli(prog_name="flor-ray", standalone_mode=False)
        raise SystemExit(status if isinstance(status, int) else 0)
    except click.ClickException as error:
        error.show()
        raise SystemExit(error.exit_code) from None
    except (click.Abort, KeyboardInterrupt):
        say("Stopped. What was finished is kept.", err=True)
        raise SystemExit(130) from None
    except ReplayStopped as error:
        say(error, err=True)
        raise SystemExit(130) from None
    except FlorError as error:
        say(f"Error: {error}", err=True)
        raise SystemExit(2 if isinstance(error, UsageError) else 1) from None
