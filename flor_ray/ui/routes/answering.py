"""Answers as JSON. Routes end with `return answer({...})`: the warnings of the request go along as `notices`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from fastapi import Response

from flor_ray.ui import cells, notices


def answer(found: Mapping[str, Any]) -> Response:
    """Data, with what the request was warned of. Values of users' are `cells.cell`s, and names `cells.readable`."""
    return _json({**found, "notices": [cells.readable(one) for one in notices.found()]}, 200)


def error(status: int, kind: str, message: str) -> Response:
    """What went wrong, in words."""
    return _json({"error": cells.readable(message), "kind": kind}, status)


def _json(found: Mapping[str, Any], status: int) -> Response:
    text = json.dumps(found, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return Response(text.encode("utf-8", "backslashreplace"), status, media_type="application/json")
