"""The byte format of output-rs{seed}.jsonl. Every module that writes or reads its bytes does so through this one.

A row is one solution, as compact JSON with its keys in this order:

    {"id":…, the problem's other keys, "seed":0,"generation":"…","finish_reason":"stop","num_generated_tokens":812}

`generation` is long (about 40 KB) and there are millions of rows. Because it is always the third key from the end, a
reader can find it by searching from both ends of the line, and copy it without parsing it: its JSON-escaped bytes are
called the escaped text here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import orjson
import xxhash
from ahocorasick_rs import BytesAhoCorasick

from sdg_helpers import exact_json, files
from sdg_helpers.answers.thinking import CLOSE, OPEN, Shape, shape_of
from sdg_helpers.errors import UnreadableRow

GENERATED_KEYS = ("seed", "generation", "finish_reason", "num_generated_tokens")  # added to the problem's own keys
_HEAD = re.compile(rb'\{"id":("(?:[^"\\]|\\.)*"),')
_GENERATION = b'"generation":"'
_TAIL = re.compile(rb'","finish_reason":"([^"\\]*)","num_generated_tokens":(\d+)\}\n?$')
_TAIL_BYTES = 256  # at least as long as the longest tail
_TAGS = BytesAhoCorasick([OPEN.encode(), CLOSE.encode()])
_ESCAPED_SPACE = re.compile(rb"(?:\\n|\\r|\\t| )*")


def solution_line(
    problem: Mapping[str, Any], *, seed: int, generation: str, finish_reason: str, num_generated_tokens: int
) -> bytes:
    """Return one row, newline included: the problem's keys, then the generated ones.

    It holds no times, so that a resumed run writes the same bytes as an undisturbed one.
    """
    return files.dumps(
        {
            **{key: value for key, value in problem.items() if key not in GENERATED_KEYS},
            "seed": seed,
            "generation": generation,
            "finish_reason": finish_reason,
            "num_generated_tokens": num_generated_tokens,
        }
    )


def problem_bytes(problem: Mapping[str, Any]) -> bytes:
    """Return the bytes with which every solution of this problem starts, up to its own keys."""
    return files.dumps({key: value for key, value in problem.items() if key not in GENERATED_KEYS})[:-2]


def problem_part(line: bytes) -> bytes:
    """Return these bytes of a row that `solution_line` wrote; b"" of any other line."""
    return line[: max(0, line.rfind(b',"seed":', 0, max(0, line.find(_GENERATION))))]


@dataclass(slots=True)
class Solution:
    """A parsed row. `text` is the escaped text: `generation` as JSON has it between the quotes.

    text_at: where the line has these bytes; -1 if it has others, as other tools escape them.
    """

    keys: dict[str, Any]
    text: bytes
    finish_reason: str
    tokens: int
    text_at: int = -1

    def value(self, key: str) -> Any:
        """Return the value of any key except `generation`, or None when the row does not have it."""
        return {"finish_reason": self.finish_reason, "num_generated_tokens": self.tokens}.get(key, self.keys.get(key))

    def answer_text(self) -> str:
        """Return what follows the thinking, or the whole text of a solution without `</think>`."""
        try:
            return unescape_json(self.text[max(0, answer_start(self.text)) :])
        except UnreadableRow as error:
            where = f"problem {self.keys.get('id')!r}, seed {self.keys.get('seed')}"
            raise UnreadableRow(f"solution of {where}: {error}") from None


def parse_solution(line: bytes, path: Path, number: int, *, ours: bool = False) -> Solution:
    """Parse one line without parsing its text. `path` and `number` (from 1) are for the error.

    ours: a stage wrote this line with `solution_line`, so the text needs no search for further keys. Rows whose keys
    are in another order, as other tools write them, are parsed as a whole. Raises UnreadableRow when the line is not a
    solution.
    """
    tail = _TAIL.search(line, max(0, len(line) - _TAIL_BYTES))
    start = line.find(_GENERATION)
    if tail and start > 0:
        text_at = start + len(_GENERATION)
        text = line[text_at : tail.start()]
        if ours or b'","' not in text:  # otherwise there is another key between the two
            try:
                keys = exact_json.loads(line[:start].rstrip(b",") + b"}")
                if "id" in keys:
                    return Solution(keys, text, tail[1].decode(), int(tail[2]), text_at)
            except ValueError:
                pass  # this `generation` is a key inside the value of another key
    row = files.parse_row(line, path, number)
    generation = row.get("generation")
    if not isinstance(generation, str) or "id" not in row:
        raise UnreadableRow(
            f"{path}, line {number}: not a solution: the keys id and generation are required, this row has "
            f"{', '.join(row) or 'no keys'}. Run 03_generate_solutions, or import the data."
        )
    tokens = row.get("num_generated_tokens") or 0
    if not isinstance(tokens, (int, float)):
        raise UnreadableRow(
            f"{path}, line {number}: num_generated_tokens must be a number, not {tokens!r}. Correct this row."
        )
    return Solution(row, escape_json(generation), str(row.get("finish_reason")), int(tokens))


def copy_line(solution: Solution, keys: Mapping[str, Any], added: Mapping[str, Any]) -> bytes:
    """Return a solution's row with `keys` before its text and the keys of `added` at the end; the text is copied."""
    return b'%b,"generation":"%b","finish_reason":%b,"num_generated_tokens":%d%b}\n' % (
        exact_json.dumps(keys)[:-1],
        solution.text,
        orjson.dumps(solution.finish_reason),
        solution.tokens,
        b"," + exact_json.dumps(added)[1:-1] if added else b"",
    )


