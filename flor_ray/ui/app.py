"""Requests to answers: who may ask is checked first, then a route answers, and what goes wrong is said in words.

    /                 the page (needs the token once; then the cookie)
    /static/...       its files, which are no secret
    /api/...          data as JSON: {..., "notices": [...]}, or {"error": "...", "kind": "UsageError"}

All addresses that the page uses are relative: under a path behind a proxy it works as it stands.
"""

from __future__ import annotations

import threading
from http.cookies import CookieError, SimpleCookie
from pathlib import Path

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse
from fastapi.staticfiles import StaticFiles
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from flor_ray.errors import FlorError, StoreAway, UsageError
from flor_ray.ui import access as accesses
from flor_ray.ui import notices
from flor_ray.ui.access import Access, Denial, PageRequest
from flor_ray.ui.curves.readings import Readings
from flor_ray.ui.opened import Opened
from flor_ray.ui.replays.following import ReplayWatch
from flor_ray.ui.replays.launches import Launches
from flor_ray.ui.routes import answering, comparing, curves, replays, runs, session
from flor_ray.ui.runs.table import RunsTable
from flor_ray.ui.snapshots import Snapshots

STATIC = Path(__file__).parent / "static"
ROUTERS = (session.router, runs.router, comparing.router, curves.router, replays.router)


def make_app(opened: Opened, access: Access, root_path: str = "", looks_ahead: bool = False) -> ASGIApp:
    """The page's server for a project; `root_path` is what a proxy may put before all paths. `looks_ahead`: the runs
    are listed before a page asks for them."""
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    app.state.opened, app.state.access, app.state.root_path = opened, access, root_path
    app.state.snapshots = snapshots = Snapshots(opened.project)
    app.state.runs = RunsTable(snapshots)
    app.state.readings, app.state.launches = Readings(opened.project), Launches(opened.project, opened.path)
    app.state.following = ReplayWatch(opened.project, app.state.launches)
    if looks_ahead:
        threading.Thread(target=app.state.runs.look_ahead, daemon=True).start()
    api = APIRouter(prefix="/api")
    for router in ROUTERS:
        api.include_router(router)
    app.include_router(api)
    app.add_api_route("/", page, methods=["GET"], response_class=HTMLResponse)
    app.mount("/static", StaticFiles(directory=STATIC))
    for kind in (FlorError, RequestValidationError, Exception):
        app.add_exception_handler(kind, _said)
    return _Gate(app, access, root_path)


async def page(request: Request) -> HTMLResponse:
    """The page; with the token in its URL, the browser may keep the cookie."""
    access: Access = request.app.state.access
    response = HTMLResponse((STATIC / "index.html").read_text("utf-8"))
    if accesses.has_token(access, request.query_params.get("token", "")):
        path = f"{request.app.state.root_path}/"
        response.set_cookie(access.cookie_name, access.cookie, httponly=True, samesite="strict", path=path)
    return response


class _Gate:
    """Looks at every request before anything else does, and gives every answer its headers."""

    def __init__(self, app: ASGIApp, access: Access, root_path: str) -> None:
        self._app, self._access, self._root_path = app, access, root_path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        if scope["type"] != "http":
            return
        path = scope["path"]
        if self._root_path and path.startswith(f"{self._root_path}/"):  # a proxy may have taken it off, or not
            path = path.removeprefix(self._root_path)
        scope = {**scope, "path": path, "raw_path": path.encode()}

        async def sent(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in accesses.HEADERS.items():
                    headers[name] = value
                headers.setdefault("cache-control", "no-cache" if path.startswith("/static/") else "no-store")
            await send(message)

        if refusal := self._refused(scope):
            await _refusing(path, refusal)(scope, receive, sent)
            return
        with notices.collecting():
            await self._app(scope, receive, sent)

    def _refused(self, scope: Scope) -> Denial | None:
        headers, path = Headers(scope=scope), scope["path"]
        if refusal := accesses.refused_host(self._access, headers.get("host", "")):
            return refusal
        if path.startswith("/static/"):
            return None
        token = Request(scope).query_params.get("token", "") if path == "/" else ""
        found = PageRequest(scope["method"], dict(headers), cookies_of(headers.get("cookie", "")), token)
        return accesses.refused(self._access, found)


def cookies_of(header: str) -> dict[str, str]:
    """The cookies of a request; none, if they cannot be read."""
    try:
        return {name: morsel.value for name, morsel in SimpleCookie(header).items()}
    except CookieError:
        return {}


def _refusing(path: str, refusal: Denial) -> Response:
    if path.startswith("/api/"):
        return answering.error(refusal.status, "Refused", refusal.message)
    if refusal.status == 401:
        return HTMLResponse((STATIC / "refused.html").read_text("utf-8"), refusal.status)
    return Response(refusal.message, refusal.status, media_type="text/plain")


async def _said(request: Request, error: Exception) -> Response:
    """An error in words. One that is not ours is said too; its traceback goes to the terminal."""
    if isinstance(error, RequestValidationError):
        first = error.errors()[0]
        return answering.error(400, "UsageError", f"{'.'.join(map(str, first['loc'][1:]))}: {first['msg']}")
    kind = type(error).__name__
    if isinstance(error, FlorError):
        status = 400 if isinstance(error, UsageError) else 503 if isinstance(error, StoreAway) else 500
        return answering.error(status, kind, str(error))
    return answering.error(500, kind, f"The page's server met an error that it did not expect: {kind}: {error}")
