"""TCP connections between the ranks of a job: who is let in, JSON objects, and news when the other end is gone."""

from __future__ import annotations

import hmac
import selectors
import socket
import threading
import time
from collections.abc import Generator, Iterator
from contextlib import suppress
from typing import Any

import orjson

_MAX_FIRST_BYTES = 1 << 16
_HELLO_S = 10.0  # from the connection to its whole first message
_MAX_VISITORS = 64  # connections that have not shown the secret
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

    def __init__(self, connection: socket.socket, received: bytes = b""):
        """received: what has been read from it already."""
        connection.settimeout(None)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in _OPTIONS:
            if hasattr(socket, option):  # not every system has every option
                connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
        self._socket, self._received, self._lock = connection, received, threading.Lock()

    def introduce(self, secret: str, hello: dict[str, Any]) -> None:
        """Send the secret and the first object, as `admit` expects them."""
        self._socket.sendall(secret.encode() + orjson.dumps(hello) + b"\n")

    def send(self, message: dict[str, Any]) -> None:
        """Send one object. Does nothing when the other end is gone: its reader reports that."""
        with self._lock, suppress(OSError):
            self._socket.sendall(orjson.dumps(message) + b"\n")

    def next_message(self, timeout_s: float) -> dict[str, Any]:
        """Return the next object. Raises OSError or ValueError when none arrives in time."""
        deadline = time.monotonic() + timeout_s
        try:
            while b"\n" not in self._received:
                self._socket.settimeout(max(0.001, deadline - time.monotonic()))
                if len(self._received) > _MAX_FIRST_BYTES or not self._receive():
                    raise ValueError("no message")
                if time.monotonic() > deadline:
                    raise TimeoutError
        finally:
            self._socket.settimeout(None)
        return self._take_message()

    def messages(self) -> Iterator[dict[str, Any]]:
        """Yield objects until the other end closes or is gone."""
        with suppress(OSError, ValueError):
            while True:
                while b"\n" in self._received:
                    yield self._take_message()
                if not self._receive():
                    return

    def _receive(self) -> bool:
        data = self._socket.recv(1 << 16)
        self._received += data
        return bool(data)

    def _take_message(self) -> dict[str, Any]:
        line, _, self._received = self._received.partition(b"\n")
        message = orjson.loads(line)
        if not isinstance(message, dict):
            raise ValueError("not a JSON object")
        return message

    def close(self) -> None:
        """Close the connection after delivering what was sent."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()


def admit(server: socket.socket, secret: str, until: float) -> Generator[tuple[Connection, dict[str, Any]], None, None]:
    """Yield the connections that show the secret, each with its first object, until time.monotonic() is `until`.

    Nothing else is read from a connection before the secret. Strangers cost others no time: all connections are
    watched at once, and each is closed when it shows something else or after ten seconds.
    """
    server.setblocking(False)
    with selectors.DefaultSelector() as selector:
        selector.register(server, selectors.EVENT_READ)
        visitors: dict[socket.socket, _Visitor] = {}

        def part_with(visitor: socket.socket) -> None:
            selector.unregister(visitor)
            del visitors[visitor]

        try:
            while (now := time.monotonic()) < until:
                for key, _ in selector.select(min(0.5, until - now)):
                    if key.fileobj is server:
                        with suppress(OSError):
                            came = server.accept()[0]
                            came.setblocking(False)
                            visitors[came] = _Visitor(came, secret.encode(), time.monotonic() + _HELLO_S)
                            selector.register(came, selectors.EVENT_READ)
                    elif (visitor := visitors.get(key.fileobj)) and visitor.read():  # type: ignore[call-overload]
                        part_with(visitor.socket)
                        if visitor.hello is None:
                            visitor.socket.close()
                        else:
                            yield Connection(visitor.socket, visitor.rest), visitor.hello
                for number, one in enumerate(list(reversed(visitors))):  # newest first
                    if number >= _MAX_VISITORS or visitors[one].deadline < time.monotonic():
                        part_with(one)
                        one.close()
        finally:
            for one in visitors:
                one.close()


class _Visitor:
    """A new connection. hello: its first object, if it showed the secret; rest: what it sent after that."""

    def __init__(self, connection: socket.socket, secret: bytes, deadline: float):
        self.socket, self.deadline = connection, deadline
        self.hello: dict[str, Any] | None = None
        self.rest = b""
        self._secret, self._received = secret, b""

    def read(self) -> bool:
        """Read what has arrived; return whether it is decided who this is."""
        try:
            data = self.socket.recv(1 << 12)
        except BlockingIOError:
            return False
        except OSError:
            return True
        self._received += data
        shown, said = self._received[: len(self._secret)], self._received[len(self._secret) :]
        if not data or len(self._received) > _MAX_FIRST_BYTES:
            return True
        if len(shown) < len(self._secret):
            return b"\n" in shown
        if not hmac.compare_digest(shown, self._secret):
            return True
        line, end, self.rest = said.partition(b"\n")
        if not end:
            return False
        with suppress(ValueError):
            hello = orjson.loads(line)
            self.hello = hello if isinstance(hello, dict) else None
        return True
