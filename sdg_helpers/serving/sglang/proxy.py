"""A fixed address before a server that may be started anew: open while the server is well, else nobody is there."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any

_BLOCK = 1 << 16


class Gate:
    """Hands connections on to a port of this machine while it is open; a closed gate refuses them, as a machine
    without a server does, so that clients wait. Its own port stays the same, whatever happens behind it."""

    def __init__(self) -> None:
        self._held = _bound(0)  # never listens: it keeps the port ours while the gate is closed
        self.port = self._held.getsockname()[1]
        self._server: asyncio.Server | None = None
        self._carrying: set[asyncio.Task[None]] = set()
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._run, name="gate", daemon=True).start()

    def open(self, port: int) -> None:
        """From now on connections are handed on to 127.0.0.1:port."""
        self._call(self._open(port))

    def close(self) -> None:
        """Refuse connections, and break off those that there are."""
        self._call(self._close())

    def end(self) -> None:
        """Close for ever and give the port back; a second call does nothing."""
        if self._held.fileno() >= 0:
            self.close()
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._held.close()

    def _run(self) -> None:
        self._loop.run_forever()
        self._loop.close()

    def _call(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout=30)

    async def _open(self, port: int) -> None:
        await self._close()
        self._server = await asyncio.start_server(
            lambda *ends: self._carry(port, *ends), sock=_bound(self.port), backlog=1024
        )

    async def _close(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        tasks = list(self._carrying)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _carry(self, port: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, both ways, until either end closes it."""
        task = asyncio.current_task()
        self._carrying.add(task)
        writers = [writer]
        try:
            behind, onward = await asyncio.open_connection("127.0.0.1", port)
            writers.append(onward)
            ways = [asyncio.ensure_future(_pump(reader, onward)), asyncio.ensure_future(_pump(behind, writer))]
            try:
                await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for way in ways:
                    way.cancel()
        except OSError:
            pass  # nobody behind: the client sees a closed connection and asks again
        except asyncio.CancelledError:
            for one in writers:
                one.transport.abort()
        finally:
            self._carrying.discard(task)
            for one in writers:
                one.close()  # after what is in its buffer


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
