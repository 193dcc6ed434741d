"""Write a run in the layout of NeMo-Skills, so that its tools can continue after any stage.

    FOLDER/problems.jsonl                        the problems
    FOLDER/solutions/output-rs{seed}.jsonl       full rows in problem order; an empty .jsonl.done beside each file
    FOLDER/judged/output-rs{seed}.jsonl          the same rows, with predicted_answer and judgement
    FOLDER/relabeled/output-rs{seed}.jsonl       judged rows with the label as expected_answer, and the original answer
    FOLDER/rejudged/output-rs{seed}.jsonl        the rows judged against the labels
    FOLDER/sft/                                  the exported files

importing.py reads it back. Rows keep our keys `id` and `seed`, which NeMo-Skills passes on unchanged.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

from sdg_helpers import exact_json, files
from sdg_helpers.errors import SdgError
from sdg_helpers.judging.comparisons import row_key
from sdg_helpers.judging.judge_replies import read_judgement
from sdg_helpers.judging.verdicts import SeedVerdicts, Verdict
from sdg_helpers.runs.run import Track
from sdg_helpers.solutions.reading import scan_solutions
from sdg_helpers.solutions.rows import Solution, copy_line
from sdg_helpers.solutions.seed_files import seed_files

# The judge's reply that is exported where no model was asked.
RULE_REPLIES = {True: "Judgement: Yes", False: "Judgement: No", None: "Judgement: none could be read"}
Keys = dict[str, Any]  # of a row
RowKeys = Callable[[Solution, Verdict], tuple[Keys, Keys]]  # (keys before the text, keys at the end)


def export_nemo_skills(run_folder: Path, folder: Path) -> dict[str, int]:
    """Write every complete stage of the math track; return the number of rows by stage.

    Raises SdgError when no stage is complete.
    """
    track = Track(run_folder / "math", "math")
    complete = [name for name in (*_EXPORTERS, "sft") if track.stage(name).complete]
    if not complete:
        raise SdgError(
            f"{track.folder}: no stage is complete, so there is nothing to export. Run 01_download_problems."
        )
    rows = {name: _EXPORTERS[name](track, folder) for name in complete if name in _EXPORTERS}
    if "sft" in complete:
        for name in track.stage("sft").require()["outputs"]:
            _copy(track.sft / name, folder / "sft" / name)
    return rows


def _export_problems(track: Track, folder: Path) -> int:
    _copy(track.problems / "problems.jsonl", folder / "problems.jsonl")
    return int(track.stage("problems").require()["counts"]["rows_out"])


def _export_solutions(track: Track, folder: Path) -> int:
    for path in seed_files(track.solutions).values():
        _copy(path, folder / "solutions" / path.name)
        _mark_done(folder / "solutions" / path.name)
    return int(track.stage("solutions").require()["counts"]["rows_out"])


def _export_judged(track: Track, folder: Path) -> int:
    replies = _Replies(track.judged / "comparisons.jsonl")
    return _write_judged_rows(
        track, folder / "judged", track.judged, lambda solution, verdict: (solution.keys, _judgement(verdict, replies))
    )


def _export_relabeled(track: Track, folder: Path) -> int:
    replies = _Replies(track.judged / "comparisons.jsonl")
    return _write_judged_rows(track, folder / "relabeled", track.judged, _labelled_keys(track, replies))


def _export_rejudged(track: Track, folder: Path) -> int:
    replies = _Replies(track.judged / "comparisons.jsonl", track.rejudged / "comparisons.jsonl")
    return _write_judged_rows(track, folder / "rejudged", track.rejudged, _labelled_keys(track, replies))


_EXPORTERS: dict[str, Callable[[Track, Path], int]] = {
    "problems": _export_problems,
    "solutions": _export_solutions,
    "judged": _export_judged,
    "relabeled": _export_relabeled,
    "rejudged": _export_rejudged,
}


def _judgement(verdict: Verdict, replies: _Replies) -> Keys:
    return {"predicted_answer": verdict.predicted_answer, "judgement": replies.find(verdict)}


def _labelled_keys(track: Track, replies: _Replies) -> RowKeys:
    """Return a function that gives a row its label as expected answer, and the keys that say where it comes from."""
    table = pd.read_parquet(track.relabeled / "labels.parquet")
    labels = dict(zip(table.pop("id"), table.astype(object).to_dict("records"), strict=True))

    def keys_of(solution: Solution, verdict: Verdict) -> tuple[Keys, Keys]:
        label = labels[solution.keys["id"]]
        return (
            {**solution.keys, "expected_answer": label["expected_answer"]},
            {
                **_judgement(verdict, replies),
                "updated_answer_from_r1": label["decision"] == "relabel",
                "original_expected_answer": label["original_expected_answer"],
                "votes": int(label["votes"]),
                "total_votes": int(label["seeds"]),
                **{f"label_{name}": label[name] for name in ("decision", "reason", "tied", "confidence")},
            },
        )

    return keys_of


def _write_judged_rows(track: Track, folder: Path, verdicts: Path, keys_of: RowKeys) -> int:
    """Write the rows of every seed that have a verdict, with changed keys and the same text; return their number."""
    rows = 0
    for seed, path in seed_files(track.solutions).items():
        seed_verdicts = SeedVerdicts(verdicts / "verdicts.parquet", seed)
        with files.atomic_writer(folder / path.name) as out:
            for solution in scan_solutions(path):
                verdict = seed_verdicts.find(solution.keys["id"])
                if verdict is not None:
                    out.write(copy_line(solution, *keys_of(solution, verdict)))
                    rows += 1
        _mark_done(folder / path.name)
    return rows


class _Replies:
    """The judge's replies in stores of comparisons, read on demand: only their positions are held in memory."""

    def __init__(self, *stores: Path):
        self._positions: dict[int, tuple[Path, int]] = {}  # key of a comparison -> (file, offset)
        for path in stores:
            offset = 0
            with open(path, "rb") as file:
                for line in file:
                    if b'"reply":' in line:
                        self._positions[row_key(exact_json.loads(line))] = path, offset
                    offset += len(line)

    def find(self, verdict: Verdict) -> str:
        """Return the judge's reply to a verdict's comparison, or a reply of ours with the same judgement.

        Ours is returned when a rule decided, the reply is not stored, or it reads differently from the verdict.
        """
        ours = RULE_REPLIES[verdict.correct]
        if verdict.how not in ("model", "imported"):
            return ours
        position = self._positions.get(row_key(verdict._asdict()))
        if position is None:
            return ours
        path, offset = position
        with open(path, "rb") as file:
            file.seek(offset)
            reply = str(exact_json.loads(file.readline())["reply"])
        return reply if read_judgement(reply) is verdict.correct else ours


def _copy(source: Path, target: Path) -> None:
    with files.atomic_writer(target) as out, open(source, "rb") as file:
        shutil.copyfileobj(file, out, 1 << 20)


def _mark_done(path: Path) -> None:
    path.with_name(path.name + ".done").touch()
