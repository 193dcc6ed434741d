"""Send one chat completion over HTTP, and classify every way in which that can fail.

Address, key and headers come from the `openai` client that users configure. The bytes go through aiohttp and orjson,
which handle about ten times as many requests per second as that client's transport.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from typing import Any, NamedTuple

import aiohttp
from xxhash import xxh3_64_intdigest

from sdg_helpers import network
from sdg_helpers.completions.client_settings import base_url_of, request_headers, secrets_of, timeout_of
from sdg_helpers.completions.connection_errors import explain_connection
from sdg_helpers.completions.connections import Connector, open_socket
from sdg_helpers.completions.continuing import Attempt, Continuing, cut_at_limit
from sdg_helpers.completions.cuts import CUT_STATUSES, CutWatch
from sdg_helpers.completions.deadlines import Deadlines
from sdg_helpers.completions.event_streams import EventStream, is_event_stream
from sdg_helpers.completions.failed_attempts import FATAL, REJECTED, RETRY, FailedAttempt
from sdg_helpers.completions.hints import add_fit
from sdg_helpers.completions.http_errors import classify_status, error_message
from sdg_helpers.completions.kept_texts import KeptTexts
from sdg_helpers.completions.model_lists import classify_not_found, listed_models
from sdg_helpers.completions.redaction import Redactor
from sdg_helpers.completions.replies import read_reply
from sdg_helpers.completions.request_bodies import BodyWriter, RequestFit
from sdg_helpers.completions.response_bodies import REPLY_CAP_BYTES, read_stream, read_whole
from sdg_helpers.completions.types import Completion, Request, Sampling

_STREAM_REFUSALS = (400, 404, 405, 415, 422, 501)
_PASSING = 2  # "not found" before the first reply that may be passing


class Streaming(NamedTuple):
    """Whether replies are streamed, and whether token counts are asked for then (some servers refuse that)."""

    on: bool
    options: bool


class Transport:
    """Sends requests to one server; use as an async context manager.

    client: an openai.OpenAI or AsyncOpenAI, from which base_url, api_key, default headers and query, and the connect
    timeout are read. network.py decides on proxies and certificates.
    """

    def __init__(
        self,
        client: Any,
        model: str,
        sampling: Sampling,
        timeout_s: float | None,
        fit: RequestFit,
        texts: KeptTexts | None = None,
    ):
        """texts: keeps replies that are being written, if the server proves that it continues them."""
        self.base_url, self.model = base_url_of(client), model
        self._fit, self._body = fit, BodyWriter(model, sampling, fit)
        self._client, self._proxy = client, network.proxy_for(self.base_url)
        self._headers, self._timeout = request_headers(client, fit), timeout_of(client, timeout_s)
        self._deadlines = Deadlines(self._timeout.total)
        self._redactor = Redactor(secrets_of(client, self._headers))
        self._streaming = Streaming(fit.stream is not False, True)
        self._continuing = Continuing(texts, self._body.identity, self._redactor.hide) if texts is not None else None
        self._cuts, self._completed, self._not_found = CutWatch(), 0, 0

    async def __aenter__(self) -> Transport:
        # Drop idle connections before common servers do, which is after five seconds.
        self._connector = Connector(
            limit=0,
            keepalive_timeout=4,
            socket_factory=open_socket,
            ssl=network.ssl_context() if self.base_url.startswith("https:") else True,
        )
        self._session = aiohttp.ClientSession(
            connector=self._connector,
            headers=self._headers,
            timeout=aiohttp.ClientTimeout(sock_connect=self._timeout.sock_connect),  # deadlines.py has the total
            cookie_jar=aiohttp.DummyCookieJar(),
        )
        self._url = f"{self.base_url}/chat/completions"
        self._options: dict[str, Any] = {
            "params": {**self._client.default_query, **self._fit.query} or None,
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
            if self._continuing is None:
                outcome = await self._send(request, None)
            else:
                outcome = await self._keep(request, self._continuing)
        except (aiohttp.ClientError, asyncio.TimeoutError, OSError) as error:
            outcome = self.explain(error)
        return self._note(outcome, started)

    async def _keep(self, request: Request, continuing: Continuing) -> Completion | FailedAttempt:
        """Send a request, or continue its reply, and keep what arrives of it."""
        attempt = await continuing.prepare(request, self._send)
        if attempt is None:
            return await self._send(request, None)
        if isinstance(attempt, FailedAttempt):
            return attempt
        most = self._body.max_tokens
        if attempt.kept is not None and most is not None and attempt.kept.tokens >= most:
            outcome = cut_at_limit(attempt.kept)
        else:
            outcome = await self._send(request, attempt)
        continuing.settle(request, outcome)
        if attempt.kept is not None and isinstance(outcome, FailedAttempt) and outcome.kind == REJECTED:
            return replace(outcome, kind=RETRY)  # it may be for the text that was to be continued
        return outcome

    async def get_models(self) -> tuple[int, bytes]:
        """Return the status and the body of the server's list of models. Raises aiohttp.ClientError or a timeout."""
        options = {**self._options, "timeout": self._timeout}
        async with self._session.get(f"{self.base_url}/models", **options) as response:
            return response.status, await read_whole(response) or b""

    def counts(self) -> dict[str, dict[str, int]]:
        """Return the counts by server: none, as there is only one."""
        return {}

    def quote(self, text: str) -> str:
        """Return text from outside without the key, which some servers quote, and not too long."""
        return self._redactor.quote(text)

    async def _send(self, request: Request, attempt: Attempt | None) -> Completion | FailedAttempt:
        """Send a request and read the reply; send it again if the server refuses to stream."""
        started, how = time.perf_counter(), self._streaming
        body = self._body.write(request, how.on, how.options, attempt)
        stream: EventStream | None
        data: bytes | None
        with self._deadlines.next():
            response = await self._session.post(self._url, data=body, **self._options)
            try:  # what `async with` does, at half its price
                if response.status == 200 and response.content_type == "text/event-stream":
                    stream, data = await read_stream(response, attempt), b""
                else:
                    stream, data = None, await read_whole(response)
            finally:
                response.release()
        seconds = time.perf_counter() - started
        if data is None:
            return FailedAttempt(RETRY, "too_long", f"the reply is longer than {REPLY_CAP_BYTES >> 20} MiB")
        if response.status != 200:
            if self._adapt_streaming(how, response.status, data):
                return await self._send(request, attempt)
            return await self._read_error(response, data)
        if stream is None and is_event_stream(data):
            stream = EventStream(REPLY_CAP_BYTES)
            stream.feed(data)
        outcome = read_reply(data, seconds) if stream is None else stream.finish(seconds)
        if isinstance(outcome, FailedAttempt):
            return replace(outcome, detail=self.quote(outcome.detail))
        if not self._connector.accept(xxh3_64_intdigest(data) if stream is None else stream.checksum):
            return FailedAttempt(RETRY, "duplicate", "the server sent a reply twice")
        return self._redactor.hide_in(outcome)

    def _note(self, outcome: Completion | FailedAttempt, started: float) -> Completion | FailedAttempt:
        """Remember how long the request lived; name what cuts requests at one age."""
        now = time.perf_counter()
        if isinstance(outcome, Completion):
            self._completed += 1
            self._not_found = 0
            self._cuts.note_completion(now - started)
        elif outcome.reason in CUT_STATUSES and (cause := self._cuts.note_cut(started, now)):
            way_out = "raise its timeout" + ("" if self._streaming.on else ", or set `request: {stream: true}`")
            detail = f"{outcome.detail}: {cause}; {way_out}, or lower MAX_TOKENS"
            if not self._completed:
                return FailedAttempt(FATAL, "cut", f"{self.base_url}: {detail}. Then run again.")
            return replace(outcome, detail=detail)
        return outcome

    def _adapt_streaming(self, how: Streaming, status: int, data: bytes) -> bool:
        """Return whether a reply refuses the way in which its request asked for a stream, and turn that off."""
        if self._fit.stream is not None or not how.on or status not in _STREAM_REFUSALS:
            return False
        message = error_message(data).lower()
        if "stream" not in message:
            return False
        if how == self._streaming:
            keep = how.options and "stream_options" in message
            self._streaming = Streaming(keep, False)
        return True

    def explain(self, error: Exception) -> FailedAttempt:
        """Return what a failed connection means."""
        message = self.quote(f"{type(error).__name__}: {error}")
        return explain_connection(error, message, self.base_url, self._timeout.total)

    async def _read_error(self, response: aiohttp.ClientResponse, data: bytes) -> FailedAttempt:
        message = self.quote(error_message(data))
        if response.status == 404:
            return await self._read_not_found(message)
        failure = classify_status(response.status, response.headers, data, message)
        if failure.kind == FATAL:
            detail = f"{self.base_url} {failure.detail}"
            return replace(failure, detail=add_fit(detail, message, self._body.fields))
        if failure.kind == REJECTED:
            return replace(failure, detail=add_fit(failure.detail, message, self._body.fields))
        return failure

    async def _read_not_found(self, message: str) -> FailedAttempt:
        """Return what a 404 means: passing trouble after good replies, at first, or while the model is listed."""
        self._not_found += 1
        if self._completed or self._not_found <= _PASSING:
            return FailedAttempt(RETRY, "http_404", f"HTTP 404: {message}")
        try:
            served = listed_models((await self.get_models())[1])
        except (aiohttp.ClientError, asyncio.TimeoutError, OSError):
            served = None
        return classify_not_found(self._url, self.model, served, message)
