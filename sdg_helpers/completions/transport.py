"""One chat completion over HTTP: what is sent, what may come back, and what kind of trouble it can be.

The `openai` client that users configure says where and with which key. The bytes go over aiohttp and orjson, which
carry about ten times as many requests a second as the client's own transport.
"""

from __future__ import annotations

import asyncio
import errno
import io
import json
import socket
import time
import urllib.request
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import orjson
from multidict import CIMultiDictProxy

from sdg_helpers.completions.pacing import retry_after_s
from sdg_helpers.completions.replies import AGAIN, BUSY, HOPELESS, STOP, UNREACHABLE, Trouble, error_message, read_reply
from sdg_helpers.completions.types import Completion, Request, Sampling
from sdg_helpers.errors import SdgError, did_you_mean
from sdg_helpers.files import replace_lone_surrogates

REPLY_CAP_BYTES = 64 << 20  # no sane reply is larger; a server gone mad must not take our memory
_KEY = "the API key of this server, its rights and its credit"


class Transport:
    """Sends requests to one server; use as an async context manager.

    client: an openai.OpenAI or AsyncOpenAI, of which base_url, api_key, default headers and query, and the connect
    time-out are read. Environment proxies serve https addresses only, never http ones: those are one's own machines.
    """

    def __init__(self, client: Any, model: str, sampling: Sampling, timeout_s: float | None):
        base_url = str(client.base_url).rstrip("/")
        if urlsplit(base_url).scheme not in ("http", "https") or "@" in urlsplit(base_url).netloc:
            raise SdgError(
                "base_url: expected http://host:port/v1 or https://host/v1 without name and password, found "
                f"{urlsplit(base_url)._replace(netloc=urlsplit(base_url).netloc.split('@')[-1]).geturl()!r}."
                " Give the key as api_key."
            )
        self.base_url, self.model = base_url, model
        self._client, self._proxy, self._doubted = client, _proxy(base_url), set()
        self._headers, self._timeout = _headers(client), _timeout(client, timeout_s)
        self._common = {
            "model": model,
            **{
                name: value
                for name, value in (
                    ("temperature", sampling.temperature),
                    ("top_p", sampling.top_p),
                    ("max_tokens", sampling.max_tokens),
                )
                if value is not None
            },
            **sampling.extra_body,
        }

    async def __aenter__(self) -> Transport:
        # Kept-alive connections are dropped before the five seconds after which common servers drop theirs.
        connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=4, socket_factory=_socket)
        self._session = aiohttp.ClientSession(
            connector=connector,
            headers=self._headers,
            timeout=self._timeout,
            request_class=_Request,
            cookie_jar=aiohttp.DummyCookieJar(),
        )
        self._url = f"{self.base_url}/chat/completions"
        self._options = {
            "params": dict(self._client.default_query) or None,
            "proxy": self._proxy,
            "allow_redirects": False,
        }
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._session.close()

    async def attempt(self, request: Request) -> Completion | Trouble:
        """Ask once."""
        started = time.perf_counter()
        try:
            async with self._session.post(self._url, data=self._body(request), **self._options) as response:
                data = await _read(response)
        except _Unasked:
            return await self.attempt(request)  # that connection is closed now; nothing was sent on it
        except (aiohttp.ClientError, asyncio.TimeoutError, OSError) as error:
            return self._no_answer(error)
        if data is None:
            return Trouble(AGAIN, "too_long", f"the reply is longer than {REPLY_CAP_BYTES >> 20} MiB")
        if response.status != 200:
            return await self._refusal(response.status, response.headers, data)
        outcome = read_reply(data, time.perf_counter() - started)
        if type(outcome) is Trouble:
            return replace(outcome, detail=self._hide(outcome.detail))
        if self._meant_for_another(response.carrier, request, data):
            return Trouble(AGAIN, "duplicate", "the server sent the reply to another request twice")
        return outcome

    def _meant_for_another(self, carrier: Any, request: Request, data: bytes) -> bool:
        """Whether the same connection brought this reply before, byte for byte, to another request.

        Told once for each such reply: a server that answers alike to everything is then taken at its word.
        """
        asked, mark = (request.seed, request.messages), hash(data)
        before, carrier.last_exchange = getattr(carrier, "last_exchange", None), (asked, mark)
        if before is None or before[1] != mark or before[0] == asked or mark in self._doubted:
            return False
        self._doubted.add(mark)
        carrier.force_close()
        return True

    def _body(self, request: Request) -> bytes | io.BytesIO:
        body = {**self._common, "messages": request.messages}
        if request.seed is not None:
            body["seed"] = request.seed
        try:
            data = orjson.dumps(body)
        except TypeError:  # a lone surrogate, or something that is not JSON at all
            try:
                data = orjson.dumps(replace_lone_surrogates(json.loads(json.dumps(body))))
            except (TypeError, ValueError) as error:
                raise SdgError(
                    f"request {request.key!r}: expected messages of plain JSON values, found something else ({error})."
                ) from None
        return data if len(data) < 1 << 20 else io.BytesIO(data)

    def _no_answer(self, error: Exception) -> Trouble:
        said = self._hide(f"{type(error).__name__}: {error}")
        if isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE):
            return Trouble(
                STOP,
                "too_many_files",
                "Too many open files: lower the concurrency, or raise the limit (`ulimit -n 65536`) and run again.",
            )
        if isinstance(error, aiohttp.ClientConnectorCertificateError):
            return Trouble(
                STOP,
                "certificate",
                f"{self.base_url}: expected a certificate this machine trusts, found "
                f"none ({said}). Check the address, or set SSL_CERT_FILE.",
            )
        if isinstance(error, (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)):
            return Trouble(UNREACHABLE, "unreachable", said)
        if isinstance(error, asyncio.TimeoutError):
            return Trouble(AGAIN, "timeout", f"no whole reply within {self._timeout.total} s")
        if isinstance(error, (aiohttp.ServerDisconnectedError, aiohttp.ClientPayloadError, OSError)):
            return Trouble(AGAIN, "disconnected", said)
        return Trouble(AGAIN, "bad_reply", said)

    async def _refusal(self, status: int, headers: CIMultiDictProxy[str], data: bytes) -> Trouble:
        said = self._hide(error_message(data))
        reason, detail, wait = f"http_{status}", f"HTTP {status}: {said}", retry_after_s(headers.get("Retry-After"))
        if status in (401, 402) or b'"insufficient_quota"' in data:
            return Trouble(STOP, reason, f"{self.base_url} refuses us (HTTP {status}: {said}). Check {_KEY}.")
        if status == 403:  # an input that was moderated, or a key without the right: many in a row tell which
            return Trouble(HOPELESS, reason, f"{detail} (if all requests end like this one, check {_KEY})")
        if status == 404:
            return Trouble(STOP, reason, await self._not_found(said))
        if 300 <= status < 400:
            return Trouble(
                STOP,
                reason,
                f"{self.base_url} has moved (HTTP {status} to {headers.get('Location')!r}). "
                "Set base_url to where the server really is.",
            )
        if status in (429, 503, 529):
            return Trouble(BUSY, reason, detail, wait)
        if status >= 500 or status in (408, 409, 425) or status < 400:
            return Trouble(AGAIN, reason, detail, wait)
        return Trouble(HOPELESS, reason, detail)

    async def _not_found(self, said: str) -> str:
        try:
            async with self._session.get(f"{self.base_url}/models", proxy=self._proxy) as response:
                served = [model["id"] for model in orjson.loads(await response.read())["data"]]
        except Exception:  # best effort: only the message suffers
            return (
                f"{self._url}: expected model {self.model!r} there, found nothing (HTTP 404: {said}). Check "
                "base_url (it mostly ends in /v1) and the model's name."
            )
        return (
            f"{self.base_url}: expected a server of model {self.model!r}, found {', '.join(served) or 'no model'} "
            f"(HTTP 404: {said}).{did_you_mean(self.model, served)} Set the model's name to one that is served."
        )

    def _hide(self, text: str) -> str:
        """Text from outside, short and without the key, which some servers quote."""
        for key in (getattr(self._client, "api_key", None), *self._headers.get("Authorization", "").split()[1:]):
            if isinstance(key, str) and key:
                text = text.replace(key, "***")
        return text[:500]


