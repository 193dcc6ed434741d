"""The scale of a run before anything is measured: what its profile says, and the recipe for the rest."""

from __future__ import annotations

from typing import Any

from sdg_helpers.planning.scale import Scale
from sdg_helpers.profiles import Profile


def scale_from_profile(profile: Profile) -> Scale:
    """Return the scale of the full recipe with the profile's seeds, GPUs, servers and length of jobs."""
    known: dict[str, Any] = {}
    solving = profile.parameters.get("math/03_generate_solutions") or profile.parameters.get("math/03") or {}
    by_name = {str(name).lower().replace("-", "_"): value for name, value in solving.items()}
    if "num_seeds" in by_name:
        known["num_seeds"] = by_name["num_seeds"]
    jobs = profile.jobs.spec("generate")
    if jobs.where == "slurm":
        known |= {"servers": jobs.servers, "hours_per_job": jobs.time_limit_min / 60}
    else:
        known |= {"servers": 1, "load_min": 0.0}
    for role, name in (("solver", "gpus_per_server"), ("judge", "judge_gpus")):
        if profile.servers.solver or profile.servers.judge:
            known[name] = profile.server(role).gpus or 1
    return Scale(**known)
