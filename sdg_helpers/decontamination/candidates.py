"""Find the problems that may be in a benchmark: pairs of similar questions, for a model to compare.

Works for every track: any problems.jsonl will do.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from sdg_helpers import files
from sdg_helpers.decontamination.benchmarks import BenchmarkSource, read_benchmarks
from sdg_helpers.decontamination.similarity import Match, QuestionIndex
from sdg_helpers.problems.problem_file import read_problems
from sdg_helpers.stages import Stage, Work

WAYS = ("problem_first", "benchmark_first")  # the order in which the model reads the two questions
_BATCH = 256  # problems embedded at a time
_OPTIONS = re.compile(r"\n[^\S\n]*\(?A[.):]\s")


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
    """Write pairs.jsonl, the pairs of a problem and a similar benchmark question, and candidates.jsonl, the questions
    about them for a model: two for each pair (one per order), none for a pair with exactly the same words.

    benchmarks: see BenchmarkSource.parse. A pair needs a cosine of the embeddings of at least min_similarity, or at
    least min_overlap of the runs of `ngram` words in common; at most max_candidates pairs per problem, most similar
    first. The options of a problem are not compared. Returns the manifest.
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
        return work.manifest if work.done else _write_pairs(work, problems, parameters)


def strip_options(problem: Mapping[str, Any]) -> str:
    """Return a problem's question without its options."""
    text = problem["problem"].strip()
    found = _OPTIONS.search(text) if problem.get("options") else None
    return text[: found.start()].strip() if found else text


def _write_pairs(work: Work, problems: Path, how: Mapping[str, Any]) -> dict[str, Any]:
    labels, texts = read_benchmarks(how["benchmarks"])
    index, counts = QuestionIndex(texts, how["ngram"]), Counter[str]()
    outputs = [work.folder / "pairs.jsonl", work.folder / "candidates.jsonl"]
    limits = how["min_similarity"], how["min_overlap"], how["max_candidates"]
    with files.atomic_writer(outputs[0]) as pairs, files.atomic_writer(outputs[1]) as candidates:
        for batch in _batches(read_problems(problems), _BATCH):
            matches = index.matches([strip_options(row) for row in batch], *limits)
            for row, found in zip(batch, matches, strict=True):
                counts["problems"] += 1
                counts["with_candidates"] += bool(found)
                for match in found:
                    pair = _pair_row(row, labels[match.number], texts[match.number], match)
                    counts["pairs"] += 1
                    counts["equal"] += match.equal
                    pairs.write(files.dumps(pair))
                    candidates.writelines(files.dumps(_comparison_row(pair, way)) for way in WAYS if not match.equal)
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


def _pair_row(problem: Mapping[str, Any], benchmark: str, text: str, match: Match) -> dict[str, Any]:
    return {
        "id": files.content_id(problem["id"], benchmark, text),
        "problem_id": problem["id"],
        "question": strip_options(problem),
        "benchmark": benchmark,
        "benchmark_question": text,
        "similarity": match.similarity,
        "overlap": match.overlap,
        "equal": match.equal,
    }


def _comparison_row(pair: Mapping[str, Any], way: str) -> dict[str, Any]:
    """Return the row that asks a model about a pair. way: one of WAYS."""
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
