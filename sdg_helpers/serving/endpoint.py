"""The engine `endpoint`: servers that someone else runs. Starts nothing and writes nothing."""

from __future__ import annotations

import os
import time
import warnings
from dataclasses import replace
from urllib.parse import parse_qsl, urlsplit

from sdg_helpers import network
from sdg_helpers.batches.settings import ANTHROPIC_HEADERS, ANTHROPIC_KEY_HEADER
from sdg_helpers.completions.engine import complete
from sdg_helpers.completions.failures import WITHOUT_ANSWER
from sdg_helpers.completions.first_look import get_models
from sdg_helpers.completions.model_lists import listed_models
from sdg_helpers.completions.types import Completion, Failure, Limits, Request, Sampling, ServerGone
from sdg_helpers.errors import SdgError, did_you_mean
from sdg_helpers.serving.server import Server
from sdg_helpers.serving.server_specs import Address, EndpointSpec, check_url

_RETRY_S = 1.0
_QUESTION = "What is 2 + 3?"
_QUESTION_TOKENS, _QUESTION_TIMEOUT_S = 64, 600.0
_ANSWERED = {*WITHOUT_ANSWER, "content_filter"}  # the model spoke, if only a few tokens
_TRANSIENT = (408, 409, 425, 429, 500, 502, 503, 504, 529)


def open_endpoint(spec: EndpointSpec) -> Server:
    """Attach to the servers at the spec's base_url, else at OPENAI_BASE_URL.

    Raises SdgError when one rejects the key or does not serve the model, and when none answers. One of several that
    does not answer yet is a warning.
    """
    servers = [_server_at(address, spec) for address in spec.base_url or _address_from_environment(spec)]
    gone: list[ServerGone] = []
    for server in servers:
        try:
            _check(server, spec)
        except ServerGone as error:
            gone.append(error)
    if len(gone) == len(servers):
        raise gone[0]
    for failure in gone:
        warnings.warn(f"{failure} The others are used until it answers.", stacklevel=2)
    return replace(servers[0], others=tuple(servers[1:]))


def _address_from_environment(spec: EndpointSpec) -> list[Address]:
    url = os.environ.get("OPENAI_BASE_URL", "").strip()
    if not url:
        raise SdgError(
            f"The endpoint for {spec.model} has no address. Set base_url in the profile, or the environment variable "
            "OPENAI_BASE_URL, for example to http://localhost:8000/v1."
        )
    try:
        check_url(url)
    except ValueError as error:
        raise SdgError(f"OPENAI_BASE_URL: {error}") from None
    return [Address(url=url)]


def _server_at(address: Address, spec: EndpointSpec) -> Server:
    parts = urlsplit(address.url)
    url = parts._replace(query="", fragment="").geturl().rstrip("/")
    variable = address.api_key_env or spec.api_key_env
    key = os.environ.get(variable, "").strip()
    if not key and not network.is_loopback(parts.hostname or ""):
        raise SdgError(
            f"{url}: the environment variable {variable}, which should hold the API key, is not set. Set it "
            f"(export {variable}=…), or name another variable with api_key_env."
        )
    request, key_header = spec.request, spec.api_key_header
    if spec.batch and spec.batch.api == "anthropic":
        request = request.model_copy(update={"headers": {**ANTHROPIC_HEADERS, **request.headers}})
        key_header = key_header or ANTHROPIC_KEY_HEADER
    return Server(
        url,
        spec.model,
        "endpoint",
        key or "none",  # the openai client rejects an empty key
        request=request,
        query=dict(parse_qsl(parts.query)),
        key_header=key_header,
        weight=address.weight,
        batch=spec.batch,
    )


def _check(server: Server, spec: EndpointSpec) -> None:
    """Look for the model in the server's list; when that does not settle it, ask the model a question.

    Raises ServerGone when the server does not answer, SdgError when it cannot be used.
    """
    status, served = _await_list(server, spec)
    if served is not None and spec.model in served:
        return
    if served is None:
        _refuse_missing_v1(server)
    shown = f"cannot be read (HTTP {status})" if served is None else f"has {', '.join(served[:3]) or 'no entries'}"
    said = f"{server.base_url}: the list of models {shown}, not {spec.model!r}"
    if spec.batch:
        hint = did_you_mean(spec.model, served or [])
        warnings.warn(f"{said}.{hint} If it is wrong, the provider will refuse the batch.", stacklevel=2)
        return
    _ask_question(server, spec, served)
    warnings.warn(f"{said}, but a test question was answered. Check that it was this model.", stacklevel=2)


def _await_list(server: Server, spec: EndpointSpec) -> tuple[int, list[str] | None]:
    """Ask for the served models until the deadline, while the server is unreachable or busy.

    Return the status and the names; None for a page that is no list of models.
    """
    deadline = time.monotonic() + spec.deadline_s
    while True:
        left = deadline - time.monotonic()
        try:
            status, data = get_models(server.client(), server.request, timeout_s=max(1.0, min(left, 10)))
            if status not in _TRANSIENT or left <= _RETRY_S:
                return status, listed_models(data) if status == 200 else None
        except ServerGone as error:
            if left <= _RETRY_S:
                raise ServerGone(
                    f"{server.base_url}: no reply from a model server within {spec.deadline_s:g} s: {error}. Check "
                    "the address (it usually ends in /v1) and that the server is running."
                ) from None
        time.sleep(_RETRY_S)


def _refuse_missing_v1(server: Server) -> None:
    """Raise SdgError when the address lacks its /v1."""
    longer = replace(server, base_url=f"{server.base_url}/v1")
    try:
        status, data = get_models(longer.client(), server.request, timeout_s=5)
    except ServerGone:
        return
    if status == 200 and listed_models(data) is not None:
        raise SdgError(
            f"{server.base_url} is not the address of an OpenAI-compatible API, but {longer.base_url} is. Did you mean "
            "that one?"
        )


def _ask_question(server: Server, spec: EndpointSpec, served: list[str] | None) -> None:
    """Raise SdgError, with the server's own words, unless the model replies to a question."""
    outcomes: list[Completion | Failure] = []
    try:
        complete(
            [Request(None, [{"role": "user", "content": _QUESTION}])],
            server.client(),
            model=spec.model,
            sampling=Sampling(max_tokens=_QUESTION_TOKENS),
            limits=Limits(1, max_retries=3, timeout_s=_QUESTION_TIMEOUT_S, outage_deadline_s=spec.deadline_s),
            on_completion=lambda _, completion: outcomes.append(completion),
            on_failure=lambda _, failure: outcomes.append(failure),
            fit=server.request,
        )
    except ServerGone:
        raise
    except SdgError as error:
        raise SdgError(f"{error} The key was read from {spec.api_key_env}.") from None
    outcome = outcomes[0]
    if isinstance(outcome, Completion) or outcome.reason in _ANSWERED:
        return
    hint = did_you_mean(spec.model, served) if served else ""
    raise SdgError(
        f"{server.base_url}: the model {spec.model!r} is not in the list of models, and a test question failed: "
        f"{outcome.detail}.{hint} Check the model's name, base_url, and the key in {spec.api_key_env}."
    )
