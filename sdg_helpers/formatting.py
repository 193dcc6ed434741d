"""Numbers and times as people read them, in figures, tables and progress lines."""

from __future__ import annotations


def number(value: float) -> str:
    """ "540,000", "4", "0.123": in full from a thousand on, three digits below; empty for a value that is none."""
    return "" if value != value else f"{value:,.0f}" if abs(value) >= 999.5 else f"{value:.3g}"


def duration(seconds: float) -> str:
    """ "0.4s", "12s", "4m12s", "3h05m", "2d04h"."""
    if seconds < 10:
        return f"{seconds:.1f}s"
    whole = int(seconds + 0.5)
    for unit, below, size, small, small_unit in (
        ("m", 3600, 60, 1, "s"),
        ("h", 86400, 3600, 60, "m"),
        ("d", float("inf"), 86400, 3600, "h"),
    ):
        if whole < 60:
            return f"{whole}s"
        if whole < below:
            return f"{whole // size}{unit}{whole % size // small:02d}{small_unit}"
    raise AssertionError("unreachable")
