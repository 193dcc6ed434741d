"""Science, stage 05, last part: write the exported rows in the schema of OpenScienceReasoning-2, with provenance."""

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
    """Write open-science.jsonl: input (the question as plain text), output (thinking and answer), expected_answer, the
    keys of PROVENANCE, votes, seeds, agreement and solved_by. The rows are those of the export, in the same order.

    messages: the export's file in the form `messages`, with the keys of PROVENANCE as extra keys. labels: the vote's
    labels.parquet. Returns the manifest. Raises SdgError for a row without a vote or one of the keys.
    """
    with stage.work({"solved_by": solved_by}, {"messages": messages, "labels": labels}) as work:
        if work.done:
            return work.manifest
        table = pd.read_parquet(labels, columns=["id", "votes", "seeds"])
        votes = dict(zip(table["id"], zip(table["votes"].tolist(), table["seeds"].tolist(), strict=True), strict=True))
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
            f"{path}: the row {row.get('id')!r} has no {', '.join(missing) or 'vote'}. Export with the extra keys "
            f"{', '.join(PROVENANCE)}, and use the vote of the same run."
        )
    texts = {message["role"]: message["content"] for message in row["messages"]}
    cast, seeds = votes[row["id"]]
    return {
        "input": texts["user"],
        "output": texts["assistant"],
        "expected_answer": row["expected_answer"],
        **{key: row[key] for key in PROVENANCE},
        "votes": cast,
        "seeds": seeds,
        "agreement": round(cast / seeds, 4),
        "solved_by": solved_by,
    }
