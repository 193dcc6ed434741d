"""Code 03: find the program in each solution, and drop those that cannot work.

A solution passes if it is finished and its last code block in the right language is complete, parses, reads input and
prints. Every solution gets a verdict with its reason.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sdg_helpers import files
from sdg_helpers.answers.finish_reasons import ended_by_itself
from sdg_helpers.answers.thinking import CLOSE, split_thinking
from sdg_helpers.coding import bounded_parsing
from sdg_helpers.coding.blocks import FENCE_NAMES, last_program, longer_programs
from sdg_helpers.errors import SdgError
from sdg_helpers.judging.verdicts import VerdictWriter
from sdg_helpers.solutions import seed_files
from sdg_helpers.solutions.reading import read_seed_file
from sdg_helpers.stages import Stage

# Why a solution has no program worth running, in the order of the checks.
REASONS = (
    "unfinished",
    "thinking_not_closed",
    "no_code_block",
    "other_language",
    "unclosed_block",
    "too_long",
    "syntax_error",
    "placeholder",
    "runs_nothing",
    "reads_no_input",
    "prints_nothing",
)
MAX_PROGRAM_CHARACTERS = 100_000


def filter_solutions(solutions: Stage, stage: Stage, *, reasoning: bool = True) -> dict[str, Any]:
    """Write verdicts.parquet: whether each solution has a program worth running. Return the manifest.

    Columns: id, seed, predicted_answer (the program's id, see `program_id`), expected_answer (""), correct (whether
    there is a program), how ("filter", or one of REASONS). solutions: their rows have a `language`. reasoning: the
    model thinks, so a solution without closed thinking is unfinished. The manifest's `by_language` counts verdicts.
    """
    solutions.require()
    seeds = seed_files.seed_files(solutions.folder)
    with stage.work({"reasoning": reasoning}, {path.name: path for path in seeds.values()}) as work:
        if work.done:
            return work.manifest
        rows = 0
        by_language: dict[str, dict[str, int]] = {}
        path = stage.folder / "verdicts.parquet"
        with VerdictWriter(path) as table:
            for seed, source in seeds.items():
                for row in read_seed_file(source):
                    program, reason = program_of(row, reasoning)
                    rows += 1
                    counts = by_language.setdefault(row["language"], {})
                    counts[reason or "filter"] = counts.get(reason or "filter", 0) + 1
                    table.add(
                        row["id"], seed, program_id(program) if not reason else None, "", not reason, reason or "filter"
                    )
                    work.progress(rows, None)
        return work.finish(
            rows_in=rows,
            rows_out=rows,
            outputs=[path],
            rows_by_how=dict(table.by_how),
            verdicts=dict(table.by_verdict),
            by_language=by_language,
        )


def program_of(row: Mapping[str, Any], reasoning: bool = True) -> tuple[str, str]:
    """Return (program, "") of one solution, or (partial program, reason), where the reason is one of REASONS.

    Raises SdgError when the row's `language` is missing or unknown.
    """
    language = row.get("language")
    if language not in FENCE_NAMES:
        raise SdgError(
            f"solution {row.get('id')!r}: `language` must be one of {', '.join(FENCE_NAMES)}, found {language!r}. "
            "Prepare the questions with code/01_prepare_questions, or add the key."
        )
    if not ended_by_itself(row["finish_reason"]):
        return "", "unfinished"
    generation = row["generation"]
    if CLOSE not in generation and (reasoning or split_thinking(generation)[0] is not None):
        return "", "thinking_not_closed"
    answer, function = split_thinking(generation)[1], str(row.get("function") or "")
    program, reason = last_program(answer, language)
    if reason:
        return program, reason
    flaw = program_flaw(program, language, function)
    if flaw == "syntax_error":
        for longer in longer_programs(answer, language):
            if (other := program_flaw(longer, language, function)) not in ("syntax_error", "too_long"):
                return longer, other
    return program, flaw


def program_flaw(program: str, language: str, function: str = "") -> str:
    """Return why a program cannot work, one of REASONS from "too_long" on, or "".

    A program that is too much for the parser counts as too long. function: the question asks for this function or
    method, which is called, instead of a program that reads input.
    """
    if len(program) > MAX_PROGRAM_CHARACTERS:
        return "too_long"
    return bounded_parsing.find_flaw(program, language, function)


def program_id(program: str) -> str:
    """Return 16 hex digits that depend on the program alone, so that equal programs of a problem are run once."""
    return files.content_id(program)
