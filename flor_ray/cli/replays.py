"""The commands about replays: explain, replay, timeline, simulate."""

from __future__ import annotations

from pathlib import Path

import click

from flor_ray.cli.options import Question, asks, executor_option, limits, store_option, where_option
from flor_ray.cli.saying import say
from flor_ray.errors import UsageError

_ASK_SECONDS = 60.0  # replays that should take longer are asked about first
_FILE = click.Path(dir_okay=False, path_type=Path)


@click.command(short_help="Say what a replay would run, and how long it should take.")
@asks
@click.option("--tradeoff", is_flag=True, help="Say what more or fewer workers would bring.")
@click.option("--html", type=_FILE, help="Write the plan as a page that opens offline.")
@click.option("--csv", type=_FILE, help="Write one row per segment to this file.")
@store_option
def explain(
    question: Question,
    tradeoff: bool,
    html: Path | None,
    csv: Path | None,
) -> None:
    """Say what a replay would run and how long it should take. Runs nothing.

    \b
    Examples:
      flor-ray explain grad_norm
      flor-ray explain grad_norm cf_matrix --where "accuracy < 95" --workers 8
      flor-ray explain grad_norm --tradeoff --price 2.5                how many GPUs are worth it
      flor-ray explain grad_norm --budget 2h --first peak:accuracy     what fits into two hours
      flor-ray explain grad_norm --html plan.html                      the plan as a page
    """
    from flor_ray import pipeline
    from flor_ray.reports import plans

    prepared = question.prepared()
    explanation = pipeline.explained(prepared)
    say(str(explanation))
    if tradeoff:
        say("")
        say(plans.tradeoff_text(explanation.tradeoff, prepared.workers, explanation.basis))
    if html is not None:
        html.write_text(explanation.to_html(), encoding="utf-8", errors="backslashreplace")
        say(f"The plan is in {html}.")
    if csv is not None:
        from flor_ray.cli import terminal

        frame = explanation.to_frame()
        terminal.write_csv(frame, str(csv))
        say(f"{len(frame)} segments are in {csv}.")


@click.command(short_help="Fill columns by replaying old versions.")
@asks
@limits
@click.option("--yes", "-y", is_flag=True, help="Do not ask, however long it takes.")
@executor_option
@store_option
def replay(
    question: Question,
    again: bool,
    yes: bool,
    on_ray: bool | None,
) -> None:
    """Fill the missing values of features by replaying old versions.

    Says first what it will run, and asks if that should take more than a minute. Ctrl-C keeps what is finished; the
    same command then goes on with the rest. So it does after a --budget.

    It runs on the Ray cluster that RAY_ADDRESS names, on one that runs here, or on one that it starts. Where there is
    none yet and the replay should be over before one is there, worker processes of this machine run it instead.

    \b
    Examples:
      flor-ray replay cf_matrix
      flor-ray replay grad_norm --where "accuracy < 95 and epoch >= 3" --yes
      flor-ray replay grad_norm --budget 2h --first peak:accuracy,end     as much as fits, peaks first
      flor-ray replay grad_norm --time-limit 10m --memory-limit 8GB       of each segment
      flor-ray replay grad_norm --env recorded                            with the packages of then
      flor-ray replay grad_norm --workers 2 --local                       without Ray
    """
    from flor_ray import asked_terms, pipeline, running, wording
    from flor_ray.cli import terminal
    from flor_ray.reports import replays

    allowed = asked_terms.limits_of(question.asked)
    wanted = None if on_ray is None else "ray" if on_ray else "local"
    prepared = question.prepared(again, wanted)
    place = running.place(prepared, wanted)
    explanation = pipeline.explained(prepared, place)
    say(str(explanation))
    if not prepared.is_empty:
        seconds = explanation.totals.makespan_seconds if prepared.costs else 0.0
        if seconds > _ASK_SECONDS and not yes:
            click.confirm(f"Spend about {wording.duration(seconds)}?", abort=True)
        if place.why:
            say(place.why)
        outcome = terminal.run_with_progress(prepared, allowed, place.executor)
        frame = replays.summary(prepared, outcome)
        frame["version"] = frame["version"].str[:8]
        say("")
        terminal.print_frame(frame.drop(columns="project"))
        for sentence in replays.problems(prepared, outcome):
            say(f"Warning: {sentence}", err=True)
        if outcome.failures:
            raise SystemExit(1)
    if prepared.refusals or prepared.skipped:
        raise SystemExit(1)


