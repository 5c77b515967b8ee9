"""How fast this machine is while a test runs: limits on processor time hold where it is slow, or others use it too."""

from __future__ import annotations

import ast
import time

_USUAL_SECONDS = 0.025  # what the work below takes on a quiet core of 2024
_FUNCTION = "def f(x):\n    for y in range(x):\n        a = [y + 1, g(y)]\n    return a\n"


def slowness() -> float:
    """How many times longer than usual a piece of Python's own work takes now; at least 1."""
    began = time.process_time()
    assert sum(isinstance(node, ast.Name) for node in ast.walk(ast.parse(400 * _FUNCTION))) == 400 * 8
    return max(1.0, (time.process_time() - began) / _USUAL_SECONDS)
