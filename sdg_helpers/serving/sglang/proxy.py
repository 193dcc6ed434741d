"""A fixed local address in front of a server that may be restarted: open while the server is healthy, else closed."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any

_BLOCK = 1 << 16
_NO_SERVER_S = 2.0  # longer than the supervision needs to see that a server has died, and to close the proxy


class Proxy:
    """Forwards connections to a port of this machine while open, and refuses them while closed.

    A refused connection looks to clients as if no server were running, so they wait. The proxy's own port never
    changes.
    """

    def __init__(self) -> None:
        self._reserved = _bound(0)  # never listens: it reserves the port while the proxy is closed
        self.port = self._reserved.getsockname()[1]
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._run, name="server proxy", daemon=True).start()

    def open(self, address: str) -> None:
        """Forward connections to http://host:port from now on."""
        host, _, port = address.rpartition("/")[2].rpartition(":")
        self._call(self._open(host, int(port)))

    def close(self) -> None:
        """Refuse new connections and break existing ones."""
        self._call(self._close())

    def stop(self) -> None:
        """Close for good and release the port. A second call does nothing."""
        if self._reserved.fileno() >= 0:
            self.close()
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._reserved.close()

    def _run(self) -> None:
        self._loop.run_forever()
        self._loop.close()

    def _call(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout=30)

    async def _open(self, host: str, port: int) -> None:
        await self._close()
        self._server = await asyncio.start_server(
            lambda *ends: self._forward(host, port, *ends), sock=_bound(self.port), backlog=1024
        )

    async def _close(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        tasks = list(self._connections)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _forward(self, host: str, port: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Forward one connection, both ways, until either end closes it."""
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        writers = [writer]
        try:
            try:
                upstream, onward = await asyncio.open_connection(host, port)
            except OSError:
                # A client that gets an answer at once sends the next request, and would soon have taken work for hours.
                await asyncio.sleep(_NO_SERVER_S)
                raise
            writers.append(onward)
            directions = [asyncio.ensure_future(_pump(reader, onward)), asyncio.ensure_future(_pump(upstream, writer))]
            try:
                await asyncio.wait(directions, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for direction in directions:
                    direction.cancel()
        except OSError:
            pass  # no server: the client sees a closed connection and retries
        except asyncio.CancelledError:
            for one in writers:
                one.transport.abort()
        finally:
            self._connections.discard(task)
            for one in writers:
                one.close()  # once its buffer is flushed


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(_BLOCK):
            writer.write(data)
            await writer.drain()


def _bound(port: int) -> socket.socket:
    one = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    one.bind(("127.0.0.1", port))
    return one
