"""The engine `endpoint`: a server that someone else runs. Starts nothing and writes nothing."""

from __future__ import annotations

import ipaddress
import os
import time
from urllib.parse import urlsplit

from sdg_helpers.errors import SdgError, did_you_mean
from sdg_helpers.serving.server import Server, describe_error, served_models
from sdg_helpers.serving.server_specs import EndpointSpec, check_url

_RETRY_S = 1.0


def is_loopback(url: str) -> bool:
    """Return whether an address is on this machine."""
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def open_endpoint(spec: EndpointSpec) -> Server:
    """Attach to the server at the spec's base_url, else at OPENAI_BASE_URL.

    Raises SdgError when it does not answer, rejects the key, or does not serve the model.
    """
    url = (spec.base_url or os.environ.get("OPENAI_BASE_URL") or "").rstrip("/")
    if not url:
        raise SdgError(
            f"The endpoint for {spec.model} has no address. Set base_url in the profile, or the environment variable "
            "OPENAI_BASE_URL, for example to http://localhost:8000/v1."
        )
    try:
        check_url(url)
    except ValueError as error:
        raise SdgError(f"OPENAI_BASE_URL: {error}") from None
    key = os.environ.get(spec.api_key_env, "").strip()
    if not key and not is_loopback(url):
        raise SdgError(
            f"{url}: the environment variable {spec.api_key_env}, which should hold the API key, is not set. Set it "
            f"(export {spec.api_key_env}=…), or name another variable with api_key_env."
        )
    server = Server(url, spec.model, "endpoint", key or "none")  # the openai client rejects an empty key
    served = _await_models(server, spec)
    if served is None:
        _refuse_missing_v1(server, spec)
    elif spec.model not in served:
        shown = ", ".join(served[:8]) + (f" and {len(served) - 8} more" if len(served) > 8 else "")
        raise SdgError(
            f"{url} does not serve the model {spec.model!r}, only {shown or 'none'}.{did_you_mean(spec.model, served)} "
            "Put one of these names into the profile."
        )
    return server


def _await_models(server: Server, spec: EndpointSpec) -> list[str] | None:
    """Ask for the served models until the deadline, while the server is unreachable or busy; other errors are final."""
    import openai

    deadline = time.monotonic() + spec.deadline_s
    while True:
        left = deadline - time.monotonic()
        try:
            return served_models(server, timeout_s=max(1.0, min(left, 10)))
        except (openai.AuthenticationError, openai.PermissionDeniedError) as error:
            raise SdgError(
                f"{server.base_url} rejects the key in {spec.api_key_env}: {describe_error(error, server)}. Put a "
                "valid key into that environment variable."
            ) from None
        except openai.OpenAIError as error:
            transient = isinstance(
                error, (openai.APIConnectionError, openai.RateLimitError, openai.InternalServerError)
            )
            if not transient or left <= _RETRY_S:
                raise SdgError(
                    f"{server.base_url}: no reply from a model server within {spec.deadline_s:g} s: "
                    f"{describe_error(error, server)}. Check the address (it usually ends in /v1) and that the server "
                    "is running."
                ) from None
            time.sleep(_RETRY_S)


def _refuse_missing_v1(server: Server, spec: EndpointSpec) -> None:
    """Raise SdgError when the address lacks its /v1. A server that has no list of models is accepted."""
    import openai

    longer = Server(f"{server.base_url}/v1", spec.model, "endpoint", server.api_key)
    try:
        found = served_models(longer)
    except openai.OpenAIError:
        found = None
    if found is not None:
        raise SdgError(
            f"{server.base_url} is not the address of an OpenAI-compatible API, but {longer.base_url} is. Did you mean "
            "that one?"
        )
