"""What the processes of a version are told: one, or one per rank."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace

from flor_ray.environment.surroundings import of_accounts, path_of
from flor_ray.replaying.job import VersionJob
from flor_ray.replaying.task import ReplayTask, of_rank
from flor_ray.replaying.version_folder import VersionFolder

_ALONE: Mapping[int, Mapping[str, str]] = {0: {}}


def tasks_for(
    job: VersionJob,
    folder: VersionFolder,
    claims: str | None,
    ranks: Sequence[int] = (0,),
    variables: Mapping[int, Mapping[str, str]] = _ALONE,
) -> list[ReplayTask]:
    """The tasks of these ranks, whose files are in `folder`, with the variables that each gets."""
    root = str(folder.root)
    task = replace(
        ReplayTask.of(job.store_url, root, job.experiment, job.checkpoints, job.marking),
        folder=str(folder.path),
        files=folder.written_files,
        data=folder.data,
        newer=folder.made.newer,
        original_root=job.original_root or root,
        first_call=folder.first_call,
        compares_entry=job.compares_entry,
        sys_path=path_of(job.experiment.environment),
        leave=job.leave,
        claims=claims,
        commit_seconds=job.limits.commit_seconds,
        outage_seconds=job.limits.outage_seconds,
        late_seconds=job.limits.late_seconds,
        account=of_accounts(os.environ) if "://" in job.store_url else {},
    )
    if job.launch is None:
        return [task]
    # An epoch that one rank leaves early, another may go on with, and wait for it: so none does. Nor do they hand over
    # parts, which would end at different epochs.
    task = replace(task, leave=frozenset(), stops={}, launch=job.launch, commit_seconds=math.inf)
    parts = {part.record.rank: part for part in job.parts}
    found = (task if rank == 0 else of_rank(task, parts[rank], folder.first_calls) for rank in ranks)
    return [replace(one, variables=variables[rank]) for rank, one in zip(ranks, found, strict=True)]
