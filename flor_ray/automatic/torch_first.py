"""Recording that begins with a script's first line begins before its imports. This makes torch be there by then.

torch seeds its generator when it is imported. Recorded before that, the random state of the run's start lacks torch's,
and a replay of a script that sets no seed would draw other weights.
"""

from __future__ import annotations

import importlib
import importlib.util
import re
from pathlib import Path

_TORCH = re.compile(rb"^[ \t]*(?:import|from)[ \t]+(?:\w*torch|\w*lightning|transformers|accelerate)\b", re.MULTILINE)
_FILES = 200  # beside a script; more of them are not read to save an import


def import_torch_if_used(script: Path) -> None:
    """Import torch if a script, or a module beside it, does so itself, or imports a library that stands on it."""
    if importlib.util.find_spec("torch") is None:
        return
    beside = sorted(script.parent.glob("*.py"))[:_FILES]
    if any(_TORCH.search(path.read_bytes()) for path in (script, *beside) if path.is_file()):
        importlib.import_module("torch")
