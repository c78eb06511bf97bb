# SPDX-License-Identifier: GPL-3.0-or-later
"""Who gets the page, and who does not."""

from __future__ import annotations

import http.client
import json
import socket
import threading
import time
from collections.abc import Mapping

import pytest

from watcher.page import server as server_module
from watcher.page.board import Board
from watcher.page.server import CONNECTIONS, PageServer

from .conftest import ZONE, host


def answer(
    served: PageServer, path: str, headers: Mapping[str, str] | None = None, method: str = "GET"
) -> tuple[int, bytes, http.client.HTTPMessage]:
    connection = http.client.HTTPConnection("127.0.0.1", served.server_port, timeout=10)
    connection.request(method, path, headers=dict(headers or {}))
    response = connection.getresponse()
    try:
        return response.status, response.read(), response.headers
    finally:
        connection.close()


@pytest.mark.parametrize("file", ["", "page.css", "page.js", "icon.svg"])
def test_files_come_with_headers_that_forbid_the_rest(served: PageServer, file: str) -> None:
    status, content, headers = answer(served, f"/{served.token}/{file}")
    assert status == 200
    assert len(content) > 100
    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert (headers["Referrer-Policy"], headers["Cache-Control"]) == ("no-referrer", "no-store")
    assert headers["X-Frame-Options"] == "DENY"


def test_nothing_is_loaded_from_elsewhere(served: PageServer) -> None:
    for file in ("", "page.css", "page.js"):
        content = answer(served, f"/{served.token}/{file}")[1].decode()
        assert "://" not in content.replace("http://www.w3.org/2000/svg", "")


def test_each_page_has_a_token_of_its_own_and_others_open_nothing(served: PageServer) -> None:
    assert len(served.token) >= 43  # 256 bits
    other = PageServer(Board())
    other.server_close()
    assert other.token != served.token
    for path in ("/", "/page.js", f"/{other.token}/", f"/{served.token[:-1]}/", f"/{served.token}", "/%2e/", "//"):
        status, content, _ = answer(served, path)
        assert status == 403, path
        assert served.token.encode() not in content
    assert answer(served, f"/{served.token}/../etc/passwd")[0] == 404


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost", "LocalHost"])
def test_its_own_names_and_origin_are_let_in(served: PageServer, name: str) -> None:
    own = f"{name}:{served.server_port}"
    assert answer(served, f"/{served.token}/", {"Host": own, "Origin": f"http://{own}"})[0] == 200


@pytest.mark.parametrize(
    "name", ["evil.example:{port}", "127.0.0.1", "127.0.0.1:1", "localhost.:{port}", "[::1]:{port}"]
)
def test_a_name_that_was_made_to_lead_here_is_refused(served: PageServer, name: str) -> None:
    status, content, _ = answer(served, f"/{served.token}/", {"Host": name.format(port=served.server_port)})
    assert (status, content) == (403, b"this is not the name that the page is served at\n")


def test_a_request_without_a_name_or_with_two_is_refused_and_so_is_one_of_odd_octets(served: PageServer) -> None:
    own = f"Host: 127.0.0.1:{served.server_port}\r\n"
    tried = [(served.token, names) for names in ("", own + "Host: evil.example\r\n", own + own)]
    for token, names in (*tried, ("\N{SNOWMAN}", own)):
        with socket.create_connection(("127.0.0.1", served.server_port), 10) as connection:
            connection.sendall(f"GET /{token}/ HTTP/1.1\r\n{names}\r\n".encode())
            assert b" 403 " in connection.makefile("rb").readline(), (token, names)


@pytest.mark.parametrize(
    "origin", ["null", "http://evil.example", "https://127.0.0.1:{port}", "http://localhost:{port}"]
)
def test_what_another_page_asks_for_is_refused(served: PageServer, origin: str) -> None:
    for path in (f"/{served.token}/", f"/{served.token}/events"):
        headers = {"Origin": origin.format(port=served.server_port)}
        assert answer(served, path, headers)[:2] == (403, b"another page asks for this one\n")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
def test_it_only_shows(served: PageServer, method: str) -> None:
    assert answer(served, f"/{served.token}/", method=method)[0] == 501


def test_it_listens_on_loopback_alone(served: PageServer) -> None:
    assert served.server_address[0] == "127.0.0.1"
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.2", served.server_port), 10)


def test_a_port_that_is_taken_is_an_error(served: PageServer) -> None:
    with pytest.raises(OSError, match="in use"):
        PageServer(Board(), served.server_port)


def test_changes_are_told_as_they_come_and_once(served: PageServer) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", served.server_port, timeout=10)
    connection.request("GET", f"/{served.token}/events")
    stream = connection.getresponse()
    assert stream.headers["Content-Type"] == "text/event-stream"
    assert [stream.readline(), stream.readline()] == [b"data: []\n", b"\n"]
    assert served.board.watched
    shown = host("imac", "two\nlines\r")  # no title can end an event
    for _ in range(2):
        served.board.show(ZONE, hosts=[shown], follow="push", fault=None)
    told = stream.readline()
    assert json.loads(told.removeprefix(b"data: ")) == [
        {"zone": ZONE, "hosts": [shown], "follow": "push", "fault": None}
    ]
    served.board.show(ZONE, hosts=[])
    assert stream.readline() == b"\n"
    assert b'"hosts": []' in stream.readline()
    connection.close()


def test_who_looks_away_is_noticed(served: PageServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "HEARTBEAT_S", 0.05)
    connection = http.client.HTTPConnection("127.0.0.1", served.server_port, timeout=10)
    connection.request("GET", f"/{served.token}/events")
    stream = connection.getresponse()
    stream.readline()
    assert served.board.watched
    stream.close()
    connection.close()
    deadline = time.monotonic() + 10
    while served.board.watched:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_flood_of_connections_is_hung_up_on_and_passes(served: PageServer) -> None:
    threads = threading.active_count()
    flood = [socket.create_connection(("127.0.0.1", served.server_port), 10) for _ in range(CONNECTIONS + 8)]
    try:
        # Who comes too late reads the end of the stream; nobody else is told anything.
        for late in flood[CONNECTIONS:]:
            assert late.recv(1) == b""
        assert threading.active_count() <= threads + CONNECTIONS
    finally:
        for each in flood:
            each.close()
    deadline = time.monotonic() + 10
    while threading.active_count() > threads:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert answer(served, f"/{served.token}/")[0] == 200
