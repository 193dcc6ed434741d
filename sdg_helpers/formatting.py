"""Format numbers and durations for figures, tables and progress lines."""

from __future__ import annotations

import math
from typing import Any


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


def format_size(size: int) -> str:
    """Format a number of bytes: "0 KB", "310 KB", "1.2 MB", "2,300 MB"."""
    if size < 999_500:
        return f"{size / 1e3:.0f} KB"
    return f"{size / 1e6:.1f} MB" if size < 99.95e6 else f"{size / 1e6:,.0f} MB"


def shorten(text: Any, limit: int = 600) -> str:
    """Return the text, or its beginning and end around a note of what is omitted (answers are at a solution's end)."""
    text = "" if text is None else str(text)
    if len(text) <= limit:
        return text
    head, tail = limit * 2 // 3, limit // 3
    return f"{text[:head]}\n… {len(text) - head - tail:,} characters omitted …\n{text[-tail:]}"


def plain_text(text: Any, limit: int = 600) -> str:
    """Return untrusted text for a terminal: shortened, with every character that could steer it as an escape."""
    return "".join(one if one.isprintable() or one in "\n\t" else _escaped(one) for one in shorten(text, limit))


def plain_line(text: Any, limit: int = 200) -> str:
    """Return untrusted text for a terminal as one line."""
    return " ".join(plain_text(text, limit).split())


def _escaped(letter: str) -> str:
    return letter.encode("unicode_escape").decode("ascii") if letter != "\r" else "\n"


def progress_text(progress: dict[str, Any]) -> str:
    """Return a stage's progress report as text, such as "40/96 rows  42%  31 tok/s  ETA 1m27s  2 failed"."""
    done, total = progress.get("done", 0), progress.get("total")
    parts = [f"{done:,}/{total:,} rows" if total else f"{done:,} rows"]
    if total:
        parts.append(f"{done / total:.0%}")
    if progress.get("tokens_per_s"):
        parts.append(f"{progress['tokens_per_s']:,.0f} tok/s")
    rate = progress.get("requests_per_s") or progress.get("rows_per_s")
    if rate and not progress.get("tokens_per_s"):
        parts.append(f"{format_number(rate)} rows/s")
    left_s = progress["eta_s"] if "eta_s" in progress else (total - done) / rate if rate and total else None
    if left_s and total and done < total:
        parts.append(f"ETA {format_duration(left_s)}")
    if progress.get("note"):
        parts.append(str(progress["note"]))
    if progress.get("failed"):
        parts.append(f"{progress['failed']:,} failed")
    if progress.get("jobs"):
        parts.append(f"jobs: {progress['jobs']}")
    if progress.get("slow"):
        parts.append(f"slow: server {', '.join(map(str, progress['slow']))}")
    return "  ".join(parts)
