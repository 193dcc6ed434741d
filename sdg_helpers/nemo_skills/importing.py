"""Start a run from a folder in the layout of NeMo-Skills (exporting.py lists it), whichever tool wrote it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from sdg_helpers import files
from sdg_helpers.errors import SdgError
from sdg_helpers.judging.comparisons import comparison_key, row_of
from sdg_helpers.judging.judge_replies import read_judgement
from sdg_helpers.judging.verdicts import VerdictWriter
from sdg_helpers.labels.rules import COLUMNS
from sdg_helpers.nemo_skills.exporting import RULE_REPLIES
from sdg_helpers.nemo_skills.foreign_rows import (
    Sources,
    all_paths,
    answer_text,
    finished_files,
    our_solution_line,
    problem_of,
    read_rows,
)
from sdg_helpers.nemo_skills.row_checks import check_file
from sdg_helpers.problems.problem_file import ProblemIndex
from sdg_helpers.runs.run import Track
from sdg_helpers.solutions.seed_files import seed_files
from sdg_helpers.stages import Work

_PARAMETERS = {"imported_from": "nemo-skills"}


def import_nemo_skills(folder: Path, run_folder: Path) -> dict[str, int]:
    """Create the stages problems, solutions, judged, relabeled, rejudged and sft, as far as the folder has them.

    A folder that holds only solutions may be given directly. Return the number of rows by stage. Raises SdgError for
    files without their `.done`, chunks of which some may be missing, rows out of order and torn rows.
    """
    track = Track(run_folder / "math", "math")
    folders = {name: folder / name for name in ("solutions", "judged", "relabeled", "rejudged")}
    if not folders["solutions"].is_dir() and seed_files(folder):
        folders["solutions"] = folder
    found = {name: finished_files(path, folder / "problems.jsonl") for name, path in folders.items() if path.is_dir()}
    with_text = found.get("solutions") or found.get("judged") or found.get("rejudged") or {}
    if not with_text and not (folder / "problems.jsonl").exists():
        raise SdgError(
            f"{folder}: found neither problems.jsonl nor solutions/output-rs*.jsonl. Give the folder that "
            "`sdg export nemo-skills` or NeMo-Skills wrote."
        )
    if (folder / "problems.jsonl").exists():
        check_file(folder / "problems.jsonl", folder)
    rows = {"problems": _import_problems(track, folder / "problems.jsonl", with_text)}
    if with_text:
        rows["solutions"] = _import_solutions(track, with_text)
    for name in ("judged", "rejudged"):
        if name in found:
            if name == "rejudged":
                rows["relabeled"] = _import_labels(track, found.get("relabeled") or found["rejudged"])
            rows[name] = _import_verdicts(track, name, found[name])
    if "relabeled" in found and "rejudged" not in found:
        rows["relabeled"] = _import_labels(track, found["relabeled"])
    if (folder / "sft").is_dir():
        rows["sft"] = _import_sft(track, folder / "sft")
    return rows


def _import_problems(track: Track, path: Path, with_text: Sources) -> int:
    """Import problems.jsonl if it exists, else the problems of all seed files, each once, in order of appearance."""
    with track.stage("problems").work(_PARAMETERS, {"source": path} if path.exists() else {}) as work:
        if not work.done:
            seen: dict[str, str] = {}
            read = kept = 0
            target = work.folder / "problems.jsonl"
            with files.atomic_writer(target) as out:
                for source in [[path]] if path.exists() else with_text.values():
                    for row in read_rows(source):
                        read += 1
                        text = files.content_id(row["problem"])
                        if seen.setdefault(row["id"], text) != text:
                            raise SdgError(
                                f"{source[0]}: the id {row['id']!r} belongs to two problems with different texts. Give "
                                "every problem an id of its own, or none, then import again."
                            )
                        if len(seen) > kept:
                            kept += 1
                            out.write(files.dumps(problem_of(row)))
            work.finish(rows_in=read, rows_out=kept, dropped={"repeated": read - kept}, outputs=[target])
        return _rows_out(work)


def _import_solutions(track: Track, sources: Sources) -> int:
    index = ProblemIndex.build(track.problems / "problems.jsonl")
    with track.stage("solutions").work(_PARAMETERS, all_paths(sources)) as work:
        if not work.done:
            counts: Counter[str] = Counter()
            outputs = [_import_seed(work, index, seed, paths, counts) for seed, paths in sources.items()]
            work.finish(
                rows_in=counts["read"],
                rows_out=counts["kept"],
                outputs=outputs,
                problems=len(index),
                dropped={"repeated": counts["read"] - counts["kept"]},
                generated_tokens=counts["tokens"],
            )
        return _rows_out(work)


def _import_seed(work: Work, index: ProblemIndex, seed: int, source: Sequence[Path], counts: Counter[str]) -> Path:
    """Write one seed's file in our format; add the rows read and kept and their tokens to `counts`."""
    target, last = work.folder / f"output-rs{seed}.jsonl", -1
    seen: set[int] = set()
    with files.atomic_writer(target) as out:
        for number, row in enumerate(read_rows(source), 1):
            position = index.position(row["id"])
            counts["read"] += 1
            if position in seen:
                continue
            if position <= last:
                raise SdgError(
                    f"{source[0]}, row {number}: the problem {row['id']!r} is out of order or unknown. Sort the rows "
                    "in the order of problems.jsonl."
                )
            seen.add(position)
            last = position
            counts["kept"] += 1
            counts["tokens"] += int(row.get("num_generated_tokens") or 0)
            out.write(our_solution_line(row, seed))
    return target


