"""What a run of a given size costs, stage by stage: plain arithmetic, which also works on arrays of a figure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from sdg_helpers.budgets.prices import Prices
from sdg_helpers.errors import SdgError

if TYPE_CHECKING:
    import pandas as pd

_BYTES_PER_TOKEN = 4.0  # reasoning text in English and LaTeX
_ROW_OVERHEAD = 1500  # bytes per row besides the generated text: the problem and the keys


@dataclass(frozen=True)
class Scale:
    """The size of a run and the servers it uses. The defaults are those of the full recipe.

    problems: 306,000 in `cot` plus 193,170 additional ones, minus converted proofs (OpenMathReasoning's dataset card).
    mean_tokens: per solution of a competition problem by DeepSeek-R1-0528, thinking included (R1's solutions in
    OpenMathReasoning are about as long). tokens_per_s: of one server at full load. Published figures for R1 on 16 H100s
    range from 10,000 to 30,000: measure yours with one chunk, then plan again. load_min: until a server answers;
    hours_per_job: after which it is loaded again; tail_s: how long the slowest replies keep a server that has nothing
    else to do.
    """

    problems: int = 480_000
    num_seeds: int = 16
    mean_tokens: float = 12_000
    prompt_tokens: float = 250
    gpus_per_server: int = 16
    tokens_per_s: float = 15_000
    servers: int = 16
    load_min: float = 30.0
    hours_per_job: float = 4.0
    tail_s: float = 1_300.0
    comparisons_per_problem: float = 1.5  # those that no rule decides
    asked_again: float = 0.05  # share of these comparisons that 06 adds
    judge_tokens: float = 150
    judge_prompt_tokens: float = 900
    judge_gpus: int = 8
    judge_tokens_per_s: float = 4_000
    share_kept: float = 0.6  # fraction of the solutions that is exported

    def __post_init__(self) -> None:
        for name in ("problems", "num_seeds", "servers", "tokens_per_s", "judge_tokens_per_s", "hours_per_job"):
            if not np.all(np.asarray(value := getattr(self, name)) > 0):
                raise SdgError(f"{name} must be greater than 0, but is {value:g}.")

    @property
    def solutions(self) -> int:
        return self.problems * self.num_seeds


class Cost(NamedTuple):
    """What one stage costs. hours: with all servers busy; money: in the currency of the prices, 0 without them."""

    stage: str
    requests: Any = 0.0
    tokens: Any = 0.0
    prompt_tokens: Any = 0.0
    gpu_hours: Any = 0.0
    hours: Any = 0.0
    gigabytes: Any = 0.0
    money: Any = 0.0
    rows: Any = 0.0
    judge_calls: Any = 0.0


def costs(scale: Scale, prices: Prices | None = None, judge_prices: Prices | None = None) -> list[Cost]:
    """Return the cost of every stage."""
    text = scale.solutions * (scale.mean_tokens * _BYTES_PER_TOKEN + _ROW_OVERHEAD) / 1e9
    table = scale.solutions * 40 / 1e9  # bytes per row of a compressed table of verdicts
    solving = _asking(
        "03 solutions", scale.solutions, scale.mean_tokens, scale.prompt_tokens, scale.tokens_per_s, scale.servers,
        scale.gpus_per_server, text, prices,
    )  # fmt: skip
    judged = scale.problems * scale.comparisons_per_problem
    judge = (
        scale.judge_tokens, scale.judge_prompt_tokens, scale.judge_tokens_per_s, 1, scale.judge_gpus,
    )  # fmt: skip
    again = scale.asked_again * judged
    loads = np.maximum(1.0, solving.hours / scale.hours_per_job) * scale.load_min / 60
    tail, share = scale.tail_s / 3600, scale.problems / Scale.problems
    return [
        Cost("01 problems", hours=0.2 * share, gigabytes=scale.problems * _ROW_OVERHEAD / 1e9),
        solving,
        Cost("03 loading", gpu_hours=loads * scale.servers * scale.gpus_per_server, hours=loads),
        Cost("03 tail", gpu_hours=tail * scale.servers * scale.gpus_per_server, hours=tail),
        _asking("04 judged", judged, *judge, table + judged * 1e-6, judge_prices)._replace(judge_calls=judged),
        Cost("05 labels", hours=0.02 * share, gigabytes=scale.problems * 60 / 1e9),
        _asking("06 rejudged", again, *judge, table, judge_prices)._replace(judge_calls=again),
        Cost(
            "07 SFT data",
            hours=text / 200 * 1e3 / 3600,
            gigabytes=text * scale.share_kept,
            rows=scale.solutions * scale.share_kept,
        ),
    ]


def losses(scale: Scale) -> dict[str, float]:
    """Return the shares of the solving servers' GPU-hours that write no tokens: first starts, restarts at the time
    limit, and tails."""
    found = {cost.stage: float(cost.gpu_hours) for cost in costs(scale)}
    loading, tails = found["03 loading"], found["03 tail"]
    starts = scale.load_min / 60 * scale.servers * scale.gpus_per_server
    total = (found["03 solutions"] + loading + tails) or 1.0
    return {"starts": starts / total, "restarts": (loading - starts) / total, "tails": tails / total}


def _asking(
    stage: str, requests: Any, tokens: Any, prompt: Any, speed: float, servers: int, gpus: int, gigabytes: Any,
    prices: Prices | None,
) -> Cost:  # fmt: skip
    """Return the cost of requests with so many tokens each to servers of this speed."""
    seconds = requests * tokens / speed
    money = prices.cost(requests * prompt, requests * tokens) if prices else 0.0
    return Cost(
        stage, requests, requests * tokens, requests * prompt, seconds * gpus / 3600, seconds / servers / 3600,
        gigabytes, money,
    )  # fmt: skip


def total(scale: Scale, prices: Prices | None = None, judge_prices: Prices | None = None) -> Cost:
    """Return the sum over the stages."""
    columns = zip(*(cost[1:] for cost in costs(scale, prices, judge_prices)), strict=True)
    return Cost("all", *(sum(column) for column in columns))


def plan(scale: Scale) -> pd.DataFrame:
    """Return one row per stage: requests, tokens, gpu_hours, hours (all servers busy) and gigabytes on disk."""
    import pandas as pd

    columns = ["stage", "requests", "tokens", "gpu_hours", "hours", "gigabytes"]
    rows = [[getattr(cost, name) for name in columns] for cost in costs(scale)]
    planned = pd.DataFrame(rows, columns=columns).set_index("stage")
    planned.loc["all"] = planned.sum()
    return planned
