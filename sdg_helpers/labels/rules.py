"""When a label is replaced, and the words for why each was decided as it was."""

from __future__ import annotations

from dataclasses import dataclass

from sdg_helpers.errors import SdgError, did_you_mean

# Why a label was decided as it was: reason -> decision.
REASONS = {
    "matched": "keep",  # solutions match the reference
    "unmatched": "keep",  # none does, but the reference is still the better bet
    "majority": "relabel",  # the majority's answer replaces the reference
    "tied": "undecided",  # two answers have equally many votes
    "miscalculated": "undecided",  # the majority would do, but its solutions contain wrong equations
    "unsure": "undecided",  # neither the reference nor the majority is likely enough to be right
    "outvoted": "undecided",  # solutions match the reference, but the majority says otherwise
    "unjudged": "undecided",  # an answer without a verdict may match the reference
    "conflicting": "undecided",  # the sources give different references
    "no_votes": "undecided",  # neither a reference nor an answer
    "confirmed": "keep",  # a person called the reference right
    "corrected": "relabel",  # a person called another answer right
    "rejected": "undecided",  # a person called the label wrong
}
COLUMNS = (
    "id", "expected_answer", "original_expected_answer", "decision", "reason", "votes", "seeds", "tied", "agreement",
    "confidence",
)  # fmt: skip


@dataclass(frozen=True)
class RelabelRule:
    """When a label is replaced.

    rule: "confidence": by the probability that a label is right, never by a single vote, and only by the votes of
    solutions whose arithmetic holds; "majority": any plurality
    where no solution matches the reference, the rule of OpenMathReasoning (arXiv 2504.16891); "never".
    min_confidence: least probability of a label that is used; min_votes, min_agreement: further demands on the
    majority (agreement = votes / seeds).
    """

    rule: str = "confidence"
    min_confidence: float = 0.9
    min_votes: int = 1
    min_agreement: float = 0.0

    def __post_init__(self) -> None:
        known = ("confidence", "majority", "never")
        if self.rule not in known:
            raise SdgError(
                f"relabeling rule {self.rule!r} is not one of {', '.join(known)}.{did_you_mean(self.rule, known)}"
            )
        if self.min_votes < 1:
            raise SdgError(f"min_votes must be 1 or more, not {self.min_votes}.")
        for name in ("min_confidence", "min_agreement"):
            if not 0 <= getattr(self, name) <= 1:
                raise SdgError(f"{name} must be between 0 and 1, not {getattr(self, name)}.")
