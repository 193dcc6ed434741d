"""Send one chat completion over HTTP, and classify every way in which that can fail.

Address, key and headers come from the `openai` client that users configure. The bytes go through aiohttp and orjson,
which handle about ten times as many requests per second as that client's transport.
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

from sdg_helpers.completions.connections import Connector
from sdg_helpers.completions.pacing import retry_after_s
from sdg_helpers.completions.replies import (
    BUSY,
    FATAL,
    REJECTED,
    RETRY,
    UNREACHABLE,
    FailedAttempt,
    error_message,
    read_reply,
)
from sdg_helpers.completions.types import Completion, Request, Sampling
from sdg_helpers.errors import SdgError, did_you_mean
from sdg_helpers.files import replace_lone_surrogates

REPLY_CAP_BYTES = 64 << 20  # larger than any sane reply; a broken server must not exhaust our memory
_KEY = "the API key of this server, its rights and its credit"


class Transport:
    """Sends requests to one server; use as an async context manager.

    client: an openai.OpenAI or AsyncOpenAI, from which base_url, api_key, default headers and query, and the connect
    timeout are read. Environment proxies apply to https addresses only: http addresses are the user's machines.
    """

    def __init__(self, client: Any, model: str, sampling: Sampling, timeout_s: float | None):
        base_url = str(client.base_url).rstrip("/")
        if urlsplit(base_url).scheme not in ("http", "https") or "@" in urlsplit(base_url).netloc:
            raise SdgError(
                "base_url must be http://host:port/v1 or https://host/v1 without user name and password, not "
                f"{urlsplit(base_url)._replace(netloc=urlsplit(base_url).netloc.split('@')[-1]).geturl()!r}. Pass the "
                "key as api_key."
            )
        self.base_url, self.model = base_url, model
        self._client, self._proxy = client, _proxy(base_url)
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
        # Drop idle connections before common servers do, which is after five seconds.
        self._connector = Connector(limit=0, keepalive_timeout=4, socket_factory=_socket)
        self._session = aiohttp.ClientSession(
            connector=self._connector,
            headers=self._headers,
            timeout=self._timeout,
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

    async def attempt(self, request: Request) -> Completion | FailedAttempt:
        """Send a request once."""
        started = time.perf_counter()
        try:
            async with self._session.post(self._url, data=self._body(request), **self._options) as response:
                data = await _read(response)
        except (aiohttp.ClientError, asyncio.TimeoutError, OSError) as error:
            return self._connection_failure(error)
        if data is None:
            return FailedAttempt(RETRY, "too_long", f"the reply is longer than {REPLY_CAP_BYTES >> 20} MiB")
        if response.status != 200:
            return await self._read_error(response.status, response.headers, data)
        outcome = read_reply(data, time.perf_counter() - started)
        if isinstance(outcome, FailedAttempt):
            return replace(outcome, detail=self._redact(outcome.detail))
        if not self._connector.accept(data):
            return FailedAttempt(RETRY, "duplicate", "the server sent a reply twice")
        return outcome

    def _body(self, request: Request) -> bytes | io.BytesIO:
        body = {**self._common, "messages": request.messages}
        if request.seed is not None:
            body["seed"] = request.seed
        try:
            data = orjson.dumps(body)
        except TypeError:  # a lone surrogate, or not JSON at all
            try:
                data = orjson.dumps(replace_lone_surrogates(json.loads(json.dumps(body))))
            except (TypeError, ValueError) as error:
                raise SdgError(f"request {request.key!r}: its messages are not plain JSON values ({error}).") from None
        return data if len(data) < 1 << 20 else io.BytesIO(data)

    def _connection_failure(self, error: Exception) -> FailedAttempt:
        message = self._redact(f"{type(error).__name__}: {error}")
        if isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE):
            return FailedAttempt(
                FATAL,
                "too_many_files",
                "Too many open files: lower the concurrency, or raise the limit (`ulimit -n 65536`) and run again.",
            )
        if isinstance(error, aiohttp.ClientConnectorCertificateError):
            return FailedAttempt(
                FATAL,
                "certificate",
                f"{self.base_url}: this machine does not trust the server's certificate ({message}). Check the "
                "address, or set SSL_CERT_FILE.",
            )
        if isinstance(error, (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)):
            return FailedAttempt(UNREACHABLE, "unreachable", message)
        if isinstance(error, asyncio.TimeoutError):
            return FailedAttempt(RETRY, "timeout", f"no complete reply within {self._timeout.total} s")
        if isinstance(error, (aiohttp.ServerDisconnectedError, aiohttp.ClientPayloadError, OSError)):
            return FailedAttempt(RETRY, "disconnected", message)
        return FailedAttempt(RETRY, "bad_reply", message)

    async def _read_error(self, status: int, headers: CIMultiDictProxy[str], data: bytes) -> FailedAttempt:
        message = self._redact(error_message(data))
        reason, detail, wait = f"http_{status}", f"HTTP {status}: {message}", retry_after_s(headers.get("Retry-After"))
        if status in (401, 402) or b'"insufficient_quota"' in data:
            return FailedAttempt(
                FATAL, reason, f"{self.base_url} denies access (HTTP {status}: {message}). Check {_KEY}."
            )
        if status == 403:  # a moderated input, or a key without permission: many in a row mean the key
            return FailedAttempt(REJECTED, reason, f"{detail} (if every request fails like this, check {_KEY})")
        if status == 404:
            return FailedAttempt(FATAL, reason, await self._explain_not_found(message))
        if 300 <= status < 400:
            return FailedAttempt(
                FATAL,
                reason,
                f"{self.base_url} has moved (HTTP {status} to {headers.get('Location')!r}). "
                "Set base_url to the new address.",
            )
        if status in (429, 503, 529):
            return FailedAttempt(BUSY, reason, detail, wait)
        if status >= 500 or status in (408, 409, 425) or status < 400:
            return FailedAttempt(RETRY, reason, detail, wait)
        return FailedAttempt(REJECTED, reason, detail)

    async def _explain_not_found(self, message: str) -> str:
        try:
            async with self._session.get(f"{self.base_url}/models", proxy=self._proxy) as response:
                served = [model["id"] for model in orjson.loads(await response.read())["data"]]
        except Exception:  # best effort: this only improves the message
            return (
                f"{self._url} does not exist (HTTP 404: {message}). Check base_url (it usually ends in /v1) and the "
                f"name of the model, {self.model!r}."
            )
        return (
            f"{self.base_url} does not serve the model {self.model!r}, only {', '.join(served) or 'none'} (HTTP 404: "
            f"{message}).{did_you_mean(self.model, served)} Set the model's name to one of these."
        )

    def _redact(self, text: str) -> str:
        """Shorten text from outside, and remove the key, which some servers quote."""
        for key in (getattr(self._client, "api_key", None), *self._headers.get("Authorization", "").split()[1:]):
            if isinstance(key, str) and key:
                text = text.replace(key, "***")
        return text[:500]


async def _read(response: aiohttp.ClientResponse) -> bytes | None:
    """Return the complete body, or None when it exceeds REPLY_CAP_BYTES."""
    length = response.content_length
    if length is not None and length > REPLY_CAP_BYTES:
        return None  # an unread response closes its connection
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
    """Return the client's headers, without those that describe the openai library (unset ones are not strings)."""
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
    """Return a socket with keep-alive, so that a lost machine is noticed in two minutes, not at the timeout."""
    made = socket.socket(address[0], address[1], address[2])
    made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (("TCP_KEEPIDLE", 60), ("TCP_KEEPINTVL", 15), ("TCP_KEEPCNT", 4)):
        if hasattr(socket, name):
            made.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
    return made
