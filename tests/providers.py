"""What a run does on each scripted provider: works, ends with a clear error, or is bad.

    python -m tests.providers [NAME…]

prints one line per variant of helpers/provider_variants.py and fails when any of them is bad.
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

from sdg_helpers import files
from sdg_helpers.answers.thinking import thinking_shape
from sdg_helpers.completions.types import Limits, Sampling
from sdg_helpers.errors import SdgError
from sdg_helpers.profiles import load_profile
from sdg_helpers.prompts import load_prompt
from sdg_helpers.serving.engines import open_server
from sdg_helpers.serving.server_specs import parse_server_spec
from sdg_helpers.solutions.generate import generate_solutions
from sdg_helpers.solutions.reading import read_solutions
from sdg_helpers.stages import Stage
from tests.helpers.provider_variants import PROFILES, VARIANTS
from tests.helpers.providers import KEY, WORKS, Providers, Variant

PROBLEMS, SEEDS = 5, 2
MAX_TOKENS = 32768


def solve(settings: dict[str, Any], folder: Path) -> list[dict[str, Any]]:
    """Generate solutions as notebook 03 does and return the rows. Raises SdgError as it does."""
    problems = folder / "problems.jsonl"
    folder.mkdir(parents=True, exist_ok=True)
    problems.write_bytes(
        b"".join(
            files.dumps({"id": f"p{k}", "problem": f"What is {k} + 7?", "expected_answer": str(k + 7)})
            for k in range(PROBLEMS)
        )
    )
    spec = parse_server_spec({"engine": "endpoint", "model": "m", "start_deadline_s": 2.0, **settings})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        generate_solutions(
            problems,
            Stage(folder / "solutions", "solutions"),
            open_server=lambda: open_server(spec, folder / "servers"),
            model="m",
            prompt=load_prompt("math/solve"),
            num_seeds=SEEDS,
            sampling=Sampling(0.6, 0.95, MAX_TOKENS),
            limits=Limits(8, timeout_s=60.0),
        )
    return list(read_solutions(folder / "solutions"))


def fault_of(rows: list[dict[str, Any]], variant: Variant) -> str:
    """Return what is wrong with the rows of a run that ended well, or ""."""
    if len(rows) != PROBLEMS * SEEDS:
        return f"{len(rows)} rows"
    for row in rows:
        text = row["generation"]
        if thinking_shape(text) != ("closed" if variant.thinks else "none"):
            return f"thinking: {text!r}"
        if "boxed" not in text.rpartition("</think>")[2]:
            return f"no answer: {text!r}"
    return ""


def profile_settings(name: str) -> dict[str, Any]:
    """Return what the shipped profile for a provider says about its server, except where and which model it is."""
    settings = load_profile(name).server("solver").model_dump(exclude_unset=True)
    return {key: value for key, value in settings.items() if key not in ("base_url", "model", "api_key_env")}


def try_variant(name: str, url: str, folder: Path) -> tuple[str, str]:
    """Run one variant; return ("works" | "clear error" | "bad", what was said)."""
    variant = VARIANTS[name]
    settings = profile_settings(name) if name in PROFILES else variant.settings
    try:
        rows = solve({**settings, "base_url": f"{url}/{name}/v1"}, folder)
    except SdgError as error:
        said = str(error)
        clear = variant.ends != WORKS and re.search(variant.ends, said, re.DOTALL) and KEY[-8:] not in said
        return "clear error" if clear else "bad", said
    except Exception as error:  # a traceback is what a user must never see
        return "bad", f"{type(error).__name__}: {error}"
    fault = fault_of(rows, variant)
    return ("works", "") if not fault and variant.ends == WORKS else ("bad", fault or "no error")


def main(names: list[str]) -> int:
    os.environ["OPENAI_API_KEY"] = KEY
    bad = 0
    with Providers() as server, tempfile.TemporaryDirectory() as folder:
        for name in names or VARIANTS:
            outcome, said = try_variant(name, server.url, Path(folder) / name)
            bad += outcome == "bad"
            print(f"{name:44} {outcome:12} {' '.join(said.split())[-300:]}", flush=True)
    print(f"{len(names or VARIANTS)} variants, {bad} bad")
    return min(1, bad)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
