"""Tables and samples for a notebook to show. Model output and downloaded text are hostile: always escaped."""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping, Sequence
from numbers import Integral, Real
from typing import Any

import pandas as pd
from IPython.display import HTML

from sdg_helpers.errors import SdgError
from sdg_helpers.exact_json import replace_lone_surrogates
from sdg_helpers.formatting import format_number, shorten

_BOX_STYLE = (
    "white-space:pre-wrap;overflow-wrap:anywhere;word-break:normal;margin:0;padding:6px 10px;"
    "border-left:4px solid {colour};background:rgba(128,128,128,.08);font-size:12px;line-height:1.4;text-align:left"
)
_NO_MATHS = "mathjax_ignore tex2jax_ignore"  # JupyterLab would typeset a \\rule that covers the notebook
_UNBROKEN = 20  # characters
_COLOURS = {
    "system": "#999999",
    "user": "#0072B2",
    "assistant": "#D55E00",
    "right": "#009E73",
    "wrong": "#D55E00",
    "undecided": "#999999",
    "plain": "#56B4E9",
}


def _escape(text: str) -> str:
    """Escape text for HTML. A lone surrogate, which no notebook could be saved with, becomes U+FFFD."""
    return html.escape(replace_lone_surrogates(text))


def box(title: str, text: Any, kind: str = "plain", limit: int = 600) -> str:
    """Return HTML of one escaped text under a title.

    kind: its colour, one of system, user, assistant, right, wrong, undecided, plain.
    """
    return (
        f'<div class="{_NO_MATHS}" style="margin:6px 0"><b style="font-size:12px">{_escape(title)}</b>'
        f'<pre style="{_BOX_STYLE.format(colour=_COLOURS[kind])}">{_escape(shorten(text, limit))}</pre></div>'
    )


def show_boxes(boxes: Iterable[str]) -> HTML:
    """Show boxes one below the other."""
    return HTML("".join(boxes))


def show_text(title: str, text: Any, kind: str = "plain", limit: int = 1500) -> HTML:
    """Show one text under a title; see `box`."""
    return show_boxes([box(title, text, kind, limit)])


def show_messages(messages: Sequence[Mapping[str, str]], limit: int = 600) -> HTML:
    """Show chat messages as the server receives them, before its chat template is applied."""
    return show_boxes(box(message["role"], message["content"], message["role"], limit) for message in messages)


def show_sft_rows(rows: Iterable[Mapping[str, Any]], also: Sequence[str] = (), limit: int = 900) -> HTML:
    """Show rows of SFT data: input, output, and the keys in `also` that a row has."""
    kinds = {"input": "user", "output": "assistant"} | dict.fromkeys(also, "plain")
    return show_boxes(box(key, row[key], kind, limit) for row in rows for key, kind in kinds.items() if key in row)


def show_table(
    rows: Iterable[Mapping[str, Any]] | pd.DataFrame, limit: int = 160, columns: Sequence[str] | None = None
) -> HTML:
    """Show rows, or a DataFrame without its index, as a table; long texts are shortened to `limit` characters.

    Without rows and `columns`, it says that there are none.
    """
    if isinstance(rows, pd.DataFrame):
        rows = rows.to_dict("records")
    rows = list(rows)
    columns = list(columns or (rows[0] if rows else []))
    if not columns:
        return HTML("<p>No rows.</p>")
    sides = {name: _side([row.get(name) for row in rows]) for name in columns}
    head = "".join(_head(str(name), side, [row.get(name) for row in rows], limit) for name, side in sides.items())
    body = "".join(
        "<tr>" + "".join(_cell(row.get(name), side, limit) for name, side in sides.items()) + "</tr>" for row in rows
    )
    return HTML(f"<table class='{_NO_MATHS}'><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>")


def facts(title: str, values: Mapping[str, Any]) -> HTML:
    """Show a few named values as a table with `title` over the names."""
    return show_table([{title: name, "value": value} for name, value in values.items()], limit=400)


