"""Write a request's body the way a server wants it: fields renamed, omitted and added."""

from __future__ import annotations

import io
from hashlib import blake2b
from typing import Any

from pydantic import BaseModel, ConfigDict, field_validator, model_validator

from sdg_helpers import exact_json
from sdg_helpers.completions.continuing import Attempt
from sdg_helpers.completions.types import Request, Sampling
from sdg_helpers.errors import SdgError

_LARGE = 1 << 20  # bytes from which aiohttp wants a stream instead of a bytes object


class RequestFit(BaseModel):
    """How requests are fitted to a server that differs from OpenAI's first API: a profile's `request:`.

    rename: field -> the server's name for it, such as max_tokens -> max_completion_tokens. omit: fields that the server
    refuses (temperature, top_p, seed, …). extra_body: further fields (reasoning_effort, top_k, chat_template_kwargs).
    headers, query: sent with every request. stream: receive replies as they are written, so that no proxy closes a
    silent connection; None: yes if the server can. continue_replies: keep what arrives of a reply, and let the server
    continue one that was cut, if it proves that it can; replies are streamed then.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    rename: dict[str, str] = {}
    omit: tuple[str, ...] = ()
    extra_body: dict[str, Any] = {}
    headers: dict[str, str] = {}
    query: dict[str, str] = {}
    stream: bool | None = None
    continue_replies: bool = False

    @field_validator("extra_body")
    @classmethod
    def _refuse_own_fields(cls, value: dict[str, Any]) -> dict[str, Any]:
        for name, instead in (
            ("stream", "`request: {stream: …}`"),
            ("messages", "the prompt"),
            ("model", "`model:`"),
            ("seed", "the parameter RUN_SEED"),
            ("n", "the parameter NUM_SEEDS"),
        ):
            if name in value:
                raise ValueError(f"{name} is set by the cookbook and not allowed here; use {instead}")
        return value

    @model_validator(mode="after")
    def _refuse_losing_messages(self) -> RequestFit:
        if "messages" in (*self.omit, *self.rename, *self.rename.values()):
            raise ValueError("messages is what the model is asked, and can be neither renamed nor omitted")
        if self.continue_replies and self.stream is False:
            raise ValueError("continue_replies needs streamed replies; remove `stream: false`")
        if twice := {*self.rename} & {*self.omit}:
            raise ValueError(f"{', '.join(sorted(twice))}: renamed and omitted at the same time; remove one of the two")
        return self


class BodyWriter:
    """Writes the bodies of one server's requests."""

    def __init__(self, model: str, sampling: Sampling, fit: RequestFit):
        fields = {
            "model": model,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "max_tokens": sampling.max_tokens,
        }
        self._rename = {**fit.rename, **dict.fromkeys(fit.omit, "")}
        self._common = {
            self._name(field): value for field, value in fields.items() if value is not None and self._name(field)
        }
        self._common |= {**sampling.extra_body, **fit.extra_body}
        self._most, self._temperature = self._name("max_tokens"), self._name("temperature")
        self.max_tokens = sampling.max_tokens

    @property
    def identity(self) -> bytes:
        """A hash of what all bodies have in common, but for the limit on a reply's length."""
        common = {name: value for name, value in self._common.items() if name != self._most}
        return blake2b(exact_json.dumps(common), digest_size=32).digest()

    @property
    def fields(self) -> list[str]:
        """The names under which sampling settings are sent."""
        return [name for name in (*self._common, self._name("seed")) if name and name != "model"]

    def write(
        self, request: Request, stream: bool, stream_options: bool, attempt: Attempt | None = None
    ) -> bytes | io.BytesIO:
        """Return the body. stream_options: also ask for the token counts of a streamed reply. attempt: how its text is
        kept and continued, if it is."""
        body: dict[str, Any] = {**self._common, "messages": request.messages}
        if request.seed is not None and (name := self._name("seed")):
            body[name] = request.seed
        if stream:
            body["stream"] = True
            if stream_options:
                body["stream_options"] = {"include_usage": True}
        if attempt is not None:
            self._keep(body, attempt)
        try:
            data = exact_json.dumps(body)
        except TypeError as error:
            raise SdgError(f"request {request.key!r}: its messages are not plain JSON values ({error}).") from None
        return data if len(data) < _LARGE else io.BytesIO(data)

    def _keep(self, body: dict[str, Any], attempt: Attempt) -> None:
        """Ask for the text in one piece, thinking included, with a count of tokens in every part of it."""
        body.update(stream=True, stream_options={"include_usage": True, "continuous_usage_stats": True})
        body["separate_reasoning"] = False
        most = attempt.greedy_tokens or self.max_tokens
        if attempt.greedy_tokens:
            body[self._temperature or "temperature"] = 0.0
        if attempt.kept is not None:
            body["messages"] = [*body["messages"], {"role": "assistant", "content": attempt.kept.text}]
            body["continue_final_message"] = True
            most = most and max(1, most - attempt.kept.tokens)
        if most and self._most:
            body[self._most] = most

    def _name(self, field: str) -> str:
        """Return the server's name for a field, "" when it is omitted."""
        return self._rename.get(field, field)
