"""Read a server's list of models, and explain a 404 with it."""

from __future__ import annotations

from sdg_helpers.completions.failed_attempts import FATAL, RETRY, FailedAttempt
from sdg_helpers.completions.replies import load_json
from sdg_helpers.errors import did_you_mean

_SHOWN_NAMES = 8
_AZURE_HINT = " Azure also needs `request: {query: {api-version: …}}` and `api_key_header: api-key`."


def listed_models(data: bytes) -> list[str] | None:
    """Return the names in a list of models, in any of the usual shapes; None when the body is no such list."""
    try:
        body = load_json(data)
        rows = body if isinstance(body, list) else body.get("data") if "data" in body else body.get("models")
        names = [row if isinstance(row, str) else row.get("id") or row.get("name") or row["model"] for row in rows]
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return None
    return [str(name) for name in names]


def classify_not_found(url: str, model: str, served: list[str] | None, message: str) -> FailedAttempt:
    """Return what a 404 means. served: the models that the server lists, None when it has no list."""
    if served is None:
        return FailedAttempt(
            FATAL,
            "http_404",
            f"{url} does not exist (HTTP 404: {message}). Check base_url (it usually ends in /v1) and the "
            f"name of the model, {model!r}." + (_AZURE_HINT if "azure" in url else ""),
        )
    if model in served:
        return FailedAttempt(RETRY, "http_404", f"HTTP 404: {message}")
    return FailedAttempt(
        FATAL,
        "http_404",
        f"{url.removesuffix('/chat/completions')} does not serve the model {model!r}, only {_first_names(served)} "
        f"(HTTP 404: {message}).{did_you_mean(model, served)} Set the model's name to one of these.",
    )


def _first_names(names: list[str]) -> str:
    shown = ", ".join(names[:_SHOWN_NAMES]) or "none"
    return shown + (f" and {len(names) - _SHOWN_NAMES} more" if len(names) > _SHOWN_NAMES else "")
