"""Settle comparisons: apply the rules, collect the judge's replies, write the verdicts."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterable, Mapping
from itertools import combinations
from pathlib import Path
from typing import Any, BinaryIO

from sdg_helpers import files
from sdg_helpers.answers.equality import decide
from sdg_helpers.completions.failures import describe_failures
from sdg_helpers.completions.sessions import keep_history
from sdg_helpers.errors import SdgError
from sdg_helpers.judging.asking import latest_failures, reply_files
from sdg_helpers.judging.comparisons import (
    HOW,
    PENDING,
    Comparisons,
    comparison_key,
    decode_verdict,
    encode_verdict,
    row_key,
    row_of,
)
from sdg_helpers.judging.pairs import AnswerPairs
from sdg_helpers.judging.steering import steers_judge
from sdg_helpers.judging.verdicts import VerdictWriter
from sdg_helpers.problems.problem_file import read_problems
from sdg_helpers.stages import Work


def apply_rules(work: Work, pairs: AnswerPairs, known: Comparisons, store: Path, pending: Path) -> Counter[str]:
    """Decide what the rules cover; write the other comparisons to `pending`. Return reference_calls and pending."""
    calls, asked, ids, decided = 0, 0, pairs.ids, list[bytes]()
    with files.AppendLog(store) as log, files.atomic_writer(pending) as questions:
        for number, (_, place, extracted, label) in enumerate(pairs, 1):
            predicted, expected = extracted.answer, label.answer
            if predicted and label.decided:
                calls += predicted != expected  # the reference asks once per row
                if (key := comparison_key(ids[place], predicted, expected)) not in known:
                    text = "" if predicted == expected else pairs.texts.text(place)  # equal texts need no problem
                    asked += _apply_rule(known, key, (ids[place], text), predicted, expected, decided, questions)
            if number % 4096 == 0:
                work.progress(number, None)
                log.append(b"".join(decided))
                decided.clear()
        log.append(b"".join(decided))
    return Counter(reference_calls=calls, pending=asked)


def _apply_rule(
    known: Comparisons,
    key: int,
    problem: tuple[str, str],
    predicted: str,
    expected: str,
    decided: list[bytes],
    questions: BinaryIO,
) -> bool:
    """Return whether the model must be asked; add a line to `decided` where a rule decides. problem: id and text."""
    problem_id, text = problem
    correct, how = decide(predicted, expected, text, known.tiers)
    if not how and steers_judge(predicted, expected):
        known[key] = encode_verdict(None, "suspect")
        return False
    known[key] = encode_verdict(correct, how) if how else PENDING
    if how:
        decided.append(row_of(problem_id, predicted, expected, correct, how))
    else:
        questions.write(
            files.dumps(
                {
                    "id": problem_id,
                    "problem": text,
                    "predicted_answer": predicted,
                    "expected_answer": expected,
                }
            )
        )
    return not how


def mark_undecided(work: Work, known: Comparisons, folder: Path, max_failed_fraction: float) -> Counter[str]:
    """Mark comparisons without a verdict and write failures.jsonl; return their number by reason.

    Raises SdgError when too many requests failed.
    """
    reported, reasons = latest_failures(folder), Counter[str]()
    lost = [row for row in files.read_log(folder / "pending.jsonl") if known[row_key(row)] == PENDING]
    for row in lost:
        failure = reported.get(row_key(row), {"reason": "not_asked"})
        reasons[failure["reason"]] += 1
        known[row_key(row)] = encode_verdict(None, "unreadable" if failure["reason"] == "unreadable" else "failed")
    failed = len(lost) - reasons["unreadable"]
    if failed > max_failed_fraction * len(known):
        why = describe_failures(reasons, (reported[row_key(row)] for row in lost if row_key(row) in reported))
        raise SdgError(
            f"{work.folder}: {failed} of {len(known)} comparisons have no reply ({why}); at most "
            f"{max_failed_fraction:.1%} may be missing. {folder}/failures-*.jsonl list every failure. "
            "Decided comparisons are kept: run again to ask for the missing ones, or raise "
            "MAX_FAILED_FRACTION."
        )
    if lost:
        with files.atomic_writer(work.folder / "failures.jsonl") as out:
            out.writelines(files.dumps(reported[row_key(row)]) for row in lost if row_key(row) in reported)
    return reasons


def mark_contradictions(known: Comparisons, stores: Iterable[Path], problems: Mapping[str, str]) -> int:
    """Withdraw verdicts that contradict each other: answers judged equal to one label that the rules know to differ.

    Of two such answers at most one is right. What a rule decided stands; the model's Yes becomes undecided. problems:
    id -> text, of the problems with a Yes of the model (see yes_of_model). Returns how many were withdrawn.
    """
    accepted: dict[tuple[str, str], list[tuple[str, bool]]] = {}
    for row in (row for path in stores for row in files.read_log(path)):
        correct, how = decode_verdict(known[row_key(row)]) if row_key(row) in known else (None, "")
        if correct and row["id"] in problems:
            found = accepted.setdefault((row["id"], row["expected_answer"]), [])
            if (entry := (row["predicted_answer"], how == "model")) not in found:
                found.append(entry)
    withdrawn = set()
    for (problem_id, expected), answers in accepted.items():
        for (one, by_model), (other, other_by_model) in combinations(answers, 2):
            if (by_model or other_by_model) and decide(one, other, problems[problem_id])[0] is False:
                withdrawn |= {
                    comparison_key(problem_id, answer, expected)
                    for answer, model in ((one, by_model), (other, other_by_model))
                    if model
                }
    for key in withdrawn:
        known[key] = encode_verdict(None, "contradicted")
    return len(withdrawn)


def yes_of_model(stores: Iterable[Path], problems: Path) -> dict[str, str]:
    """Return id -> text of the problems for which the judge model accepted an answer."""
    ids = {row["id"] for path in stores for row in files.read_log(path) if row["how"] == "model" and row["judgement"]}
    return {row["id"]: row["problem"] for row in read_problems(problems) if row["id"] in ids} if ids else {}


def keep_replies(store: Path, folder: Path) -> int:
    """Move the judge's replies into the store, each comparison once; return how many the store holds."""
    kept = {row_key(row) for row in files.read_log(store) if row["how"] == "model"}
    with files.AppendLog(store) as log:
        for row in (row for path in reply_files(folder) for row in files.read_log(path)):
            if row_key(row) not in kept:
                kept.add(row_key(row))
                log.append(row)
    return len(kept)


