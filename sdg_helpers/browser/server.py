"""Serve the browser's page on loopback: one random address a start, and answers to this page only."""

from __future__ import annotations

import hmac
import json
import secrets
import sys
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from sdg_helpers.browser.pages import HEADERS, content_type, page_files
from sdg_helpers.browser.site import Site, answer
from sdg_helpers.errors import SdgError
from sdg_helpers.exact_json import dumps

_LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
_MAX_BODY = 1 << 16
_JSON = "application/json; charset=utf-8"


class BrowserServer(ThreadingHTTPServer):
    """The server of one site. `url`: where the page is; who does not know it gets nothing."""

    daemon_threads = True

    def __init__(self, site: Site, port: int = 0):
        """port: 0 for a free one. Raises SdgError when the port is taken."""
        self.site, self.token = site, secrets.token_urlsafe(16)
        self.pages = page_files()
        try:
            super().__init__(("127.0.0.1", port), _Handler)
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or error
            raise SdgError(f"cannot listen on port {port}: {reason}. Give another one, or leave out --port.") from None

    @property
    def url(self) -> str:
        """The page's address."""
        return f"http://127.0.0.1:{self.server_port}/{self.token}/"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore connections that the browser drops; show what is a mistake of ours."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


def serve(site: Site, port: int = 0) -> BrowserServer:
    """Return a server that listens; call its `serve_forever`."""
    return BrowserServer(site, port)


class _Handler(BaseHTTPRequestHandler):
    server: BrowserServer
    server_version, sys_version, protocol_version = "sdg", "", "HTTP/1.1"
    timeout = 60  # seconds without a request, after which an idle connection is closed

    def do_GET(self) -> None:
        path = self._path()
        if path is None:
            return
        if path in self.server.pages:
            file = self.server.pages[path]
            self._send(HTTPStatus.OK, file.read_bytes(), content_type(file))
        elif path.startswith("api/"):
            values = parse_qs(urlsplit(self.path).query, keep_blank_values=True)  # a request line has at most 64 KiB
            self._answer(lambda: answer(self.server.site, path.removeprefix("api/"), values))
        else:
            self._refuse(HTTPStatus.NOT_FOUND, "there is no such page")

    def do_POST(self) -> None:
        path = self._path()
        if path is None:
            return
        length = self.headers.get("Content-Length", "")
        host = self.headers.get("Host", "")
        if self.headers.get("Origin") != f"http://{host}" or self.headers.get_content_type() != "application/json":
            self._refuse(HTTPStatus.FORBIDDEN, "only the page itself may decide")
        elif not length.isdecimal() or int(length) > _MAX_BODY:
            self._refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "too long")
        elif path != "api/decide":
            self._refuse(HTTPStatus.NOT_FOUND, "there is no such page")
        else:
            body = self.rfile.read(int(length))
            self._answer(lambda: self.server.site.decide(_object(body)))

    def _path(self) -> str | None:
        """Return the path behind the token; None after refusing a request that another site may have caused."""
        host = self.headers.get("Host", "").rpartition(":")
        if (host[0] or host[2]) not in _LOOPBACK:  # a name that somebody points to this machine
            self._refuse(HTTPStatus.FORBIDDEN, "ask for 127.0.0.1 or localhost")
            return None
        token, slash, rest = urlsplit(self.path).path.removeprefix("/").partition("/")
        if not hmac.compare_digest(token.encode(), self.server.token.encode()) or not slash:
            self._refuse(HTTPStatus.FORBIDDEN, "the address is not complete: copy it from where `sdg browse` runs")
            return None
        return rest or "index.html"

    def _answer(self, make: Callable[[], Any]) -> None:
        try:
            self._send(HTTPStatus.OK, dumps(make()), _JSON)
        except (SdgError, OSError) as error:
            self._refuse(HTTPStatus.BAD_REQUEST, str(error))

    def _refuse(self, status: HTTPStatus, reason: str) -> None:
        self.close_connection = True  # what the request still holds is not read
        self._send(status, dumps({"error": reason}), _JSON)

    def _send(self, status: HTTPStatus, body: bytes, kind: str) -> None:
        self.send_response(status)
        for name, value in HEADERS.items():
            self.send_header(name, value)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Write nothing: the address is a secret, and a terminal is not a log."""


def _object(body: bytes) -> dict[str, Any]:
    try:
        value = json.loads(body)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise SdgError("expected a JSON object.")
    return value
