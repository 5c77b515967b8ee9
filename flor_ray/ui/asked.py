"""What a request is asked of, for routes: `opened: Looked` is the project."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Request

from flor_ray.ui.access import Access
from flor_ray.ui.opened import Opened


def opened_of(request: Request) -> Opened:
    """The project that a request is about."""
    found: Opened = request.app.state.opened
    return found


def access_of(request: Request) -> Access:
    """What opens this server."""
    found: Access = request.app.state.access
    return found


Looked = Annotated[Opened, Depends(opened_of)]
