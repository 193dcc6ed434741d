"""Open a model server, whichever engine stands behind it, and get an openai client for it."""
from __future__ import annotations

import ipaddress
import os
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from ..errors import SdgError, did_you_mean
from .server_specs import ServerSpec, check_url

if TYPE_CHECKING:
    import openai

    from ..completions.exchanges import Limits, Request
    from ..completions.meter import Progress

_RETRY_S = 1.0


@dataclass
class Server:
    """A server that answers. `slots`: requests it works on at once, None when unknown; the key shows nowhere.
    `restart_s`: how long it may be away while somebody starts it anew; 0 when nobody does."""

    base_url: str
    model: str
    engine: str
    api_key: str = field(repr=False)
    slots: int | None = None
    pid: int | None = None
    log_path: Path | None = None
    restart_s: float = 0.0
    _check: Callable[[], None] | None = field(default=None, repr=False)
    _stop: Callable[[], None] | None = field(default=None, repr=False)

    def client(self, timeout_s: float = 3600, max_retries: int = 0) -> openai.AsyncOpenAI:
        """An async client; long time-outs because a long answer is not a lost one. Retries belong to `complete`."""
        import openai

        return openai.AsyncOpenAI(base_url=self.base_url, api_key=self.api_key, timeout=timeout_s,
                                  max_retries=max_retries, http_client=openai.DefaultAsyncHttpxClient(
                                      trust_env=self.base_url.startswith("https:")))

    def blocking_client(self, timeout_s: float = 600) -> openai.OpenAI:
        """A client for a question or two; no proxy stands between us and one's own machines (http addresses)."""
        import openai

        return openai.OpenAI(base_url=self.base_url, api_key=self.api_key, timeout=timeout_s, max_retries=0,
                             http_client=openai.DefaultHttpxClient(trust_env=self.base_url.startswith("https:")))

    def complete(self, requests: Iterable[Request], *, limits: Limits, on_progress: Callable[[Progress], None],
                 **more: Any) -> Progress:
        """completions.complete through this server: waits while it is started anew, and ends when there will be no
        server any more (what was answered is with its caller by then)."""
        from .. import completions

        def report(progress: Progress) -> None:
            self.check()
            on_progress(progress)

        limits = replace(limits, outage_deadline_s=max(limits.outage_deadline_s, self.restart_s))
        return completions.complete(requests, self.client(limits.timeout_s), limits=limits, on_progress=report, **more)

    def check(self) -> None:
        """Raise TryAgain when the server has died for good; an endpoint's owner alone knows that."""
        if self._check is not None:
            self._check()

    def stop(self) -> None:
        """Say that this process needs the server no longer; it ends when nobody else does. An endpoint goes on."""
        if self._stop is not None:
            self._stop()


def open_server(spec: ServerSpec, folder: Path | str,
                on_progress: Callable[[int, int], None] | None = None) -> Server:
    """Start a server, or attach to the one with this spec that lives in `folder`; returns when it answers.

    on_progress(bytes done, bytes in all): called while weights are fetched. The server ends by itself when every
    process that opened it has ended (or the driver that SDG_OWNER_PID names), however they ended.
    Raises SdgError: no weights, not ready by the deadline (with the end of its log), the model is not served.
    """
    from ..sglang import supervision
    from . import launching

    engines = {"embedded": launching.open_embedded, "endpoint": _open_endpoint, "sglang": supervision.open_sglang}
    return engines[spec.engine](spec, Path(folder), on_progress)


def follow(spec: ServerSpec, folder: Path | str) -> None:
    """What every rank of a job but the first calls in place of open_server: this node's part of the server, until the
    first rank has no more use for it. An engine that lives on one node has no part elsewhere: then this only waits."""
    from ..cluster import ranks
    from ..sglang import supervision

    if spec.engine == "sglang":
        supervision.follow_sglang(spec, Path(folder))
    else:
        ranks.stand_by()


def stop_servers(folder: Path | str) -> int:
    """End every server that was started in `folder`, whoever uses it; returns how many were alive."""
    from . import launching

    return launching.stop_all(Path(folder))


