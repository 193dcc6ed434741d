"""What a lower token limit would have saved, and what a second pass with a higher one costs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

_COLUMNS = ("finished", "tokens of one pass", "tokens of two passes")


def compare_limits(edges: Sequence[int], counts: Sequence[int], limit: int, most: int = 6) -> pd.DataFrame:
    """Return one row per token limit below `limit`, the `most` highest of the bin edges: shares of the run itself.

    edges, counts: the histogram of generated tokens as in the manifest of solutions (counts[i] values lie in
    [edges[i-1], edges[i])); in a bin, lengths are taken as evenly spread. limit: the run's MAX_TOKENS.
    Columns: finished, the share of solutions that end below the limit; the tokens of one pass with that limit; and
    those of two passes, where the solutions that the first one cut are generated anew with the run's limit.
    """
    lows = np.array([0, *edges], dtype=float)
    highs = np.minimum(np.array([*edges, max(edges[-1], limit)], dtype=float), limit)
    number = np.array(counts, dtype=float)
    means = np.minimum((lows + np.maximum(highs, lows)) / 2, limit)
    tokens, rows = float((number * means).sum()), {}
    ends = [one for one in edges if one < limit and number[lows < one].sum()]
    for end in ends[-most:]:
        below = lows < end
        cut = number[~below]
        first = float((number * means)[below].sum() + cut.sum() * end)
        second = float((cut * means[~below]).sum())
        rows[f"{end:,}"] = (number[below].sum() / max(1.0, number.sum()), first / tokens, (first + second) / tokens)
    table = pd.DataFrame.from_dict(rows, orient="index", columns=list(_COLUMNS), dtype=float)
    return table.rename_axis("token limit of the first pass")
