"""What a run took, read from its manifests, and the scale of a larger run that goes on like it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sdg_helpers import files, runs
from sdg_helpers.budgets.ledger import Ledger
from sdg_helpers.completions.sessions import total_usage
from sdg_helpers.planning.scale import Scale
from sdg_helpers.planning.server_time import SERVER_ROLES, server_hours
from sdg_helpers.profiles import Profile
from sdg_helpers.runs import history

if TYPE_CHECKING:
    import pandas as pd

_MANY = 10  # times the slowest reply; in a shorter run, the tail is already in the measured speed


_COLUMNS = ("stage", "requests", "tokens", "hours", "server_hours", "gpu_hours", "megabytes")


def measure_run(folder: Path, track: str = "math") -> pd.DataFrame:
    """Return what the stages of a run took, one row each: requests, generated tokens, hours, and megabytes on disk.

    server_hours: how long the stage held a model server (see `server_time`); gpu_hours: the same times the GPUs of
    such a server; NaN for a stage that asks none, or whose server has no GPU that is known here. A stage that is not
    complete has what its sessions have counted so far, and no hours and megabytes.
    """
    import pandas as pd

    rows = [_measure(folder, name, stage, SERVER_ROLES.get(name, "")) for name, stage in _stages(folder, track)]
    return pd.DataFrame(filter(None, rows), columns=_COLUMNS).set_index("stage")


def held_hours(measured: pd.DataFrame) -> tuple[str, dict[str, float]]:
    """Return ("GPU-hours", hours by stage), or ("server-hours", …) where no GPU is known. measured: by measure_run."""
    unit, column = (
        ("GPU-hours", "gpu_hours") if measured["gpu_hours"].notna().any() else ("server-hours", "server_hours")
    )
    return unit, measured[column].dropna().to_dict()


def _stages(folder: Path, track: str) -> Iterator[tuple[str, Path]]:
    """Yield (name, folder) of a track's stages; the judging of adaptive sampling's rounds is one of its own."""
    for info in runs.STAGES[track]:
        yield info.name, folder / track / info.name
        if info.name == "solutions":
            yield "rounds", folder / track / info.name / "rounds"


def _measure(folder: Path, name: str, stage: Path, role: str) -> tuple[Any, ...] | None:
    """Return a stage's row of measure_run; None for one that has nothing to tell yet."""
    manifest = files.read_json(stage / "manifest.json")
    asked: dict[str, Any] = total_usage(stage / "partial") if manifest is None else manifest.get("requests") or {}
    if manifest is None and not asked:
        return None
    hours = server_hours(stage) if role else 0.0
    gpus = known_gpus(folder, role) if hours else 0
    size = sum(output["bytes"] for output in (manifest or {}).get("outputs", {}).values())
    return (
        name,
        asked.get("done", 0) + asked.get("failed", 0),
        asked.get("completion_tokens", 0),
        round(manifest.get("seconds", 0.0) / 3600, 4) if manifest else math.nan,
        round(hours, 4) if hours else math.nan,
        round(hours * gpus, 4) if gpus else math.nan,
        round(size / 1e6, 3) if manifest else math.nan,
    )


# The stages that ask the judge's server, by track. In science it writes and compares questions.
_ASKING = {"math": ("judged",), "code": (), "science": ("expanded", "written", "inspired", "compared")}


def scale_from_run(folder: Path, problems: int, num_seeds: int, track: str = "math") -> Scale:
    """Return the scale of a larger run on one such server, from the measurements of a small run.

    Measured are tokens per prompt, solution and judge reply, comparisons per problem, both servers' speed, the time to
    load, the slowest replies and the share of exported rows. Values that the small run lacks are those of the full
    recipe. With more seeds, a problem has more wrong answers to compare, but not in proportion: their number is assumed
    to grow with the square root; the questions of science are written once. problems: that are solved; in code, one
    for each question and language. Raises SdgError when its solutions are not complete.
    """
    stages = runs.Track(folder / track, track)
    solved, exported = stages.stage("solutions").require(), stages.stage("sft").manifest
    asking = [one for name in _ASKING[track] if (one := stages.stage(name).manifest)]
    rows = max(1, solved["counts"]["rows_out"])
    known: dict[str, Any] = {"mean_tokens": solved["generated_tokens"] / rows}
    asked = solved.get("requests") or {}
    if speed := _tokens_per_s(solved):
        slowest = asked.get("latency_p99_s", 0.0)
        known |= {"tokens_per_s": speed, "tail_s": slowest if asked["elapsed_s"] > _MANY * slowest else 0.0}
    if asked.get("prompt_tokens"):
        known["prompt_tokens"] = asked["prompt_tokens"] / max(1, asked["done"])
    if asking or not _ASKING[track]:
        calls = sum(_calls(one) for one in asking) / max(1, solved["problems"])
        seeds = solved["counts"]["rows_in"] / max(1, solved["problems"])
        more = (num_seeds / max(1, seeds)) ** 0.5 if track == "math" else 1.0
        known |= {"comparisons_per_problem": calls * more, **_judge_speed(folder, asking)}
    if track != "math":
        known["asked_again"] = 0.0  # only math judges again after relabeling
    if exported:
        known["share_kept"] = exported["counts"]["rows_out"] / max(1, exported["counts"]["rows_in"])
    elif (table := stages.verdicts()) and (counts := files.read_json(table.parent / "manifest.json").get("verdicts")):
        known["share_kept"] = counts.get("right", 0) / max(1, sum(counts.values()))
    if starts := [entry["start_s"] for entry in Ledger(folder).entries().values() if "start_s" in entry]:
        known["load_min"] = max(starts) / 60
    return Scale(problems=problems, num_seeds=num_seeds, servers=1, gpus_per_server=_gpus(folder, "solver"), **known)


def _calls(manifest: dict[str, Any]) -> int:
    return manifest["comparisons_asked"] if "comparisons_asked" in manifest else manifest["counts"]["rows_in"]


def _judge_speed(folder: Path, manifests: list[dict[str, Any]]) -> dict[str, Any]:
    """Return what is known of the judge from the stages that asked it; {} if it was asked nothing."""
    asked = [one["requests"] for one in manifests if _tokens_per_s(one)]
    if not asked:
        return {}
    done, tokens, prompts, seconds = (
        sum(one.get(name, 0) for one in asked) for name in ("done", "completion_tokens", "prompt_tokens", "elapsed_s")
    )
    known = {
        "judge_tokens_per_s": tokens / seconds,
        "judge_gpus": _gpus(folder, "judge"),
        "judge_tokens": tokens / max(1, done),
    }
    return {**known, "judge_prompt_tokens": prompts / max(1, done)} if prompts else known


def _tokens_per_s(manifest: dict[str, Any]) -> float:
    """Generated by one server; 0 if there were no requests."""
    asked = manifest.get("requests") or {}
    return asked.get("completion_tokens", 0) / asked["elapsed_s"] if asked.get("elapsed_s") else 0.0


def _gpus(folder: Path, role: str) -> int:
    """GPUs of one server; a server without a GPU counts as one."""
    return known_gpus(folder, role) or 1


def known_gpus(folder: Path, role: str) -> int:
    """Return the GPUs of one of a role's servers, from the profile of the run's last session; 0 if none is known."""
    content = history.read(folder)
    if not content or not content.get("sessions"):
        return 0
    servers = (
        content["sessions"][-1].get("profile", {}).get("servers", {})
    )  # `jobs` of an older run may have keys that are gone
    known = Profile.model_validate({"servers": servers}).servers
    spec = getattr(known, role) or known.solver
    return spec.gpus if spec else 0
