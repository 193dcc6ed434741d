"""The `batch:` section of a profile's server."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, PositiveFloat, PositiveInt

ANTHROPIC_KEY_HEADER = "x-api-key"
ANTHROPIC_HEADERS = {"anthropic-version": "2023-06-01"}


class BatchSettings(BaseModel):
    """Submit requests through the provider's batch API."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    api: Literal["openai", "anthropic", "gemini"]
    poll_s: PositiveFloat = 60.0  # seconds between two looks at a batch
    max_requests: PositiveInt | None = None  # of one batch; default: what the API allows
    max_mb: PositiveFloat | None = None  # of one batch's requests; default: what the API allows
    rounds: PositiveInt = 3  # batches that a request may be in, in one run, when it expires or fails


def _as_mapping(value: Any) -> Any:
    return {"api": value} if isinstance(value, str) else value


BatchSection = Annotated[BatchSettings, BeforeValidator(_as_mapping)]  # also accepts the name of the API alone
