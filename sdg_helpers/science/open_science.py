"""Science, stage 05, last part: write the exported rows in the schema of OpenScienceReasoning-2, with provenance."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

from sdg_helpers import files
from sdg_helpers.errors import SdgError
from sdg_helpers.sft.columns import Columns, schema
from sdg_helpers.sft.dataset_cards import DatasetCard
from sdg_helpers.sft.front_matter import front_matter
from sdg_helpers.sft.markdown import escape, table, write_markdown
from sdg_helpers.sft.tables import PARQUET, Table
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


_FIELDS = {
    "input": "the question as plain text",
    "output": "the thinking and the answer",
    "expected_answer": "the answer that most of the question's solutions agree on",
    "votes": "solutions with that answer",
    "seeds": "solutions of the question",
    "agreement": "votes / seeds",
    "solved_by": "the model that wrote the solution",
}


def publish_rows(messages: Path, labels: Path, stage: Stage, *, card: DatasetCard, solved_by: str) -> dict[str, Any]:
    """Write open-science.jsonl: input (the question as plain text), output (thinking and answer), expected_answer, the
    keys of PROVENANCE, votes, seeds, agreement and solved_by; the same rows as Parquet; and a card with their types.
    The rows are those of the export, in the same order.

    messages: the export's file in the form `messages`, with the keys of PROVENANCE as extra keys. labels: the vote's
    labels.parquet. Returns the manifest. Raises SdgError for a row without a vote or one of the keys.
    """
    parameters = {"solved_by": solved_by, "dataset_name": card.name, "licence": card.licence}
    with stage.work(parameters, {"messages": messages, "labels": labels}) as work:
        if work.done:
            return work.manifest
        labelled = pd.read_parquet(labels, columns=["id", "votes", "seeds"])
        votes = dict(
            zip(labelled["id"], zip(labelled["votes"].tolist(), labelled["seeds"].tolist(), strict=True), strict=True)
        )
        path, rows, columns, keys = stage.folder / "open-science.jsonl", 0, Columns(), ["input", "output"]
        with files.atomic_writer(path) as out:
            for row in files.read_jsonl(messages):
                published = _row(row, votes, solved_by, messages)
                keys = list(published)
                for key in keys[2:]:
                    columns.observe(key, published[key])
                out.write(files.dumps(published))
                rows += 1
                work.progress(rows, None)
        types = {"input": pa.string(), "output": pa.string(), **columns.types(keys[2:])}
        jsonl = Table("open-science", (path,), schema(types))
        outputs = [*jsonl.paths, *_describe(stage.folder, card, jsonl, columns.dated(), rows)]
        return work.finish(rows_in=rows, rows_out=rows, outputs=outputs)


def _describe(folder: Path, card: DatasetCard, jsonl: Table, dated: list[str], rows: int) -> list[Path]:
    """Write the rows as Parquet, and a card in both folders; return the paths. dated: as in Columns."""
    parquet = jsonl.as_parquet()
    fields = table(("Field", "Content"), [(key, _FIELDS.get(key, "as in the questions")) for key in jsonl.schema.names])
    cards = []
    for target, one in ((folder, parquet if dated else jsonl), (folder / PARQUET, parquet)):
        head = front_matter(card.name, card.licence, "science", rows, target, [one])
        cards.append(write_markdown(target / "README.md", [head, f"# {escape(card.name)}", fields]))
    return [*parquet.paths, *cards]


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
