"""Plans in words: tables for the terminal and for a preview's page, in Markdown."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sdg_helpers.budgets.budget import format_amount, format_bare
from sdg_helpers.budgets.prices import Prices
from sdg_helpers.formatting import format_duration, format_number
from sdg_helpers.planning.estimate import Range
from sdg_helpers.planning.intervals import Pilot, ranges
from sdg_helpers.planning.scale import Scale, costs, losses
from sdg_helpers.profiles import Profile

_MEANINGS = {
    "problems": "problems",
    "num_seeds": "solutions per problem",
    "mean_tokens": "tokens per solution",
    "prompt_tokens": "tokens per prompt",
    "gpus_per_server": "GPUs per server",
    "tokens_per_s": "speed of a server (tokens/s)",
    "servers": "servers",
    "load_min": "time to load a server",
    "hours_per_job": "length of a job",
    "tail_s": "slowest replies",
    "comparisons_per_problem": "comparisons per problem",
    "asked_again": "comparisons of the second judging",
    "judge_tokens": "tokens per judgement",
    "judge_prompt_tokens": "tokens per judge prompt",
    "judge_gpus": "GPUs of the judge",
    "judge_tokens_per_s": "speed of the judge (tokens/s)",
    "share_kept": "share of rows kept",
}


_MUCH_LOST = 0.1  # of the GPU-hours
_JUDGE_CALLS = {"math": "judge calls", "science": "requests about questions"}


def prices_of(profile: Profile) -> tuple[Prices | None, Prices | None]:
    """Return the prices of solver and judge; (None, None) unless both are known, in one currency."""
    solver = profile.servers.solver.prices if profile.servers.solver else None
    judge = profile.servers.judge.prices if profile.servers.judge else solver
    same = solver and judge and solver.currency.upper() == judge.currency.upper()
    return (solver, judge) if same else (None, None)


def has_gpus(profile: Profile) -> bool:
    """Whether GPUs are known that a run of this profile uses."""
    return any(spec.gpus for spec in profile.specs)


def projection_lines(scale: Scale, profile: Profile, pilot: Pilot | None, track: str = "math") -> list[str]:
    """Return the totals of a plan as a table; with a pilot, each with its interval."""
    prices = prices_of(profile)
    found = ranges(scale, pilot, *prices)
    currency = prices[0].currency if prices[0] else ""
    solutions = Range(*[float(scale.solutions)] * 3)
    rows: list[tuple[str, Range, Callable[[float], str]]] = [
        ("solutions", solutions, format_number),
        ("tokens generated", found["tokens"], _tokens),
        ("tokens of prompts", found["prompt_tokens"], _tokens),
        *([(_JUDGE_CALLS[track], found["judge_calls"], format_number)] if track in _JUDGE_CALLS else []),
        *([("GPU-hours", found["gpu_hours"], format_number)] if has_gpus(profile) else []),
        ("time", found["hours"], lambda hours: format_duration(3600 * hours)),
        *([("money", found["money"], lambda value: format_amount(value, currency))] if currency else []),
        ("rows exported", found["rows"], format_number),
        ("disk", found["gigabytes"], lambda value: f"{format_number(value)} GB"),
    ]
    lines = ["| | projected | 90 % interval |", "|---|---|---|"]
    for name, one, shown in rows:
        interval = f"{shown(one.low)} – {shown(one.high)}" if one.low != one.high else ""
        lines.append(f"| {name} | {shown(one.value)} | {interval} |")
    return lines


def loss_lines(scale: Scale) -> list[str]:
    """Return what share of the solving servers' GPU-hours writes no tokens, and what to change when it is large."""
    shares = losses(scale)
    starts, restarts, tails = shares.values()
    line = (
        f"Of the GPU-hours of solving, {starts:.1%} go to starts of servers, {restarts:.1%} to restarts at the time "
        f"limit, {tails:.1%} to tails."
    )
    if sum(shares.values()) < _MUCH_LOST:
        return [line]
    if restarts > starts + tails:
        now = f"{60 * scale.hours_per_job:.0f}"
        return [line, f"That is much: raise `time_limit_min` (now {now}) as far as the partition allows."]
    return [line, f"That is much: {scale.servers} servers are too many for so little work; lower `servers`."]


def _tokens(value: float) -> str:
    return format_bare(value, "tokens")


# What the stages of a plan are called in the other tracks; those that are not named here do not exist there.
_STAGES = {
    "code": {
        "01 problems": "01 problems",
        "03 solutions": "02 solutions",
        "03 loading": "02 loading",
        "03 tail": "02 tail",
        "07 SFT data": "05 SFT data",
    },
    "science": {
        "03 solutions": "04 solutions",
        "03 loading": "04 loading",
        "03 tail": "04 tail",
        "04 judged": "01-03 questions",
        "07 SFT data": "05 SFT data",
    },
}


def stage_rows(scale: Scale, profile: Profile, track: str = "math") -> list[list[str]]:
    """Return the stages of a plan as the rows of a table, the head first."""
    prices, gpus = prices_of(profile), has_gpus(profile)
    head = ["stage", "requests", "tokens", *(["GPU-hours"] if gpus else []), "time", "disk"]
    rows = [head + ([prices[0].currency] if prices[0] else [])]
    names = _STAGES.get(track)
    for cost in costs(scale, *prices):
        if names is not None and cost.stage not in names:
            continue
        row = [names[cost.stage] if names else cost.stage, format_number(cost.requests), _tokens(cost.tokens)]
        row += [format_number(cost.gpu_hours)] if gpus else []
        row += [format_duration(3600 * cost.hours), f"{format_number(cost.gigabytes)} GB"]
        rows.append(row + ([f"{cost.money:,.2f}"] if prices[0] else []))
    return rows


def sensitivity_lines(quantity: str, found: Sequence[tuple[str, float]], most: int = 6) -> list[str]:
    """Return what 10 % more of each figure do to a quantity of the plan, as a table."""
    lines = [f"| 10 % more | {quantity} |", "|---|---|"]
    return lines + [f"| {_MEANINGS[name]} | {change:+.1%} |" for name, change in found[:most]]