class _Unasked(aiohttp.ServerDisconnectedError):
    """A kept-alive connection held data that nobody had asked for."""


class _Request(aiohttp.ClientRequest):
    """Refuses a kept-alive connection on which something unasked for has arrived: it would be taken for our reply."""

    async def send(self, conn: Any) -> Any:
        if conn.protocol.should_close:
            raise _Unasked
        response = await super().send(conn)
        response.carrier = conn.protocol
        return response


async def _read(response: aiohttp.ClientResponse) -> bytes | None:
    """The whole body, or None when it is longer than the cap."""
    length = response.content_length
    if length is not None and length > REPLY_CAP_BYTES:
        return None  # leaving the response unread closes its connection
    if length is not None and "Content-Encoding" not in response.headers:
        return await response.read()
    parts, size = [], 0
    async for part in response.content.iter_any():
        size += len(part)
        if size > REPLY_CAP_BYTES:
            response.close()
            return None
        parts.append(part)
    return b"".join(parts)


def _headers(client: Any) -> dict[str, str]:
    """The client's headers, without those that describe the openai library (unset ones are not strings)."""
    headers = {**client.default_headers, **client.auth_headers}
    return {
        "Accept-Encoding": "identity",
        **{
            name: value
            for name, value in headers.items()
            if isinstance(value, str) and not name.lower().startswith("x-stainless")
        },
    }


def _timeout(client: Any, timeout_s: float | None) -> aiohttp.ClientTimeout:
    own = client.timeout
    if timeout_s is None:
        timeout_s = getattr(own, "read", own)
    return aiohttp.ClientTimeout(total=timeout_s, sock_connect=getattr(own, "connect", None) or 10.0)


def _proxy(url: str) -> str | None:
    host = urlsplit(url).hostname or ""
    if urlsplit(url).scheme != "https" or urllib.request.proxy_bypass(host):
        return None
    return urllib.request.getproxies().get("https")


def _socket(address: Any) -> socket.socket:
    """A socket with keep-alive, so that a machine that vanished is noticed in two minutes, not at the time-out."""
    made = socket.socket(address[0], address[1], address[2])
    made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (("TCP_KEEPIDLE", 60), ("TCP_KEEPINTVL", 15), ("TCP_KEEPCNT", 4)):
        if hasattr(socket, name):
            made.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
    return made
