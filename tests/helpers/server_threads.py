"""A scripted aiohttp server in a thread of the test's process."""

from __future__ import annotations

import asyncio
import threading

from aiohttp import web
from typing_extensions import Self


class ServerThread:
    """Use it in a `with` statement. A subclass's `_serve` starts the server and keeps its runner as `_runner`."""

    _runner: web.AppRunner

    async def _serve(self) -> None:
        raise NotImplementedError

    def __enter__(self) -> Self:
        self._loop = asyncio.new_event_loop()
        self._loop.run_until_complete(self._serve())
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        asyncio.run_coroutine_threadsafe(self._runner.cleanup(), self._loop).result(30)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
