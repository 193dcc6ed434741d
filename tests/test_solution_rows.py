"""The byte format of a solutions file: rows are read back unchanged, whether their text is parsed or copied."""

from pathlib import Path

import pytest

from sdg_helpers import files
from sdg_helpers.answers.thinking import thinking_shape
from sdg_helpers.errors import SdgError
from sdg_helpers.solutions import rows

TAIL = '","finish_reason":"stop","num_generated_tokens":7}'
TEXTS = [
    "",
    'a\nb\t"c" \\\\boxed{1}',
    TAIL,
    f'"generation":"x{TAIL}\n',
    "<think>\né 数 🙂 \u2028\n</think>\n\nYes",
    "\ud800",
]
PROBLEMS = [
    {"id": "a", "problem": "?", "expected_answer": "1"},
    {"id": 'q"\\', "problem": TAIL, "seed": 5, "generation": "old", "finish_reason": "old"},
    {"id": "b", "about": {"generation": "inner", "finish_reason": "x"}, "problem": "?"},
]


def line_of(problem, text, finish_reason="stop"):
    return rows.solution_line(problem, seed=3, generation=text, finish_reason=finish_reason, num_generated_tokens=7)


@pytest.mark.parametrize("problem", PROBLEMS, ids=["plain", "with our keys", "with a nested generation"])
@pytest.mark.parametrize("text", TEXTS)
def test_a_row_is_read_back_whole_or_by_its_ends(problem, text):
    line = line_of(problem, text)
    parsed = files.parse_row(line, Path("x"), 1)
    assert list(parsed)[-3:] == ["generation", "finish_reason", "num_generated_tokens"] and parsed["seed"] == 3
    assert rows.read_id(line) == parsed["id"] == problem["id"] and line.startswith(rows.line_start(problem["id"]))
    solution = rows.parse_solution(line, Path("x"), 1)
    assert rows.unescape_json(solution.text) == parsed["generation"] == text.replace("\ud800", "\ufffd")
    for key in parsed.keys() - {"generation"}:
        assert solution.value(key) == parsed[key]
    assert rows.summarize_row(line)[:2] == ("stop", 7)


@pytest.mark.parametrize("problem", [PROBLEMS[0], PROBLEMS[1]])
@pytest.mark.parametrize("text", TEXTS)
def test_a_copied_row_differs_in_its_keys_only(problem, text):
    line = line_of(problem, text)
    solution = rows.parse_solution(line, Path("x"), 1)
    assert rows.copy_line(solution, solution.keys, {}) == line
    copied = files.parse_row(rows.copy_line(solution, {"id": "new"}, {"judgement": "Yes"}), Path("x"), 1)
    generated = {"generation": text.replace("\ud800", "\ufffd"), "finish_reason": "stop", "num_generated_tokens": 7}
    assert copied == {"id": "new", **generated, "judgement": "Yes"}


def test_rows_of_other_tools_are_read_whatever_their_key_order():
    line = b'{"generation": "so\\n</think>\\n\\n 4", "problem": "?", "id": "a", "finish_reason": "length"}\n'
    solution = rows.parse_solution(line, Path("x"), 1)
    assert (solution.keys["id"], solution.finish_reason, solution.tokens) == ("a", "length", 0)
    assert solution.answer_text() == "\n\n 4" and rows.read_id(line) is None


@pytest.mark.parametrize(
    "text", ["", "a", "<think>a", "<think>a</think>b", " <think>a</think>b", "a</think>b", "<think>a<think></think>"]
)
def test_a_summary_has_the_shape_of_the_thinking(text):
    assert rows.summarize_row(line_of(PROBLEMS[2], text)).thinking == thinking_shape(text)


def test_checksums_tell_texts_apart():
    checksums = {rows.summarize_row(line_of(PROBLEMS[0], text)).text_checksum for text in TEXTS}
    assert len(checksums) == len(TEXTS) and 0 not in checksums
    assert rows.summarize_row(line_of(PROBLEMS[0], "x")).text_checksum == (
        rows.summarize_row(line_of(PROBLEMS[2], "x", "length")).text_checksum
    )


@pytest.mark.parametrize("line", [b'{"id":"a"}\n', b'{"generation":"x"}\n', b'{"id":"a","generation":null}\n'])
def test_a_line_that_is_no_solution_is_named(line):
    with pytest.raises(SdgError, match="output-rs0.jsonl, line 4: not a solution"):
        rows.parse_solution(line, Path("output-rs0.jsonl"), 4)


def test_leading_space_is_stripped_from_an_escaped_text():
    assert rows.strip_leading_space(rows.escape_json(" \n\t\r\n x \n")) == rb"x \n"
    assert rows.strip_leading_space(rb"\\n") == rb"\\n"  # a backslash and an n


@pytest.mark.parametrize("tokens", ["NaN", ["a"], {"a": 1}])
def test_a_row_of_another_tool_with_impossible_tokens_is_named(tmp_path, tokens):
    line = files.dumps({"num_generated_tokens": tokens, "id": "a", "generation": "x"})
    with pytest.raises(SdgError, match="f, line 3: num_generated_tokens must be a number"):
        rows.parse_solution(line, tmp_path / "f", 3)


def test_a_row_without_an_id_is_named(tmp_path):
    line = files.dumps({"problem": "a", "generation": "x", "finish_reason": "stop", "num_generated_tokens": 1})
    with pytest.raises(SdgError, match="f, line 3: not a solution: the keys id and generation are required"):
        rows.parse_solution(line, tmp_path / "f", 3)


def test_damage_inside_a_text_is_told_with_its_solution(tmp_path):
    line = rows.solution_line(
        {"id": "a"}, seed=3, generation="</think>xyz", finish_reason="stop", num_generated_tokens=1
    )
    solution = rows.parse_solution(line.replace(b"xyz", b"\xff\\q"), tmp_path / "f", 1)
    with pytest.raises(SdgError, match="solution of problem 'a', seed 3: its text is damaged: not UTF-8.*sdg repair"):
        solution.answer_text()
