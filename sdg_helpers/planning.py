"""The cost of a run in requests, tokens, GPU-hours and disk: planned before it starts, measured afterwards."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from sdg_helpers import files, runs
from sdg_helpers.errors import SdgError
from sdg_helpers.profiles import Profile
from sdg_helpers.runs import history

_BYTES_PER_TOKEN = 4.0  # reasoning text in English and LaTeX
_ROW_OVERHEAD = 1500  # bytes per row besides the generated text: the problem and the keys


@dataclass(frozen=True)
class Scale:
    """The size of a run and the servers it uses. The defaults are those of the full recipe.

    problems: 306,000 in `cot` plus 193,170 additional ones, minus converted proofs (OpenMathReasoning's dataset card).
    mean_tokens: per solution of a competition problem by DeepSeek-R1-0528, thinking included (R1's solutions in
    OpenMathReasoning are about as long). tokens_per_s: of one server at full load. Published figures for R1 on 16 H100s
    range from 10,000 to 30,000: measure yours with one chunk, then plan again.
    """

    problems: int = 480_000
    num_seeds: int = 16
    mean_tokens: float = 12_000
    gpus_per_server: int = 16
    tokens_per_s: float = 15_000
    servers: int = 16
    comparisons_per_problem: float = 1.5  # those that no rule decides
    judge_tokens: float = 150
    judge_gpus: int = 8
    judge_tokens_per_s: float = 4_000
    share_kept: float = 0.6  # fraction of the solutions that is exported

    def __post_init__(self) -> None:
        for name in ("servers", "tokens_per_s", "judge_tokens_per_s"):
            if not (value := getattr(self, name)) > 0:
                raise SdgError(f"{name} must be greater than 0, but is {value:g}.")

    @property
    def solutions(self) -> int:
        return self.problems * self.num_seeds


def plan(scale: Scale) -> pd.DataFrame:
    """Return one row per stage: requests, tokens, gpu_hours, hours (all servers busy) and gigabytes on disk."""
    solving_s = scale.solutions * scale.mean_tokens / scale.tokens_per_s
    judged = scale.problems * scale.comparisons_per_problem
    judging_s = judged * scale.judge_tokens / scale.judge_tokens_per_s
    text = scale.solutions * (scale.mean_tokens * _BYTES_PER_TOKEN + _ROW_OVERHEAD) / 1e9
    table = scale.solutions * 40 / 1e9  # bytes per row of a compressed table of verdicts
    rows = [
        ("01 problems", 0, 0, 0.0, 0.2, scale.problems * _ROW_OVERHEAD / 1e9),
        (
            "03 solutions",
            scale.solutions,
            scale.solutions * scale.mean_tokens,
            solving_s * scale.gpus_per_server / 3600,
            solving_s / scale.servers / 3600,
            text,
        ),
        (
            "04 judged",
            judged,
            judged * scale.judge_tokens,
            judging_s * scale.judge_gpus / 3600,
            judging_s / 3600,
            table + judged * 1e-6,
        ),
        ("05 labels", 0, 0, 0.0, 0.02, scale.problems * 60 / 1e9),
        (
            "06 rejudged",
            judged * 0.05,
            judged * 0.05 * scale.judge_tokens,
            0.05 * judging_s * scale.judge_gpus / 3600,
            0.05 * judging_s / 3600,
            table,
        ),
        ("07 SFT data", 0, 0, 0.0, text / 200 * 1e3 / 3600, text * scale.share_kept),
    ]
    columns = ["stage", "requests", "tokens", "gpu_hours", "hours", "gigabytes"]
    planned = pd.DataFrame(rows, columns=columns).set_index("stage")
    planned.loc["all"] = planned.sum()
    return planned


def measure_run(folder: Path, track: str = "math") -> pd.DataFrame:
    """Return requests, tokens, hours and megabytes of a run's complete stages, from their manifests."""
    rows = []
    for info in runs.STAGES[track]:
        manifest = files.read_json(folder / track / info.name / "manifest.json")
        if manifest is not None:
            asked: dict[str, Any] = manifest.get("requests") or {}
            size = sum(output["bytes"] for output in manifest.get("outputs", {}).values())
            rows.append(
                (
                    info.name,
                    asked.get("done", 0) + asked.get("failed", 0),
                    asked.get("completion_tokens", 0),
                    round(manifest.get("seconds", 0.0) / 3600, 4),
                    round(size / 1e6, 3),
                )
            )
    return pd.DataFrame(rows, columns=["stage", "requests", "tokens", "hours", "megabytes"]).set_index("stage")


def scale_from_run(folder: Path, problems: int, num_seeds: int) -> Scale:
    """Return the scale of a larger run on one such server, from the measurements of a small run.

    Measured are tokens per solution, comparisons per problem, tokens per judge reply, and both servers' speed. Values
    that the small run lacks are those of the full recipe. Raises SdgError when its solutions are not complete.
    """
    track = runs.Track(folder / "math", "math")
    solved, judged = track.stage("solutions").require(), track.stage("judged").manifest
    known: dict[str, Any] = {"mean_tokens": solved["generated_tokens"] / max(1, solved["counts"]["rows_out"])}
    if speed := _tokens_per_s(solved):
        known["tokens_per_s"] = speed
    if judged:
        known["comparisons_per_problem"] = judged["comparisons_asked"] / max(1, solved["problems"])
        if speed := _tokens_per_s(judged):
            known |= {
                "judge_tokens_per_s": speed,
                "judge_gpus": _gpus(folder, "judge"),
                "judge_tokens": judged["requests"]["completion_tokens"] / max(1, judged["requests"]["done"]),
            }
    return Scale(problems=problems, num_seeds=num_seeds, servers=1, gpus_per_server=_gpus(folder, "solver"), **known)


def _tokens_per_s(manifest: dict[str, Any]) -> float:
    """Generated by one server; 0 if there were no requests."""
    asked = manifest.get("requests") or {}
    return asked.get("completion_tokens", 0) / asked["elapsed_s"] if asked.get("elapsed_s") else 0.0


def _gpus(folder: Path, role: str) -> int:
    """GPUs of one server, from the profile of the run's last session; a server without a GPU counts as one."""
    content = history.read(folder)
    if content is None:
        return 1
    servers = content["sessions"][-1]["profile"].get(
        "servers", {}
    )  # `jobs` of an older run may have keys that are gone
    spec = Profile.model_validate({"servers": servers}).server(role)
    return spec.gpus or 1
