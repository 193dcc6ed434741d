"""What an openai client is configured with, as aiohttp takes it: address, headers, keys and timeouts."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import aiohttp

from sdg_helpers.completions.redaction import secrets_in
from sdg_helpers.completions.request_bodies import RequestFit
from sdg_helpers.errors import SdgError


def base_url_of(client: Any) -> str:
    """Return the server's address. Raises SdgError for one that is no web address, or that has a password in it."""
    base_url = str(client.base_url).rstrip("/")
    parts = urlsplit(base_url)
    if parts.scheme not in ("http", "https") or "@" in parts.netloc:
        raise SdgError(
            "base_url must be http://host:port/v1 or https://host/v1 without user name and password, not "
            f"{parts._replace(netloc=parts.netloc.split('@')[-1]).geturl()!r}. Pass the key as api_key."
        )
    return base_url


def request_headers(client: Any, fit: RequestFit) -> dict[str, str]:
    """Return the client's headers, without those that describe the openai library (unset ones are not strings)."""
    headers = {**client.auth_headers, **client.default_headers, **fit.headers}
    return {
        "Accept-Encoding": "identity",
        **{
            name: value
            for name, value in headers.items()
            if isinstance(value, str) and not name.lower().startswith("x-stainless")
        },
    }


def secrets_of(client: Any, headers: dict[str, str]) -> list[str]:
    """Return the keys that must not appear in a message: the client's, and those in its headers."""
    key = getattr(client, "api_key", None)
    return [*secrets_in(headers), *([key] if isinstance(key, str) else [])]


def timeout_of(client: Any, timeout_s: float | None) -> aiohttp.ClientTimeout:
    """Return the timeouts of a request and of connecting. timeout_s: None for the client's."""
    own = client.timeout
    if timeout_s is None:
        timeout_s = getattr(own, "read", own)
    return aiohttp.ClientTimeout(total=timeout_s, sock_connect=getattr(own, "connect", None) or 10.0)
