"""What runs in the process of a replay that the page has started: `flor-ray replay`, and a note of how it ended.

    python -m flor_ray.ui.replays.process FILE replay --yes ... -- NAME...

The command line is reached by its module's name: it stands above this room.
"""

from __future__ import annotations

import runpy
import sys

from flor_ray.ui.replays import launches

if __name__ == "__main__":
    ended = sys.argv.pop(1)
    launches.run(ended, lambda: runpy.run_module("flor_ray.cli", run_name="__main__", alter_sys=True))
