"""What every page asks first: which project this is, and what may be done."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from flor_ray import __version__
from flor_ray.ui import cells
from flor_ray.ui.routes.answering import answer
from flor_ray.ui.routes.asked import Looked, access_of

router = APIRouter()


@router.get("/session")
def session(request: Request, opened: Looked) -> Response:
    """The project's name, its store, and the word that writes need ("": read-only)."""
    access = access_of(request)
    return answer(
        {
            "project": cells.readable(opened.project.name),
            "store": cells.readable(opened.project.store.url),
            "version": __version__,
            "write": "" if access.read_only else access.write_word,
        }
    )
