"""Scripts that are recorded in forks of a process which has imported what they import: to start Python and torch takes
longer than most scripts of these benches. The repository's root has to be importable."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from replaying.recording import ScriptBroke
from tests.forking import TRAINING, Request, ScriptServer


class Forked:
    """Runs `python script.py ...` for a `Repository`. Close it."""

    def __init__(self, *imports: str) -> None:
        os.environ["OMP_WAIT_POLICY"] = "PASSIVE"  # read when torch is imported: threads that wait must not spin
        self._server = ScriptServer((*TRAINING, *imports))

    def __call__(self, arguments: Sequence[str], folder: Path, variables: Mapping[str, str]) -> None:
        kept = {n: v for n, v in os.environ.items() if not n.startswith(("FLOR_RAY_", "RANK", "LOCAL_RANK"))}
        output = folder / ".git" / "output.txt"
        request = Request(arguments[0], arguments[1:], str(folder), kept | dict(variables), str(output))
        if self._server.run(request) != 0:
            raise ScriptBroke(f"{' '.join(arguments)} in {folder} failed:\n{output.read_text(encoding='utf-8')}")

    def close(self) -> None:
        self._server.close()
