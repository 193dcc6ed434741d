"""Whether an SGLang server is up, answers rightly, and still makes tokens."""

from __future__ import annotations

import re
import urllib.request

from sdg_helpers.serving.server import Server, served_models
from sdg_helpers.serving.server_specs import SglangSpec

_MADE = re.compile(rb"^sglang:(?:realtime|generation)_tokens_total(?:\{[^}\n]*\})? (\S+)", re.MULTILINE)
_PAGE_S = 10
_CANARY_S = 600
_CANARY_TOKENS = 2048  # a reasoning model thinks before it says 15


class Pulse:
    """One server, by its own address (http://host:port)."""

    def __init__(self, address: str, key: str, spec: SglangSpec):
        self.address, self._patience_s = address, spec.check_every_s
        self.server = Server(f"{address}/v1", spec.served_model, "sglang", key)
        self._made, self._misses = -1.0, 0

    def is_up(self) -> bool:
        """Whether it lists its models."""
        return is_up(self.server)

    def misses(self) -> int:
        """Look once; how many looks in a row have shown no token by now.

        A busy server is well when its count of tokens grows. One whose count stands still is asked for one token: an
        idle server gives it at once.
        """
        made = tokens_made(self.address)
        if (made is not None and made != self._made) or self._gives_a_token():
            self._misses = 0
        else:
            self._misses += 1
        self._made = made if made is not None else self._made
        return self._misses

    def _gives_a_token(self) -> bool:
        import openai

        with self.server.blocking_client(self._patience_s) as client:
            try:
                client.chat.completions.create(
                    model=self.server.model, max_tokens=1, messages=[{"role": "user", "content": "1"}]
                )
                return True
            except openai.OpenAIError:
                return False


def is_up(server: Server) -> bool:
    """Whether a server answers with its list of models. (/health is also answered by nodes that are no server.)"""
    import openai

    try:
        return served_models(server) is not None
    except openai.OpenAIError:
        return False


def tokens_made(address: str) -> float | None:
    """Tokens that a server has read and written since it began, from its page of metrics; None when it shows none."""
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with direct.open(f"{address}/metrics", timeout=_PAGE_S) as page:
            counts = _MADE.findall(page.read())
    except (OSError, ValueError):
        return None
    return sum(map(float, counts)) if counts else None


def ask_canary(server: Server, spec: SglangSpec) -> str:
    """Ask the canary question; what is wrong with the answer, or "" when it is as expected.

    A server over several nodes may come up and talk nonsense; that shows here, before any row is written.
    """
    import openai

    asked = [{"role": "user", "content": spec.canary_question}]
    with server.blocking_client(_CANARY_S) as client:
        try:
            reply = client.chat.completions.create(
                model=server.model, messages=asked, temperature=0, max_tokens=min(_CANARY_TOKENS, _room(spec))
            )
        except openai.OpenAIError as error:
            return f"{server.base_url} did not answer the canary question: {type(error).__name__}: {str(error)[:300]}"
    message = reply.choices[0].message
    text = f"{getattr(message, 'reasoning_content', None) or ''}{message.content or ''}"
    if re.search(spec.canary_expects, text):
        return ""
    return (
        f"{server.base_url} is up but garbled: asked {spec.canary_question!r}, expected an answer with "
        f"/{spec.canary_expects}/, found {text[-300:]!r}"
    )


def _room(spec: SglangSpec) -> int:
    """Tokens that an answer may have at most, as far as we know."""
    return spec.context_length // 2 if spec.context_length else _CANARY_TOKENS
