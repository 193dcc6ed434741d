"""Problems for the model that adds digits, a quarter of them with a wrong reference answer, and the words it knows."""

from pathlib import Path

from sdg_helpers import files

HERE = Path(__file__).resolve().parent
PROMPT_SOLVE, PROMPT_JUDGE = HERE / "solve.yaml", HERE / "judge.yaml"


def write_problems(path, count=12):
    """problems.jsonl as stage 01 writes it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "wb") as out:
        for number in range(count):
            a, b = number % 5 + 1, number // 5 + 1
            text = f"{a}+{b}=?"
            out.write(
                files.dumps(
                    {
                        "id": files.content_id(text),
                        "problem": text,
                        "expected_answer": str(a + b + (number % 4 == 3)),
                        "problem_type": "has_answer_extracted",
                        "problem_source": "tests",
                    }
                )
            )
    return path
