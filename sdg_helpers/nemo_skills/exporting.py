"""Write a run in the layout of NeMo-Skills, so that its tools can go on from any stage.

    FOLDER/problems.jsonl                        the problems
    FOLDER/solutions/output-rs{seed}.jsonl       full rows, in problem order; an empty output-rs{seed}.jsonl.done beside
    FOLDER/judged/output-rs{seed}.jsonl          the same rows, with predicted_answer and judgement
    FOLDER/relabeled/output-rs{seed}.jsonl       judged rows with the label as expected_answer, and what it replaced
    FOLDER/rejudged/output-rs{seed}.jsonl        the rows judged against the labels
    FOLDER/sft/                                  the exported files

Reading it back is in importing.py. Rows keep our keys id and seed, which NeMo-Skills carries along.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import orjson
import pandas as pd

from sdg_helpers import files
from sdg_helpers.errors import SdgError
from sdg_helpers.judging.comparisons import row_key
from sdg_helpers.judging.judge_replies import read_judgement
from sdg_helpers.judging.verdicts import SeedVerdicts, Verdict
from sdg_helpers.runs.run import Track
from sdg_helpers.solutions import seed_files
from sdg_helpers.solutions.reading import scan_solutions
from sdg_helpers.solutions.rows import Solution, copy_line

SAID = {True: "Judgement: Yes", False: "Judgement: No", None: "Judgement: none could be read"}


def export_nemo_skills(run_folder: Path, folder: Path) -> dict[str, int]:
    """Write every stage of the math track that is complete; returns rows by stage. Raises SdgError when none is."""
    track = Track(run_folder / "math", "math")
    done = [
        name
        for name in ("problems", "solutions", "judged", "relabeled", "rejudged", "sft")
        if track.stage(name).complete
    ]
    if not done:
        raise SdgError(
            f"{track.folder}: expected at least one complete stage to export, found none. Run "
            "01_download_problems first."
        )
    rows = {name: _STAGES[name](track, folder) for name in done if name in _STAGES}
    if "sft" in done:
        for name in track.stage("sft").require()["outputs"]:
            _copy(track.sft / name, folder / "sft" / name)
    return rows


def _problems(track: Track, folder: Path) -> int:
    _copy(track.problems / "problems.jsonl", folder / "problems.jsonl")
    return track.stage("problems").require()["counts"]["rows_out"]


def _solutions(track: Track, folder: Path) -> int:
    for path in seed_files.seed_files(track.solutions).values():
        _copy(path, folder / "solutions" / path.name)
        _done(folder / "solutions" / path.name)
    return track.stage("solutions").require()["counts"]["rows_out"]


def _judged(track: Track, folder: Path) -> int:
    said = _Replies(track.judged / "comparisons.jsonl")
    return _write(
        track,
        folder / "judged",
        track.judged,
        lambda solution, verdict: (
            solution.keys,
            {"predicted_answer": verdict.predicted_answer, "judgement": said.of(verdict)},
        ),
    )


def _relabeled(track: Track, folder: Path) -> int:
    labels, said = _labels(track), _Replies(track.judged / "comparisons.jsonl")

    def row(solution: Solution, verdict: Verdict) -> tuple[dict, dict]:
        keys, more = _labelled(solution, labels)
        return keys, {"predicted_answer": verdict.predicted_answer, "judgement": said.of(verdict), **more}

    return _write(track, folder / "relabeled", track.judged, row)


def _rejudged(track: Track, folder: Path) -> int:
    labels = _labels(track)
    said = _Replies(track.judged / "comparisons.jsonl", track.rejudged / "comparisons.jsonl")

    def row(solution: Solution, verdict: Verdict) -> tuple[dict, dict]:
        keys, more = _labelled(solution, labels)
        return keys, {"predicted_answer": verdict.predicted_answer, "judgement": said.of(verdict), **more}

    return _write(track, folder / "rejudged", track.rejudged, row)


_STAGES = {
    "problems": _problems,
    "solutions": _solutions,
    "judged": _judged,
    "relabeled": _relabeled,
    "rejudged": _rejudged,
}


def _labels(track: Track) -> dict[str, dict[str, Any]]:
    table = pd.read_parquet(track.relabeled / "labels.parquet")
    return dict(zip(table.pop("id"), table.astype(object).to_dict("records"), strict=True))


def _labelled(solution: Solution, labels: Mapping[str, dict[str, Any]]) -> tuple[dict, dict]:
    """The row's keys with its label as expected answer, and the keys that say where the label comes from."""
    label = labels[solution.keys["id"]]
    return (
        {**solution.keys, "expected_answer": label["expected_answer"]},
        {
            "updated_answer_from_r1": bool(label["relabeled"]),
            "original_expected_answer": label["original_expected_answer"],
            "votes": int(label["votes"]),
            "total_votes": int(label["total"]),
        },
    )


def _write(track: Track, folder: Path, verdicts: Path, row: Callable[[Solution, Verdict], tuple[dict, dict]]) -> int:
    """Full rows of every seed that have a verdict; the solutions' text is copied as it stands in the file."""
    rows = 0
    for seed, path in seed_files.seed_files(track.solutions).items():
        of_seed = SeedVerdicts(verdicts / "verdicts.parquet", seed)
        with files.atomic_writer(folder / path.name) as out:
            for solution in scan_solutions(path):
                verdict = of_seed.find(solution.keys["id"])
                if verdict is not None:
                    out.write(copy_line(solution, *row(solution, verdict)))
                    rows += 1
        _done(folder / path.name)
    return rows


class _Replies:
    """What the judge said of a comparison, read from the store when asked for; only places are held in memory."""

    def __init__(self, *stores: Path):
        self._places: dict[int, tuple[Path, int]] = {}
        for path in stores:
            place = 0
            with open(path, "rb") as file:
                for line in file:
                    if b'"reply":' in line:
                        self._places[row_key(orjson.loads(line))] = path, place
                    place += len(line)

    def of(self, verdict: Verdict) -> str:
        """The judge's reply, or what its verdict would have been where a rule decided."""
        if verdict.how not in ("model", "imported"):
            return SAID[verdict.correct]
        place = self._places.get(row_key(verdict._asdict()))
        if place is None:
            return SAID[verdict.correct]
        with open(place[0], "rb") as file:
            file.seek(place[1])
            reply = orjson.loads(file.readline())["reply"]
        return reply if read_judgement(reply) is verdict.correct else SAID[verdict.correct]


def _copy(source: Path, target: Path) -> None:
    with files.atomic_writer(target) as out, open(source, "rb") as file:
        shutil.copyfileobj(file, out, 1 << 20)


def _done(path: Path) -> None:
    path.with_name(path.name + ".done").touch()
