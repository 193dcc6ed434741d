"""A running server: its address, its key, openai clients for it, and questions to it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sdg_helpers import network
from sdg_helpers.completions.request_bodies import RequestFit
from sdg_helpers.errors import SdgError

if TYPE_CHECKING:
    import httpx
    import openai

    from sdg_helpers.batches.settings import BatchSettings
    from sdg_helpers.budgets.account import Account
    from sdg_helpers.completions.kept_texts import KeptTexts
    from sdg_helpers.completions.meter import Progress
    from sdg_helpers.completions.types import Limits, Request, Sampling, Target


@dataclass
class Server:
    """A running server. Its key is never shown.

    slots: how many requests it serves at once, None when unknown; restart_s: how long it may be unreachable while it is
    restarted, 0 when nobody restarts it. request: how requests are fitted to it; query: of its address; key_header: for
    the key, if it is not Authorization. others: servers of the same model that share the requests, by weight. account:
    counts what they use, and holds the run's budget.
    """

    base_url: str
    model: str
    engine: str
    api_key: str = field(repr=False)
    slots: int | None = None
    pid: int | None = None
    log_path: Path | None = None
    restart_s: float = 0.0
    request: RequestFit = RequestFit(stream=False)
    query: dict[str, str] = field(default_factory=dict)
    key_header: str | None = None
    weight: float = 1.0
    others: tuple[Server, ...] = ()
    account: Account | None = field(default=None, repr=False)
    batch: BatchSettings | None = None
    _check: Callable[[], None] | None = field(default=None, repr=False)
    _stop: Callable[[], None] | None = field(default=None, repr=False)

    def client(self, timeout_s: float | None = 3600, max_retries: int = 0) -> openai.AsyncOpenAI:
        """Return an async client. The timeout is long because replies may be; retries are up to `complete`."""
        import openai

        http = openai.DefaultAsyncHttpxClient(**self._http_options())
        return openai.AsyncOpenAI(
            **self._client_options(), timeout=timeout_s, max_retries=max_retries, http_client=http
        )

    def blocking_client(self, timeout_s: float = 600) -> openai.OpenAI:
        """Return a synchronous client for a question or two."""
        import openai

        http = openai.DefaultHttpxClient(**self._http_options())
        return openai.OpenAI(**self._client_options(), timeout=timeout_s, max_retries=0, http_client=http)

    def http_client(self) -> httpx.Client:
        """Return a plain HTTP client with the key, for what the openai client does not offer."""
        import httpx

        from sdg_helpers.completions.client_settings import request_headers

        with self.blocking_client() as client:
            headers = request_headers(client, self.request)
        headers.pop("Content-Type", None)  # of a chat completion
        return httpx.Client(
            **self._http_options(),
            headers=headers,
            params={**self.query, **self.request.query},
            timeout=httpx.Timeout(120.0, connect=10.0),
        )

    def _client_options(self) -> dict[str, Any]:
        import openai

        headers: dict[str, Any] = dict(self.request.headers)
        if self.key_header:
            headers |= {self.key_header: self.api_key, "Authorization": openai.Omit()}
        return {
            "base_url": self.base_url,
            "api_key": self.api_key,
            "default_headers": headers,
            "default_query": {**self.query, **self.request.query},
        }

    def _http_options(self) -> dict[str, Any]:
        """Return what httpx would otherwise read from the environment in its own way."""
        options: dict[str, Any] = {"trust_env": False, "proxy": network.proxy_for(self.base_url)}
        if self.base_url.startswith("https:"):
            options["verify"] = network.ssl_context()
        return options

    def complete(
        self,
        requests: Iterable[Request | None],
        *,
        sampling: Sampling,
        limits: Limits,
        on_progress: Callable[[Progress], None],
        folder: Path | None = None,
        texts: KeptTexts | None = None,
        **more: Any,
    ) -> Progress:
        """Run completions.complete through this server, waiting while it is restarted.

        folder: keeps the state of hosted batches, if the server is asked through them; texts: what arrives of each
        reply, if the profile lets this server continue replies. Raises SdgError when it has
        batches of another server whose replies are not collected, TryAgain when the server is down for good, and
        BudgetSpent when the run's budget is spent; replies have been passed to the callbacks by then.
        """
        from sdg_helpers import batches, completions

        def report(progress: Progress) -> None:
            self.check()
            if self.account:
                self.account.tick()
            on_progress(progress)

        limits = replace(limits, outage_deadline_s=max(limits.outage_deadline_s, self.restart_s))
        more |= {"sampling": sampling, "limits": limits, "allowance": self.account, "on_progress": report}
        if self.account:
            self.account.begin(sampling.max_tokens)
        try:
            if self.batch is not None:
                assert folder is not None, "hosted batches need a folder"
                given = (request for request in requests if request is not None)
                return batches.complete_in_batches(given, self, folder=folder, **more)
            if folder is not None:
                batches.refuse_to_abandon(folder, f"the live API at {self.base_url}")
            texts = texts if self.request.continue_replies else None
            return completions.complete(requests, self._targets(limits), fit=self.request, texts=texts, **more)
        finally:
            if self.account:
                self.account.end()

    def _targets(self, limits: Limits) -> list[Target]:
        """Return this server and the others of its model."""
        from sdg_helpers import completions

        return [completions.Target(server.client(limits.timeout_s), server.weight) for server in (self, *self.others)]

    def check(self) -> None:
        """Raise TryAgain when the server is down for good. An endpoint never is: only its owner would know."""
        if self._check is not None:
            self._check()

    def stop(self) -> None:
        """Release the server; it exits when no other process uses it. Does nothing to an endpoint."""
        if self._stop is not None:
            self._stop()


def ask(server: Server, text: str, *, max_tokens: int = 64, temperature: float = 0.0, timeout_s: float = 600) -> str:
    """Ask one question and return the reply, to check that a server works. Raises SdgError when the reply is empty."""
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
                f"{server.base_url}: {server.model} did not answer a test question: {describe_error(error, server)}. "
                f"See {server.log_path or 'the log of that server'}."
            ) from None
    if not reply.choices or reply.choices[0].message.content is None:
        raise SdgError(
            f"{server.base_url}: {server.model} answered a test question with a reply without text. See "
            f"{server.log_path or 'the log of that server'}."
        )
    return reply.choices[0].message.content


def served_models(server: Server, timeout_s: float = 5) -> list[str] | None:
    """Return the names that /v1/models lists; None when the server does not have it. Raises openai.OpenAIError."""
    import openai

    with server.blocking_client(timeout_s) as client:
        try:
            return [model.id for model in client.models.list().data or []]
        except (openai.NotFoundError, AttributeError):  # some other page, without `data`
            return None


def describe_error(error: Exception, server: Server) -> str:
    """Return an openai error in one line, without the key: status and message, or why the connection failed."""
    text = str(error.__cause__ or error) if type(error).__name__ == "APIConnectionError" else str(error)
    return f"{type(error).__name__}: {' '.join(text.split())[:300]}".replace(server.api_key, "(key)")
