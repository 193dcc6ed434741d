"""Summarize failed requests: how many for each reason, and the server's commonest words for it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

# Reasons of replies that a model wrote but that hold no answer; another seed or temperature may give one.
WITHOUT_ANSWER = frozenset({"empty", "no_answer", "unclear_thinking"})
_NUMBERS = re.compile(r"\d+|\b[0-9a-f]{8}[0-9a-f-]*\b")  # differ in one cause's details: ages, sizes, request ids
_QUOTED = 400  # characters of a detail


def commonest_details(failures: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """Return an example of the commonest detail for each reason, the most frequent reason first.

    failures: rows with `reason` and `detail`.
    """
    counts: dict[str, Counter[str]] = {}
    examples: dict[str, str] = {}
    for row in failures:
        detail = str(row.get("detail") or "")
        kind = _NUMBERS.sub("0", detail)
        examples.setdefault(kind, detail)
        counts.setdefault(str(row["reason"]), Counter())[kind] += 1
    ordered = sorted(counts.items(), key=lambda item: -item[1].total())
    return {reason: examples[kinds.most_common(1)[0][0]][:_QUOTED] for reason, kinds in ordered}


def describe_failures(reasons: Mapping[str, int], failures: Iterable[Mapping[str, Any]]) -> str:
    """Return "10 × http_400: HTTP 400: …; 2 × timeout: …": counts by reason, each with its commonest detail."""
    details = commonest_details(failures)
    return "; ".join(
        f"{count} × {reason}" + (f": {detail}" if (detail := details.get(reason, "")) else "")
        for reason, count in Counter(reasons).most_common()
    )
