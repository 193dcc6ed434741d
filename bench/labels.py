"""What relabeling does to labels, and what judging costs, on answers of real models to problems with known answers.

    python -m bench.labels example_model_solutions.jsonl
    python -m bench.labels --simulated                        # solvers whose errors scatter or cluster, 4 to 16 seeds

The file is grade_school_math/data/example_model_solutions.jsonl of github.com/openai/grade-school-math (MIT): the
answers of four models to the 1,319 test problems of GSM8K; each model counts as one seed. A share of the references is
damaged on purpose. The model that judges is played by the truth: what is counted is how often it would be asked.
"""

from __future__ import annotations

import argparse
import random
import re
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import orjson
import pandas as pd

from sdg_helpers import files
from sdg_helpers.answers.equality import decide
from sdg_helpers.labels.relabel import relabel_problems
from sdg_helpers.labels.rules import RelabelRule
from sdg_helpers.solutions.rows import solution_line
from sdg_helpers.stages import Stage
from tests.helpers.voting import Simulated, simulate

MODELS = ("6b_finetuning", "6b_verification", "175b_finetuning", "175b_verification")
_ANSWER = re.compile(r"^A:\s*(.+)$", re.MULTILINE)
RULES = {
    "no relabeling": RelabelRule("never"),
    "any plurality": RelabelRule("majority"),
    "by confidence": RelabelRule(),
}


def read_problems(path: Path, damage: float, random_seed: int = 0) -> Iterator[tuple[str, Simulated, list[str]]]:
    """(problem, its truth, reference and answers, the solutions) of the published file; some references are changed by
    a little."""
    chance = random.Random(random_seed)
    for row in files.read_jsonl(path):
        truth = _answer(row["ground_truth"]) or ""
        reference = truth
        if chance.random() < damage:
            reference = str(int(truth.replace(",", "")) + chance.choice((-10, -2, -1, 1, 2, 10)))
        texts = [row[model]["solution"] for model in MODELS]
        yield row["question"], Simulated(truth, reference, [_answer(text) for text in texts]), texts


def _answer(solution: str) -> str | None:
    found = _ANSWER.findall(solution)
    return found[-1].strip() if found else None


def judge(problem: str, one: str, other: str, calls: Counter[str]) -> bool:
    """The verdict on two answers, by rule or by the truth; counts calls and rules that are wrong."""
    right = as_number(one) == as_number(other)
    verdict, how = decide(one, other, problem)
    calls["comparisons"] += 1
    calls["asked"] += not how
    calls["wrong by rule"] += bool(how) and verdict != right
    return right


def as_number(text: str) -> float | str:
    try:
        return float(text.replace(",", "").replace("$", "").rstrip(".%"))
    except ValueError:
        return text


def measure(problems: Sequence[tuple[str, Simulated, list[str]]], folder: Path) -> None:
    """Print the calls of judging twice, and for each rule the labels that are wrong and the repairs."""
    known: dict[tuple[int, str, str], bool] = {}
    calls: Counter[str] = Counter()

    def verdict(place: int, answer: str | None, expected: str) -> bool:
        if not answer or not expected:
            return False
        calls["rows the reference asks about"] += answer != expected
        key = (place, answer, expected)
        if key not in known:
            known[key] = judge(problems[place][0], answer, expected, calls)
        return known[key]

    rows = [
        (f"p{place}", seed, answer, verdict(place, answer, one.reference))
        for place, (_, one, _) in enumerate(problems)
        for seed, answer in enumerate(one.answers)
    ]
    table = pd.DataFrame(rows, columns=["id", "seed", "predicted_answer", "correct"])
    table.astype({"seed": "int32", "predicted_answer": "str", "correct": "boolean"}).to_parquet(folder / "v.parquet")
    (folder / "p.jsonl").write_bytes(
        b"".join(
            orjson.dumps({"id": f"p{place}", "problem": text, "expected_answer": one.reference}) + b"\n"
            for place, (text, one, _) in enumerate(problems)
        )
    )
    solutions = write_solutions([texts for *_, texts in problems], folder)
    labels = {}
    for number, (name, rule) in enumerate(RULES.items()):
        stage = Stage(folder / str(number), "relabeled")
        relabel_problems(folder / "v.parquet", folder / "p.jsonl", stage, rule, solutions)
        labels[name] = pd.read_parquet(stage.folder / "labels.parquet")
    for place, expected in enumerate(labels["by confidence"]["expected_answer"]):
        if labels["by confidence"]["decision"].iat[place] == "relabel":
            for answer in problems[place][1].answers:
                verdict(place, answer, expected)
    print("  judging:", ", ".join(f"{count:,} {name}" for name, count in calls.items()))
    _print_labels(labels, [one for _, one, _ in problems])


def write_solutions(texts: Sequence[Sequence[str]], folder: Path) -> Path | None:
    """Write the solutions of all problems, by seed; None if there are only answers."""
    if not texts[0]:
        return None
    (folder / "solutions").mkdir()
    for seed in range(len(texts[0])):
        (folder / "solutions" / f"output-rs{seed}.jsonl").write_bytes(
            b"".join(
                solution_line(
                    {"id": f"p{place}"}, seed=seed, generation=of[seed], finish_reason="stop", num_generated_tokens=0
                )
                for place, of in enumerate(texts)
            )
        )
    return folder / "solutions"


def _print_labels(labels: dict[str, pd.DataFrame], problems: Sequence[Simulated]) -> None:
    truth = [as_number(one.truth) for one in problems]
    damaged = [as_number(one.reference) != as_number(one.truth) for one in problems]
    repairs: dict[str, set[int]] = {}
    print("  rule            wrong labels  relabeled  right  undecided  right of those >= 0.9 sure")
    for name, table in labels.items():
        right = [as_number(text) == true for text, true in zip(table["expected_answer"], truth, strict=True)]
        used, relabeled = (table["decision"] != "undecided").tolist(), (table["decision"] == "relabel").tolist()
        repairs[name] = {place for place, one in enumerate(right) if one and relabeled[place] and damaged[place]}
        sure = [one for one, use, p in zip(right, used, table["confidence"], strict=True) if use and p >= 0.9]
        wrong = sum(use and not one for one, use in zip(right, used, strict=True))
        share = f"{sum(sure) / len(sure):.3f}" if sure else "-"
        print(
            f"  {name:15} {wrong:12,} {sum(relabeled):10,} {len(repairs[name]):6,} {used.count(False):10,}  {share} "
            f"of {len(sure):,}"
        )
    every, kept = repairs["any plurality"], repairs["by confidence"]
    print(f"  right repairs of any plurality that are kept: {len(kept & every)} of {len(every)}")


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", nargs="?", type=Path)
    parser.add_argument("--simulated", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        for damage in (0.0, 0.05, 0.1, 0.2) if arguments.file else ():
            print(f"GSM8K, 4 models, {damage:.0%} of the references damaged")
            (folder := Path(name) / f"gsm{damage}").mkdir()
            measure(list(read_problems(arguments.file, damage)), folder)
        for seeds, cluster in ((4, 0.05), (4, 0.5), (8, 0.05), (8, 0.5), (16, 0.05), (16, 0.5)):
            if arguments.simulated:
                print(f"simulated, {seeds} seeds, 10% damaged, {cluster:.0%} of wrong answers repeat another")
                (folder := Path(name) / f"{seeds}-{cluster}").mkdir()
                made = simulate(2000, seeds, cluster=cluster, damage=0.1, pass_rates=(3.0, 0.7), random_seed=seeds)
                measure([("", one, []) for one in made], folder)


if __name__ == "__main__":
    main()
