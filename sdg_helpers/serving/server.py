"""A server that answers: its address, its key, an openai client for it, and what it says of itself."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sdg_helpers.errors import SdgError

if TYPE_CHECKING:
    import openai

    from sdg_helpers.completions.meter import Progress
    from sdg_helpers.completions.types import Limits, Request


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

        return openai.AsyncOpenAI(
            base_url=self.base_url,
            api_key=self.api_key,
            timeout=timeout_s,
            max_retries=max_retries,
            http_client=openai.DefaultAsyncHttpxClient(trust_env=self.base_url.startswith("https:")),
        )

    def blocking_client(self, timeout_s: float = 600) -> openai.OpenAI:
        """A client for a question or two; no proxy stands between us and one's own machines (http addresses)."""
        import openai

        return openai.OpenAI(
            base_url=self.base_url,
            api_key=self.api_key,
            timeout=timeout_s,
            max_retries=0,
            http_client=openai.DefaultHttpxClient(trust_env=self.base_url.startswith("https:")),
        )

    def complete(
        self, requests: Iterable[Request], *, limits: Limits, on_progress: Callable[[Progress], None], **more: Any
    ) -> Progress:
        """completions.complete through this server: waits while it is started anew, and ends when there will be no
        server any more (what was answered is with its caller by then)."""
        from sdg_helpers import completions

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


def ask(server: Server, text: str, *, max_tokens: int = 64, temperature: float = 0.0, timeout_s: float = 600) -> str:
    """One short question, one answer, waiting for it: to see that a server really works."""
    import openai

    with server.blocking_client(timeout_s) as client:
        try:
            reply = client.chat.completions.create(
                model=server.model,
                messages=[{"role": "user", "content": text}],
                max_tokens=max_tokens,
                temperature=temperature,
            )
        except openai.OpenAIError as error:
            raise SdgError(
                f"{server.base_url}: expected an answer of {server.model} to a test question, found "
                f"{told(error, server)}. See {server.log_path or 'the log of that server'}."
            ) from None
    if not reply.choices or reply.choices[0].message.content is None:
        raise SdgError(
            f"{server.base_url}: expected an answer of {server.model} to a test question, found a reply "
            f"without text. See {server.log_path or 'the log of that server'}."
        )
    return reply.choices[0].message.content


def served_models(server: Server, timeout_s: float = 5) -> list[str] | None:
    """Names that /v1/models lists; None when the server has no such page (404). Raises openai.OpenAIError."""
    import openai

    with server.blocking_client(timeout_s) as client:
        try:
            return [model.id for model in client.models.list().data or []]
        except (openai.NotFoundError, AttributeError):  # a page of another kind has no `data`
            return None


def told(error: Exception, server: Server) -> str:
    """An openai error in one line: status and the server's words, or why there was no connection."""
    text = str(error.__cause__ or error) if type(error).__name__ == "APIConnectionError" else str(error)
    return f"{type(error).__name__}: {' '.join(text.split())[:300]}".replace(server.api_key, "(key)")
