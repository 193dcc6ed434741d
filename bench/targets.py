"""What the figures of `python -m bench` must reach: × is a ratio to the floor of the same run."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Target:
    """A bound on a figure. sign: ">=" or "<="."""

    sign: str
    bound: float

    def holds(self, value: float) -> bool:
        """Return whether a figure is within the bound; NaN never is."""
        return value >= self.bound if self.sign == ">=" else value <= self.bound

    def __str__(self) -> str:
        return f"{self.sign} {self.bound:,g}"


def at_least(bound: float) -> Target:
    return Target(">=", bound)


def at_most(bound: float) -> Target:
    return Target("<=", bound)


STAGE_SPEED = at_least(0.8)  # × the bare loop's requests/s, for all of stage 03 but its merge
STAGE_CPU = at_most(1.5)  # × the bare loop's CPU time a request
FASTEST_PEER = at_least(2)  # × the requests/s of the fastest peer, when the server answers at once
MORE_MEMORY = at_most(50)  # MB of 1,000,000 requests beyond those of 10,000
SLOTS_USED = at_least(0.95)  # share of a server's slots, until the input ends

EXPORT_SPEED = at_least(0.6)  # × the rate of merely parsing the same rows
STAGE_MEMORY = at_most(400)  # MB, for export and relabeling
RELABEL_CPU = at_most(12)  # s, for 5,000,000 verdicts
REJUDGE_CPU = at_most(120)  # s, for 5,000,000 answers by rules: a minute on two cores

PARAMS_CPU = at_most(0.5)  # s, `sdg params`
STATUS_CPU = at_most(0.2)  # s, `sdg status` of a run with 5,000,000 rows
FINISHED_RUN_CPU = at_most(3)  # s, `sdg run` of a finished run

GROWTH = at_most(1.1)  # the exponent with which a stage's time grows with its rows
NONE = at_most(0)  # violations, failures
