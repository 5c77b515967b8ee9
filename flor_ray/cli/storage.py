"""The commands about what the store holds: storage, gc, compact."""

from __future__ import annotations

import click

from flor_ray.cli.options import store_option
from flor_ray.cli.saying import say


@click.command(short_help="Say how many bytes each version needs.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, all sizes in bytes.")
@store_option
def storage(as_json: bool, store: str | None) -> None:
    """Say how many bytes each version needs, and how much deduplication saves.

    "Hold" counts each checkpoint of a version in full; "own objects" are kept for this version alone, "shared objects"
    for others too.

    \b
    Examples:
      flor-ray storage            as a table
      flor-ray storage --json     for other programs
    """
    import json

    from flor_ray.cli import progress
    from flor_ray.reports import disk_space
    from flor_ray.store import collecting, retention
    from flor_ray.store.project import Project

    project = Project.open(store_url=store)
    project.experiments()  # says so if there are none
    with progress.counting() as tell:
        found = collecting.survey(project.store, tell)
    what = retention.storage(project.name, found.versions, found.infos)
    if as_json:
        say(json.dumps(disk_space.storage_json(what, found.damage), indent=1))
    else:
        say(disk_space.storage(what, found.damage))


@click.command(short_help="Delete checkpoints and objects that nobody needs.")
@click.option(
    "--keep",
    "keeps",
    multiple=True,
    metavar="RULE",
    help="Drop checkpoints that no --keep keeps: last, every:N, newest:N, within:30d, run:NAME, version:ID.",
)
@click.option(
    "--grace",
    default="1d",
    metavar="SPAN",
    show_default=True,
    help="Keep objects that are younger than this: 12h, 1d, 0.",
)
@click.option("--dry-run", is_flag=True, help="Only say what would be deleted.")
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@store_option
def gc(keeps: tuple[str, ...], grace: str, dry_run: bool, yes: bool, store: str | None) -> None:
    """Delete checkpoints that need not be kept, and objects that nothing needs. Says first what it would do.

    Without --keep no checkpoint is dropped: only what crashed runs left behind goes. With --keep, a checkpoint stays
    if any of the rules keeps it. What always stays: the first and the last checkpoints of each version, and all of a
    run that is going on; values, arguments and code. Versions with fewer checkpoints can be replayed as before, but
    more epochs have to run again for it. A --grace under 1d is for when nobody starts to record or replay meanwhile.

    \b
    Rules:
      last          of each version only what always stays
      every:N       each N-th epoch; where epochs have no checkpoint, one in N at most
      newest:N      all checkpoints of the N newest versions
      within:30d    all checkpoints of versions that began in the last 30 days (also h, w)
      run:NAME      all checkpoints of runs of that name; * and ? are wildcards
      version:ID    all checkpoints of the version whose id begins so

    \b
    Examples:
      flor-ray gc                                      what crashed runs left behind
      flor-ray gc --keep last --dry-run                what could be freed at most
      flor-ray gc --keep every:5 --keep newest:10      thin out what is older
      flor-ray gc --keep within:30d --keep "run:paper*" --yes
    """
    from flor_ray import wording
    from flor_ray.cli import progress
    from flor_ray.reports import disk_space
    from flor_ray.store import collecting, retention
    from flor_ray.store.project import Project

    rules, seconds = [retention.parse_rule(word) for word in keeps], wording.parse_seconds(grace)
    project = Project.open(store_url=store)
    project.experiments()  # says so if there are none
    with progress.counting() as tell:
        found = collecting.survey(project.store, tell)
    plan = collecting.plan(found, project.name, rules, seconds)
    say(disk_space.plan(plan, grace))
    if dry_run:
        return
    if not (plan.dropped or plan.sweep.keys):
        if count := collecting.sweep_unfinished(project.store):
            say(disk_space.unfinished(count))
        return
    if not yes:
        click.confirm("Delete that? It cannot be undone.", abort=True)
    done = collecting.Done()
    try:
        with progress.counting() as tell:
            collecting.carry_out(project.store, project.name, plan, found, seconds, done, tell)
    except BaseException:
        say(disk_space.done(done, complete=False), err=True)
        raise
    say(disk_space.done(done, complete=True))


@click.command(short_help="Make few large files of many small ones.")
@store_option
def compact(store: str | None) -> None:
    """Make few large files of the many small ones in which runs and replays were written. Queries read them faster.

    Only files change: every value, argument and report stays, and reads as before. Code, checkpoints and logged objects
    are left alone, and so are runs and replays that are going on; these may read and write meanwhile. Ctrl-C loses
    nothing: what was not done, the next call does.

    A store is also compacted by itself, when a run or a replay ends and there are 500 small files of log records. One
    that a flor_ray before compaction has made is not, until this command was used once: older releases refuse it then.

    \b
    Examples:
      flor-ray compact                          the project that this folder is in
      flor-ray compact --store s3://bucket/x    in another store
    """
    from flor_ray.cli import progress
    from flor_ray.reports import disk_space
    from flor_ray.store.compacting.compaction import Compactor
    from flor_ray.store.project import Project

    project = Project.open(store_url=store)
    project.expect_runs()
    before, was_older = project.store.table_files(project.name), not project.store.may_be_compacted
    with progress.counting() as tell:
        compactor = Compactor(project.store, project.name, tell)
        try:
            compactor.compact()
        except BaseException:
            say("Not all is compacted. Everything reads as before; `flor-ray compact` does the rest.", err=True)
            raise
    say(disk_space.compacted(compactor.done, before, project.store.table_files(project.name)))
    if was_older:
        say("Releases of flor_ray that know of no compacted files refuse this store from now on.")