def take_over(earlier: Path | None, store: Path) -> None:
    """Add the rows of an earlier store that this one lacks. Whether they hold is checked when they are read."""
    if earlier is None or not earlier.exists():
        return
    kept = {row_key(row) for row in files.read_log(store)}
    with files.AppendLog(store) as log:
        for row in files.read_log(earlier):
            if row_key(row) not in kept:
                log.append(row)


def write_verdicts(work: Work, pairs: AnswerPairs, known: Comparisons, **more: Any) -> dict[str, Any]:
    """Write verdicts.parquet and the manifest, then remove the partial files. more: further keys of the manifest."""
    with VerdictWriter(work.folder / "verdicts.parquet") as table:
        for seed, place, extracted, label in pairs:
            predicted = extracted.answer
            correct: bool | None = False
            how = "missing"
            if extracted.ambiguous:
                correct, how = None, "ambiguous"
            elif predicted and not label.decided:  # nobody can say whether the answer is right
                correct, how = None, "no_label"
            elif predicted:
                correct, how = known.use(comparison_key(pairs.ids[place], predicted, label.answer))
            table.add(pairs.ids[place], seed, predicted, label.answer, correct, how)
    total = table.by_how.total()
    keep_history(work.folder / "partial", work.folder / "sessions.jsonl")
    manifest = work.finish(
        rows_in=total,
        rows_out=total,
        seeds=list(pairs.seeds),
        verdicts=dict(table.by_verdict),
        rows_by_how=_in_order_of_how(table.by_how),
        comparisons_by_how=_in_order_of_how(known.used),
        **more,
    )
    shutil.rmtree(work.folder / "partial", ignore_errors=True)
    return manifest


def _in_order_of_how(counts: Counter[str]) -> dict[str, int]:
    return {how: counts[how] for how in HOW if counts[how]}
