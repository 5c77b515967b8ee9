"""A script of Ray Train's, replayed as one of its ranks: `TorchTrainer(...).fit()` runs its function in this process.

    recorded    driver ── fit ──> Ray's workers: rank 0, rank 1, ...
    replayed    every rank runs the driver's script up to fit, which becomes the rank that this process is

Ray Train has such a mode itself, for scripts that torchrun starts; what that leaves out among several ranks (barriers,
broadcasts) is done here. With `cluster` the door to Ray.
"""

from __future__ import annotations

import ast
import linecache
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import FrameType
from typing import Any

from flor_ray.analysis.marks import is_inserted
from flor_ray.errors import ReplayError
from flor_ray.records import Launch

_VERSION = "RAY_TRAIN_V2_ENABLED"
_TRIAL = "trial"  # a folder of the replay's, for a rank that ran in one of Ray Train's


def stand_in(
    launch: Launch,
    root: Path,
    folder: Path,
    inserted: Mapping[str, frozenset[int]],
    tell: Callable[[str], None],
) -> None:
    """From now on, trainers of Ray Train run their function here, and nothing starts or joins a cluster. `root` has the
    version's files, and `folder` what belongs to this replay; lines that were `inserted` into a file and stand where
    the driver goes on are told: nobody runs them."""
    os.environ[_VERSION] = "1"
    import ray
    from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer

    def fit(trainer: Any) -> None:
        _run(trainer, launch, root, folder)
        for place, statement in _left_out(sys._getframe(1), inserted):
            tell(
                f"{os.path.relpath(place, root)}: `{statement}` stands behind fit(), in the driver of Ray Train, which "
                "a replay does not run; log it in the training function"
            )
        raise SystemExit(0)  # what the driver did then is no part of the run

    changed: Any = DataParallelTrainer
    changed.fit = fit
    there: Any = ray
    there.init = there.shutdown = lambda *arguments, **options: None


def _left_out(frame: FrameType | None, inserted: Mapping[str, frozenset[int]]) -> Iterator[tuple[str, str]]:
    """What was inserted where a frame, and those that called it, would go on: `train.py:12`, and the statement's first
    line."""
    while frame is not None:
        path = frame.f_code.co_filename
        own = {line for _, _, line in frame.f_code.co_lines() if line is not None and line > frame.f_lineno}
        lines = inserted.get(path, frozenset())
        todo: list[ast.AST] = [ast.parse(Path(path).read_bytes())] if lines & own else []
        while todo:
            node = todo.pop()
            if not isinstance(node, ast.stmt) or not is_inserted(node, lines):
                todo += reversed(list(ast.iter_child_nodes(node)))
            elif node.lineno in own:
                yield f"{path}:{node.lineno}", linecache.getline(path, node.lineno).strip()
        frame = frame.f_back


def _run(trainer: Any, launch: Launch, root: Path, folder: Path) -> None:
    if trainer.datasets:
        raise ReplayError("this script reads datasets of Ray Data, which its replay cannot divide among ranks")
    import torch
    import torch.distributed as dist
    from ray.train.v2._internal.execution.train_fn_utils import set_train_fn_utils

    function = trainer._get_train_func()
    _enter(launch, root, folder)
    local = int(os.environ["LOCAL_RANK"])
    if torch.cuda.is_available():
        torch.cuda.set_device(local % torch.cuda.device_count())
    dist.init_process_group(backend=launch.backend or None)
    set_train_fn_utils(_utilities(trainer.run_config.name, launch.size))
    function()


def _enter(launch: Launch, root: Path, folder: Path) -> None:
    """The folder in which the ranks ran."""
    if launch.folder:
        os.chdir(root / launch.folder)
    else:
        trial = folder / f"{_TRIAL}-{os.environ['RANK']}"
        trial.mkdir(exist_ok=True)
        os.chdir(trial)


def _utilities(name: str | None, size: int) -> Any:
    """What `ray.train`'s functions ask while the training function runs."""
    import torch.distributed as dist
    from ray.train.v2._internal.execution.train_fn_utils import LocalTrainFnUtils

    class RankUtilities(LocalTrainFnUtils):
        def barrier(self) -> None:
            dist.barrier()

        def broadcast_from_rank_zero(self, data: Any) -> Any:
            given = [data]
            dist.broadcast_object_list(given, src=0)
            return given[0]

    return RankUtilities(
        experiment_name=name or "",
        world_size=size,
        world_rank=int(os.environ["RANK"]),
        local_rank=int(os.environ["LOCAL_RANK"]),
        local_world_size=int(os.environ["LOCAL_WORLD_SIZE"]),
        node_rank=int(os.environ["NODE_RANK"]),
    )
