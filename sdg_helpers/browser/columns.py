"""The columns of the browser's table: what they mean, and how they are filtered and sorted."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

Kind = Literal["number", "share", "choice", "flags"]


@dataclass(frozen=True)
class Column:
    """A column. kind: "share" is a number from 0 to 1, "choice" one word, "flags" several words of a known list.

    value: the SQL expression; flags are the bits of an integer. about: the explanation that the page shows.
    """

    name: str
    title: str
    kind: Kind
    value: str
    about: str


COLUMNS = (
    Column("pass_rate", "Pass rate", "share", "pass_rate", "right solutions of those that were decided"),
    Column("confidence", "Confidence", "share", "confidence", "probability that the label is right"),
    Column("decision", "Label", "choice", "decision", "what became of the reference: keep, relabel, undecided"),
    Column("reason", "Reason", "choice", "reason", "why the label was decided as it was"),
    Column("dropped", "Dropped by", "flags", "dropped", "the export filters that dropped some of the solutions"),
    Column("tiers", "Judged by", "flags", "tiers", "what decided the verdicts: exact, numeric, symbolic, a model, …"),
    Column("cut", "Cut", "share", "cut_share", "share of solutions that the token limit cut off"),
    Column("kept", "Exported", "share", "kept_share", "share of solutions that became rows"),
    Column("tokens", "Tokens", "number", "tokens", "mean generated tokens of a solution"),
    Column("characters", "Length", "number", "characters", "characters of the problem"),
    Column("source", "Source", "choice", "source", "where the problem comes from"),
)
BY_NAME = {column.name: column for column in COLUMNS}


def describe() -> list[dict[str, Any]]:
    """Return the columns for the page."""
    return [{key: value for key, value in asdict(column).items() if key != "value"} for column in COLUMNS]