def counts(manifest: Mapping[str, Any], rows_in: str, rows_out: str, dropped: str = "dropped") -> HTML:
    """Show that a stage's counts add up: rows in, minus the rows dropped for each reason, are the rows out.

    rows_in, rows_out: what the rows are, for example "solutions" and "rows"; dropped: the word before each reason.
    Raises SdgError when they do not add up.
    """
    total_in, total_out, reasons = (manifest["counts"][key] for key in ("rows_in", "rows_out", "dropped"))
    if total_in != total_out + sum(reasons.values()):
        raise SdgError(f"the counts do not add up: {total_in} rows in, {total_out} out, dropped {reasons}.")
    said = {reason: f" ({detail})" for reason, detail in (manifest.get("failures") or {}).items() if detail}
    lost = {f"{dropped}: {reason}{said.get(reason, '')}": -count for reason, count in reasons.items()}
    return facts("counts", {rows_in: total_in, **lost, rows_out: total_out})


def side_by_side(columns: Mapping[str, Mapping[str, int]], title: str) -> HTML:
    """Show counts by name, one column per mapping, with `title` over the names; a missing name counts 0."""
    names = dict.fromkeys(name for column in columns.values() for name in column)
    rows = [{title: name} | {column: values.get(name, 0) for column, values in columns.items()} for name in names]
    return show_table(rows)


def generation(manifest: Mapping[str, Any], replies: str = "solutions") -> HTML:
    """Show what a generation stage produced and took; `replies` is what its rows are."""
    requests = manifest.get("requests") or {}
    return facts(
        "generation",
        {
            "model": manifest["parameters"]["model"],
            replies: manifest["counts"]["rows_out"],
            "distinct texts": manifest["distinct_solutions"],
            "generated tokens": manifest["generated_tokens"],
            "tokens per second": requests.get("tokens_per_s", 0),
            "median seconds per request": requests.get("latency_p50_s", 0),
            "retried requests": requests.get("retried", 0),
        },
    )


def show_solutions(
    problem: Mapping[str, Any],
    solutions: Iterable[Mapping[str, Any]],
    verdicts: pd.DataFrame | None = None,
    limit: int = 700,
) -> HTML:
    """Show one problem with its solutions, coloured right or wrong by its rows of verdicts.parquet, if given.

    A problem with a `language` asks for a program: it has no expected answer, and its verdicts name programs by digest.
    """
    code = "language" in problem
    expected = "" if code else f" · expected answer {problem['expected_answer'] or '(none)'}"
    boxes = [box(f"problem {problem['id']}{expected}", problem["problem"], "user", limit)]
    by_seed = {} if verdicts is None else {row["seed"]: row for row in verdicts.to_dict("records")}
    for row in solutions:
        kind, verdict = _describe_verdict(by_seed.get(row["seed"]), code)
        parts = (
            f"seed {row['seed']}",
            row.get("language"),
            f"{row['num_generated_tokens']} tokens",
            row["finish_reason"],
            verdict,
        )
        boxes.append(box(" · ".join(filter(None, parts)), row["generation"], kind, limit))
    return show_boxes(boxes)


def _describe_verdict(verdict: Mapping[Any, Any] | None, code: bool) -> tuple[str, str]:
    """Return the kind of box and the words for a verdict; ("plain", "") without one."""
    if verdict is None:
        return "plain", ""
    correct, answer = (None if pd.isna(verdict[key]) else verdict[key] for key in ("correct", "predicted_answer"))
    kind = "undecided" if correct is None else "right" if correct else "wrong"
    if not code:
        return kind, f"answer {answer or '(none)'} is {kind} ({verdict['how']})"
    if not answer:
        return kind, f"no program ({verdict['how']})"
    result = "was not run" if verdict["how"] == "filter" else f"is {kind} ({verdict['how']})"
    return kind, f"program {answer[:8]}… {result}"


def _side(values: Sequence[Any]) -> str:
    """Return to which side a column is set: "right" if it has numbers only."""
    return "right" if values and all(_is_number(value) for value in values) else "left"


def _head(column: str, side: str, values: Sequence[Any], limit: int) -> str:
    """Return a column's heading, as wide as the longest word below it, up to 20 characters, so that no short word is
    broken."""
    words = (word for value in values if not _is_number(value) for word in shorten(value, limit).split())
    width = min(max(map(len, words), default=0), _UNBROKEN)
    return f'<th style="text-align:{side};min-width:{width}ch">{_escape(column)}</th>'


def _cell(value: Any, side: str, limit: int) -> str:
    if not _is_number(value):
        text = "" if value is pd.NA else shorten(value, limit)
    else:
        text = f"{int(value):,}" if isinstance(value, Integral) else format_number(float(value))
    return f'<td style="text-align:{side};white-space:pre-wrap;overflow-wrap:anywhere">{_escape(text)}</td>'


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)
