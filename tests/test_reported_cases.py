"""Data that people reported trouble with, each with its right outcome.

Further ones: integers of 6,000 digits in test_program_tests.py; interaction, files, checkers and huge numbers of
published sources in test_coding.py; fences and other languages in test_code_filter.py; layouts of questions in
test_science.py; ends, special tokens, dropped thinking and repeated keys in test_sft_trainer_view.py; dates and keys
that are null at first in test_sft_typed_files.py.
"""

import json

import numpy as np
import pandas as pd
import pytest

from sdg_helpers import files
from sdg_helpers.coding.filtering import program_of
from sdg_helpers.coding.outputs import same_output
from sdg_helpers.coding.program_tests import run_tests
from sdg_helpers.coding.sandbox import open_sandbox
from sdg_helpers.coding.sandboxed_process import RunLimits
from sdg_helpers.completions.replies import read_reply
from sdg_helpers.problems.download import download_problems
from tests.helpers.programs import needs_sandbox
from tests.helpers.stages import stage_at

INTEGER = "1267650600228229401496703205376"


def labels_of(folder, text, name="mine.jsonl", **more):
    """Return the labels of a file of problems by problem, and the manifest."""
    source = folder / name
    source.write_bytes(text if isinstance(text, bytes) else text.encode())
    manifest = download_problems(stage_at(folder / "problems"), source=str(source), **more)
    rows = files.read_jsonl(folder / "problems" / "problems.jsonl")
    return {row["problem"]: row["expected_answer"] for row in rows}, manifest


def test_answers_in_a_column_of_another_name(tmp_path):
    rows = '{"problem":"What is 2+2?","answer":"4","solution":"..."}\n{"problem":"What is 2+3?","answer":"5"}\n'
    assert labels_of(tmp_path, rows)[0] == {"What is 2+2?": "4", "What is 2+3?": "5"}
    (tmp_path / "empty").mkdir()
    rows = '{"problem":"What is 2+2?","expected_answer":"","answer":"4"}\n'
    assert labels_of(tmp_path / "empty", rows)[0] == {"What is 2+2?": "4"}


def test_a_long_integer_keeps_its_digits(tmp_path):
    row = '{"problem":"What is 2^100?","expected_answer":%s}\n'
    assert labels_of(tmp_path, row % INTEGER)[0] == {"What is 2^100?": INTEGER}


def test_copies_of_one_problem_are_one_with_their_conflict_counted(tmp_path):
    copies = [("What is 2+2?", ""), ("What is 2+2?", "4"), ("What is 2+2? ", "4"), ("What is  2+2?", "5")]
    rows = "".join(json.dumps({"problem": text, "expected_answer": label}) + "\n" for text, label in copies)
    labels, manifest = labels_of(tmp_path, rows)
    assert labels == {"What is 2+2?": "4"} and manifest["conflicting_answers"] == 1  # most labelled copies say 4


@pytest.mark.parametrize(
    ("value", "label"),
    [(["1", "2"], "1, 2"), (True, "True"), (float("nan"), ""), ("null", ""), ("unknown", ""), ("-", ""), ("N/A", "")],
)
def test_labels_that_are_lists_truth_values_or_no_answer(tmp_path, value, label):
    table = pd.DataFrame({"problem": ["Which?", "What is 1+1?"], "expected_answer": [json.dumps(value), '"2"']})
    rows = [f'{{"problem": "{text}", "expected_answer": {one}}}' for text, one in table.itertuples(index=False)]
    assert labels_of(tmp_path, "\n".join(rows) + "\n")[0]["Which?"] == label


def test_a_column_of_numbers_with_gaps_and_one_of_bytes(tmp_path):
    table = pd.DataFrame({"problem": ["a b c?", "d e f?"], "expected_answer": [np.nan, 2.5], "image": [b"\xff", b"x"]})
    table.to_parquet(tmp_path / "table.parquet")
    assert labels_of(tmp_path, (tmp_path / "table.parquet").read_bytes(), "x.parquet")[0] == {
        "a b c?": "",
        "d e f?": "2.5",
    }


def test_thinking_that_comes_twice_is_stored_once():
    text = "<think>\nTwo and two.\n</think>\n\nThe answer is \\boxed{4}"
    message = {"role": "assistant", "reasoning_content": "Two and two.", "content": text}
    reply = read_reply(json.dumps({"choices": [{"finish_reason": "stop", "message": message}]}).encode(), 1.0)
    assert (reply.text, reply.thinking) == (text, "twice")


@pytest.mark.parametrize(
    ("printed", "expected", "question", "same"),
    [
        ("2.0000000000\n", "2\n", "error up to 1e-6 is allowed", True),
        ("0.000000\n", "0\n", "", True),
        ("1 2 3\n", "1\n2\n3\n", "", True),
        ("2\n\n4\n\n", "2\n4\n", "", True),
        ("2\n", "\n2\n", "", True),
        ("Yes\n", "YES\n", "print YES or NO in any case", True),
        ("1_0.50\n", "10.5\n", "", False),
        ("1000000.9\n", "1000000.0\n", "error up to 1e-9", False),
    ],
)
def test_outputs_are_compared_as_contest_judges_do(printed, expected, question, same):
    assert same_output(printed, expected, question) is same


THREADS = """\
import threading
n = int(input())
r = [0, 0]
def w(i):
    r[i] = n * i
ts = [threading.Thread(target=w, args=(i,)) for i in range(2)]
for t in ts:
    t.start()
for t in ts:
    t.join()
print(sum(r))
"""


@needs_sandbox
def test_a_program_with_two_threads_runs():
    tests = [{"input": "5\n", "output": "5\n"}]
    assert run_tests(open_sandbox(), THREADS, "python", tests, RunLimits()).reason == "tests"


def test_a_fence_in_a_docstring_does_not_end_the_program():
    program = '"""\nExample\n```\n1\n```\n"""\nprint(int(input()))'
    row = {"generation": f"```python\n{program}\n```", "finish_reason": "stop", "language": "python"}
    assert program_of(row, reasoning=False)[0].strip() == program
