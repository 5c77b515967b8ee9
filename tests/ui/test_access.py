"""Who may ask the page's server: the token, the cookie, the header of writes, names of the machine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from flor_ray.ui import access
from flor_ray.ui.access import Access, PageRequest
from tests import page
from tests.ui import worlds

OPEN = Access("word", 8378, frozenset({"hub.example.org"}))


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = worlds.folder(tmp_path_factory.mktemp("access") / "project")
    worlds.record(root, 0, "first")
    return root


@pytest.mark.parametrize(
    ("host", "is_refused"),
    [
        ("127.0.0.1:8378", False),
        ("localhost", False),
        ("LOCALHOST:1", False),
        ("[::1]:8378", False),
        ("192.168.0.7:80", False),
        ("hub.example.org", False),
        ("evil.example.org", True),
        ("127.0.0.1.evil.example.org", True),
        ("localhost.evil.example.org:8378", True),
        ("", True),
        ("[", True),
    ],
)
def test_a_name_that_was_not_allowed_is_refused_before_anything_else(host: str, is_refused: bool) -> None:
    assert (access.refused_host(OPEN, host) is not None) == is_refused


def request(method: str = "GET", token: str = "", cookie: str = "", **headers: str) -> PageRequest:
    cookies = {OPEN.cookie_name: cookie} if cookie else {}
    return PageRequest(method, {name.replace("_", "-"): value for name, value in headers.items()}, cookies, token)


@pytest.mark.parametrize(
    ("asked", "status"),
    [
        (request(), 401),
        (request(token="wrong"), 401),
        (request(token="wört"), 401),
        (request(cookie="word"), 401),  # the cookie is not the token
        (request(authorization="token wrong"), 401),
        (request(token="word"), None),
        (request(cookie=OPEN.cookie), None),
        (request(authorization="Bearer word"), None),
        (request("POST", cookie=OPEN.cookie), 403),
        (request("POST", token="word"), 403),
        (request("POST", cookie=OPEN.cookie, x_flor_write="1"), 403),
        (request("POST", cookie=OPEN.cookie, x_flor_write=OPEN.write_word), None),
        (request("DELETE", authorization="token word"), None),
        (request("POST", x_flor_write=OPEN.write_word), 401),
    ],
)
def test_reading_needs_the_token_and_writing_a_word_that_only_the_page_has(
    asked: PageRequest, status: int | None
) -> None:
    refused = access.refused(OPEN, asked)
    assert (refused and refused.status) == status


def test_a_page_that_is_read_only_refuses_every_write() -> None:
    closed = Access("word", 8378, frozenset(), read_only=True)
    assert access.refused(closed, request("POST", authorization="token word")) == access.Denial(
        403, "This page is read-only: `flor-ray ui` was started with --read-only."
    )


def test_every_answer_has_the_headers_that_bind_the_browser(root: Path) -> None:
    client = page.client(str(root))
    for path in ("/", "/static/app.js", "/api/session", "/api/nothing", "/nothing"):
        headers = client.get(path).headers
        assert {name: headers.get(name) for name in access.HEADERS} == dict(access.HEADERS), path
        policy = headers["content-security-policy"]
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
    client.cookies.clear()
    assert client.get("/api/runs").headers["content-security-policy"] == access.HEADERS["content-security-policy"]


def test_the_token_in_the_url_opens_the_page_and_leaves_a_cookie_that_no_script_sees(root: Path) -> None:
    client = page.client(str(root))
    client.cookies.clear()
    assert client.get("/").status_code == 401
    assert "needs its token" in client.get("/").text
    assert client.get("/api/runs").json()["kind"] == "Refused"
    opened = client.get("/", params={"token": page.TOKEN})
    cookie = opened.headers["set-cookie"].lower()
    assert opened.status_code == 200
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert page.TOKEN.lower() not in cookie
    assert client.get("/api/runs").status_code == 200


def test_the_page_is_there_with_and_without_the_path_that_a_proxy_has(root: Path) -> None:
    client = page.client(str(root), root_path="/flor/one")
    assert client.get("/flor/one/api/session").json()["project"] == "project"
    assert client.get("/api/session").json()["project"] == "project"
    assert client.get("/flor/one/static/app.js").status_code == 200
    opened = client.get("/flor/one/", params={"token": page.TOKEN})
    assert "path=/flor/one/" in opened.headers["set-cookie"].lower()


def test_another_name_for_this_machine_is_refused(root: Path) -> None:
    refused = page.client(str(root)).get("/api/runs", headers={"host": "evil.example.org"})
    assert refused.status_code == 400
    assert "--allow-host evil.example.org" in refused.json()["error"]


def test_no_path_leads_out_of_the_pages_files(root: Path) -> None:
    client = page.client(str(root))
    for path in ("/static/../app.py", "/static/%2e%2e/app.py", "/static//etc/passwd", "/static/..%2fapp.py"):
        assert client.get(path).status_code == 404, path


def test_allowed_names_are_those_of_the_machine_only_where_all_its_addresses_are_served() -> None:
    assert access.allowed_hosts("127.0.0.1", ["machine"], ["Hub"]) == {"127.0.0.1", "hub"}
    assert access.allowed_hosts("0.0.0.0", ["machine"], []) == {"0.0.0.0", "machine"}


_FORBIDDEN = (
    *("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function"),
    *("http://", "https://", " style=", "<script>", "javascript:"),
)


def test_nothing_of_the_page_asks_for_more_than_the_policy_allows() -> None:
    from flor_ray.ui.app import STATIC

    found: list[Any] = []
    for path in sorted(STATIC.rglob("*")):
        if path.suffix in (".js", ".html", ".css") and "uplot" not in path.parts:
            text = path.read_text("utf-8").replace("http://www.w3.org/2000/svg", "")
            found += [(path.name, word) for word in _FORBIDDEN if word in text]
    assert found == []
