"""How probable is it that a label is right? A small model, fitted to the run's own votes and references.

    votes ──> P(the largest group is right), a logistic curve over its share and the runner-up's share of the seeds
    reference ──> right unless damaged; a damaged reference rarely equals a wrong answer of the solver

The curve and the share of damaged references are estimated together from all problems that have a reference: where
majorities of 15 of 16 match the reference in 93 % of the problems, and larger ones no more often, the other 7 % are
damaged references and not solvers that fail together. What the votes cannot tell apart stays open: confidences are
averaged over every plausible share of damaged references, weighted by how well it explains the run. A weak prior stands
in for the data of a small run, and for tracks without references.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


class _Prior:
    """A Gaussian prior on the coefficients of a logistic curve."""

    def __init__(self, mean: list[float], sd: list[float]):
        self.mean, self.sd = np.array(mean), np.array(sd)

    def log(self, coefficients: Floats) -> float:
        """The log density, up to a constant."""
        return -float((((coefficients - self.mean) / self.sd) ** 2).sum()) / 2


# The curve: logit P(the largest group is right) = a + b * its share + c * the runner-up's share, of the seeds + 1.
_CURVE = _Prior([-2.8, 11.0, -5.0], [0.4, 0.9, 1.1])
# "The reference is among the smaller groups, if the largest is wrong": logit = a + b * their share.
_AMONG = _Prior([-1.5, 3.0], [1.0, 2.0])
_MAX_DEVIATIONS = 8.0  # how far a coefficient may move from its prior, in standard deviations
_DAMAGED = np.array([0.003, 0.01, 0.02, 0.03, 0.05, 0.07, 0.1, 0.13, 0.17, 0.22, 0.3])
_DAMAGED_PRIOR = np.array([0.05, 0.1, 0.12, 0.13, 0.15, 0.15, 0.12, 0.08, 0.05, 0.03, 0.02])
_MOST_DAMAGED = 0.25
SHARED_MISTAKE = 0.1  # how often a damaged reference equals one of the solver's wrong answers
_ITERATIONS = 60


class Votes(NamedTuple):
    """The votes on one problem, as counts.

    largest: solutions in the largest group of equal answers; second: in the next one; others: in all the rest;
    seeds: solutions asked for (what has no answer votes for nothing, but was asked); reference: solutions that match
    the reference, None without a reference; leads: whether the group of the reference is the largest (also when tied).
    """

    largest: int
    second: int
    others: int
    seeds: int
    reference: int | None
    leads: bool


class Confidence(NamedTuple):
    """Probabilities that the reference, and that the largest group's answer, is the true answer of a problem."""

    reference: float
    largest: float


@dataclass(frozen=True)
class _Fit:
    """The two curves under one assumed share of damaged references, and the weight of that assumption."""

    damaged: float
    weight: float
    curve: Floats
    among: Floats


@dataclass(frozen=True)
class LabelModel:
    """fits: one per share of damaged references; problems: how many problems with a reference they rest on."""

    fits: tuple[_Fit, ...]
    problems: int = 0

    @classmethod
    def fit(cls, patterns: Mapping[Votes, int]) -> LabelModel:
        """Fit to {votes on a problem: number of problems with these votes}; the prior alone when there are none."""
        table = _Table([votes for votes in patterns if votes.reference is not None and votes.largest])
        count = np.array([patterns[votes] for votes in table.votes], dtype=float)
        fits, scores = [], []
        for damaged, prior in zip(_DAMAGED, _DAMAGED_PRIOR, strict=True):
            curve, among, score = table.fit(float(damaged), count)
            fits.append((float(damaged), curve, among))
            scores.append(score + np.log(prior))
        weights = np.exp(np.array(scores) - max(scores))
        weights /= weights.sum()
        return cls(
            tuple(
                _Fit(damaged, float(w), curve, among) for (damaged, curve, among), w in zip(fits, weights, strict=True)
            ),
            int(count.sum()),
        )

    @property
    def damaged(self) -> float:
        """The estimated share of references that are wrong."""
        return sum(fit.damaged * fit.weight for fit in self.fits)

    @property
    def plausible(self) -> bool:
        """Whether the estimated share of damaged references is believable. Above a quarter, it is likelier that the
        solver fails together on hard problems; nothing should be relabeled then."""
        return self.damaged <= _MOST_DAMAGED

    def summary(self) -> dict[str, Any]:
        """Return what a manifest keeps: problems fitted to, share of damaged references, whether it is plausible."""
        return {"problems": self.problems, "damaged": round(self.damaged, 4), "plausible": self.plausible}

    def largest_right(self, largest: int, second: int, seeds: int) -> float:
        """Return P(right) of a group with so many votes, before the reference is looked at."""
        return sum(
            fit.weight * float(_sigmoid(_curve_features(largest, second, seeds) @ fit.curve)) for fit in self.fits
        )

    def confidence(self, votes: Votes) -> Confidence:
        """Return how sure the reference and the largest group's answer are, given the votes and the reference."""
        if not votes.largest:
            return Confidence(0.0 if votes.reference is None else 1 - self.damaged, 0.0)
        if votes.reference is None:
            return Confidence(0.0, self.largest_right(votes.largest, votes.second, votes.seeds))
        table = _Table([votes])
        reference = largest = total = 0.0
        for fit in self.fits:
            intact, hidden, lost = (float(one[0]) for one in table.joint(fit.damaged, fit.curve, fit.among))
            mass = fit.weight / (intact + hidden + lost)
            reference, largest = reference + mass * intact, largest + mass * (intact if votes.leads else hidden)
            total += fit.weight
        return Confidence(reference / total, largest / total)


