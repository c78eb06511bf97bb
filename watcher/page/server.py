# SPDX-License-Identifier: GPL-3.0-or-later
"""Serves the page on loopback, to whoever has its address: the token in it, the name in Host, no foreign Origin.

Any program and any web page on this computer can send requests to a port on loopback. The token keeps out other users
and pages that don't know it; the check of Host keeps out pages whose own name was made to lead here (DNS rebinding);
that of Origin keeps out what a page of another origin asks for.
"""

from __future__ import annotations

import hmac
import pkgutil
import secrets
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .board import Board

ADDRESS = "127.0.0.1"
HEARTBEAT_S = 10.0  # so soon at most it is noticed that nobody looks any more
CONNECTIONS = 64  # each takes a thread
_NAMES = (ADDRESS, "localhost")

_FILES = {
    "": ("page.html", "text/html; charset=utf-8"),
    "page.css": ("page.css", "text/css; charset=utf-8"),
    "page.js": ("page.js", "text/javascript; charset=utf-8"),
    "icon.svg": ("icon.svg", "image/svg+xml"),
}
_HEADERS = {
    # Nothing from elsewhere, nothing inline: a host's title can't become a program, whatever is in it.
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'",
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",  # the token is in the address, and links lead elsewhere
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class PageServer(ThreadingHTTPServer):
    """Bound at once; `serve_forever` serves. Port 0: any that is free."""

    request_queue_size = CONNECTIONS

    def __init__(self, board: Board, port: int = 0) -> None:
        """Take the port.

        Raises:
            OSError: another program has it.
        """
        super().__init__((ADDRESS, port), _Handler)
        self.board = board
        self.token = secrets.token_urlsafe(32)
        self.hosts = frozenset(f"{name}:{self.server_port}" for name in _NAMES)
        self._room = threading.BoundedSemaphore(CONNECTIONS)

    def server_bind(self) -> None:
        """Bind, without the reverse lookup of the own name that HTTPServer makes."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = self.server_address[:2]  # type: ignore[assignment]

    @property
    def url(self) -> str:
        """The page's address, which is a secret of this host's user."""
        return f"http://{ADDRESS}:{self.server_port}/{self.token}/"

    def process_request(self, request: Any, client_address: Any) -> None:  # noqa: ANN401 - the base class's
        """Serve in a thread of its own; beyond the limit hang up."""
        if self._room.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:  # noqa: ANN401 - the base class's
        """Make room once it is served."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._room.release()


class _Handler(BaseHTTPRequestHandler):
    server: PageServer
    timeout = HEARTBEAT_S  # who is slower than that loses the connection

    def do_GET(self) -> None:
        refusal = self._refusal()
        if refusal is not None:
            self._send(HTTPStatus.FORBIDDEN, "text/plain; charset=utf-8", f"{refusal}\n".encode())
            return
        wanted = self.path.split("/", 2)[2]
        if wanted == "events":
            self._stream()
        elif wanted in _FILES:
            name, kind = _FILES[wanted]
            content = pkgutil.get_data(__package__ or "", f"static/{name}")
            self._send(HTTPStatus.OK, kind, content or b"")
        else:
            self._send(HTTPStatus.NOT_FOUND, "text/plain; charset=utf-8", b"there is no such page\n")

    def _refusal(self) -> str | None:
        hosts, origins = (self.headers.get_all(name, []) for name in ("Host", "Origin"))
        if len(hosts) != 1 or hosts[0].lower() not in self.server.hosts:
            return "this is not the name that the page is served at"
        if any(origin.lower() != f"http://{hosts[0].lower()}" for origin in origins):
            return "another page asks for this one"
        given = self.path.split("/", 2)
        if len(given) != 3 or not hmac.compare_digest(given[1].encode(), self.server.token.encode()):
            return "open the address that 'btmm page' printed"
        return None

    def _stream(self) -> None:
        """Tell each change as it comes (server-sent events, HTML standard section 9.2)."""
        number = -1
        self._start(HTTPStatus.OK, "text/event-stream")
        with self.server.board.reader():
            while True:
                number, text = self.server.board.after(number, HEARTBEAT_S)
                if not self._write(f"data: {text}\n\n".encode() if text is not None else b":\n\n"):
                    return

    def _send(self, status: HTTPStatus, kind: str, content: bytes) -> None:
        self._start(status, kind, {"Content-Length": str(len(content))})
        self._write(content)

    def _start(self, status: HTTPStatus, kind: str, more: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": kind, **_HEADERS, **(more or {})}.items():
            self.send_header(name, value)
        self.end_headers()

    def _write(self, content: bytes) -> bool:
        """Send; False when nobody listens any more."""
        try:
            self.wfile.write(content)
        except OSError:
            self.close_connection = True
            return False
        return True

    def version_string(self) -> str:
        return "btmm"

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is the base class's
        """Write nothing: the token is in each request."""
