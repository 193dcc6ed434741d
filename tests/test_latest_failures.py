"""A request that failed in several attempts counts with the reason of the last one."""
import os

import numpy as np
import pytest

from sdg_helpers import files, solutions
from sdg_helpers.judging import asking
from sdg_helpers.problems import ProblemIndex
from sdg_helpers.solutions import seed_files

REASONS = ["http_500", "timeout", "http_400", "disconnected", "bad_json", "pushed_back"]


@pytest.mark.parametrize("tokens", [lambda n: n, lambda n: 9 - n])
def test_of_a_solution(tmp_path, monkeypatch, tokens):
    problems = tmp_path / "problems.jsonl"
    problems.write_bytes(files.dumps({"id": "a", "problem": "?", "expected_answer": "1"}))
    for number, reason in enumerate(REASONS):
        monkeypatch.setattr(seed_files.secrets, "token_hex", lambda _, n=number: f"{tokens(n):08x}")
        name = seed_files.PartialWriter(tmp_path, f"solve-{tokens(number):04d}of0010").name
        with files.AppendLog(tmp_path / "partial" / f"failures-{name}.jsonl") as log:
            log.append({"id": "a", "seed": 0, "reason": reason})
    latest = solutions._outstanding(tmp_path, ProblemIndex.build(problems), np.zeros((1, 1), bool))
    assert latest["a", 0]["reason"] == REASONS[-1]


@pytest.mark.parametrize("tokens", [lambda n: n, lambda n: 9 - n])
def test_of_a_comparison(tmp_path, tokens):
    comparison = {"id": "a", "predicted_answer": "1", "expected_answer": "2"}
    for number, reason in enumerate(REASONS):
        path = tmp_path / f"failures-0000-{tokens(number):08x}.jsonl"
        path.write_bytes(files.dumps({**comparison, "reason": reason}))
        os.utime(path, (number, number))
    assert [row["reason"] for row in asking.failures(tmp_path).values()] == [REASONS[-1]]
