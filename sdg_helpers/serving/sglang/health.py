"""Health of an SGLang server: whether it is up, answers correctly, and still generates tokens."""

from __future__ import annotations

import re
import urllib.request
from contextlib import suppress

from sdg_helpers.serving.server import Server, served_models
from sdg_helpers.serving.server_specs import SglangSpec

_TOKENS_TOTAL = re.compile(rb"^sglang:(?:realtime|generation)_tokens_total(?:\{[^}\n]*\})? (\S+)", re.MULTILINE)
_LOAD = re.compile(rb"^sglang:(num_running_reqs|num_queue_reqs|cache_hit_rate)(?:\{[^}\n]*\})? (\S+)", re.MULTILINE)
_METRICS_TIMEOUT_S = 10
_CANARY_TIMEOUT_S = 600
_CANARY_TOKENS = 2048  # a reasoning model thinks before it answers


class HealthCheck:
    """Checks one server, at its own address (http://host:port)."""

    def __init__(self, address: str, key: str, spec: SglangSpec):
        self.address, self._timeout_s = address, spec.check_every_s
        self.server = Server(f"{address}/v1", spec.served_model, "sglang", key)
        self._tokens, self._misses = -1.0, 0
        self.load: dict[str, float] = {}  # at the last check

    def is_up(self) -> bool:
        """Return whether the server lists its models. (/health is also answered on nodes that do not serve.)"""
        import openai

        try:
            return served_models(self.server) is not None
        except openai.OpenAIError:
            return False

    def count_misses(self) -> int:
        """Check once; return how many consecutive checks have now seen no new token.

        A busy server is healthy while its token count grows. A server whose count has not changed is asked for one
        token, which an idle server returns at once.
        """
        metrics = read_metrics(self.address)
        self.load, tokens = load_of(metrics), count_tokens(metrics)
        if (tokens is not None and tokens != self._tokens) or self._generates():
            self._misses = 0
        else:
            self._misses += 1
        self._tokens = tokens if tokens is not None else self._tokens
        return self._misses

    def _generates(self) -> bool:
        import openai

        with self.server.blocking_client(self._timeout_s) as client:
            try:
                client.chat.completions.create(
                    model=self.server.model, max_tokens=1, messages=[{"role": "user", "content": "1"}]
                )
                return True
            except openai.OpenAIError:
                return False


def read_metrics(address: str) -> bytes:
    """Return a server's page /metrics, which needs no key; b"" when it cannot be read."""
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with direct.open(f"{address}/metrics", timeout=_METRICS_TIMEOUT_S) as page:
            return page.read()
    except OSError:
        return b""


def count_tokens(metrics: bytes) -> float | None:
    """Return the tokens processed since a server started; None when its metrics have none."""
    counts = _TOKENS_TOTAL.findall(metrics)
    return sum(map(float, counts)) if counts else None


def load_of(metrics: bytes) -> dict[str, float]:
    """Return running and queued requests (running, queued) and the prefix cache's hit rate (cache_hit, 0 to 1), where
    the metrics have them. A server with several schedulers reports each: counts are added, the rate is their mean.
    """
    found: dict[bytes, list[float]] = {}
    for name, value in _LOAD.findall(metrics):
        with suppress(ValueError):
            found.setdefault(name, []).append(float(value))
    load = {"running": sum(found.get(b"num_running_reqs", [])), "queued": sum(found.get(b"num_queue_reqs", []))}
    rates = found.get(b"cache_hit_rate")
    return {**(load if found else {}), **({"cache_hit": sum(rates) / len(rates)} if rates else {})}


def ask_canary(server: Server, spec: SglangSpec) -> str:
    """Ask the canary question; return what is wrong with the answer, or "" when it is as expected.

    A server that spans several nodes may start and generate garbage: this catches it before any row is written.
    """
    import openai

    with server.blocking_client(_CANARY_TIMEOUT_S) as client:
        try:
            reply = client.chat.completions.create(
                model=server.model,
                messages=[{"role": "user", "content": spec.canary_question}],
                temperature=0,
                max_tokens=min(_CANARY_TOKENS, spec.context_length // 2) if spec.context_length else _CANARY_TOKENS,
            )
        except openai.OpenAIError as error:
            return f"{server.base_url} did not answer the canary question: {type(error).__name__}: {str(error)[:300]}"
    message = reply.choices[0].message
    text = f"{getattr(message, 'reasoning_content', None) or ''}{message.content or ''}"
    if re.search(spec.canary_expects, text):
        return ""
    return (
        f"{server.base_url} is up but generates garbage: the answer to {spec.canary_question!r} must match "
        f"/{spec.canary_expects}/, but ends with {text[-300:]!r}"
    )
