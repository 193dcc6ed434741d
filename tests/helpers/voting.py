"""Simulated solvers: problems with known truths, answers that scatter or cluster, references that may be damaged."""

from typing import NamedTuple

import numpy as np


class Simulated(NamedTuple):
    """One problem: its true answer, its reference, and an answer per seed (None: none)."""

    truth: str
    reference: str
    answers: list[str | None]


def simulate(number, seeds, *, cluster, damage, pass_rates, random_seed, silent=0.03, shared_mistake=0.05):
    """cluster: how often a wrong answer repeats an earlier one; damage: share of wrong references; pass_rates: of a
    Beta distribution; shared_mistake: how often a damaged reference is the solver's first wrong answer."""
    random = np.random.default_rng(random_seed)
    problems = []
    for place in range(number):
        passes, truth, wrong = random.beta(*pass_rates), str(10 + place), []
        answers = []
        for _ in range(seeds):
            if random.random() < silent:
                answers.append(None)
            elif random.random() < passes:
                answers.append(truth)
            else:
                if not wrong or random.random() >= cluster:
                    wrong.append(str(1_000_000 + 1000 * place + len(wrong)))
                    answers.append(wrong[-1])
                else:
                    answers.append(wrong[random.integers(len(wrong))])
        reference = truth
        if random.random() < damage:
            reference = wrong[0] if wrong and random.random() < shared_mistake else str(9_000_000 + place)
        problems.append(Simulated(truth, reference, answers))
    return problems
