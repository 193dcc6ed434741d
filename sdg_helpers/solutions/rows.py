"""The byte format of output-rs{seed}.jsonl: one solution a row, written and read here alone."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from sdg_helpers import files
from sdg_helpers.answers.extraction import CLOSE, normalise_reasoning
from sdg_helpers.completions.types import Completion
from sdg_helpers.errors import SdgError
from sdg_helpers.solutions import seed_files


def answer_start(text: bytes) -> int:
    """Where the answer begins in a solution (raw or JSON-escaped bytes): after the last `</think>`, -1 without one."""
    found = text.rfind(CLOSE.encode())
    return found + len(CLOSE) if found >= 0 else -1


_GENERATION = b'"generation":"'
_TAIL = re.compile(rb'","finish_reason":"([^"\\]*)","num_generated_tokens":(\d+)\}\n?$')
_TAIL_BYTES = 256


@dataclass(slots=True)
class Solution:
    """A solution's row; `text` is its generation as JSON has it between the quotes."""

    keys: dict[str, Any]
    text: bytes
    finish_reason: str
    tokens: int

    def value(self, key: str) -> Any:
        """The value of any key but the text's, None where the row has none."""
        return {"finish_reason": self.finish_reason, "num_generated_tokens": self.tokens}.get(key, self.keys.get(key))


def parse_solution(line: bytes, path: Path, number: int) -> Solution:
    """One line of output-rs{seed}.jsonl; path and number are for the error."""
    tail = _TAIL.search(line, max(0, len(line) - _TAIL_BYTES))
    start = line.find(_GENERATION)
    if tail and start > 0:
        text = line[start + len(_GENERATION) : tail.start()]
        if b'","' not in text:  # else another key stands in between
            try:
                return Solution(orjson.loads(line[:start].rstrip(b",") + b"}"), text, tail[1].decode(), int(tail[2]))
            except orjson.JSONDecodeError:
                pass  # `generation` is a key inside another one
    row = files.parse_row(line, path, number)
    text = row.get("generation")
    if not isinstance(text, str) or "id" not in row:
        raise SdgError(
            f"{path}, line {number}: expected a solution (keys id and generation), found "
            f"{', '.join(row) or 'no keys'}. Run 03_generate_solutions, or import the data."
        )
    return Solution(row, escaped(text), str(row.get("finish_reason")), int(row.get("num_generated_tokens") or 0))


def escaped(text: str) -> bytes:
    """A text as JSON has it between the quotes."""
    return files.dumps(text)[1:-2]


_OURS = {"seed", "generation", "finish_reason", "num_generated_tokens"}


def read_solutions(folder: Path | str, seeds: list[int] | None = None) -> Iterator[dict[str, Any]]:
    """Rows of the merged seed files, seed by seed in problem order, one at a time."""
    for seed, path in seed_files.seed_files(folder).items():
        if seeds is None or seed in seeds:
            yield from files.read_jsonl(path)


def solutions_of(folder: Path | str, problem_id: str) -> list[dict[str, Any]]:
    """All solutions of one problem, by seed; each file is read up to its row only."""
    head = b'{"id":' + files.dumps(problem_id)[:-1] + b","
    found = []
    for path in seed_files.seed_files(folder).values():
        with open(path, "rb", buffering=1 << 20) as file:
            row = next((line for line in file if line.startswith(head)), None)
        if row is not None:
            found.append(files.parse_row(row, path, 0))
    return found


def solution_row(problem: dict[str, Any], seed: int, completion: Completion) -> dict[str, Any]:
    """One row of output-rs{seed}.jsonl: the problem's keys, then what was generated. No times: a resumed run gives
    the same bytes as an undisturbed one."""
    return {
        **{key: value for key, value in problem.items() if key not in _OURS},
        "seed": seed,
        "generation": normalise_reasoning(completion.content, completion.reasoning),
        "finish_reason": completion.finish_reason,
        "num_generated_tokens": completion.completion_tokens,
    }
