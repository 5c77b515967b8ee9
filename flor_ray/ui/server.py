"""A port, a token, a browser: the page's server, until Ctrl-C."""

from __future__ import annotations

import errno
import secrets
import socket
import threading
import webbrowser
from collections.abc import Callable, Collection
from dataclasses import dataclass

import uvicorn

from flor_ray.errors import UsageError
from flor_ray.settings import Loaded
from flor_ray.store.project import Project
from flor_ray.ui import access, app, notices, warming
from flor_ray.ui.opened import Opened

FIRST_PORT = 8378
_PORTS = 50  # that are tried where none is asked for
_TAKEN = (errno.EADDRINUSE, errno.EACCES)


@dataclass(frozen=True, slots=True)
class ServerOptions:
    """How the page is served."""

    host: str = "127.0.0.1"
    port: int | None = None  # None: the first free one
    read_only: bool = False
    root_path: str = ""  # that a proxy puts before all paths
    allowed_hosts: Collection[str] = ()
    token: str = ""  # "": a new one
    opens_browser: bool = True


def serve(loaded: Loaded, serving: ServerOptions, say: Callable[[str], None]) -> None:
    """Serve the page of the project here until Ctrl-C; `say` is told its URL.

    Raises:
        UsageError: the port is taken, or the address is not this machine's.
    """
    notices.install()
    opened = Opened(Project.of(loaded, read_only=serving.read_only), loaded)
    root = "/" + serving.root_path.strip("/") if serving.root_path.strip("/") else ""
    with _bound(serving.host, serving.port) as listening:
        port = listening.getsockname()[1]
        own = {socket.gethostname(), socket.getfqdn()}
        hosts = access.allowed_hosts(serving.host, own, serving.allowed_hosts)
        opens = access.Access(serving.token or secrets.token_hex(24), port, hosts, serving.read_only)
        url = f"http://{_shown_host(serving.host)}:{port}{root}/?token={opens.token}"
        say(url)
        warming.begin()
        config = uvicorn.Config(
            app.make_app(opened, opens, root, looks_ahead=True),
            log_level="warning",
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=1,  # browsers that follow a replay never end their requests
        )
        if serving.opens_browser:
            threading.Thread(target=webbrowser.open, args=(url,), daemon=True).start()
        uvicorn.Server(config).run(sockets=[listening])


def _bound(host: str, port: int | None) -> socket.socket:
    """A socket that listens."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for tried in (port,) if port is not None else range(FIRST_PORT, FIRST_PORT + _PORTS):
        listening = socket.socket(family, socket.SOCK_STREAM)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((host, tried))
            listening.listen(128)
        except OSError as error:
            listening.close()
            if port is not None or error.errno not in _TAKEN:
                raise UsageError(
                    f"The page cannot be served at {host}:{tried}: {error.strerror or error}. Give another --port, or "
                    "--host with an address of this machine."
                ) from error
        else:
            return listening
    raise UsageError(f"Ports {FIRST_PORT} to {FIRST_PORT + _PORTS - 1} of {host} are taken. Give another with --port.")


def _shown_host(host: str) -> str:
    """The host of a URL that a browser on this machine can open."""
    if host in ("", "0.0.0.0", "::"):
        return "127.0.0.1" if host != "::" else "[::1]"
    return f"[{host}]" if ":" in host else host