def line_start(problem_id: str) -> bytes:
    """Return the bytes with which every row of this problem starts."""
    return b'{"id":"' + escape_json(problem_id) + b'",'


def read_id(line: bytes) -> str | None:
    """Return the id of a row that `solution_line` wrote, or None for any other line. Looks at both ends only."""
    head = _HEAD.match(line)
    tail = _TAIL.search(line, max(0, len(line) - _TAIL_BYTES))
    if head is None or tail is None:
        return None
    try:
        tail[1].decode()
        return str(orjson.loads(head[1]))
    except ValueError:  # bytes that are no text
        return None


class RowSummary(NamedTuple):
    """What a row adds to the counts of its stage. text_checksum: 32 bits of the escaped text's xxh3, never 0."""

    finish_reason: str
    tokens: int
    text_checksum: int
    thinking: Shape


def summarize_row(line: bytes) -> RowSummary:
    """Summarize a row for which `read_id` returned an id."""
    tail = _TAIL.search(line, max(0, len(line) - _TAIL_BYTES))
    if tail is None:
        raise ValueError(f"not a row of a solutions file: {line[:80]!r}")
    text = line[line.rfind(_GENERATION, 0, tail.start()) + len(_GENERATION) : tail.start()]
    tags = [number for number, _, _ in _TAGS.find_matches_as_indexes(text)]
    shape = shape_of(tags.count(0), tags.count(1), text.startswith(OPEN.encode()))
    return RowSummary(tail[1].decode(), int(tail[2]), xxhash.xxh3_64_intdigest(text) & 0xFFFFFFFF or 1, shape)


def answer_start(text: bytes) -> int:
    """Return where the answer begins in an escaped text: after the last `</think>`, or -1 without one."""
    found = text.rfind(CLOSE.encode())
    return found + len(CLOSE) if found >= 0 else -1


def skip_space(text: bytes, start: int = 0) -> int:
    """Return where the first character from `start` on is no white space (escaped line breaks and tabs, and spaces)."""
    space = _ESCAPED_SPACE.match(text, start)
    return space.end() if space else start


def strip_leading_space(text: bytes) -> bytes:
    """Remove white space (escaped line breaks and tabs, and spaces) from the start of an escaped text."""
    return text[skip_space(text) :]


def escape_json(text: str) -> bytes:
    """Return a text as JSON has it between the quotes."""
    return files.dumps(text)[1:-2]


def unescape_json(text: bytes) -> str:
    """Return the text that `escape_json` was given. Raises UnreadableRow for bytes that it never returns."""
    try:
        return str(orjson.loads(b'"' + text + b'"'))
    except orjson.JSONDecodeError as error:
        raise UnreadableRow(
            f"its text is damaged: {exact_json.explain(text, error)}. `sdg verify RUN` names the file, and `sdg repair "
            "RUN` asks for the damaged rows again."
        ) from None
