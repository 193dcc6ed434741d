"""Science, stage 05, last part: exported rows in the schema of OpenScienceReasoning-2, with where each comes from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from sdg_helpers import files
from sdg_helpers.errors import SdgError
from sdg_helpers.stages import Stage

PROVENANCE = (
    "id",
    "seed",
    "problem_type",
    "problem_source",
    "field",
    "topic",
    "subtopic",
    "difficulty",
    "written_by",
    "inspired_by",
)


def publish_rows(messages: Path, labels: Path, stage: Stage, *, solved_by: str) -> dict[str, Any]:
    """Write open-science.jsonl: input (the question as plain text), output (thinking and answer), expected_answer; then
    the keys of PROVENANCE, votes, total, agreement and solved_by. Rows and order are those of the export.

    messages: the export's file in the form `messages`, whose rows have the keys of PROVENANCE as extra keys; labels:
    labels.parquet of the vote. Returns the manifest.
    """
    with stage.work({"solved_by": solved_by}, {"messages": messages, "labels": labels}) as work:
        if work.done:
            return work.manifest
        table = pd.read_parquet(labels, columns=["id", "votes", "total"])
        votes = dict(zip(table["id"], zip(table["votes"].tolist(), table["total"].tolist(), strict=True), strict=True))
        path, rows = stage.folder / "open-science.jsonl", 0
        with files.atomic_writer(path) as out:
            for row in files.read_jsonl(messages):
                out.write(files.dumps(_row(row, votes, solved_by, messages)))
                rows += 1
                work.progress(rows, None)
        return work.finish(rows_in=rows, rows_out=rows, outputs=[path])


def _row(row: dict[str, Any], votes: dict[str, tuple[int, int]], solved_by: str, path: Path) -> dict[str, Any]:
    missing = [key for key in (*PROVENANCE, "messages") if key not in row]
    if missing or row["id"] not in votes:
        raise SdgError(
            f"{path}: expected rows of voted questions with the keys {', '.join(PROVENANCE)}, found one "
            f"without {', '.join(missing) or 'a vote'}. Export with these as EXTRA_KEYS, from one run."
        )
    said = {message["role"]: message["content"] for message in row["messages"]}
    cast, total = votes[row["id"]]
    return {
        "input": said["user"],
        "output": said["assistant"],
        "expected_answer": row["expected_answer"],
        **{key: row[key] for key in PROVENANCE},
        "votes": cast,
        "total": total,
        "agreement": round(cast / total, 4),
        "solved_by": solved_by,
    }
