"""The engine `endpoint`: a server that someone else runs; nothing is started, nothing is written."""

from __future__ import annotations

import ipaddress
import os
import time
from urllib.parse import urlsplit

from sdg_helpers.errors import SdgError, did_you_mean
from sdg_helpers.serving.server import Server, served_models, told
from sdg_helpers.serving.server_specs import EndpointSpec, check_url

_RETRY_S = 1.0


def is_loopback(url: str) -> bool:
    """True for a server on this machine."""
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def open_endpoint(spec: EndpointSpec) -> Server:
    """Attach to the server at the spec's base_url, or at OPENAI_BASE_URL. Raises SdgError when it does not answer,
    refuses the key, or does not serve the model."""
    url = (spec.base_url or os.environ.get("OPENAI_BASE_URL") or "").rstrip("/")
    if not url:
        raise SdgError(
            f"The endpoint for {spec.model}: expected its address, found none. Set base_url in the profile, "
            "or the environment variable OPENAI_BASE_URL, for example http://localhost:8000/v1."
        )
    try:
        check_url(url)
    except ValueError as error:
        raise SdgError(f"OPENAI_BASE_URL: {error}") from None
    key = os.environ.get(spec.api_key_env, "").strip()
    if not key and not is_loopback(url):
        raise SdgError(
            f"{url}: expected its key in the environment variable {spec.api_key_env}, found none. Set it "
            f"(export {spec.api_key_env}=…), or name another variable with api_key_env."
        )
    server = Server(url, spec.model, "endpoint", key or "none")  # the openai client refuses an empty key
    served = _await_models(server, spec)
    if served is None:
        _refuse_missing_v1(server, spec)
    elif spec.model not in served:
        shown = ", ".join(served[:8]) + (f" and {len(served) - 8} more" if len(served) > 8 else "")
        raise SdgError(
            f"{url}: expected the model {spec.model!r}, found that it serves {shown or 'none'}."
            f"{did_you_mean(spec.model, served)} Put one of its names into the profile."
        )
    return server


def _await_models(server: Server, spec: EndpointSpec) -> list[str] | None:
    """What it serves, asked again until the deadline while it is out of reach or busy; other errors end it at once."""
    import openai

    deadline = time.monotonic() + spec.deadline_s
    while True:
        left = deadline - time.monotonic()
        try:
            return served_models(server, timeout_s=max(1.0, min(left, 10)))
        except (openai.AuthenticationError, openai.PermissionDeniedError) as error:
            raise SdgError(
                f"{server.base_url}: expected that the key in {spec.api_key_env} is accepted, found "
                f"{told(error, server)}. Put the right key into that environment variable."
            ) from None
        except openai.OpenAIError as error:
            passing = isinstance(error, (openai.APIConnectionError, openai.RateLimitError, openai.InternalServerError))
            if not passing or left <= _RETRY_S:
                raise SdgError(
                    f"{server.base_url}: expected a model server that answers within "
                    f"{spec.deadline_s:g} s, found {told(error, server)}. Check the address "
                    "(it ends in /v1 as a rule) and that the server runs."
                ) from None
            time.sleep(_RETRY_S)


def _refuse_missing_v1(server: Server, spec: EndpointSpec) -> None:
    """A server without a list of models is let pass, one whose address lacks its /v1 is not."""
    import openai

    longer = Server(f"{server.base_url}/v1", spec.model, "endpoint", server.api_key)
    try:
        found = served_models(longer)
    except openai.OpenAIError:
        found = None
    if found is not None:
        raise SdgError(
            f"{server.base_url}: expected the address of an OpenAI-compatible server, found its models one "
            f"step further. Did you mean {longer.base_url}?"
        )
