"""Multiversion hindsight logging on Ray: add a log line today, read its values for every past run.

Importing this touches no disk, git, Ray, pandas or pyarrow; names are loaded when they are first used.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from flor_ray.environment import opened

if TYPE_CHECKING:
    from flor_ray.asking import columns, query, relation
    from flor_ray.automatic.autologging import autolog
    from flor_ray.calls import MTK, arg, checkpointing, iteration, log, loop
    from flor_ray.filling import explain, propagate, replay, replay_all
    from flor_ray.lookup import dataframe, dataframes, epochs, plot, versions
    from flor_ray.planning.terms import Query

__version__ = "0.1.0"
__all__ = [
    "MTK",
    "Query",
    "arg",
    "autolog",
    "checkpointing",
    "columns",
    "dataframe",
    "dataframes",
    "epochs",
    "explain",
    "iteration",
    "log",
    "loop",
    "plot",
    "propagate",
    "query",
    "relation",
    "replay",
    "replay_all",
    "versions",
]

_HOMES = {
    "autolog": "flor_ray.automatic.autologging",
    **dict.fromkeys(("MTK", "arg", "checkpointing", "iteration", "log", "loop"), "flor_ray.calls"),
    **dict.fromkeys(("columns", "query", "relation"), "flor_ray.asking"),
    **dict.fromkeys(("dataframe", "dataframes", "epochs", "plot", "versions"), "flor_ray.lookup"),
    **dict.fromkeys(("explain", "propagate", "replay", "replay_all"), "flor_ray.filling"),
    "Query": "flor_ray.planning.terms",
    "load_ipython_extension": "flor_ray.cli.notebook",  # of %load_ext flor_ray
}


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'flor_ray' has no attribute {name!r}; it has {', '.join(__all__)}")
    import importlib

    value = getattr(importlib.import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)


# Scripts often read their data before they call us for the first time: which files they open is noted from here on.
opened.watch()

# The other exception to "importing does nothing": flags of ours in a training script's command line have to be gone
# before the script's own parser, which may run before the first call to us, meets them.
if any(word.partition("=")[0] in ("--flor", "--kwargs", "--replay_flor") for word in sys.argv[1:]):
    from flor_ray.recording import flags

    flags.take_from_argv()
