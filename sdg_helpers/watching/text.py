"""Show a stage at work as lines of text: what is done, one line a server, and what an operator may want to do."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from sdg_helpers.formatting import format_duration, plain_line
from sdg_helpers.watching.server_lines import ServerLine
from sdg_helpers.watching.stage_view import StageView

_HEAD = ("server", "node", "state", "blocks", "left", "tok/s", "p50", "run", "queue", "hit", "restarts", "load", "ETA")
_HISTORY_HEAD = ("job", "node", "began", "for", "rows", "failed", "tok/s", "p50")
_LEFT = 3  # columns of text; the others are numbers, to the right


def stage_lines(view: StageView, drain: str) -> list[str]:
    """Return the lines of one stage. drain: the command that drains a server, without its number."""
    lines = [f"{view.stage}  {'  '.join(_totals(view))}"]
    if view.note:
        lines.append(f"  {plain_line(view.note)}")
    if view.servers:
        lines += _table([_HEAD, *(_cells(server) for server in view.servers)])
    for server in view.servers:
        if server.slow and server.number is not None:
            lines.append(f"  server {server.number} is below half the median: {drain} {server.number}")
        elif server.why:
            lines.append(f"  server {_number(server)}: {plain_line(server.why)}")
    return lines


def history_lines(stage: str, sessions: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the lines about the sessions of a stage that is complete."""
    rows = [
        (
            one["attempt"] or "-",
            one["host"],
            datetime.fromtimestamp(one["began_at"]).strftime("%Y-%m-%d %H:%M"),
            format_duration(one["updated_at"] - one["began_at"]),
            f"{one['rows']:,}",
            f"{one['failed']:,}",
            f"{one['tokens_per_s']:,.0f}",
            format_duration(one["latency_p50_s"]),
        )
        for one in sessions
    ]
    return [f"{stage}  complete, in {len(rows):,} sessions", *_table([_HISTORY_HEAD, *rows])]


def _totals(view: StageView) -> Iterable[str]:
    if view.total:
        yield f"{view.done:,} of {view.total:,} rows  {view.done / view.total:.0%}"
    if view.blocks:
        yield f"blocks: {', '.join(f'{count:,} {name}' for name, count in view.blocks.items())}"
    yield f"{view.tokens_per_s:,.0f} tok/s"
    if view.failed:
        yield f"{view.failed:,} failed"
    yield f"ETA {_duration(view.eta_s)}"


def _cells(server: ServerLine) -> tuple[str, ...]:
    state = "slow" if server.slow and server.state == "at work" else server.state
    return (
        _number(server),
        server.node or "-",
        state,
        _count(server.blocks),
        _count(server.open_rows),
        f"{server.tokens_per_s:,.0f}",
        _duration(server.latency_p50_s or None),
        _count(server.running),
        _count(server.queued),
        "-" if server.cache_hit is None else f"{server.cache_hit:.0%}",
        f"{server.restarts}",
        _duration(server.load_s),
        _duration(server.eta_s),
    )


def _number(server: ServerLine) -> str:
    return "-" if server.number is None else str(server.number)


def _count(value: float | None) -> str:
    return "-" if value is None else f"{value:,.0f}"


def _duration(seconds: float | None) -> str:
    return "-" if seconds is None else format_duration(seconds)


def _table(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  "
        + "  ".join(
            f"{cell:<{width}}" if place < _LEFT else f"{cell:>{width}}"
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
