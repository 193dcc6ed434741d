"""Code 01: collect programming questions, each once per language, with their example tests in a separate file."""

from __future__ import annotations

import os
import shutil
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from sdg_helpers import files, paths
from sdg_helpers.coding.blocks import FENCE_NAMES
from sdg_helpers.coding.example_tests import clean_tests
from sdg_helpers.coding.sources import find_collection, read_questions, read_references
from sdg_helpers.errors import SdgError, did_you_mean
from sdg_helpers.paths import PACKAGE
from sdg_helpers.sft.chat_templates import ChatTemplate
from sdg_helpers.stages import Stage, Work

SOURCE = "nvidia/OpenCodeReasoning-2"
DEMO = PACKAGE / "data" / "code" / "problems.jsonl"
_ABOUT = ("dataset", "split", "index", "difficulty", "license")


@dataclass
class CodeQuestion:
    """A question that may be kept. text: None if the row that a reference names does not exist; about: other keys."""

    id: str
    text: str | None
    tests: list[dict[str, str]]
    about: dict[str, Any]


def prepare_questions(
    stage: Stage,
    *,
    source: str = SOURCE,
    revision: str | None = None,
    splits: Sequence[str] = ("python", "cpp"),
    languages: Sequence[str] = ("python", "cpp"),
    max_tokens: int = 3200,
    tokenizer: str = "chatml",
    max_questions: int | None = None,
    max_tests: int = 20,
    max_test_bytes: int = 10_000,
) -> dict[str, Any]:
    """Write problems.jsonl, one row per question and language, and tests.jsonl, one row per question with tests.

    problems.jsonl: id ("{question_id}-{language}"), problem, expected_answer (""), question_id, language,
    problem_source, num_tests, and further keys of the source. tests.jsonl: id (the question's), tests (a list of input
    and output).

    source: a hub dataset with OpenCodeReasoning-2's columns, "demo", or your own .jsonl file with `problem` and
    optionally `id` and `tests`. max_tokens: drop longer questions, counted by the tokenizer ("chatml" counts
    characters). max_tests: keep a question's first ones. max_test_bytes: drop tests with longer texts.
    Return the manifest; its counts are questions.
    """
    for language in languages:
        if language not in FENCE_NAMES:
            raise SdgError(
                f"language {language!r} is not one of {', '.join(FENCE_NAMES)}.{did_you_mean(language, FENCE_NAMES)}"
            )
    path = DEMO if source == "demo" else paths.resolve_path(source) if source.endswith(".jsonl") else None
    hub = {} if path else {"revision": revision, "splits": list(splits)}
    parameters = {
        "source": source,
        "languages": list(languages),
        "max_tokens": max_tokens,
        "tokenizer": tokenizer,
        "max_questions": max_questions,
        "max_tests": max_tests,
        "max_test_bytes": max_test_bytes,
        **hub,
    }
    with stage.work(parameters, {"source": path} if path else {}) as work:
        if not work.done:
            read = _ReadCounts()
            found = _from_file(path, parameters, read) if path else _from_hub(work, parameters, read)
            _write(work, found, parameters, read)
            shutil.rmtree(stage.folder / "partial", ignore_errors=True)
        return work.manifest


@dataclass
class _ReadCounts:
    """Rows read, and how many of them repeat a question."""

    rows: int = 0
    repeated: int = 0


def _write(work: Work, questions: Iterator[CodeQuestion], parameters: dict[str, Any], read: _ReadCounts) -> None:
    problems, tests = work.folder / "problems.jsonl", work.folder / "tests.jsonl"
    length = ChatTemplate(parameters["tokenizer"]).length
    dropped: Counter[str] = Counter()
    by_source: Counter[str] = Counter()
    kept = with_tests = 0
    with files.atomic_writer(problems) as out, files.atomic_writer(tests) as tests_out:
        for question in questions:
            if reason := _reason_to_drop(question, length, parameters["max_tokens"]):
                dropped[reason] += 1
                continue
            kept, with_tests = kept + 1, with_tests + bool(question.tests)
            by_source[str(question.about.get("problem_source") or "unknown")] += 1
            out.writelines(files.dumps(_row(question, language)) for language in parameters["languages"])
            if question.tests:
                tests_out.write(files.dumps({"id": question.id, "tests": question.tests}))
            work.progress(kept, parameters["max_questions"])
        dropped["repeated"] = read.repeated
        if not kept:
            raise SdgError(
                f"{parameters['source']}: no question is left of {read.rows} rows (dropped: {dict(+dropped)}). "
                "Give another SOURCE, or a larger MAX_TOKENS."
            )
    work.finish(
        rows_in=read.rows,
        rows_out=kept,
        dropped=dropped,
        outputs=[problems, tests],
        problems=kept * len(parameters["languages"]),
        questions_with_tests=with_tests,
        questions_by_source=dict(by_source.most_common()),
    )


