"""Complete the solutions stage: merge the seeds' files, keep the outstanding failures, write the counts."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from sdg_helpers import files
from sdg_helpers.answers.finish_reasons import ended_by_itself, is_cut
from sdg_helpers.completions.failures import commonest_details, describe_failures
from sdg_helpers.completions.sessions import keep_history
from sdg_helpers.errors import SdgError
from sdg_helpers.problems.problem_file import ProblemIndex
from sdg_helpers.solutions import seed_files
from sdg_helpers.solutions.unfinished import write_continued
from sdg_helpers.stages import Work


def finish_solutions(
    work: Work,
    index: ProblemIndex,
    done: np.ndarray,
    total: int,
    max_failed_fraction: float,
    max_unfinished_fraction: float,
    outgrown: frozenset[Path] = frozenset(),
    **more: Any,
) -> dict[str, Any]:
    """Merge every seed's files, write failures.jsonl and the manifest; return the manifest.

    done: which solutions are on disk or not asked for, of shape (problems, seeds). total: how many are asked for.
    outgrown: merged files whose cut rows are replaced. more: further keys of the manifest.
    Raises SdgError when more than max_failed_fraction of the solutions is missing, or when the model did not finish
    more than max_unfinished_fraction of them: better here than after everything has been judged.
    """
    failures = latest_failures(work.folder, index, done)
    reasons = Counter(row["reason"] for row in failures.values())
    missing = int((~done).sum())
    if missing > max_failed_fraction * total:
        causes = describe_failures(reasons, failures.values()) or "no reason recorded"
        raise SdgError(
            f"{work.folder}: {missing} of {total} solutions are missing ({causes}); at most "
            f"{max_failed_fraction:.1%} may be. Every failure is in {work.folder}/partial/failures-*.jsonl. "
            "The other solutions are kept: run again to request the missing ones, or allow more with "
            "MAX_FAILED_FRACTION."
        )
    if failures:
        with files.atomic_writer(work.folder / "failures.jsonl") as out:
            out.writelines(files.dumps(row) for row in failures.values())
    write_continued(work.folder)
    summary, checksums = seed_files.Summary(), np.zeros(done.shape, dtype=np.uint32)
    for seed in range(done.shape[1]):
        checksums[:, seed] = seed_files.merge(work.folder, index, seed, summary, outgrown)
    unfinished = sum(n for reason, n in summary.finish_reasons.items() if ended_by_itself(reason) is False)
    if unfinished > max_unfinished_fraction * summary.rows:
        cut = any(map(is_cut, summary.finish_reasons))
        remedy = (
            "Raise MAX_TOKENS: only those that were cut are generated again. Or accept them with"
            if cut
            else "The server ended them, and not for their length: change the server or the prompt, or accept them with"
        )
        raise SdgError(
            f"{work.folder}: {unfinished} of {summary.rows} solutions are unfinished (finish reasons: "
            f"{dict(summary.finish_reasons)}), so they have no answer. {remedy} MAX_UNFINISHED_FRACTION. No "
            "solution is lost."
        )
    keep_history(work.folder / "partial", work.folder / "sessions.jsonl")
    manifest = work.finish(
        rows_in=total,
        rows_out=summary.rows,
        dropped=dict(reasons),
        problems=len(index),
        finish_reasons=dict(summary.finish_reasons),
        thinking=dict(summary.thinking),
        generated_tokens=summary.tokens,
        length_bins=seed_files.TOKEN_BINS.tolist(),
        length_counts=summary.lengths.tolist(),
        failures=commonest_details(failures.values()),
        distinct_solutions=_count_distinct(checksums),
        outputs=list(seed_files.seed_files(work.folder).values()),
        **more,
    )
    shutil.rmtree(work.folder / "partial", ignore_errors=True)
    return manifest


def _count_distinct(checksums: np.ndarray) -> int:
    """Count the different texts of each problem's solutions and return the sum. 0 means no solution."""
    ordered = np.sort(checksums, axis=1)
    return int((ordered[:, 0] > 0).sum() + ((ordered[:, 1:] != ordered[:, :-1]) & (ordered[:, 1:] > 0)).sum())


def latest_failures(folder: Path, index: ProblemIndex, done: np.ndarray) -> dict[tuple[str, int], dict[str, Any]]:
    """Return the latest failure of every solution that is still missing, by (id, seed)."""
    latest: dict[tuple[str, int], dict[str, Any]] = {}
    for path in sorted((folder / "partial").glob("failures-*.jsonl")):  # oldest attempt first
        for row in files.read_log(path):
            position = index.position(row["id"])
            if position >= 0 and row["seed"] < done.shape[1] and not done[position, row["seed"]]:
                latest[row["id"], row["seed"]] = row
    return latest
