"""Names from data in figures: text that cannot be read as mathematics, of bounded length and number."""

from __future__ import annotations

from collections.abc import Mapping

MAX_NAMES = 20
_MAX_CHARACTERS = 40


def label(name: object) -> str:
    """Return a name as matplotlib shows it letter by letter, on one line, cut to 40 characters.

    Control characters, lone surrogates and other characters without a shape become U+FFFD.
    """
    words = " ".join(str(name)[: 4 * _MAX_CHARACTERS].split())
    if len(words) > _MAX_CHARACTERS:
        words = f"{words[: _MAX_CHARACTERS - 1]}…"
    return escape(words)


def escape(text: str) -> str:
    """Return a text as matplotlib shows it letter by letter."""
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in text).replace("$", r"\$")


def merge_small(counts: Mapping[str, float], most: int = MAX_NAMES) -> list[tuple[str, float]]:
    """Return (name, count) in the given order; of more than `most`, the largest and the sum of the others."""
    if len(counts) <= most:
        return list(counts.items())
    largest = set(sorted(counts, key=lambda name: -counts[name])[: most - 1])
    rest = [count for name, count in counts.items() if name not in largest]
    return [*((name, counts[name]) for name in counts if name in largest), (f"others ({len(rest):,})", sum(rest))]