def _reason_to_drop(question: CodeQuestion, length: Callable[[str], int], max_tokens: int) -> str:
    if question.text is None:
        return "not_found"
    if not question.text.strip():
        return "no_text"
    return "too_long" if length(question.text) > max_tokens else ""


def _row(question: CodeQuestion, language: str) -> dict[str, Any]:
    return {
        "id": f"{question.id}-{language}",
        "problem": question.text,
        "expected_answer": "",
        "question_id": question.id,
        "language": language,
        **question.about,
        "num_tests": len(question.tests),
    }


def _from_file(path: Path, parameters: dict[str, Any], read: _ReadCounts) -> Iterator[CodeQuestion]:
    seen: dict[str, str] = {}
    for row in files.read_jsonl(path):
        if read.rows - read.repeated == parameters["max_questions"]:
            return
        read.rows += 1
        text, tests = row.get("problem"), row.get("tests") or []
        if not isinstance(text, str) or not all(isinstance(test, dict) for test in tests):
            raise SdgError(
                f"{path}, row {read.rows}: needs a text under the key 'problem'; 'tests', if given, is a list of "
                f'{{"input": …, "output": …}}. Its keys are {", ".join(row) or "missing"}: correct that row.'
            )
        question_id, digest = str(row.get("id") or files.content_id(text)), files.content_id(text)
        if question_id in seen:
            if seen[question_id] != digest:
                raise SdgError(
                    f"{path}, row {read.rows}: the id {question_id!r} was used before for another text. Give every "
                    "question a different id, or none."
                )
            read.repeated += 1
            continue
        seen[question_id] = digest
        pairs = [(test.get("input"), test.get("output")) for test in tests]
        rest = {key: value for key, value in row.items() if key not in ("id", "problem", "tests", "expected_answer")}
        yield CodeQuestion(
            question_id,
            text,
            clean_tests(pairs, parameters["max_tests"], parameters["max_test_bytes"]),
            {"problem_source": "own", **rest},
        )


def _from_hub(work: Work, parameters: dict[str, Any], read: _ReadCounts) -> Iterator[CodeQuestion]:
    """Read the references (small), then each split that they name once; keep the texts on disk to restore the order."""
    references = _first_occurrences(parameters, read)
    places: dict[tuple[str, str], dict[int, list[int]]] = defaultdict(lambda: defaultdict(list))
    for position, (_, about) in enumerate(references):
        places[about["dataset"], about["split"]][about["index"]].append(position)
    for dataset, _ in places:
        find_collection(dataset)  # reject an unknown one before anything is downloaded
    where: dict[int, tuple[int, int]] = {}  # position of a reference -> (offset, length) of its text on disk
    shutil.rmtree(work.folder / "partial", ignore_errors=True)
    with files.AppendLog(work.folder / "partial" / "texts.jsonl") as log:
        for (dataset, split), wanted in places.items():
            for index, text, tests in read_questions(
                dataset, split, sorted(wanted), parameters["max_tests"], parameters["max_test_bytes"]
            ):
                line, start = files.dumps({"text": text, "tests": tests}), log.size
                log.append(line)
                where.update({position: (start, len(line)) for position in wanted[index]})
                work.progress(len(where), len(references), force=False)
    with open(work.folder / "partial" / "texts.jsonl", "rb") as texts:
        for position, (question_id, about) in enumerate(references):
            offset, length = where.get(position, (0, 0))
            found = orjson.loads(os.pread(texts.fileno(), length, offset)) if length else {"text": None, "tests": []}
            yield CodeQuestion(question_id, found["text"], found["tests"], about)


def _first_occurrences(parameters: dict[str, Any], read: _ReadCounts) -> list[tuple[str, dict[str, Any]]]:
    """Return (question_id, its other keys) for each question, in order of first rows; about 1 KB per question."""
    first: dict[str, dict[str, Any]] = {}
    for split in parameters["splits"]:
        for row in read_references(parameters["source"], split, parameters["revision"]):
            if len(first) == parameters["max_questions"] and str(row["question_id"]) not in first:
                return list(first.items())
            read.rows += 1
            if str(row["question_id"]) in first:
                read.repeated += 1
            else:
                first[str(row["question_id"])] = _about(row, parameters["source"])
    if not first:
        raise SdgError(
            f"{parameters['source']}: the splits {', '.join(parameters['splits'])} are empty. Give other SPLITS."
        )
    return list(first.items())


def _about(row: dict[str, Any], source: str) -> dict[str, Any]:
    try:
        index = int(row["index"])
    except ValueError:
        raise SdgError(
            f"{source}, question {row['question_id']!r}: its index {row['index']!r} is not a number. "
            "Give another REVISION."
        ) from None
    return {
        "problem_source": row.get("source"),
        **{key: row[key] for key in _ABOUT if row.get(key) is not None},
        "index": index,
    }
