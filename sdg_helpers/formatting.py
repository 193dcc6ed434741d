"""Format numbers and durations for figures, tables and progress lines."""

from __future__ import annotations

import math


def format_number(value: float) -> str:
    """Format a number for people: "540,000", "4", "0.123".

    Values from 1,000 on are rounded to integers, smaller ones to three significant digits; NaN gives an empty string.
    """
    if math.isnan(value):
        return ""
    return f"{value:,.0f}" if abs(value) >= 999.5 else f"{value:.3g}"


def format_duration(seconds: float) -> str:
    """Format a duration: "0.4s", "12s", "4m12s", "3h05m", "2d04h"."""
    if seconds < 10:
        return f"{seconds:.1f}s"
    whole = int(seconds + 0.5)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    if whole < 86400:
        return f"{whole // 3600}h{whole % 3600 // 60:02d}m"
    return f"{whole // 86400}d{whole % 86400 // 3600:02d}h"
