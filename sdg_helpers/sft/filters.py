"""Which solutions become SFT data, and how their answers are trimmed: the recipe's filters by the recipe's names."""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from .. import files
from ..answers import CLOSE, extract_boxed
from ..errors import SdgError, did_you_mean

# Why a solution is left out; each is counted under the first of these that applies.
REASONS = ("unfinished", "no_think_tags", "no_verdict", "undecided", "incorrect", "end_token_inside", "multi_boxed",
           "contaminated", "problem_length", "solution_length", "pass_rate", "duplicate")
_PREFIX = "My solution:\n"


@dataclass(frozen=True)
class Filters:
    """The recipe's filters, with the values that it gives for math data. Lengths are in tokens, None = no bound.

    What is cut or counted by boxes concerns the answer after the thinking only, so that `</think>` is never cut off.
    """

    use_judgement: bool = True           # keep what was judged correct; False: whatever the verdict
    remove_unfinished: bool = True       # keep what the model ended by itself (not in the recipe: it loses track of it)
    remove_no_think_tags: bool = True    # keep what has a closed thinking part
    drop_multi_boxed: bool = False       # drop answers with more than one box
    trim_prefix: bool = False            # cut "My solution:" in front of the answer
    trim_solutions: bool = True          # cut what follows the line that holds the answer's box
    remove_contaminated: bool = False    # drop the problems that contamination_file marks
    contamination_file: str | None = None    # JSONL: problem, contaminated
    remove_len_outlier_problems: bool = False
    min_problem_length: int | None = None
    max_problem_length: int | None = None
    remove_len_outlier_solutions: bool = False
    min_solution_length: int | None = None   # as the model that wrote them counted
    max_solution_length: int | None = None
    min_pass_rate: float | None = None   # of the problem: right solutions / all; these two need a table of them
    max_pass_rate: float | None = None   # below 1.0: leaves out what is always solved
    deduplicate: bool = True             # keep one of equal solutions of a problem

    def __post_init__(self) -> None:
        for name, bounds in (("problems", self.problem_bounds), ("solutions", self.solution_bounds)):
            if getattr(self, f"remove_len_outlier_{name}") and bounds == (None, None):
                raise SdgError(f"filter remove_len_outlier_{name}: expected a bound with it, found none. Set "
                               f"min_{name[:-1]}_length or max_{name[:-1]}_length.")
        for name in ("min_pass_rate", "max_pass_rate"):
            if (rate := getattr(self, name)) is not None and not 0 <= rate <= 1:
                raise SdgError(f"filter {name}: expected a share between 0 and 1, found {rate!r}.")
        if self.remove_contaminated and not self.contamination_file:
            raise SdgError("filter remove_contaminated: expected a contamination_file with it (JSONL rows with "
                           "`problem` and `contaminated`), found none.")

    @classmethod
    def named(cls, values: Filters | Mapping[str, Any]) -> Filters:
        """Filters from a mapping by name; raises SdgError for a name that is none of theirs."""
        if isinstance(values, cls):
            return values
        known = [field.name for field in fields(cls)]
        for name in values:
            if name not in known:
                raise SdgError(f"filter {name!r}: expected one of {', '.join(known)}.{did_you_mean(name, known)}")
        return cls(**values)

    @property
    def problem_bounds(self) -> tuple[int | None, int | None]:
        """Smallest and largest length of a problem."""
        return self.min_problem_length, self.max_problem_length

    @property
    def solution_bounds(self) -> tuple[int | None, int | None]:
        """Smallest and largest length of a solution."""
        return self.min_solution_length, self.max_solution_length

    @property
    def rate_bounds(self) -> tuple[float | None, float | None]:
        """Smallest and largest pass rate of a problem."""
        return self.min_pass_rate, self.max_pass_rate

    @property
    def changes_answers(self) -> bool:
        """True when answers are cut."""
        return self.trim_prefix or self.trim_solutions

    def contaminated_problems(self) -> frozenset[str]:
        """Ids of the problems that the contamination file marks."""
        if not self.remove_contaminated:
            return frozenset()
        rows = files.read_jsonl(self.contamination_file)
        return frozenset(files.content_id(row["problem"].strip()) for row in rows if row.get("contaminated"))

    def as_parameters(self) -> dict[str, Any]:
        """What a manifest records of them."""
        return asdict(self)

    def trimmed(self, answer: str) -> str:
        """The answer text (what follows `</think>`) as it is exported."""
        if self.trim_prefix:
            lead = len(answer) - len(answer.lstrip())
            answer = answer[:lead] + answer[lead:].removeprefix(_PREFIX)
        if self.trim_solutions and (boxed := extract_boxed(answer)) is not None:
            end = answer.rfind("{" + boxed + "}") + len(boxed) + 2
            newline = answer.find("\n", end)
            answer = answer[:newline] if newline >= 0 else answer
        return answer


def within(value: float, bounds: tuple[float | None, float | None]) -> bool:
    """Whether a length or a rate lies between two bounds, either of which may be None."""
    low, high = bounds
    return (low is None or value >= low) and (high is None or value <= high)


def answer_start(text: bytes) -> int:
    """Where the answer begins in a solution (raw or JSON-escaped bytes): after the last `</think>`, -1 without one."""
    found = text.rfind(CLOSE.encode())
    return found + len(CLOSE) if found >= 0 else -1
