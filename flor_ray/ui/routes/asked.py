"""What a request is asked of, for routes: `opened: Looked` is the project, `known: Known` what is known of its runs."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Request

from flor_ray.ui.access import Access
from flor_ray.ui.opened import Opened
from flor_ray.ui.snapshots import Snapshots


def opened_of(request: Request) -> Opened:
    """The project that a request is about."""
    found: Opened = request.app.state.opened
    return found


def access_of(request: Request) -> Access:
    """What opens this server."""
    found: Access = request.app.state.access
    return found


def snapshots_of(request: Request) -> Snapshots:
    """What is known of all runs, for all requests."""
    found: Snapshots = request.app.state.snapshots
    return found


Looked = Annotated[Opened, Depends(opened_of)]
Known = Annotated[Snapshots, Depends(snapshots_of)]
