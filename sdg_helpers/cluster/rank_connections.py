"""A TCP connection between two ranks of a job that carries JSON objects and notices when the other end is gone."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import orjson

_MAX_FIRST_BYTES = 1 << 16
# a node that loses power is noticed after about 15 seconds
_OPTIONS = (
    ("TCP_KEEPIDLE", 5),
    ("TCP_KEEPINTVL", 2),
    ("TCP_KEEPCNT", 3),
    ("TCP_USER_TIMEOUT", 15_000),
    ("TCP_NODELAY", 1),
)


class Connection:
    """A connection to another rank: JSON objects, one a line, in both directions."""

    def __init__(self, connection: socket.socket):
        connection.settimeout(None)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in _OPTIONS:
            if hasattr(socket, option):  # not every system has every option
                connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
        self._socket, self._file, self._lock = connection, connection.makefile("rb"), threading.Lock()

    def send(self, message: dict[str, Any]) -> None:
        """Send one object. Does nothing when the other end is gone: its reader reports that."""
        with self._lock, suppress(OSError):
            self._socket.sendall(orjson.dumps(message) + b"\n")

    def first_message(self, timeout_s: float = 5) -> dict[str, Any]:
        """Return the first object. Raises OSError or ValueError when none arrives in time."""
        self._socket.settimeout(timeout_s)
        try:
            return orjson.loads(self._file.readline(_MAX_FIRST_BYTES))
        finally:
            self._socket.settimeout(None)

    def messages(self) -> Iterator[dict[str, Any]]:
        """Yield objects until the other end closes or is gone."""
        with suppress(OSError, ValueError):
            while text := self._file.readline():
                yield orjson.loads(text)

    def close(self) -> None:
        """Close the connection after delivering what was sent."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
