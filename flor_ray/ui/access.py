"""Who may ask the page's server, and what a browser may do with what it answers. Pure.

the token      is in the URL that is printed, or in the header "Authorization: token ..."
the cookie     is what a browser keeps of it: SameSite=Strict, not for scripts, one per port
writing        needs, with the cookie, the header X-Flor-Write too, which another site's page cannot send
Host           is this machine's address, or a name that was allowed: another name that leads here (DNS rebinding)
               is refused before anything is looked at
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
from collections.abc import Collection, Mapping
from dataclasses import dataclass

WRITE_HEADER = "x-flor-write"
HEADERS: Mapping[str, str] = {
    # uPlot sets styles from script, which needs no `unsafe-inline`. Images and figures are blobs that a page makes.
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; "
        "font-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'; object-src 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "x-frame-options": "DENY",
}
_SAFE_METHODS = frozenset({"GET", "HEAD"})


@dataclass(frozen=True, slots=True)
class Access:
    """What opens the page's server."""

    token: str
    port: int
    hosts: frozenset[str]  # names that a request's Host may have besides addresses and `localhost`
    read_only: bool = False

    @property
    def cookie_name(self) -> str:
        """Cookies are of a machine and not of a port: two servers must not take each other's."""
        return f"flor-ui-{self.port}"

    @property
    def cookie(self) -> str:
        """What a browser keeps: it does not tell the token."""
        return hashlib.sha256(f"cookie of {self.token}".encode()).hexdigest()

    @property
    def write_word(self) -> str:
        """What a page that may write sends along: only a page of ours can read it."""
        return hashlib.sha256(f"writing with {self.token}".encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Denial:
    """Why a request is not answered."""

    status: int
    message: str


@dataclass(frozen=True, slots=True)
class PageRequest:
    """What counts of a request. Names of headers are in lower case."""

    method: str
    headers: Mapping[str, str]
    cookies: Mapping[str, str]
    token: str = ""  # of the URL


def refused_host(access: Access, host: str) -> Denial | None:
    """Whether a request comes by a name that is not ours."""
    name = host_name(host)
    if name == "localhost" or name in access.hosts or _is_address(name):
        return None
    return Denial(
        400,
        f"The page was asked for as {name!r}, which is not a name that it knows. Open it by its address, or start "
        f"`flor-ray ui` with --allow-host {name or 'NAME'}, as behind a proxy.",
    )


def host_name(host: str) -> str:
    """The name in a Host header, without the port."""
    name = host.strip().lower()
    if name.startswith("["):
        return name[1:].partition("]")[0]
    return name.rpartition(":")[0] if name.count(":") == 1 else name


def _is_address(name: str) -> bool:
    """Whether a name is an address: no name server can make it lead elsewhere."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def refused(access: Access, asked: PageRequest) -> Denial | None:
    """Whether a request for data is not answered, and why."""
    by_header = _is(_authorized(asked.headers.get("authorization", "")), access.token)
    by_cookie = _is(asked.cookies.get(access.cookie_name, ""), access.cookie)
    if not (by_header or by_cookie or _is(asked.token, access.token)):
        return Denial(
            401, "This page needs its token: open the URL that `flor-ray ui` has printed, which ends in ?token=..."
        )
    if asked.method in _SAFE_METHODS:
        return None
    if access.read_only:
        return Denial(403, "This page is read-only: `flor-ray ui` was started with --read-only.")
    if by_header or _is(asked.headers.get(WRITE_HEADER, ""), access.write_word):
        return None
    return Denial(403, "Something else than this page has asked to change something. Reload the page and try again.")


def _authorized(header: str) -> str:
    kind, _, token = header.partition(" ")
    return token.strip() if kind.lower() in ("token", "bearer") else ""


def _is(given: str, right: str) -> bool:
    """Whether two texts are equal, in a time that does not tell where they differ."""
    return hmac.compare_digest(given.encode("utf-8", "surrogateescape"), right.encode())


def has_token(access: Access, token: str) -> bool:
    """Whether this is the token: then the answer sets the cookie."""
    return _is(token, access.token)


def allowed_hosts(host: str, own_names: Collection[str], allowed: Collection[str]) -> frozenset[str]:
    """Names that lead here: the one that the server is bound to, those of the machine if it is bound to all its
    addresses, and those that were allowed."""
    everywhere = host in ("", "0.0.0.0", "::")
    return frozenset(name.lower() for name in (host, *allowed, *(own_names if everywhere else ())) if name)
