"""The commands about replays that run elsewhere: submit, jobs, status, cancel, logs."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

import click

from flor_ray.cli.options import Question, asks, limits, store_option
from flor_ray.cli.saying import say
from flor_ray.errors import UsageError

if TYPE_CHECKING:
    from flor_ray.cluster.ray_jobs import Dashboard
    from flor_ray.settings import Loaded

_COMMAND = ("python", "-m", "flor_ray.cli")  # which works where flor_ray is sent along, too
_SUBMITTED = "flor-"  # how ids of jobs begin
_NEWEST = 20  # replays that are listed
_CANCEL_SECONDS = 30.0  # a replay looks every 2 s whether it is to end, and then ends its workers
_LOOK_SECONDS = 0.5
_MISSING = ("No module named flor_ray", "No module named 'flor_ray'")
_address_option = click.option(
    "--address",
    metavar="URL",
    help="Where the cluster takes jobs: its dashboard, or its head node. Default: RAY_API_SERVER_ADDRESS, RAY_ADDRESS, "
    "`address` in flor.yaml, a cluster that runs here.",
)


@click.command(short_help="Replay on a Ray cluster, as a job of its own.")
@click.argument("command", type=click.Choice(["replay"]), metavar="replay")
@asks
@limits
@_address_option
@click.option("--ship", is_flag=True, help="Send flor_ray along, for clusters where it is not installed.")
@click.option("--no-wait", is_flag=True, help="Do not show what the job prints, nor wait for it.")
@store_option
def submit(question: Question, command: str, again: bool, ship: bool, no_wait: bool) -> None:
    """Run `flor-ray replay NAME ...` on a Ray cluster, as a job of its own, and show what it prints.

    Sent are flor.yaml and the Python files that a version would hold: no `.env`, no keys, nothing that git ignores. All
    else comes from the store, which the cluster's nodes have to reach. Ctrl-C leaves the job running. The same question
    to the same code is the same job: if it runs, you see it again; if it has ended, what is missing is replayed.

    Exits with the job's status.

    \b
    Examples:
      flor-ray submit replay grad_norm --address http://10.0.0.1:8265
      flor-ray submit replay grad_norm --where "accuracy < 95" --workers 8 --budget 2h
      flor-ray submit replay grad_norm --ship         flor_ray is not installed there
      flor-ray submit replay grad_norm --no-wait      then: flor-ray jobs, flor-ray logs ID
    """
    import tempfile
    from dataclasses import replace
    from pathlib import Path

    from flor_ray import processes, wording
    from flor_ray.cluster import job_package
    from flor_ray.cluster.ray_jobs import Dashboard
    from flor_ray.store.project import Project

    asked = question.asked
    project = Project.of(asked)
    line = _job_command(command, question, again)
    chosen = replace(asked.settings, store=project.store.url, project=project.name, address=None)
    dashboard = Dashboard.at(_address(asked))
    with tempfile.TemporaryDirectory(prefix=processes.folder_prefix("job")) as folder:
        package = job_package.make(Path(folder), project.tree, chosen, ship)
        _expect_no_secret({"The question": line, "The store's URL": project.store.url})
        known = {id: job.ended for id, job in dashboard.jobs().items()}
        id, runs = job_package.free_id(job_package.job_id(project.name, package.digest, line), known)
        if runs:
            say(f"{id} is running already.")
        else:
            runtime_env = {"working_dir": str(package.folder)}
            shipped = {"py_modules": [str(package.shipped)]} if package.shipped else {}
            dashboard.submit(id, line, {**runtime_env, **shipped})
            sent = f"{wording.counted(package.files, 'file')}, {wording.size(package.bytes)}"
            say(f"Submitted {id} to {dashboard.url} ({sent}).")
            if not project.store.files.remote:
                say(f"Its store is a folder, which each node has to have: {project.store.url}")
    if no_wait:
        say(f"`flor-ray logs {id}` shows what it prints, `flor-ray cancel {id}` ends it.")
        return
    raise SystemExit(_follow(dashboard, id))


@click.command(short_help="List replays, wherever they run.")
@click.option("--all", "every", is_flag=True, help="All that there were, not only the newest.")
@store_option
def jobs(every: bool, store: str | None) -> None:
    """List the replays of this project, oldest first: on clusters, on other machines, from Python.

    The store tells: a replay writes there every ten seconds how far it is. One that went silent, or whose process is
    gone from this machine, is lost; what it had finished is kept, and the same question goes on with the rest.

    \b
    Examples:
      flor-ray jobs
      flor-ray jobs --all
    """
    from flor_ray.cli import terminal
    from flor_ray.reports import jobs as report
    from flor_ray.store import heartbeats
    from flor_ray.store.project import Project

    project = Project.open(store_url=store)
    found = heartbeats.known(project.store.files, project.name, None if every else _NEWEST)
    say(report.table(found, terminal.width()))


@click.command(short_help="Say how a replay stands.")
@click.argument("replay", metavar="ID")
@store_option
def status(replay: str, store: str | None) -> None:
    """Say how a replay stands, and what it claims for itself, so that other replays leave it: the one whose id begins
    with ID, or that of a submitted job. Exits with 1 if it has failed or is lost.

    \b
    Examples:
      flor-ray status 20261122T16
      flor-ray status flor-digits-a1b2c3d4e5
    """
    from flor_ray.reports import jobs as report
    from flor_ray.store import claims, heartbeats
    from flor_ray.store.heartbeats import ReplayState
    from flor_ray.store.project import Project

    project = Project.open(store_url=store)
    files = project.store.files
    found = heartbeats.find(files, project.name, replay)
    live = found.state is ReplayState.RUNNING
    held = (
        [one.said.held for one in claims.live(files) if (one.project, one.id) == (project.name, found.id)]
        if live
        else []
    )
    say(report.standing(found, held[0] if held else ()))
    if found.state in (ReplayState.FAILED, ReplayState.LOST) or found.last.failures:
        raise SystemExit(1)


@click.command(short_help="End a replay; what is finished is kept.")
@click.argument("replay", metavar="ID")
@_address_option
@store_option
def cancel(replay: str, address: str | None, store: str | None) -> None:
    """End a replay as Ctrl-C would: the one whose id begins with ID, or that of a submitted job. What is finished is
    kept, and the same question goes on with the rest.

    It is asked to through the store, wherever it runs, and ends within seconds. A submitted job that replays nothing
    yet is ended by its cluster.

    \b
    Examples:
      flor-ray cancel 20261122T16
      flor-ray cancel flor-digits-a1b2c3d4e5
    """
    import time

    from flor_ray import settings
    from flor_ray.reports import jobs as report
    from flor_ray.store import heartbeats
    from flor_ray.store.heartbeats import ReplayState
    from flor_ray.store.project import Project

    asked = settings.load(store=store, address=address)
    project = Project.of(asked)
    files = project.store.files
    try:
        found = heartbeats.find(files, project.name, replay)
    except UsageError:
        if not replay.startswith(_SUBMITTED):
            raise
        _stop(asked, replay)
        return
    if found.state is not ReplayState.RUNNING:
        say(report.standing(found))
        return
    heartbeats.ask_to_end(files, project.name, found)
    end = time.monotonic() + _CANCEL_SECONDS
    while time.monotonic() < end:
        time.sleep(_LOOK_SECONDS)
        found = heartbeats.find(files, project.name, found.id)
        if found.state is not ReplayState.RUNNING:
            say(report.standing(found))
            return
    say(f"{found.id} has been asked to end, and will when it next looks.")


@click.command(short_help="Show what a submitted job prints.")
@click.argument("job", metavar="ID")
@_address_option
@store_option
def logs(job: str, address: str | None, store: str | None) -> None:
    """Show what a submitted job has printed, and go on until it ends: of the job of this id, or of the one that runs
    the replay whose id begins so. Exits with the job's status. The output of other replays is where they were started.

    \b
    Examples:
      flor-ray logs flor-digits-a1b2c3d4e5
      flor-ray logs 20261122T16 --address http://10.0.0.1:8265
    """
    from flor_ray import settings
    from flor_ray.cluster.ray_jobs import Dashboard
    from flor_ray.store import heartbeats
    from flor_ray.store.project import Project

    asked = settings.load(store=store, address=address)
    if not job.startswith(_SUBMITTED):
        project = Project.of(asked)
        found = heartbeats.find(project.store.files, project.name, job)
        if not found.last.submission:
            raise UsageError(
                f"{found.id} is no submitted job: what it prints is where it was started, by process "
                f"{found.last.pid} of {found.last.host}. `flor-ray status {found.id}` says how it stands."
            )
        job = found.last.submission
    raise SystemExit(_follow(Dashboard.at(_address(asked)), job))


def _stop(asked: Loaded, id: str) -> None:
    """End a job that does not replay yet."""
    from flor_ray.cluster.ray_jobs import Dashboard

    dashboard = Dashboard.at(_address(asked))
    job = dashboard.job(id)
    if job is None:
        raise UsageError(f"Neither the store nor the cluster at {dashboard.url} knows a job {id}.")
    ran = dashboard.stop(id) if not job.ended else False
    say(f"{id} is ended by its cluster." if ran else f"{id} has ended already: {job.said}.")


def _job_command(command: str, question: Question, again: bool) -> str:
    """The job's command line. Settings are in the package."""
    options = {"--where": question.where, "--first": question.first}
    words = [word for option, text in options.items() if text is not None for word in (option, text)]
    more = ["--again"] if again else []
    return shlex.join([*_COMMAND, command, "--yes", *words, *more, "--", *question.names])