class _Table:
    """Patterns of votes on problems with a reference, as arrays."""

    def __init__(self, votes: list[Votes]):
        self.votes = votes
        self.features = np.array([_curve_features(one.largest, one.second, one.seeds) for one in votes]).reshape(-1, 3)
        self.smaller = np.array([(1.0, (one.second + one.others) / (one.seeds + 1)) for one in votes]).reshape(-1, 2)
        self.leads = np.array([one.leads for one in votes], dtype=bool)
        self.found = np.array([bool(one.reference) and not one.leads for one in votes], dtype=bool)

    def joint(self, damaged: float, curve: Floats, among: Floats) -> tuple[Floats, Floats, Floats]:
        """P(what was seen, and …) by pattern: the reference is right; the reference is damaged and the largest group
        is right; the reference is damaged and the largest group is wrong."""
        right = _sigmoid(self.features @ curve)
        among_p = np.where(self.smaller[:, 1] > 0, _sigmoid(self.smaller @ among), 0.0)
        where = np.where(self.found, among_p, 1 - among_p)
        intact = (1 - damaged) * np.where(self.leads, right, (1 - right) * where)
        odd = damaged * np.where(self.leads | self.found, SHARED_MISTAKE, 1 - SHARED_MISTAKE)
        return intact, np.where(self.leads, 0.0, right * odd), (1 - right) * odd

    def fit(self, damaged: float, count: Floats) -> tuple[Floats, Floats, float]:
        """Fit both curves by expectation maximisation; return them and the log of the posterior density."""
        curve, among = _CURVE.mean, _AMONG.mean
        for _ in range(_ITERATIONS if self.votes else 0):
            intact, hidden, lost = self.joint(damaged, curve, among)
            total = intact + hidden + lost
            largest = np.where(self.leads, intact, hidden) / total
            curve = _newton(self.features, largest, count, curve, _CURVE)
            among = _newton(self.smaller, self.found.astype(float), count * ~self.leads * intact / total, among, _AMONG)
        score = float(count @ np.log(sum(self.joint(damaged, curve, among)))) if self.votes else 0.0
        score += _CURVE.log(curve) + _AMONG.log(among)
        return curve, among, score


def _sigmoid(logit: Floats) -> Floats:
    return np.asarray(1 / (1 + np.exp(-np.clip(logit, -30, 30))))


def _curve_features(largest: int, second: int, seeds: int) -> Floats:
    return np.array([1.0, largest / (seeds + 1), second / (seeds + 1)])  # one seed alone agrees with nobody


def _newton(features: Floats, target: Floats, count: Floats, start: Floats, prior: _Prior) -> Floats:
    """Take one Newton step of a logistic regression with soft targets and a prior on its coefficients."""
    probability = _sigmoid(features @ start)
    gradient = features.T @ (count * (target - probability)) - (start - prior.mean) / prior.sd**2
    curvature = (features * (count * probability * (1 - probability))[:, None]).T @ features + np.diag(prior.sd**-2.0)
    step, bound = np.linalg.solve(curvature, gradient), _MAX_DEVIATIONS * prior.sd
    return np.clip(
        start + step / max(1.0, float(np.abs(step / prior.sd).max())), prior.mean - bound, prior.mean + bound
    )
