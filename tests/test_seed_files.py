"""Solutions on disk: one file per attempt, sorted by age, and merged with few of them open at once."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from sdg_helpers import files
from sdg_helpers.errors import SdgError
from sdg_helpers.problems.problem_file import ProblemIndex
from sdg_helpers.solutions import seed_files
from sdg_helpers.solutions.finishing import latest_failures

REASONS = ["http_500", "timeout", "http_400", "disconnected", "bad_json", "pushed_back"]
REPO = Path(__file__).resolve().parent.parent
MERGE = """
import resource, sys
from sdg_helpers.problems import ProblemIndex
from sdg_helpers.solutions import seed_files
resource.setrlimit(resource.RLIMIT_NOFILE, (200, 200))
summary = seed_files.Summary()
seed_files.merge(sys.argv[1], ProblemIndex.build(sys.argv[2]), 0, summary)
print(summary.rows)
"""


@pytest.fixture
def problems(tmp_path):
    path = tmp_path / "problems.jsonl"
    path.write_bytes(b"".join(files.dumps({"id": f"p{i}", "problem": "?", "expected_answer": "1"}) for i in range(600)))
    return path


def row(number, text="x"):
    return files.dumps(
        {"id": f"p{number}", "seed": 0, "generation": text, "finish_reason": "stop", "num_generated_tokens": 1}
    )


def test_a_seed_with_more_files_than_may_be_open_is_merged(problems, tmp_path):
    """Sixteen chunks that were requeued many times have a file for each attempt."""
    for number in range(600):
        writer = seed_files.PartialWriter(tmp_path, f"solve-{number % 16:04d}of0016")
        writer.append(0, row(number) + row((7 * number + 1) % 600))  # so the merge returns to files that it has closed
        writer.close()
    assert len(list((tmp_path / "partial" / "rs0").iterdir())) == 600
    merged = subprocess.run([sys.executable, "-c", MERGE, tmp_path, problems], cwd=REPO, capture_output=True, text=True)
    assert merged.stdout == "600\n", merged.stderr
    assert (tmp_path / "output-rs0.jsonl").read_bytes() == b"".join(map(row, range(600)))


def test_rows_of_one_moment_are_written_together(tmp_path):
    writer = seed_files.PartialWriter(tmp_path, "solve")
    paths = [tmp_path / "partial" / f"rs{seed}" / f"{writer.name}.jsonl" for seed in (0, 1)]
    writer.add(0, row(1))
    writer.add(1, row(1))
    writer.add(0, row(2))
    assert not any(path.exists() for path in paths)
    writer.write()
    assert [path.read_bytes() for path in paths] == [row(1) + row(2), row(1)]
    writer.add(0, row(3))
    writer.sync()
    assert paths[0].read_bytes() == row(1) + row(2) + row(3)
    writer.add(1, row(2))
    writer.close()
    assert paths[1].read_bytes() == row(1) + row(2)


def test_a_failed_merge_leaves_no_file_open(problems, tmp_path, monkeypatch):
    writer = seed_files.PartialWriter(tmp_path, "solve")
    writer.append(0, row(1))
    writer.close()
    before = set(Path("/proc/self/fd").iterdir())
    monkeypatch.setattr(seed_files.Summary, "add", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        seed_files.merge(tmp_path, ProblemIndex.build(problems), 0, seed_files.Summary())
    assert set(Path("/proc/self/fd").iterdir()) == before


def test_attempts_sort_by_age_and_are_found_by_writer_name(problems, tmp_path):
    names = []
    for number, name in enumerate(["solve-0003of0016", "solve-0001of0004", "solve", "solve-0000of0001"] * 3):
        writer = seed_files.PartialWriter(tmp_path, name)
        writer.append(0, row(1, "first" if not number else "later") + row(10 + number))
        writer.close()
        names.append(writer.name)
    assert names == sorted(names)
    index = ProblemIndex.build(problems)
    assert seed_files.find_done(tmp_path, index, 1).sum() == 13
    assert seed_files.find_done(tmp_path, index, 1, names[5]).nonzero()[0].tolist() == [1, 15]
    assert seed_files.writer_bytes(tmp_path, names[5]) == len(row(1, "later") + row(15))
    seed_files.merge(tmp_path, index, 0, seed_files.Summary())
    assert next(files.read_jsonl(tmp_path / "output-rs0.jsonl"))["generation"] == "first"


@pytest.mark.parametrize("tokens", [lambda n: n, lambda n: 9 - n])
def test_a_repeated_failure_counts_with_its_last_reason(tmp_path, monkeypatch, tokens):
    problems = tmp_path / "problems.jsonl"
    problems.write_bytes(files.dumps({"id": "a", "problem": "?", "expected_answer": "1"}))
    for number, reason in enumerate(REASONS):
        monkeypatch.setattr(seed_files.secrets, "token_hex", lambda _, n=number: f"{tokens(n):08x}")
        name = seed_files.PartialWriter(tmp_path, f"solve-{tokens(number):04d}of0010").name
        with files.AppendLog(tmp_path / "partial" / f"failures-{name}.jsonl") as log:
            log.append({"id": "a", "seed": 0, "reason": reason})
    latest = latest_failures(tmp_path, ProblemIndex.build(problems), np.zeros((1, 1), bool))
    assert latest["a", 0]["reason"] == REASONS[-1]


def test_zeros_inside_a_row_are_refused_with_their_place(problems, tmp_path):
    writer = seed_files.PartialWriter(tmp_path, "solve")
    writer.append(0, row(1) + row(2, "a" * 9).replace(b"aaa", bytes(3), 1))
    writer.close()
    with pytest.raises(SdgError, match=f"byte {len(row(1))}: 3 NUL bytes, as a power cut"):
        seed_files.find_done(tmp_path, ProblemIndex.build(problems), 1)
