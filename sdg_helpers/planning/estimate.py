"""An estimate and how far it may be off."""

from __future__ import annotations

from typing import NamedTuple


class Range(NamedTuple):
    """An estimate with its central 90 %."""

    value: float
    low: float
    high: float