def _expect_no_secret(texts: dict[str, str]) -> None:
    from flor_ray.redaction import redacted

    for what, text in texts.items():
        if redacted(text) != text:
            raise UsageError(
                f"{what} has a secret in it, which all who see the cluster's dashboard would see. Secrets go by name "
                "(`secrets` in flor.yaml), and S3's keys come from the cluster's own environment."
            )


def _address(asked: Loaded) -> str:
    """Where jobs go: as `ray job submit` finds it, and else as settings have it."""
    import os

    from flor_ray.cluster import addresses

    for_jobs = os.environ.get(addresses.FOR_JOBS, "").strip()
    given = asked.origins.get("address") == "given"
    return (asked.settings.address if given or not for_jobs else for_jobs) or ""


def _follow(dashboard: Dashboard, id: str) -> int:
    """Show what a job prints until it ends; its exit status."""
    missing = False
    try:
        for line in dashboard.output(id):
            missing = missing or any(words in line for words in _MISSING)
            say(line)
    except KeyboardInterrupt:
        say(f"\n{id} goes on. `flor-ray logs {id}` shows it again, `flor-ray cancel {id}` ends it.", err=True)
        return 130
    job = dashboard.job(id)
    if job is None or not job.exit_status:
        status = 0 if job is not None and job.exit_status == 0 else 1
        said = "is gone" if job is None else job.said
    else:
        status, said = job.exit_status, f"ended with status {job.exit_status}"
    say(f"{id} {said}.")
    if missing:
        say("flor_ray is not installed on the cluster: install it there, or send it along with --ship.", err=True)
    return status
