"""Whether a Ray cluster can be at an address, found out in seconds and without Ray: what Ray itself does with a wrong
one is to try for half a minute, to write into the terminal what it tries, and to end the process.

Ray's own question, whether the head node is alive and lets this process in, comes after it (`cluster.actors`). Jobs go
to another place: to the dashboard, which is a web server (`cluster.ray_jobs`).
"""

from __future__ import annotations

import http.client
import json
import os
import re
import socket
import urllib.error
import urllib.request
from pathlib import Path

from flor_ray.errors import ClusterRefused, DashboardRefused

VARIABLE = "RAY_ADDRESS"
FOR_JOBS = "RAY_API_SERVER_ADDRESS"  # where `ray job submit` looks first
USUAL_DASHBOARD = "http://127.0.0.1:8265"  # and last: a port may be forwarded from there
_JOB = "RAY_JOB_CONFIG_JSON_ENV_VAR"  # by which Ray tells the process of a job what it is
_CONNECT_SECONDS = 4.0  # to a host that is named: one in another network may take a moment
_ANSWER_SECONDS = 4.0
_HERE_SECONDS = 0.5  # to a cluster on this machine
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0"  # and empty settings: how gRPC's clients begin
_MOST_BYTES = 100_000  # of what a dashboard says of its version
_SETTINGS = 4  # the type of the frame that its servers begin with

_HOST_AND_PORT = "Give the address of the cluster's head node as host:port, as in 10.0.0.1:6379"
DASHBOARD = "Give the dashboard's address with --address, as in http://10.0.0.1:8265"
_WEB = ("http://", "https://")


def named() -> str:
    """The address that the user gives; "" for none."""
    return os.environ.get(VARIABLE, "").strip()


def here() -> str:
    """The address of the cluster that runs on this machine, as ray.init finds it; "" if none answers: the file may tell
    of one that is gone."""
    folder = os.environ.get("RAY_TMPDIR") or os.environ.get("TMPDIR") or "/tmp"
    try:
        address = Path(folder, "ray", "ray_current_cluster").read_text().strip()
        socket.create_connection(_host_and_port(address), _HERE_SECONDS).close()
    except (OSError, ValueError):
        return ""
    return address


def submission() -> str:
    """The id of the job, submitted to a Ray cluster, that this process is part of; "" if it is of none."""
    try:
        return str(json.loads(os.environ[_JOB])["metadata"]["job_submission_id"])
    except (KeyError, ValueError, TypeError):
        return ""


def check(address: str) -> None:
    """Raises ClusterRefused where no cluster can be."""
    if address.startswith(_WEB):
        raise ClusterRefused(
            address,
            "it is no host:port, but a dashboard's address, to which replays are submitted (`flor-ray submit replay`)",
            _HOST_AND_PORT,
        )
    if re.match(r"ray://", address):
        host = address.removeprefix("ray://").rpartition(":")[0] or "10.0.0.1"
        raise ClusterRefused(
            address,
            "it is the address of a Ray Client server, through which replays do not run",
            f"Give the address of the cluster's head node as host:port, as in {host}:6379, on a machine of the cluster",
        )
    try:
        answer = _first_answer(address)
    except ValueError as error:
        raise ClusterRefused(address, f"{error}", _HOST_AND_PORT) from None
    except OSError as error:
        raise ClusterRefused(
            address,
            f"it cannot be reached ({_why(error)})",
            "Start the cluster (`ray start --head`), or correct the address",
        ) from None
    if _is_web(answer):
        raise ClusterRefused(
            address, "a web server answers there, which may be the cluster's dashboard", _HOST_AND_PORT
        )
    if not _is_head(answer):
        raise ClusterRefused(address, "what answers there is no Ray cluster", _HOST_AND_PORT)


def dashboard(address: str) -> str | None:
    """The URL of the dashboard that is at an address; None: a cluster's head node may be there, which knows it.

    Raises:
        DashboardRefused: neither can be there.
    """
    if address.startswith("ray://"):
        raise DashboardRefused(address, "it is the address of a Ray Client server, which takes no jobs", DASHBOARD)
    if not address.startswith(_WEB):
        try:
            answer = _first_answer(address)
        except ValueError as error:
            raise DashboardRefused(address, f"{error}", DASHBOARD) from None
        except OSError as error:
            raise DashboardRefused(address, f"it cannot be reached ({_why(error)})", DASHBOARD) from None
        if not _is_web(answer):
            if _is_head(answer):
                return None
            raise DashboardRefused(address, "what answers there is no Ray cluster", DASHBOARD)
        address = f"http://{address}"
    expect_dashboard(address.rstrip("/"))
    return address.rstrip("/")


def expect_dashboard(url: str) -> None:
    """Raises DashboardRefused unless the dashboard of a Ray cluster answers there; it may want a token."""
    try:
        with urllib.request.urlopen(f"{url}/api/version", timeout=_ANSWER_SECONDS) as answer:
            is_ray = "ray_version" in json.loads(answer.read(_MOST_BYTES))
    except urllib.error.HTTPError as error:
        is_ray = error.code in (401, 403)
    except urllib.error.URLError as error:
        raise DashboardRefused(url, f"it cannot be reached ({_why(error.reason)})", DASHBOARD) from None
    except (OSError, http.client.HTTPException) as error:
        raise DashboardRefused(url, f"it does not answer as it should ({_why(error)})", DASHBOARD) from None
    except (ValueError, TypeError):
        is_ray = False
    if not is_ray:
        raise DashboardRefused(url, "what answers there is not the dashboard of a Ray cluster", DASHBOARD)


def _first_answer(address: str) -> bytes:
    """The first bytes that are said at an address. Raises ValueError if it is none, OSError if nobody is there."""
    host, port = _host_and_port(address)
    try:
        with socket.create_connection((host, port), _CONNECT_SECONDS) as connection:
            connection.settimeout(_ANSWER_SECONDS)
            return b"" if _encrypted() else _answer(connection)
    except (socket.gaierror, UnicodeError) as error:
        why = getattr(error, "strerror", "it is no name of a host")
        raise ValueError(f"the host {host!r} is not known ({why})") from None


def _is_web(answer: bytes) -> bool:
    return answer.startswith((b"HTTP/", b"<"))


def _is_head(answer: bytes) -> bool:
    return _encrypted() or (len(answer) >= 9 and answer[3] == _SETTINGS)


def _why(error: object) -> str:
    if isinstance(error, TimeoutError):
        return "nothing answered in time"
    return f"{getattr(error, 'strerror', None) or error}".lower()


def _host_and_port(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    if not host or not port.isascii() or not port.isdigit() or not 0 < int(port) < 65536 or "/" in host:
        raise ValueError("it is no host:port")
    return host.strip("[]"), int(port)


def _encrypted() -> bool:
    """Whether Ray's connections are, so that no plain word is answered."""
    return os.environ.get("RAY_USE_TLS", "0").lower() in ("1", "true")


def _answer(connection: socket.socket) -> bytes:
    """The first bytes that a server says when gRPC's clients begin; b"" for none."""
    connection.sendall(_PREFACE)
    found = b""
    while len(found) < 9:
        try:
            more = connection.recv(64)
        except OSError:  # it is silent, or has hung up
            break
        if not more:
            break
        found += more
    return found