def ask(server: Server, text: str, *, max_tokens: int = 64, temperature: float = 0.0, timeout_s: float = 600) -> str:
    """One short question, one answer, waiting for it: to see that a server really works."""
    import openai

    with server.blocking_client(timeout_s) as client:
        try:
            reply = client.chat.completions.create(model=server.model, messages=[{"role": "user", "content": text}],
                                                   max_tokens=max_tokens, temperature=temperature)
        except openai.OpenAIError as error:
            raise SdgError(f"{server.base_url}: expected an answer of {server.model} to a test question, found "
                           f"{_told(error, server)}. See {server.log_path or 'the log of that server'}.") from None
    if not reply.choices or reply.choices[0].message.content is None:
        raise SdgError(f"{server.base_url}: expected an answer of {server.model} to a test question, found a reply "
                       f"without text. See {server.log_path or 'the log of that server'}.")
    return reply.choices[0].message.content


def served_models(server: Server, timeout_s: float = 5) -> list[str] | None:
    """Names that /v1/models lists; None when the server has no such page (404). Raises openai.OpenAIError."""
    import openai

    with server.blocking_client(timeout_s) as client:
        try:
            return [model.id for model in client.models.list().data or []]
        except (openai.NotFoundError, AttributeError):  # a page of another kind has no `data`
            return None


def is_loopback(url: str) -> bool:
    """True for a server on this machine."""
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _open_endpoint(spec: ServerSpec, folder: Path, on_progress: Any) -> Server:
    """Attach to a server that someone else runs; nothing is started, nothing is written."""
    url = (spec.base_url or os.environ.get("OPENAI_BASE_URL") or "").rstrip("/")
    if not url:
        raise SdgError(f"The endpoint for {spec.model}: expected its address, found none. Set base_url in the profile, "
                       "or the environment variable OPENAI_BASE_URL, for example http://localhost:8000/v1.")
    try:
        check_url(url)
    except ValueError as error:
        raise SdgError(f"OPENAI_BASE_URL: {error}") from None
    key = os.environ.get(spec.api_key_env, "").strip()
    if not key and not is_loopback(url):
        raise SdgError(f"{url}: expected its key in the environment variable {spec.api_key_env}, found none. Set it "
                       f"(export {spec.api_key_env}=…), or name another variable with api_key_env.")
    server = Server(url, spec.model, "endpoint", key or "none")  # the openai client refuses an empty key
    served = _await_models(server, spec)
    if served is None:
        _refuse_missing_v1(server, spec)
    elif spec.model not in served:
        shown = ", ".join(served[:8]) + (f" and {len(served) - 8} more" if len(served) > 8 else "")
        raise SdgError(f"{url}: expected the model {spec.model!r}, found that it serves {shown or 'none'}."
                       f"{did_you_mean(spec.model, served)} Put one of its names into the profile.")
    return server


def _await_models(server: Server, spec: ServerSpec) -> list[str] | None:
    """What it serves, asked again until the deadline while it is out of reach or busy; other errors end it at once."""
    import openai

    deadline = time.monotonic() + spec.deadline_s
    while True:
        left = deadline - time.monotonic()
        try:
            return served_models(server, timeout_s=max(1.0, min(left, 10)))
        except (openai.AuthenticationError, openai.PermissionDeniedError) as error:
            raise SdgError(f"{server.base_url}: expected that the key in {spec.api_key_env} is accepted, found "
                           f"{_told(error, server)}. Put the right key into that environment variable.") from None
        except openai.OpenAIError as error:
            passing = isinstance(error, (openai.APIConnectionError, openai.RateLimitError, openai.InternalServerError))
            if not passing or left <= _RETRY_S:
                raise SdgError(f"{server.base_url}: expected a model server that answers within "
                               f"{spec.deadline_s:g} s, found {_told(error, server)}. Check the address "
                               "(it ends in /v1 as a rule) and that the server runs.") from None
            time.sleep(_RETRY_S)


def _refuse_missing_v1(server: Server, spec: ServerSpec) -> None:
    """A server without a list of models is let pass, one whose address lacks its /v1 is not."""
    import openai

    longer = Server(f"{server.base_url}/v1", spec.model, "endpoint", server.api_key)
    try:
        found = served_models(longer)
    except openai.OpenAIError:
        found = None
    if found is not None:
        raise SdgError(f"{server.base_url}: expected the address of an OpenAI-compatible server, found its models one "
                       f"step further. Did you mean {longer.base_url}?")


def _told(error: Exception, server: Server) -> str:
    """An openai error in one line: status and the server's words, or why there was no connection."""
    text = str(error.__cause__ or error) if type(error).__name__ == "APIConnectionError" else str(error)
    return f"{type(error).__name__}: {' '.join(text.split())[:300]}".replace(server.api_key, "(key)")

