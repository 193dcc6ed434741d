"""What adaptive sampling generates and keeps, beside 16 solutions of every problem, on pass rates of real models.

    python -m bench.adaptive example_model_solutions.jsonl    # of GSM8K, see bench.labels
    python -m bench.adaptive                                  # distributions of pass rates only

Of GSM8K, a problem's pass rate is taken to be the share of the four published models that solve it.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from bench.labels import MODELS
from sdg_helpers import files
from sdg_helpers.adaptive import AdaptiveRule, compare_with_uniform

_SEEDS = 16
_PROBLEMS = 10_000


def pass_rates(path: Path | None) -> Iterator[tuple[str, np.ndarray]]:
    """Yield (name, pass rates of the problems)."""
    if path is not None:
        solved = [[row[model]["is_correct"] for model in MODELS] for row in files.read_jsonl(path)]
        yield "GSM8K, four models", np.mean(solved, axis=1)
    rng = np.random.default_rng(0)
    for name, shape in (("always or never", (0.5, 0.5)), ("even", (1, 1)), ("easy", (3, 1)), ("hard", (0.3, 1))):
        yield name, rng.beta(*shape, _PROBLEMS)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.adaptive", description=__doc__.splitlines()[0])
    parser.add_argument("file", nargs="?", type=Path)
    parser.add_argument("--min-rate", type=float, default=AdaptiveRule.min_rate)
    arguments = parser.parse_args()
    rule, rng = AdaptiveRule(min_rate=arguments.min_rate), np.random.default_rng(1)
    print(f"{'pass rates':20} {'generated':>10} {'useful':>8} {'solved':>8} {'per useful':>11}   (adaptive / uniform)")
    for name, rates in pass_rates(arguments.file):
        table = compare_with_uniform(rng.random((len(rates), _SEEDS)) < rates[:, None], rule)
        generated, useful, solved = table.loc["adaptive"] / table.loc["uniform"]
        print(f"{name:20} {generated:10.2f} {useful:8.2f} {solved:8.2f} {generated / useful:11.2f}")


if __name__ == "__main__":
    main()
