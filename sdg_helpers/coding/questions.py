"""Code 01: collect programming questions, each once per language, with their example tests in a separate file."""

from __future__ import annotations

import shutil
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from sdg_helpers import files
from sdg_helpers.coding.blocks import FENCE_NAMES
from sdg_helpers.coding.code_question import CodeQuestion, ReadCounts
from sdg_helpers.coding.own_questions import check_columns, questions_of_file
from sdg_helpers.coding.references import questions_of_references
from sdg_helpers.errors import SdgError, did_you_mean
from sdg_helpers.paths import PACKAGE
from sdg_helpers.problems.appending import grown_files
from sdg_helpers.problems.sources import source_file
from sdg_helpers.row_files.values import BadRows
from sdg_helpers.sft.chat_templates import ChatTemplate
from sdg_helpers.stages import Stage, Work

SOURCE = "nvidia/OpenCodeReasoning-2"
DEMO = PACKAGE / "data" / "code" / "problems.jsonl"
_OUTPUTS = ("problems.jsonl", "tests.jsonl")


def prepare_questions(
    stage: Stage,
    *,
    source: str = SOURCE,
    revision: str | None = None,
    splits: Sequence[str] = ("python", "cpp"),
    columns: Mapping[str, str] | None = None,
    languages: Sequence[str] = ("python", "cpp"),
    max_tokens: int = 3200,
    tokenizer: str = "chatml",
    max_questions: int | None = None,
    max_tests: int = 20,
    max_test_bytes: int = 10_000,
    max_bad_rows: int = 100,
) -> dict[str, Any]:
    """Write problems.jsonl, one row per question and language, and tests.jsonl, one row per question with tests.

    problems.jsonl: id ("{question_id}-{language}"), problem, expected_answer (""), question_id, language,
    problem_source, num_tests, function if one is to be written, and further keys of the source. tests.jsonl: id (the
    question's), tests (a list of input and output), and how they are run (procedures.Procedure).

    source: a hub dataset with OpenCodeReasoning-2's columns, "demo", or your own file (row_files.FORMATS) with
    `problem` and optionally `id`, `tests` (see own_tests.read_pairs) and a Procedure's fields. Of copies of a question,
    the first one with tests is kept. columns: our names (id, problem, tests) -> those of your file; common ones are
    found. max_tokens: drop longer questions, counted by the
    tokenizer ("chatml" counts characters). max_tests: keep a question's first ones. max_test_bytes: drop longer tests.
    max_bad_rows: rows of your own file that cannot be read and are skipped.
    Return the manifest. Its counts are questions; `tests_by_source` says how each source's are judged, or why not.
    """
    for language in languages:
        if language not in FENCE_NAMES:
            raise SdgError(
                f"language {language!r} is not one of {', '.join(FENCE_NAMES)}.{did_you_mean(language, FENCE_NAMES)}"
            )
    check_columns(columns or {})
    path = DEMO if source == "demo" else source_file(source)
    hub = {} if path else {"revision": revision, "splits": list(splits)}
    parameters = {
        "source": source,
        "languages": list(languages),
        "max_tokens": max_tokens,
        "tokenizer": tokenizer,
        "max_questions": max_questions,
        "max_tests": max_tests,
        "max_test_bytes": max_test_bytes,
        "max_bad_rows": max_bad_rows,
        **hub,
        **({"columns": dict(columns)} if columns else {}),
    }
    inputs = {"source": path} if path else {}
    with stage.work(parameters, inputs, may_grow=("max_questions", "source")) as work:
        if not work.done:
            read = ReadCounts(BadRows(max_bad_rows))
            found = (
                questions_of_file(path, parameters, read) if path else questions_of_references(work, parameters, read)
            )
            try:
                _write(work, found, parameters, read)
            except SdgError:  # the source or the parameters have to change
                work.forget()
                raise
            finally:
                shutil.rmtree(stage.folder / "partial", ignore_errors=True)
        return work.manifest


def _write(work: Work, questions: Iterator[CodeQuestion], parameters: dict[str, Any], read: ReadCounts) -> None:
    length = ChatTemplate(parameters["tokenizer"]).length
    dropped: Counter[str] = Counter()
    by_source: Counter[str] = Counter()
    by_tests: dict[str, Counter[str]] = defaultdict(Counter)
    kept = with_tests = rows = 0
    wanted = parameters["languages"]
    with (
        grown_files(work, *_OUTPUTS) as (problems, tests),
        files.atomic_writer(problems) as out,
        files.atomic_writer(tests) as tests_out,
    ):
        for question in questions:
            source, languages = str(question.about.get("problem_source") or "unknown"), question.languages(wanted)
            reason = _reason_to_drop(question, length, parameters["max_tokens"])
            if reason := reason or ("" if languages else "python_only"):
                dropped[reason] += 1
                continue
            kept, with_tests = kept + 1, with_tests + bool(question.tests)
            rows += len(languages)
            by_source[source] += 1
            by_tests[str(question.about.get("dataset") or source)][question.tested_by] += 1
            out.writelines(files.dumps(_row(question, language)) for language in languages)
            if question.tests or question.procedure.undecided:
                about = {"id": question.id, "tests": question.tests, **question.procedure.as_row()}
                tests_out.write(files.dumps(about))
            work.progress(kept, parameters["max_questions"])
        dropped |= {"repeated": read.repeated, "unreadable": read.bad.count}
        if not kept:
            raise SdgError(
                f"{parameters['source']}: no question is left of {read.rows} rows (dropped: {dict(+dropped)})."
                f"{read.bad.first} Give another SOURCE, or a larger MAX_TOKENS."
            )
    work.finish(
        rows_in=read.rows,
        rows_out=kept,
        dropped=dropped,
        bad_rows=read.bad.listed,
        outputs=[work.folder / name for name in _OUTPUTS],
        problems=rows,
        python_only=kept * len(wanted) - rows,
        questions_with_tests=with_tests,
        questions_by_source=dict(by_source.most_common()),
        tests_by_source={source: dict(counts.most_common()) for source, counts in by_tests.items()},
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
        **({"function": question.procedure.function} if question.procedure.function else {}),
        **question.about,
        "num_tests": len(question.tests),
    }
