"""The true answers of the demo's problems, to check repairs: some of its references are wrong on purpose."""

from __future__ import annotations

from sdg_helpers import files
from sdg_helpers.paths import PACKAGE


def true_answers() -> dict[str, str]:
    """Return the true answer of each of the demo's problems, by problem id."""
    rows = files.read_jsonl(PACKAGE / "data" / "demo_true_answers.jsonl")
    return {files.content_id(row["problem"]): row["true_answer"] for row in rows}
