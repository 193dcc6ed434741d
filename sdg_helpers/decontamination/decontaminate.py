"""Drop the problems that are in a benchmark: a model compares each candidate pair, in both orders.

contamination.jsonl, the report, is what the export's filter `remove_contaminated` reads.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sdg_helpers import files
from sdg_helpers.answers.thinking import split_thinking
from sdg_helpers.decontamination.candidates import WAYS
from sdg_helpers.errors import SdgError, UnreadableRow
from sdg_helpers.judging.judge_replies import read_judgement
from sdg_helpers.problems.problem_file import read_problems
from sdg_helpers.solutions import seed_files
from sdg_helpers.solutions.generate import generate_solutions
from sdg_helpers.solutions.reading import read_solutions
from sdg_helpers.stages import Stage, Work

REASONS = ("equal", "judged_same", "undecided")  # why a problem is dropped; a problem with several gets the first
_REPLY_TAIL = 500  # characters kept of a reply, from its end
_FIRST_WORD = re.compile(
    r"[\s*_`\"'$\[({]*(?:(?:answer|judge?ment|verdict|:)[\s*_:]*)?(yes|true|no|false)(?![A-Za-z])"
    r"(?!\W{0,5}(?:or\b|/))",
    re.IGNORECASE,
)


def compare_candidates(candidates: Path, stage: Stage, **how: Any) -> dict[str, Any]:
    """Ask a model about every row of candidates.jsonl; no server is opened without one.

    how: keyword arguments of generate_solutions. Returns the manifest.
    """
    if candidates.stat().st_size:
        return generate_solutions(candidates, stage, num_seeds=1, **how)
    with stage.work({}, {"problems": candidates}) as work:
        return work.manifest if work.done else work.finish(rows_in=0, rows_out=0)


def drop_contaminated(problems: Path, candidates: Stage, compared: Stage, stage: Stage) -> dict[str, Any]:
    """Write problems.jsonl without the problems that are in a benchmark, and contamination.jsonl, one row per pair:
    id, problem, contaminated, reason, question, benchmark, benchmark_question, similarity, overlap, replies.

    candidates, compared: the two previous stages. A yes in either order drops the problem; so does, when there is no
    yes, a reply that is missing or unreadable. Returns the manifest. Raises SdgError when every problem is dropped.
    """
    candidates.require()
    compared.require()
    pairs = candidates.folder / "pairs.jsonl"
    inputs = {
        "problems": problems,
        "pairs": pairs,
        **{path.name: path for path in seed_files.seed_files(compared.folder).values()},
    }
    with stage.work({}, inputs) as work:
        return work.manifest if work.done else _drop(work, problems, pairs, compared.folder)


def says_same(reply: str) -> bool | None:
    """Return whether a reply says that two questions are the same; None when it says neither.

    The last `Judgement: Yes` or `Judgement: No` counts; without one, a first word such as `True.`, `Yes` or `**no**`.
    """
    judged = read_judgement(reply)
    if judged is not None:
        return judged
    found = _FIRST_WORD.match(split_thinking(reply)[1])
    return found[1].lower() in ("yes", "true") if found else None


def _drop(work: Work, problems: Path, pairs: Path, compared: Path) -> dict[str, Any]:
    dropped, counts = Counter[str](), Counter[str]()
    decided = _DecidedPairs(pairs, compared)
    outputs = [work.folder / "problems.jsonl", work.folder / "contamination.jsonl"]
    with files.atomic_writer(outputs[0]) as out, files.atomic_writer(outputs[1]) as report:
        for row in read_problems(problems):
            found = decided.take(row)
            counts.update(problems=1, pairs=len(found))
            report.writelines(map(files.dumps, found))
            reasons = {one["reason"] for one in found}
            worst = next((reason for reason in REASONS if reason in reasons), None)
            if worst:
                dropped[worst] += 1
            else:
                out.write(files.dumps(row))
    decided.check_end()
    kept = counts["problems"] - dropped.total()
    if not kept:
        raise SdgError(
            f"{work.folder}: every one of the {counts['problems']} problems is in a benchmark ({dict(dropped)}). "
            "Look at contamination.jsonl; raise MIN_SIMILARITY, or use another judge."
        )
    return work.finish(
        rows_in=counts["problems"],
        rows_out=kept,
        outputs=outputs,
        pairs=counts["pairs"],
        dropped={reason: dropped[reason] for reason in REASONS},
        unreadable_replies=decided.unreadable,
    )


class _DecidedPairs:
    """The pairs with the replies about them, read in step with the problems: all three files have the same order."""

    def __init__(self, pairs: Path, compared: Path):
        self._path, self.unreadable = pairs, 0
        self._pairs, self._replies = files.read_jsonl(pairs), read_solutions(compared)
        self._pair, self._reply = next(self._pairs, None), next(self._replies, None)

    def take(self, problem: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Return the rows of contamination.jsonl about this problem."""
        found = []
        while self._pair is not None and self._pair["problem_id"] == problem["id"]:
            found.append(self._row(problem, self._pair))
            self._pair = next(self._pairs, None)
        return found

    def _row(self, problem: Mapping[str, Any], pair: Mapping[str, Any]) -> dict[str, Any]:
        replies = {}
        while self._reply is not None and self._reply["pair"] == pair["id"]:
            replies[self._reply["way"]] = self._reply["generation"]
            self._reply = next(self._replies, None)
        said = [says_same(replies[way]) if way in replies else None for way in WAYS]
        self.unreadable += sum(one is None for one in said) if not pair["equal"] else 0
        reason = "equal" if pair["equal"] else "judged_same" if True in said else "undecided" if None in said else ""
        return {
            "id": problem["id"],
            "problem": problem["problem"],
            "contaminated": bool(reason),
            "reason": reason,
            **{key: pair[key] for key in ("question", "benchmark", "benchmark_question", "similarity", "overlap")},
            "replies": {way: reply[-_REPLY_TAIL:] for way, reply in replies.items()},
        }

    def check_end(self) -> None:
        """Raise SdgError when pairs or replies are left over: they belong to other problems."""
        left = self._pair or self._reply
        if left is not None:
            raise UnreadableRow(
                f"{self._path}: {left['id']!r} does not belong to the given problems, or is not in their order. "
                "Use files of the same run."
            )
