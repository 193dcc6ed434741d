"""Keep connections open between requests, without ever taking the reply to one request for the reply to another.

HTTP/1.1 replies do not name the request that they answer; only their order does. A server or proxy that sends a reply
twice shifts all later replies of that connection by one. So a connection is used again only if every reply on it was
good and different from those before, and nothing arrived on it while no reply was expected. After the first sign of a
repeated reply every request gets a connection of its own, on which a late reply can meet no other request.
"""

from __future__ import annotations

import asyncio
import socket
from contextvars import ContextVar
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import aiohttp
from aiohttp.client_proto import ResponseHandler

if TYPE_CHECKING:
    from aiohttp.client_reqrep import ConnectionKey
    from aiohttp.connector import Connection

_MAX_REQUESTS = 256  # per connection, so that the replies to remember are few

_carrier: ContextVar[_Protocol] = ContextVar("carrier")  # the connection of the calling task's last request


class _Protocol(ResponseHandler):
    """One connection. expecting: a reply; accepted: its last reply was good; replies: hashes of all of them."""

    def __init__(self, loop: asyncio.AbstractEventLoop, connector: Connector):
        super().__init__(loop)
        self._connector = connector
        self.expecting, self.accepted, self.requests = True, False, 0
        self.replies: set[int] = set()

    def data_received(self, data: bytes) -> None:
        if self.expecting or not data:
            super().data_received(data)
        else:
            self._connector.reuse = False
            self.close()


class Connector(aiohttp.TCPConnector):
    """Opens connections and reuses those whose last reply was accepted. reuse: False after the first repeated reply."""

    def __init__(self, **options: Any):
        super().__init__(**options)
        self.reuse = True
        self._factory = partial(_Protocol, self._loop, self)  # type: ignore[assignment]  # ours takes the connector too

    async def connect(
        self, req: aiohttp.ClientRequest, traces: list[aiohttp.tracing.Trace], timeout: aiohttp.ClientTimeout
    ) -> Connection:
        """Return a connection for one request, and close pooled ones that cannot be trusted."""
        while True:
            connection = await super().connect(req, traces, timeout)
            protocol = cast(_Protocol, connection.protocol)
            if not protocol.requests or (self.reuse and protocol.accepted and not protocol.should_close):
                break
            connection.close()
        protocol.expecting, protocol.accepted = True, False
        protocol.requests += 1
        if not self.reuse or protocol.requests == _MAX_REQUESTS:
            req.headers["Connection"] = "close"
            protocol.force_close()
        _carrier.set(protocol)
        return connection

    def _release(self, key: ConnectionKey, protocol: ResponseHandler, *, should_close: bool = False) -> None:
        """The reply is complete, or will not be read."""
        cast(_Protocol, protocol).expecting = False
        super()._release(key, protocol, should_close=should_close)

    def accept(self, digest: int) -> bool:
        """Let the connection of this task's last request carry another one; False if it brought the same reply before.

        digest: a hash of the reply. A connection whose reply is never accepted is closed.
        """
        protocol = _carrier.get()
        if digest in protocol.replies:
            self.reuse = False
            return False
        protocol.replies.add(digest)
        protocol.accepted = True
        return True


def open_socket(address: Any) -> socket.socket:
    """Return a socket with keep-alive, so that a lost machine is noticed in two minutes, not at the timeout."""
    made = socket.socket(address[0], address[1], address[2])
    made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (("TCP_KEEPIDLE", 60), ("TCP_KEEPINTVL", 15), ("TCP_KEEPCNT", 4)):
        if hasattr(socket, name):
            made.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
    return made
