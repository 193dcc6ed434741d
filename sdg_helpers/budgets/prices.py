"""What a server's tokens cost: the key `prices` of a profile's server."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Price = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class Prices(BaseModel):
    """Prices per million tokens of prompts and of replies, in one currency."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    input_per_million: Price
    output_per_million: Price
    currency: str = Field(pattern=r"^[A-Za-z]{2,12}$")  # EUR, USD, credits, …

    def cost(self, prompt_tokens: float, completion_tokens: float) -> float:
        """Return what these tokens cost."""
        return (prompt_tokens * self.input_per_million + completion_tokens * self.output_per_million) / 1e6
