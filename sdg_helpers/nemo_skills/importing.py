"""Begin a run from a folder in the layout of NeMo-Skills (see nemo_skills), whoever wrote it.

Rows without an id get one from the text of their problem; thinking that stands apart (`reasoning_content`) is put
before the answer. Times of generation are not kept: they say nothing about the data.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from sdg_helpers import files
from sdg_helpers.answers import extraction
from sdg_helpers.errors import SdgError
from sdg_helpers.judging.comparisons import comparison_key, row_of
from sdg_helpers.judging.judge_replies import read_judgement
from sdg_helpers.judging.verdicts import VerdictWriter
from sdg_helpers.nemo_skills.exporting import SAID
from sdg_helpers.problems.problem_file import ProblemIndex
from sdg_helpers.runs.run import Track
from sdg_helpers.solutions import seed_files
from sdg_helpers.solutions.rows import GENERATED_KEYS, solution_line
from sdg_helpers.stages import Work

_OF_A_SOLUTION = {
    *GENERATED_KEYS,
    "reasoning_content",
    "num_generated",
    "generation_start_time",
    "generation_end_time",
    "generation_time",
    "_async_position",
    "predicted_answer",
    "judgement",
    "updated_answer_from_r1",
    "original_expected_answer",
    "votes",
    "total_votes",
    "symbolic_correct",
}
_FROM = {"imported_from": "nemo-skills"}


def import_nemo_skills(folder: Path, run_folder: Path) -> dict[str, int]:
    """Make the stages problems, solutions, judged, relabeled, rejudged and sft, as far as FOLDER has them; returns rows
    by stage. A folder that has solutions only may also be given directly.

    Raises SdgError for files without their `.done`, chunks that are not merged, rows out of order, torn rows.
    """
    track = Track(run_folder / "math", "math")
    parts = {name: folder / name for name in ("solutions", "judged", "relabeled", "rejudged")}
    if not parts["solutions"].is_dir() and seed_files.seed_files(folder):
        parts["solutions"] = folder
    there = {name: _seed_files(path) for name, path in parts.items() if path.is_dir()}
    text = there.get("solutions") or there.get("judged") or there.get("rejudged") or {}
    if not text and not (folder / "problems.jsonl").exists():
        raise SdgError(
            f"{folder}: expected problems.jsonl or solutions/output-rs*.jsonl, found neither. Give the "
            "folder that `sdg export nemo-skills` or NeMo-Skills wrote."
        )
    rows = {"problems": _problems(track, folder / "problems.jsonl", text)}
    if text:
        rows["solutions"] = _solutions(track, text)
    for name in ("judged", "rejudged"):
        if name in there:
            if name == "rejudged":
                rows["relabeled"] = _labels(track, there.get("relabeled") or there["rejudged"])
            rows[name] = _verdicts(track, name, there[name])
    if "relabeled" in there and "rejudged" not in there:
        rows["relabeled"] = _labels(track, there["relabeled"])
    if (folder / "sft").is_dir():
        rows["sft"] = _sft(track, folder / "sft")
    return rows


def _seed_files(folder: Path) -> dict[int, Path]:
    """Finished files by seed. Raises SdgError for anything half done."""
    for pattern, what in (("output*_chunk_*.jsonl", "merge its chunks"), ("output*.jsonl-async", "finish it")):
        for path in folder.glob(pattern):
            if not path.with_name(path.name.partition("_chunk_")[0].removesuffix(".jsonl-async") + ".jsonl").exists():
                raise SdgError(
                    f"{path}: expected finished files only, found work in progress. Let NeMo-Skills {what} "
                    "first, or move it away."
                )
    found = seed_files.seed_files(folder)
    for path in found.values():
        if not path.with_name(path.name + ".done").exists():
            raise SdgError(
                f"{path}: expected {path.name}.done beside it, found none: it may be half written. Let "
                f"NeMo-Skills finish it; if you know that it is whole, `touch {path}.done`."
            )
    return found


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    for number, row in enumerate(files.read_jsonl(path), 1):
        if not isinstance(row.get("problem"), str):
            raise SdgError(
                f"{path}, row {number}: expected a text under the key 'problem', found "
                f"{row.get('problem')!r}. Give files of a math recipe."
            )
        row.setdefault("id", files.content_id(row["problem"]))
        yield row


def _problems(track: Track, path: Path, text: dict[int, Path]) -> int:
    """problems.jsonl as it is there, else the problems of all seed files, each once, in the order of their rows."""
    with track.stage("problems").work(_FROM, {"source": path} if path.exists() else {}) as work:
        if work.done:
            return work.manifest["counts"]["rows_out"]
        seen: set[str] = set()
        read = kept = 0
        target = work.folder / "problems.jsonl"
        with files.atomic_writer(target) as out:
            for row in (one for source in ([path] if path.exists() else text.values()) for one in _rows(source)):
                read += 1
                if row["id"] not in seen:
                    seen.add(row["id"])
                    kept += 1
                    out.write(files.dumps(_problem(row)))
        dropped = {"repeated": read - kept}
        return work.finish(rows_in=read, rows_out=kept, dropped=dropped, outputs=[target])["counts"]["rows_out"]


def _problem(row: dict[str, Any]) -> dict[str, Any]:
    answer = row.get("original_expected_answer", row.get("expected_answer"))
    rest = {
        key: value
        for key, value in row.items()
        if key not in _OF_A_SOLUTION and key not in ("id", "problem", "expected_answer")
    }
    return {
        "id": row["id"],
        "problem": row["problem"],
        "expected_answer": "" if answer is None else str(answer),
        **rest,
    }


def _solutions(track: Track, text: dict[int, Path]) -> int:
    index = ProblemIndex.build(track.problems / "problems.jsonl")
    with track.stage("solutions").work(_FROM, {path.name: path for path in text.values()}) as work:
        if work.done:
            return work.manifest["counts"]["rows_out"]
        summary: Counter = Counter()
        outputs = [_one_seed(work, index, seed, path, summary) for seed, path in text.items()]
        return work.finish(
            rows_in=summary["read"],
            rows_out=summary["kept"],
            outputs=outputs,
            problems=len(index),
            dropped={"repeated": summary["read"] - summary["kept"]},
            generated_tokens=summary["tokens"],
        )["counts"]["rows_out"]


def _one_seed(work: Work, index: ProblemIndex, seed: int, source: Path, summary: Counter) -> Path:
    target, last = work.folder / f"output-rs{seed}.jsonl", -1
    seen: set[int] = set()
    with files.atomic_writer(target) as out:
        for number, row in enumerate(_rows(source), 1):
            position = index.position(row["id"])
            summary["read"] += 1
            if position in seen:
                continue
            if position <= last:
                raise SdgError(
                    f"{source}, row {number}: expected the rows in the order of the problems, found "
                    f"{row['id']!r} out of order or unknown. Sort the file as problems.jsonl is."
                )
            seen.add(position)
            last = position
            summary["kept"] += 1
            summary["tokens"] += int(row.get("num_generated_tokens") or 0)
            out.write(
                solution_line(
                    _problem(row),
                    seed=seed,
                    generation=extraction.normalise_reasoning(row.get("generation"), row.get("reasoning_content")),
                    finish_reason=str(row.get("finish_reason") or "unknown"),
                    num_generated_tokens=int(row.get("num_generated_tokens") or 0),
                )
            )
    return target


def _verdicts(track: Track, name: str, sources: dict[int, Path]) -> int:
    """verdicts.parquet and the comparisons behind it; a judgement that cannot be read is undecided, never a no."""
    with track.stage(name).work(_FROM, {path.name: path for path in sources.values()}) as work:
        if work.done:
            return work.manifest["counts"]["rows_out"]
        (work.folder / "comparisons.jsonl").unlink(missing_ok=True)
        known: set[int] = set()
        with (
            VerdictWriter(work.folder / "verdicts.parquet") as table,
            files.AppendLog(work.folder / "comparisons.jsonl") as store,
        ):
            for seed, path in sources.items():
                for row in _rows(path):
                    _add(table, store, known, seed, row)
        total = table.by_how.total()
        outputs = [work.folder / "verdicts.parquet", work.folder / "comparisons.jsonl"]
        return work.finish(
            rows_in=total,
            rows_out=total,
            outputs=outputs,
            seeds=list(sources),
            undecided={},
            verdicts=dict(table.by_verdict),
            rows_by_how=dict(table.by_how),
            comparisons_asked=0,
        )["counts"]["rows_out"]


def _add(table: VerdictWriter, store: files.AppendLog, known: set[int], seed: int, row: dict[str, Any]) -> None:
    predicted, expected = row.get("predicted_answer") or None, str(row.get("expected_answer") or "")
    said = row.get("judgement") or SAID[None]
    correct = read_judgement(said)
    if not predicted or not expected:
        table.add(row["id"], seed, predicted, expected, False, "missing")
        return
    how = "exact" if correct and predicted == expected and said == SAID[True] else "imported"
    table.add(row["id"], seed, predicted, expected, correct, how)
    key = comparison_key(row["id"], predicted, expected)
    if how == "imported" and key not in known:
        known.add(key)
        store.append(row_of(row["id"], predicted, expected, correct, how, reply=said))


def _labels(track: Track, sources: dict[int, Path]) -> int:
    """labels.parquet; where the files do not say how many voted, votes are 0."""
    original = {row["id"]: row["expected_answer"] for row in files.read_jsonl(track.problems / "problems.jsonl")}
    with track.stage("relabeled").work(_FROM, {path.name: path for path in sources.values()}) as work:
        if work.done:
            return work.manifest["counts"]["rows_out"]
        found: dict[str, tuple] = {}
        for row in (one for path in sources.values() for one in _rows(path)):
            if row["id"] not in found:
                label = str(row.get("expected_answer") or "")
                found[row["id"]] = (
                    label,
                    original[row["id"]],
                    bool(row.get("updated_answer_from_r1")),
                    int(row.get("votes") or 0),
                    int(row.get("total_votes") or 0),
                )
        rows = [(key, *found.get(key, (answer, answer, False, 0, 0))) for key, answer in original.items()]
        labels = pd.DataFrame(
            rows, columns=["id", "expected_answer", "original_expected_answer", "relabeled", "votes", "total"]
        )
        labels["agreement"] = (labels["votes"] / labels["total"]).astype("float32")
        with files.atomic_writer(work.folder / "labels.parquet") as out:
            labels.astype({"votes": "int32", "total": "int32"}).to_parquet(out, index=False)
        return work.finish(
            rows_in=len(labels),
            rows_out=len(labels),
            outputs=[work.folder / "labels.parquet"],
            problems={"relabeled": int(labels["relabeled"].sum())},
        )["counts"]["rows_out"]


def _sft(track: Track, folder: Path) -> int:
    paths = sorted(path for path in folder.iterdir() if path.suffix in (".jsonl", ".md"))
    with track.stage("sft").work(_FROM, {path.name: path for path in paths}) as work:
        if work.done:
            return work.manifest["counts"]["rows_out"]
        outputs, rows = [], 0
        for path in paths:
            outputs.append(work.folder / path.name)
            with files.atomic_writer(outputs[-1]) as out, open(path, "rb") as file:
                for line in file:
                    out.write(line)
                    rows += path.name.startswith("sft-data") and not path.stem.endswith("-messages")
        return work.finish(rows_in=rows, rows_out=rows, outputs=outputs)["counts"]["rows_out"]