def _import_verdicts(track: Track, name: str, sources: Sources) -> int:
    """Write verdicts.parquet and its comparisons. An unreadable judgement is undecided, never a no."""
    with track.stage(name).work(_PARAMETERS, all_paths(sources)) as work:
        if not work.done:
            outputs = [work.folder / "verdicts.parquet", work.folder / "comparisons.jsonl"]
            outputs[1].unlink(missing_ok=True)
            index, stored, read = ProblemIndex.build(track.problems / "problems.jsonl"), set[int](), 0
            with VerdictWriter(outputs[0]) as table, files.AppendLog(outputs[1]) as store:
                for seed, paths in sources.items():
                    seen: set[int] = set()
                    for row in read_rows(paths):
                        read += 1
                        position = _position(index, row["id"], paths[0])
                        if position not in seen:
                            seen.add(position)
                            _add_verdict(table, store, stored, seed, row)
            total = table.by_how.total()
            work.finish(
                rows_in=read,
                rows_out=total,
                dropped={"repeated": read - total},
                outputs=outputs,
                seeds=list(sources),
                undecided={},
                verdicts=dict(table.by_verdict),
                rows_by_how=dict(table.by_how),
                comparisons_asked=0,
            )
        return _rows_out(work)


def _add_verdict(
    table: VerdictWriter, store: files.AppendLog, stored: set[int], seed: int, row: dict[str, Any]
) -> None:
    """Add a row's verdict to the table, and its comparison to the store unless a rule decides it or it is there."""
    predicted, expected = answer_text(row.get("predicted_answer")), answer_text(row.get("expected_answer"))
    reply = row.get("judgement") or RULE_REPLIES[None]
    correct = read_judgement(reply)
    if not predicted:
        table.add(row["id"], seed, None, expected, False, "missing")
        return
    if not expected or row.get("label_decision") == "undecided":
        table.add(row["id"], seed, predicted, expected, None, "no_label")
        return
    how = "exact" if correct and predicted == expected and reply == RULE_REPLIES[True] else "imported"
    table.add(row["id"], seed, predicted, expected, correct, how)
    key = comparison_key(row["id"], predicted, expected)
    if how == "imported" and key not in stored:
        stored.add(key)
        store.append(row_of(row["id"], predicted, expected, correct, how, reply=reply))


def _import_labels(track: Track, sources: Sources) -> int:
    """Write labels.parquet. Votes are 0 where the files do not have them."""
    original = {row["id"]: row["expected_answer"] for row in files.read_jsonl(track.problems / "problems.jsonl")}
    index = ProblemIndex.build(track.problems / "problems.jsonl")
    with track.stage("relabeled").work(_PARAMETERS, all_paths(sources)) as work:
        if not work.done:
            found: dict[str, tuple[Any, ...]] = {}
            for paths in sources.values():
                for row in read_rows(paths):
                    _position(index, row["id"], paths[0])
                    if row["id"] not in found:
                        found[row["id"]] = _label(row, original[row["id"]])
            unseen = ({"id": key, "expected_answer": answer} for key, answer in original.items() if key not in found)
            found |= {row["id"]: _label(row, row["expected_answer"]) for row in unseen}
            labels = pd.DataFrame([(key, *found[key]) for key in original], columns=list(COLUMNS))
            target = work.folder / "labels.parquet"
            with files.atomic_writer(target) as out:
                labels.astype({name: "float32" for name in ("agreement", "confidence")}).to_parquet(out, index=False)
            decisions = {one: int((labels["decision"] == one).sum()) for one in ("keep", "relabel", "undecided")}
            work.finish(rows_in=len(labels), rows_out=len(labels), outputs=[target], problems=decisions)
        return _rows_out(work)


def _label(row: dict[str, Any], original: str) -> tuple[Any, ...]:
    """Return a row of labels.parquet; of a label that another tool wrote, only its answer and votes are known."""
    votes, seeds = np.int32(row.get("votes") or 0), np.int32(row.get("total_votes") or 0)
    confidence = row.get("label_confidence")
    return (
        answer_text(row.get("expected_answer")),
        original,
        row.get("label_decision") or ("relabel" if row.get("updated_answer_from_r1") else "keep"),
        row.get("label_reason") or "imported",
        votes,
        seeds,
        bool(row.get("label_tied")),
        votes / seeds if seeds else 0.0,
        float("nan") if confidence is None else confidence,
    )


def _import_sft(track: Track, folder: Path) -> int:
    """Copy the exported files; their rows are those of the first form, because every form has the same rows."""
    found = sorted(path for path in folder.rglob("*") if path.suffix in (".jsonl", ".parquet", ".md"))
    paths = [check_file(path, folder.parent) for path in found]
    forms = [path for path in paths if path.name.startswith("sft-data") and path.suffix == ".jsonl"]
    names = {path.relative_to(folder).as_posix(): path for path in paths}
    with track.stage("sft").work(_PARAMETERS, names) as work:
        if not work.done:
            outputs, rows = [], 0
            for name, path in names.items():
                outputs.append(work.folder / name)
                with files.atomic_writer(outputs[-1]) as out, open(path, "rb") as file:
                    while block := file.read(1 << 20):
                        out.write(block)
                        rows += block.count(b"\n") if path in forms[:1] else 0
            work.finish(rows_in=rows, rows_out=rows, outputs=outputs)
        return _rows_out(work)


def _position(index: ProblemIndex, problem_id: str, path: Path) -> int:
    position = index.position(problem_id)
    if position < 0:
        raise SdgError(
            f"{path}: a row's problem, {problem_id!r}, is not in problems.jsonl. Give files of one run, all together."
        )
    return position


def _rows_out(work: Work) -> int:
    return int(work.manifest["counts"]["rows_out"])