@click.command(short_help="Show what each worker did in a replay.")
@click.argument("replay", required=False)
@click.option("--html", type=_FILE, help="Write a Gantt chart as a page that opens offline.")
@click.option("--list", "listed", is_flag=True, help="List the replays that have a timeline.")
@store_option
def timeline(replay: str | None, html: Path | None, listed: bool, store: str | None) -> None:
    """Show what each worker did in a replay: the newest, or the one whose id begins with REPLAY.

    \b
    Examples:
      flor-ray timeline
      flor-ray timeline 20261122T16 --html replay.html
      flor-ray timeline --list
    """
    from flor_ray.cli import terminal
    from flor_ray.reports import text_tables, timeline_page, timelines
    from flor_ray.store.project import Project

    project = Project.open(store_url=store)
    files = project.store.files
    if listed:
        found = timelines.every(files, project.name)
        say(text_tables.render(timeline_page.LISTING, timeline_page.listing(found), terminal.width()))
        return
    one = timelines.find(files, project.name, replay or "")
    say(timeline_page.text(one, terminal.width()))
    if html is not None:
        html.write_text(timeline_page.page(one), encoding="utf-8", errors="backslashreplace")
        say(f"The chart is in {html}.")


@click.command(short_help="Say how long a replay would take on other numbers of workers.")
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@where_option
@click.option(
    "--workers", "-n", default="1,2,4,8,16,32,64", metavar="N,...", show_default=True, help="Numbers of workers."
)
@click.option("--latency", type=click.FloatRange(0), default=0.0, metavar="SECONDS", help="Time of a call to a worker.")
@click.option("--start", type=click.FloatRange(0), default=0.0, metavar="SECONDS", help="Time until a worker is there.")
@click.option(
    "--bandwidth", type=click.FloatRange(0, min_open=True), metavar="BYTES", help="Of the shared storage, per second."
)
@click.option("--noise", type=click.FloatRange(0), default=0.0, metavar="X", help="Of an epoch's time: 0.2 is 20 %.")
@click.option(
    "--stragglers", type=click.FloatRange(0, 1), default=0.0, metavar="X", help="Share of workers that are 8x slow."
)
@click.option("--failures", type=click.FloatRange(0), default=0.0, metavar="X", help="Failures of a worker in an hour.")
@click.option("--seed", type=int, default=0, metavar="N", help="Of chance: the same seed gives the same result.")
@click.option("--html", type=_FILE, help="Write a Gantt chart of the most workers as a page that opens offline.")
@store_option
def simulate(
    names: tuple[str, ...],
    where: str | None,
    workers: str,
    latency: float,
    start: float,
    bandwidth: float | None,
    noise: float,
    stragglers: float,
    failures: float,
    seed: int,
    html: Path | None,
    store: str | None,
) -> None:
    """Say how long the same replay would take on other numbers of workers. Runs nothing.

    What is simulated is the replay of NAMES, by what the store knows of its costs. Its scheduler is the one of real
    replays.

    \b
    Examples:
      flor-ray simulate grad_norm --workers 1,4,16
      flor-ray simulate grad_norm --workers 64 --stragglers 0.05 --failures 0.1 --html simulated.html
    """
    from flor_ray import pipeline
    from flor_ray.cli import progress
    from flor_ray.planning.terms import Terms
    from flor_ray.records import DEFAULT_LIMITS
    from flor_ray.reports import simulations, timeline_page
    from flor_ray.reports.timelines import Timeline
    from flor_ray.scheduler.world import World
    from flor_ray.store.project import Project

    try:
        numbers = [int(word) for word in workers.split(",")]
    except ValueError:
        raise UsageError(f"--workers {workers}: give numbers separated by commas, as in 1,4,16.") from None
    with progress.counting() as tell:
        terms = Terms(1)
        prepared = pipeline.prepare(Project.open(store_url=store), names, where, terms, again=True, tell=tell)
    world = World(
        latency_seconds=latency,
        start_seconds=start,
        bandwidth_bytes_per_second=float("inf") if bandwidth is None else bandwidth,
        noise=noise,
        straggler_share=stragglers,
        failures_per_hour=failures,
        commit_seconds=DEFAULT_LIMITS.commit_seconds,
    )
    found = simulations.simulated(simulations.of_prepared(prepared), numbers, world, seed)
    say(str(found))
    if html is not None:
        row, stints = found.rows[-1], found.stints[max(numbers)]
        timeline = Timeline("simulated", names, stints, row.workers, row.lower_bound_seconds)
        html.write_text(timeline_page.page(timeline), encoding="utf-8", errors="backslashreplace")
        say(f"The chart of {row.workers} workers is in {html}.")
