"""The error that the cookbook raises on purpose, and spelling hints for its messages."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class SdgError(Exception):
    """A problem that the user can fix. The message says what failed, why, and what to do next."""


class UnreadableRow(SdgError):
    """A row of a data file that cannot be what a stage wrote."""


def did_you_mean(word: str, allowed: Iterable[str]) -> str:
    """Return " Did you mean X?" for the closest allowed word, or "" when none is close. Ignores case and dashes."""
    folded = {name.lower().replace("-", "_"): name for name in allowed}
    close = difflib.get_close_matches(word.lower().replace("-", "_"), folded, n=1, cutoff=0.6)
    return f" Did you mean {folded[close[0]]}?" if close else ""
