"""Samples for a notebook to show. Model output and downloaded text are hostile: always escaped, never rendered."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from IPython.display import HTML

from sdg_helpers.formatting import format_number

_BOX = (
    "white-space:pre-wrap;overflow-wrap:anywhere;margin:0;padding:6px 10px;border-left:4px solid {colour};"
    "background:rgba(128,128,128,.08);font-size:12px;line-height:1.4;text-align:left"
)
_COLOURS = {
    "system": "#999999",
    "user": "#0072B2",
    "assistant": "#D55E00",
    "right": "#009E73",
    "wrong": "#D55E00",
    "undecided": "#999999",
    "plain": "#56B4E9",
}


def shorten(text: Any, limit: int = 600) -> str:
    """The text, or its beginning and its end with how much was left out between (a solution's answer is at its end)."""
    text = "" if text is None else str(text)
    if len(text) <= limit:
        return text
    head, tail = limit * 2 // 3, limit // 3
    return f"{text[:head]}\n… {len(text) - head - tail:,} characters left out …\n{text[-tail:]}"


def box(title: str, text: Any, kind: str = "plain", limit: int = 600) -> str:
    """HTML of one escaped text under a title; kinds are system, user, assistant, right, wrong, undecided, plain."""
    return (
        f'<div style="margin:6px 0"><b style="font-size:12px">{escape(title)}</b>'
        f'<pre style="{_BOX.format(colour=_COLOURS[kind])}">{escape(shorten(text, limit))}</pre></div>'
    )


def show_boxes(boxes: Iterable[str]) -> HTML:
    """Several boxes, one below the other."""
    return HTML("".join(boxes))


def show_messages(messages: Sequence[Mapping[str, str]], limit: int = 600) -> HTML:
    """Chat messages as the server gets them, before its chat template."""
    return show_boxes(box(message["role"], message["content"], message["role"], limit) for message in messages)


def show_table(rows: Iterable[Mapping[str, Any]] | Any, limit: int = 160, columns: Sequence[str] | None = None) -> HTML:
    """A table of rows (or of a DataFrame) whose long texts are shortened to `limit` characters a cell."""
    if hasattr(rows, "to_dict"):
        rows = rows.to_dict("records")
    rows = list(rows)
    columns = list(columns or (rows[0] if rows else []))
    head = "".join(f'<th style="text-align:left">{escape(str(column))}</th>' for column in columns)
    body = "".join("<tr>" + "".join(_cell(row.get(column), limit) for column in columns) + "</tr>" for row in rows)
    return HTML(f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>")


def _cell(value: Any, limit: int) -> str:
    if isinstance(value, float):
        text = format_number(value)
    elif isinstance(value, int) and not isinstance(value, bool):
        text = f"{value:,}"
    else:
        text = shorten(value, limit)
    return f'<td style="text-align:left;white-space:pre-wrap;overflow-wrap:anywhere">{escape(text)}</td>'


def show_solutions(
    problem: Mapping[str, Any],
    solutions: Iterable[Mapping[str, Any]],
    verdicts: Mapping[int, Mapping[str, Any]] | None = None,
    limit: int = 700,
) -> HTML:
    """One problem with its solutions; verdicts (seed -> row of verdicts.parquet) colour them right or wrong.

    A problem with a `language` asks for a program: it has no expected answer, and its solutions' are digests.
    """
    code = "language" in problem
    boxes = [
        box(
            f"problem {problem['id']}"
            + ("" if code else f" · expected answer {problem['expected_answer'] or '(none)'}"),
            problem["problem"],
            "user",
            limit,
        )
    ]
    for row in solutions:
        kind, said = _verdict_kind((verdicts or {}).get(row["seed"]), code)
        parts = (
            f"seed {row['seed']}",
            row.get("language"),
            f"{row['num_generated_tokens']} tokens",
            row["finish_reason"],
            said,
        )
        boxes.append(box(" · ".join(filter(None, parts)), row["generation"], kind, limit))
    return show_boxes(boxes)


def _verdict_kind(verdict: Mapping[str, Any] | None, code: bool) -> tuple[str, str]:
    if verdict is None:
        return "plain", ""
    correct, answer = verdict["correct"], verdict["predicted_answer"]
    kind = "right" if correct is True else "wrong" if correct is False else "undecided"
    if not code:
        return kind, f"answer {answer or '(none)'} is {kind} ({verdict['how']})"
    if not answer:
        return kind, f"no program ({verdict['how']})"
    return kind, f"program {answer[:8]}… " + (
        "was not run" if verdict["how"] == "filter" else f"is {kind} ({verdict['how']})"
    )
