"""What the pages of backfills and timelines ask for: plans, replays, how they stand, and pins.

Everything that changes something is a POST, which `app` only lets through from this page, and never if it is read-only.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Body, Depends, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import StreamingResponse

from flor_ray.errors import FlorError
from flor_ray.ui import cells
from flor_ray.ui.replays import pinning, plans, stints
from flor_ray.ui.replays.following import OVER, ReplayWatch
from flor_ray.ui.replays.launches import Launches
from flor_ray.ui.replays.plans import ReplayAsked
from flor_ray.ui.routes.answering import answer
from flor_ray.ui.routes.asked import Looked

router = APIRouter()
Text = Annotated[str, Body()]
_LOOK_SECONDS = 0.5
_QUIET_SECONDS = 15.0  # after which a line without meaning is sent: proxies end connections that say nothing


def launches_of(request: Request) -> Launches:
    """Replays that the page has started."""
    found: Launches = request.app.state.launches
    return found


def following_of(request: Request) -> ReplayWatch:
    """How replays stand, for all who ask."""
    found: ReplayWatch = request.app.state.following
    return found


Started = Annotated[Launches, Depends(launches_of)]
Followed = Annotated[ReplayWatch, Depends(following_of)]


@router.get("/plan")
def plan(
    opened: Looked,
    name: Annotated[list[str], Query(max_length=50)],
    where: str = "",
    budget: str = "",
    deadline: str = "",
    first: str = "",
    workers: int | None = None,
    executor: str = "",
    again: bool = False,
) -> Response:
    """What a replay would run; nothing runs."""
    asked = ReplayAsked(tuple(dict.fromkeys(name)), where, budget, deadline, first, workers, executor, again)
    return answer(plans.plan(opened, asked))


@router.get("/replays")
def replays(followed: Followed) -> Response:
    """The newest replays, newest first."""
    return answer({"replays": followed.every()})


@router.post("/replays")
def start(launches: Started, followed: Followed, asked: ReplayAsked) -> Response:
    """Start a replay."""
    return answer(followed.standing(launches.start(asked).id))


@router.get("/replays/{id}")
def replay(followed: Followed, id: str) -> Response:
    """How a replay stands."""
    return answer(followed.standing(id))


@router.post("/replays/{id}/cancel")
def cancel(followed: Followed, id: str) -> Response:
    """End a replay; what is finished is kept."""
    return answer(followed.end(id, pauses=False))


@router.post("/replays/{id}/pause")
def pause(followed: Followed, id: str) -> Response:
    """End a replay that is to go on later."""
    return answer(followed.end(id, pauses=True))


@router.post("/replays/{id}/resume")
def resume(launches: Started, followed: Followed, id: str) -> Response:
    """Ask again what a replay was asked: what it has finished is not run again."""
    return answer(followed.standing(launches.start(launches.find(id).asked).id))


@router.get("/replays/{id}/events")
async def events(request: Request, followed: Followed, id: str) -> StreamingResponse:
    """How a replay stands, told whenever that changes until it is over, as server-sent events."""
    await run_in_threadpool(followed.standing, id)  # an unknown id is an error in words, and no stream
    headers = {"X-Accel-Buffering": "no"}
    return StreamingResponse(_told(request, followed, id), media_type="text/event-stream", headers=headers)


async def _told(request: Request, following: ReplayWatch, id: str) -> AsyncIterator[str]:
    before, quiet = "", 0.0
    while not await request.is_disconnected():
        try:
            found: dict[str, Any] = await run_in_threadpool(following.standing, id)
        except FlorError as error:  # a store that is away comes back
            found = {"id": id, "trouble": cells.readable(str(error))}
        now = json.dumps(found, ensure_ascii=False, separators=(",", ":"))
        if now != before:
            before, quiet = now, 0.0
            yield f"event: standing\ndata: {now}\n\n"
        elif quiet >= _QUIET_SECONDS:
            quiet = 0.0
            yield ": still there\n\n"
        if found.get("state") in OVER:
            return
        await asyncio.sleep(_LOOK_SECONDS)
        quiet += _LOOK_SECONDS


@router.get("/timelines")
def timelines(opened: Looked) -> Response:
    """Replays that have a timeline, newest first."""
    return answer({"timelines": stints.listing(opened.project)})


@router.get("/placement")
def placement(opened: Looked, name: str, version: str) -> Response:
    """An old version's code, with where a statement would stand, and its pins."""
    return answer(pinning.placement(opened.project, name, version))


@router.post("/pins")
def pin(
    opened: Looked,
    name: Text,
    version: Text,
    path: Text,
    after: Annotated[int, Body()],
    statement: Annotated[int | None, Body()] = None,
) -> Response:
    """Say after which line of an old version a statement belongs."""
    said = pinning.pin(opened.project, name, version, path, after, statement)
    return answer({"said": said, **pinning.placement(opened.project, name, version)})


@router.post("/unpin")
def unpin(opened: Looked, name: Text, version: Text) -> Response:
    """Remove the pins of a name in a version."""
    said = pinning.unpin(opened.project, name, version)
    return answer({"said": said, **pinning.placement(opened.project, name, version)})
