"""Drop the problems that stand in a benchmark: likely pairs by words and meaning, then a model decides both ways round.

Usable by every track: any problems.jsonl, and contamination.jsonl is what the export's filter reads.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from sdg_helpers import files
from sdg_helpers.answers.extraction import split_thinking
from sdg_helpers.decontamination.benchmarks import BenchmarkSource, read_benchmarks
from sdg_helpers.decontamination.similarity import Match, QuestionIndex
from sdg_helpers.errors import SdgError
from sdg_helpers.judging.judge_replies import read_judgement
from sdg_helpers.problems.problem_file import read_problems
from sdg_helpers.solutions import seed_files
from sdg_helpers.solutions.generate import generate_solutions
from sdg_helpers.solutions.reading import read_solutions
from sdg_helpers.stages import Stage, Work

REASONS = ("equal", "judged_same", "undecided")
WAYS = ("problem_first", "benchmark_first")
_BATCH = 256
_KEPT_OF_REPLY = 500  # characters of a reply's end
_FIRST_WORD = re.compile(
    r"[\s*_`\"'$\[({]*(?:answer|judge?ment|verdict)?[\s*_:]*(yes|true|no|false)(?![A-Za-z])"
    r"(?!\W{0,5}(?:or\b|/))",
    re.IGNORECASE,
)
_OPTIONS = re.compile(r"\n\s*\(?A[.):]\s")


def find_candidates(
    problems: Path,
    benchmarks: Sequence[str],
    stage: Stage,
    *,
    min_similarity: float = 0.45,
    min_overlap: float = 0.25,
    ngram: int = 8,
    max_candidates: int = 5,
) -> dict[str, Any]:
    """Write pairs.jsonl, the pairs of a problem and a benchmark question that may be the same, and candidates.jsonl:
    for each that is not equal word for word two rows to ask a model about, one either way round.

    benchmarks: see BenchmarkSource.parse. A pair is a candidate when the cosine of its embeddings is min_similarity or
    more, or the share of common runs of `ngram` words min_overlap or more; of a problem at most max_candidates are,
    the most alike. Options do not count, a problem's question does. Returns the manifest.
    """
    parameters = {
        "benchmarks": list(benchmarks),
        "min_similarity": min_similarity,
        "min_overlap": min_overlap,
        "ngram": ngram,
        "max_candidates": max_candidates,
    }
    paths = [source.path for source in map(BenchmarkSource.parse, benchmarks) if source.path]
    inputs = {
        "problems": problems,
        **{f"benchmark {number} ({path.name})": path for number, path in enumerate(paths, 1)},
    }
    with stage.work(parameters, inputs) as work:
        return work.manifest if work.done else _find(work, problems, parameters)


def compare_candidates(candidates: Path, stage: Stage, **how: Any) -> dict[str, Any]:
    """Ask a model about every row of candidates.jsonl; `how` as for generate_solutions. Nothing to ask: no server."""
    if candidates.stat().st_size:
        return generate_solutions(candidates, stage, num_seeds=1, **how)
    with stage.work({}, {"problems": candidates}) as work:
        return work.manifest if work.done else work.finish(rows_in=0, rows_out=0)


def drop_contaminated(problems: Path, candidates: Stage, compared: Stage, stage: Stage) -> dict[str, Any]:
    """Write problems.jsonl without the problems that stand in a benchmark, and contamination.jsonl, a row a pair: id,
    problem, contaminated, reason, benchmark, benchmark_question, similarity, overlap, replies.

    candidates, compared: the two stages before. One yes, either way round, is enough; without a yes, a reply
    that cannot be read or is missing leaves the pair undecided, and in doubt a problem goes. Returns the manifest.
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
    """Whether a reply says that two questions are the same; None when it says neither.

    `Judgement: Yes` counts wherever it stands last; without one, a first word `True.`, `Yes`, `**False**` or `no`.
    """
    judged = read_judgement(reply)
    if judged is not None:
        return judged
    found = _FIRST_WORD.match(split_thinking(reply)[1])
    return found[1].lower() in ("yes", "true") if found else None


def question_of(problem: Mapping[str, Any]) -> str:
    """A problem's question without its options."""
    text = problem["problem"].strip()
    found = _OPTIONS.search(text) if problem.get("options") else None
    return text[: found.start()].strip() if found else text


