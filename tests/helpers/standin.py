"""The stand-in model server as a process; standin_server.py lists its options and faults."""

from __future__ import annotations

import subprocess
import sys
import urllib.request
from collections.abc import Iterable

import orjson

from tests.helpers.clone import ROOT


class StandIn:
    """The stand-in as a process, for tests: `with StandIn(latency="0.05", faults="500=0.1") as server: …`

    Keyword arguments are the options of standin_server.py (underscores for dashes; True for a switch).
    """

    def __init__(self, **options: object):
        self.arguments = [
            part
            for name, value in options.items()
            for part in (
                (f"--{name.replace('_', '-')}",) if value is True else (f"--{name.replace('_', '-')}", str(value))
            )
        ]

    def start(self) -> StandIn:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.helpers.standin_server", *self.arguments],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.base_url = self.process.stdout.readline().strip()
        if not self.base_url:
            raise RuntimeError(f"the stand-in did not start: {self.arguments}")
        self.port = int(self.base_url.split(":")[2].partition("/")[0])
        return self

    def again(self) -> StandIn:
        """Start again on the same port, after `kill` or `stop`."""
        self.arguments = [*self.arguments, "--port", str(self.port)]
        return self.start()

    def kill(self) -> None:
        """kill -9, as when a machine dies."""
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(60)
        self.process.stdout.close()

    def client(self, **options: object):
        """Return an openai client for it."""
        import openai

        return openai.AsyncOpenAI(**{"base_url": self.base_url, "api_key": "standin-key", **options})

    def complete(self, requests: Iterable, **more: object):
        """Send requests as a stage does to the server that it has opened."""
        from sdg_helpers.serving.server import Server

        return Server(self.base_url, "standin", "endpoint", "standin-key").complete(requests, **more)

    def stats(self) -> dict:
        return self._ask("/stats")

    def reset(self) -> None:
        self._ask("/reset", b"")

    def _ask(self, path: str, data: bytes | None = None) -> dict:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(self.base_url.removesuffix("/v1") + path, data, timeout=60) as response:
            return orjson.loads(response.read())

    def __enter__(self) -> StandIn:
        return self.start()

    def __exit__(self, *exc: object) -> None:
        if self.process.poll() is None:
            self.stop()
