"""Runs of any size without a model: problems, solutions and verdicts as the stages write them.

Solutions look like a reasoning model's: LaTeX in the thinking, quotation marks, line breaks, a box at the end. Some do
not finish, some are wrong, and some problems have a wrong reference answer.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet

from sdg_helpers import files
from sdg_helpers.judging.verdicts import SCHEMA
from sdg_helpers.runs.run import Track
from sdg_helpers.solutions.rows import solution_line

_SENTENCES = (
    "We write $\\frac{%d}{%d} = \\sqrt{%d}$ and note that \\(x^{2} - %d x = 0\\).\n",
    'Hence \\[ \\sum_{k=1}^{n} k^{%d} \\le \\int_0^{%d} t^{%d}\\,dt \\] so the "bound" holds (%d).\n\n',
    "Wait, let me check: %d \\cdot %d = %d, and \\binom{%d}{2} is an integer \\implies \\checkmark.\n",
    "Let \\(f(x)=\\begin{cases} %d, & x<0 \\\\ %d, & x\\ge 0 \\end{cases}\\) \u2014 then f(%d) = %d.\n",
)
_PARTS = 8  # of a solution's thinking, drawn from a pool


def write_problems(track: Track, count: int) -> Path:
    """Write problems.jsonl of a complete stage; a tenth of the references are wrong."""
    with track.stage("problems").work({}, {}) as work:
        path = work.folder / "problems.jsonl"
        with files.atomic_writer(path) as out:
            out.writelines(map(files.dumps, _problems(count)))
        work.finish(rows_in=count, rows_out=count, outputs=[path])
    return path


def _problems(count: int) -> Iterator[dict[str, str]]:
    for number in range(count):
        text = (
            f'Problem {number}: find $x$ with $\\frac{{x}}{{{number + 1}}} = \\sqrt{{{number}}}$ and "y" prime. '
            + "Assume $a_{n+1} \\le a_n$. " * (number % 9)
        )
        yield {
            "id": files.content_id(text),
            "problem": text,
            "expected_answer": str(number + 7 * (number % 10 == 0)),
            "problem_type": "has_answer_extracted",
            "problem_source": f"source-{number % 5}",
        }


def write_solutions(track: Track, count: int, seeds: int, characters: int) -> None:
    """Write the files of a complete solutions stage, with about this many characters in a solution."""
    drawn = random.Random(7)
    pool = [_thinking(drawn, characters // _PARTS) for _ in range(256)]
    with track.stage("solutions").work({"num_seeds": seeds, "model": "none"}, {}) as work:
        paths = [work.folder / f"output-rs{seed}.jsonl" for seed in range(seeds)]
        for seed, path in enumerate(paths):
            with files.atomic_writer(path) as out:
                out.writelines(_solutions(count, seed, pool))
        work.finish(rows_in=count * seeds, rows_out=count * seeds, outputs=paths)


def _thinking(drawn: random.Random, characters: int) -> str:
    text = ""
    while len(text) < characters:
        text += drawn.choice(_SENTENCES) % tuple(drawn.randrange(2, 999) for _ in range(4))
    return text


def _solutions(count: int, seed: int, pool: list[str]) -> Iterator[bytes]:
    drawn = random.Random(1000 + seed)
    for number, problem in enumerate(_problems(count)):
        thinking = "".join(drawn.choices(pool, k=_PARTS))
        finished, answer = drawn.random() >= 0.05, number if drawn.random() < 0.8 else number + 1
        end = f"\n</think>\n\nTherefore, the final answer is \\boxed{{{answer}}}." if finished else ""
        yield solution_line(
            problem,
            seed=seed,
            generation=f"<think>\n{thinking}{end}",
            finish_reason="stop" if finished else "length",
            num_generated_tokens=len(thinking) // 4,
        )


def write_verdicts(track: Track, count: int, seeds: int) -> Path:
    """Write verdicts.parquet of a complete judging stage, and the store of the comparisons that it rests on."""
    problems = list(_problems(count))
    ids = pa.array([problem["id"] for problem in problems])
    expected = [problem["expected_answer"] for problem in problems]
    with track.stage("judged").work({}, {}) as work:
        path, store = work.folder / "verdicts.parquet", work.folder / "comparisons.jsonl"
        store.touch()
        with files.atomic_writer(path) as out, pyarrow.parquet.ParquetWriter(out, SCHEMA) as table:
            for seed in range(seeds):
                drawn = np.random.default_rng(seed)
                offsets = np.where(drawn.random(count) < 0.8, 0, drawn.integers(1, 5, count))
                missing = drawn.random(count) < 0.05
                predicted = [None if gone else str(n + int(offsets[n])) for n, gone in enumerate(missing)]
                pairs = list(zip(predicted, expected, strict=True))
                correct = [one == other for one, other in pairs]
                hows = ["missing" if one is None else "exact" if one == other else "numeric" for one, other in pairs]
                columns = [ids, np.full(count, seed, np.int32), predicted, expected, correct, hows]
                arrays = [pa.array(column, kind.type) for column, kind in zip(columns, SCHEMA, strict=True)]
                table.write_table(pa.Table.from_arrays(arrays, schema=SCHEMA), row_group_size=1 << 16)
        rows = count * seeds
        work.finish(rows_in=rows, rows_out=rows, outputs=[path, store], seeds=list(range(seeds)))
    return path