def _find(work: Work, problems: Path, how: Mapping[str, Any]) -> dict[str, Any]:
    labels, texts = read_benchmarks(how["benchmarks"])
    index, counts = QuestionIndex(texts, how["ngram"]), Counter()
    outputs = [work.folder / "pairs.jsonl", work.folder / "candidates.jsonl"]
    limits = how["min_similarity"], how["min_overlap"], how["max_candidates"]
    with files.atomic_writer(outputs[0]) as pairs, files.atomic_writer(outputs[1]) as candidates:
        for batch in _batches(read_problems(problems), _BATCH):
            matches = index.matches([question_of(row) for row in batch], *limits)
            for row, found in zip(batch, matches, strict=True):
                counts["problems"] += 1
                counts["with_candidates"] += bool(found)
                for match in found:
                    pair = _pair(row, labels[match.number], texts[match.number], match)
                    counts["pairs"] += 1
                    counts["equal"] += match.equal
                    pairs.write(files.dumps(pair))
                    candidates.writelines(files.dumps(_question(pair, way)) for way in WAYS if not match.equal)
            work.progress(counts["problems"], None)
    return work.finish(
        rows_in=counts["problems"],
        rows_out=counts["problems"],
        outputs=outputs,
        benchmark_questions=len(texts),
        questions_by_benchmark=dict(Counter(labels)),
        problems_with_candidates=counts["with_candidates"],
        pairs=counts["pairs"],
        equal=counts["equal"],
        to_ask=2 * (counts["pairs"] - counts["equal"]),
    )


def _batches(rows: Iterable[dict[str, Any]], size: int) -> Iterator[list[dict[str, Any]]]:
    rows = iter(rows)
    while batch := list(islice(rows, size)):
        yield batch


def _pair(problem: Mapping[str, Any], benchmark: str, text: str, match: Match) -> dict[str, Any]:
    return {
        "id": files.content_id(problem["id"], benchmark, text),
        "problem_id": problem["id"],
        "question": question_of(problem),
        "benchmark": benchmark,
        "benchmark_question": text,
        "similarity": match.similarity,
        "overlap": match.overlap,
        "equal": match.equal,
    }


def _question(pair: Mapping[str, Any], way: str) -> dict[str, Any]:
    """A row for the model: which of the two questions it reads first."""
    shown = [pair["question"], pair["benchmark_question"]]
    first, second = shown if way == WAYS[0] else reversed(shown)
    return {
        "id": files.content_id(pair["id"], way),
        "problem": pair["question"],
        "pair": pair["id"],
        "way": way,
        "first": first,
        "second": second,
    }


def _drop(work: Work, problems: Path, pairs: Path, compared: Path) -> dict[str, Any]:
    dropped, counts = Counter(), Counter()
    decided = _Decided(pairs, compared)
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
            f"{work.folder}: expected at least one problem that stands in no benchmark, found none of "
            f"{counts['problems']} ({dict(dropped)}). Look at contamination.jsonl; raise MIN_SIMILARITY, or "
            "give another judge."
        )
    return work.finish(
        rows_in=counts["problems"],
        rows_out=kept,
        outputs=outputs,
        pairs=counts["pairs"],
        dropped={reason: dropped[reason] for reason in REASONS},
        unreadable_replies=decided.unreadable,
    )


class _Decided:
    """The pairs with their replies, read along with the problems: all three files are in one order."""

    def __init__(self, pairs: Path, compared: Path):
        self._path, self.unreadable = pairs, 0
        self._pairs, self._replies = files.read_jsonl(pairs), read_solutions(compared)
        self._pair, self._reply = next(self._pairs, None), next(self._replies, None)

    def take(self, problem: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Rows of contamination.jsonl about this problem."""
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
            "replies": {way: reply[-_KEPT_OF_REPLY:] for way, reply in replies.items()},
        }

    def check_end(self) -> None:
        """Raise SdgError when pairs or replies are left: they belong to other problems."""
        left = self._pair or self._reply
        if left is not None:
            raise SdgError(
                f"{self._path}: expected pairs and replies on the problems given, in their order, found "
                f"{left['id']!r} left over. Give the files of one run."
            )
