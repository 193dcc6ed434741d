"""Scripted servers that behave as providers, gateways and proxies do; each variant says how a run on it must end.

`with Providers() as url:` serves all of them: URL/NAME/v1. The text depends only on the messages and the seed.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from tests.helpers.server_threads import ServerThread
from tests.helpers.standin_script import Script

KEY = "sk-test-0123456789abcdef"
WORKS = ""
SCRIPT = Script(0.8, 300)


@dataclass
class Asked:
    """One request to a variant. number: of this request; again: how often this one has been sent."""

    request: web.Request
    body: dict[str, Any]
    number: int
    again: int
    thinking: str
    text: str

    @property
    def inline(self) -> str:
        return f"<think>\n{self.thinking}\n</think>\n\n{self.text}"


@dataclass
class Variant:
    """settings: keys of the profile's server that fit it. ends: WORKS, or a pattern of the error that stops the run.

    thinks: whether its replies have thinking that must be in the rows.
    """

    reply: Callable[[Asked], Any]
    ends: str = WORKS
    settings: dict[str, Any] = field(default_factory=dict)
    models: Callable[[web.Request], web.Response] | None = None
    thinks: bool = True


VARIANTS: dict[str, Variant] = {}


def variant(ends: str = WORKS, name: str = "", **options: Any):
    """Register a reply function under its name."""

    def register(reply: Callable[[Asked], Any]):
        VARIANTS[name or reply.__name__] = Variant(reply, ends, **options)
        return reply

    return register


def error(status: int, message: str, headers: dict[str, str] | None = None, **more: Any) -> web.Response:
    return web.json_response({"error": {"message": message, **more}}, status=status, headers=headers)


def completion(content: Any, finish: Any = "stop", usage: bool = True, **message: Any) -> web.Response:
    body: dict[str, Any] = {
        "id": f"x{time.monotonic_ns()}",
        "choices": [{"index": 0, "message": {"content": content, **message}, "finish_reason": finish}],
    }
    if usage:
        body["usage"] = {"prompt_tokens": 50, "completion_tokens": 100}
    return web.json_response(body)


def events(*deltas: Any, finish: Any = "stop", usage: bool = True, end: str = "data: [DONE]\n\n") -> str:
    """The text of an event stream: each delta (a dict of the message's fields, or a line as it is) is an event."""
    lines = [
        delta
        if isinstance(delta, str)
        else "data: "
        + json.dumps(
            {"id": f"x{time.monotonic_ns()}", "choices": [{"index": 0, "delta": delta, "finish_reason": None}]}
        )
        for delta in deltas
    ]
    if finish:
        lines.append("data: " + json.dumps({"choices": [{"index": 0, "delta": {}, "finish_reason": finish}]}))
    if usage:
        lines.append('data: {"choices":[],"usage":{"prompt_tokens":50,"completion_tokens":100}}')
    return "".join(f"{line}\n\n" for line in lines) + end


def streamed(text: str, content_type: str = "text/event-stream") -> web.Response:
    return web.Response(body=text.encode(), headers={"Content-Type": content_type})


def pieces(text: str, size: int = 17) -> list[str]:
    return [text[start : start + size] for start in range(0, len(text), size)]


def listed(*names: str, key: str = "data") -> Callable[[web.Request], web.Response]:
    return lambda request: web.json_response({key: [{"id": name} for name in names]})


class Providers(ServerThread):
    """All variants behind one address, in a thread of this process."""

    def __init__(self, tls: Any = None):
        self.tls = tls
        self.bodies: dict[str, list[dict[str, Any]]] = {}
        self.headers: dict[str, Any] = {}
        self._seen: Counter[tuple[str, str]] = Counter()

    def most_attempts(self, name: str) -> int:
        """Return how often the most frequent request of a variant was sent."""
        return max((count for (variant, _), count in self._seen.items() if variant == name), default=0)

    async def _models(self, request: web.Request) -> web.Response:
        scripted = VARIANTS[request.match_info["name"]]
        return scripted.models(request) if scripted.models else listed("m")(request)

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        name, body = request.match_info["name"], await request.json()
        self.bodies.setdefault(name, []).append(body)
        self.headers[name] = request.headers.copy()
        seed = body.get("seed", body.get("random_seed"))
        key = json.dumps([body["messages"], seed])
        self._seen[name, key] += 1
        thinking, text = SCRIPT.reply(body["messages"], seed)
        asked = Asked(request, body, len(self.bodies[name]), self._seen[name, key], thinking or "Let me see.", text)
        reply = VARIANTS[name].reply(asked)
        return await reply if asyncio.iscoroutine(reply) else reply

    async def _serve(self) -> None:
        app = web.Application(client_max_size=1 << 26)
        app.router.add_get("/{name}/v1/models", self._models)
        app.router.add_post("/{name}/v1/chat/completions", self._chat)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0, ssl_context=self.tls)
        await site.start()
        port = site._server.sockets[0].getsockname()[1]
        self.url = f"https://localhost:{port}" if self.tls else f"http://127.0.0.1:{port}"
