"""Recording that begins with a script's first line begins before its imports. This makes torch be there by then.

torch seeds its generator when it is imported. Recorded before that, the random state of the run's start lacks torch's,
and a replay of a script that sets no seed would draw other weights. Lightning draws from Python's generator when it is
imported, which a replay has done before it begins.
"""

from __future__ import annotations

import importlib
import importlib.util
import re
from pathlib import Path

_TORCH = re.compile(rb"^[ \t]*(?:import|from)[ \t]+(?:\w*torch|\w*lightning|transformers|accelerate)\b", re.MULTILINE)
_LIGHTNING = re.compile(rb"^[ \t]*(?:import|from)[ \t]+(lightning|pytorch_lightning)\b", re.MULTILINE)
_FILES = 200  # beside a script; more of them are not read to save an import


def import_torch_if_used(script: Path) -> None:
    """Import torch if a script, or a module beside it, does so itself, or imports a library that stands on it; and
    Lightning, under the name that is imported."""
    if importlib.util.find_spec("torch") is None:
        return
    beside = sorted(script.parent.glob("*.py"))[:_FILES]
    texts = [path.read_bytes() for path in (script, *beside) if path.is_file()]
    if any(map(_TORCH.search, texts)):
        importlib.import_module("torch")
    for name in sorted({match.group(1).decode() for text in texts for match in _LIGHTNING.finditer(text)}):
        if importlib.util.find_spec(name) is not None:
            importlib.import_module("lightning.pytorch" if name == "lightning" else name)
