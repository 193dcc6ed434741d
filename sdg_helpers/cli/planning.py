"""`sdg try` and `sdg plan`: what a run would bring and cost, before it starts."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any

from sdg_helpers.cli.commands import FAILED, INTERRUPTED, Add
from sdg_helpers.cli.console import display_path, print_table, program_name
from sdg_helpers.errors import SdgError, did_you_mean

if TYPE_CHECKING:
    from pathlib import Path

    from sdg_helpers.notebooks.discovery import Notebook
    from sdg_helpers.planning.estimate import Range
    from sdg_helpers.planning.intervals import Pilot
    from sdg_helpers.planning.scale import Scale
    from sdg_helpers.profiles import Profile
    from sdg_helpers.runs.run import Run

_TRACKS = ("math", "code", "science")


def add_commands(add: Add) -> None:
    """Add try and plan."""
    preview = add("try", _try, "put a few problems through every stage, and project the cost of the whole")
    preview.add_argument("track", choices=list(_TRACKS), metavar="TRACK", help=", ".join(_TRACKS))
    preview.add_argument("--profile", metavar="P", default="demo", help="a name or a .yaml file (default: demo)")
    preview.add_argument("-n", dest="count", metavar="N", type=int, default=8, help="problems (default: 8)")
    preview.add_argument("--seeds", metavar="K", type=int, default=2, help="solutions per problem (default: 2)")
    preview.add_argument("--problems", metavar="N", type=int, help="size of the whole run, if the source is large")
    preview.add_argument("--run", metavar="NAME", help="name of its folder in outputs/ (default: try-PROFILE-NxK)")
    preview.add_argument(
        "-p", dest="overrides", nargs=2, action="append", default=[], metavar=("KEY", "VALUE"),
        help="override a parameter, as in `sdg run`",
    )  # fmt: skip
    plan = add("plan", _plan, "plan GPU-hours, days, disk and money of a run")
    plan.add_argument("run", nargs="?", metavar="RUN", help="a small run to measure; without one, a profile's figures")
    plan.add_argument("--profile", metavar="P", help="where the whole will run (default: the run's profile, or slurm)")
    plan.add_argument("--problems", metavar="N", type=int, help="problems of the whole (default: 480,000)")
    plan.add_argument("--seeds", metavar="K", type=int, help="solutions per problem (default: the profile's, or 16)")
    plan.add_argument(
        "--for", dest="planned_run", metavar="NAME", help="keep it as the plan of this run: see `sdg status NAME`"
    )
    plan.add_argument(
        "-s", dest="figures", nargs=2, action="append", default=[], metavar=("FIGURE", "VALUE"),
        help="set a figure, for example: -s mean_tokens 9000 -s servers 8",
    )  # fmt: skip


def _try(arguments: argparse.Namespace) -> int:
    from sdg_helpers import notebooks
    from sdg_helpers.cli.tools import fetch_weights
    from sdg_helpers.notebooks.values import values_for
    from sdg_helpers.previews import NOTEBOOKS, SOLVE, prepare_preview, write_page
    from sdg_helpers.profiles import load_profile

    profile, name = load_profile(arguments.profile), arguments.track
    selected = [one for one in notebooks.discover(name) if one.number in NOTEBOOKS[name]]
    given = values_for(selected, notebooks.discover(), profile, arguments.overrides)
    values = {one.key: {name: p.value for name, p in one.parameters.items()} | given[one.key] for one in selected}
    whole_seeds = values[SOLVE[name]]["NUM_SEEDS"]
    seeds = min(arguments.seeds, whole_seeds)
    run = _preview_run(arguments, profile, seeds)
    preview = prepare_preview(name, run.folder, values, arguments.count)
    for notebook in selected:
        given[notebook.key] |= _tolerant(notebook) | preview.changes.get(notebook.key, {})
    given[SOLVE[name]]["NUM_SEEDS"] = seeds
    print(f"preview {run.name}: {seeds} solutions per problem, {display_path(run.folder)}", flush=True)
    fetch_weights([spec.model for spec in profile.specs if spec.engine == "embedded"])
    code = _run_preview(run, selected, given, load_early=name == "math")
    track = run.track(name)
    if track.stage("solutions").complete:
        whole = arguments.problems or preview.whole(track)
        print(f"\n{write_page(track, profile, whole, whole_seeds)}")
        page = display_path(run.folder / "preview.md")
        print(f"Page: {page}   Plan with other figures: {program_name()} plan {run.name}")
    return code


def _tolerant(notebook: Notebook) -> dict[str, Any]:
    """Return the parameters with which failures are shown, not fatal, and nothing is published."""
    values = {"MAX_FAILED_FRACTION": 1.0, "MAX_UNFINISHED_FRACTION": 1.0, "PUSH_TO_HUB": ""}
    return {name: value for name, value in values.items() if name in notebook.parameters}


def _run_preview(run: Run, selected: list[Notebook], given: dict[str, dict[str, Any]], load_early: bool) -> int:
    """Execute the notebooks in one kernel; return the exit code. load_early: the first one needs no server."""
    from sdg_helpers.notebooks import chain
    from sdg_helpers.notebooks.failures import NotebookFailed
    from sdg_helpers.notebooks.kernels import SharedKernel

    def before_each(notebook: Notebook) -> None:
        if load_early and notebook is selected[0] and run.profile.server("solver").engine == "embedded":
            _load_in_background(run)

    try:
        with SharedKernel() as kernel:
            chain.run_notebooks(run, selected, given, sys.stdout, before_each=before_each, kernel=kernel)
    except (NotebookFailed, KeyboardInterrupt) as error:
        print(f"sdg: {str(error) or 'stopped (Ctrl-C)'}", file=sys.stderr)
        return INTERRUPTED if isinstance(error, KeyboardInterrupt) else FAILED
    return 0


def _load_in_background(run: Run) -> None:
    """Start the solver while the notebooks before it run. A failure is reported by the notebook that needs it."""
    import threading
    from contextlib import suppress

    def start() -> None:
        with suppress(SdgError):
            run.server("solver")

    if not run.track("math").stage("solutions").complete:
        threading.Thread(target=start, daemon=True).start()


def _preview_run(arguments: argparse.Namespace, profile: Profile, seeds: int) -> Run:
    """Begin or resume the preview's own run."""
    import re

    from sdg_helpers.previews import preview_profile
    from sdg_helpers.runs import history
    from sdg_helpers.runs.run import Run, run_folder

    stem = re.sub(r"[^A-Za-z0-9._-]", "-", profile.path.stem)
    track = "" if arguments.track == "math" else f"{arguments.track}-"
    name = arguments.run or f"try-{track}{stem}-{arguments.count}x{seeds}"
    folder = run_folder(name)
    run = Run(name, folder, preview_profile(profile, folder))
    history.add_session(folder, run.profile, dict(arguments.overrides))
    return run


def _plan(arguments: argparse.Namespace) -> None:
    from sdg_helpers.planning.intervals import ranges, sensitivities
    from sdg_helpers.planning.report import (
        has_gpus,
        loss_lines,
        prices_of,
        projection_lines,
        sensitivity_lines,
        stage_rows,
    )

    scale, profile, pilot, track = _scale_to_plan(arguments)
    print_table(stage_rows(scale, profile, track))
    print()
    print("\n".join(projection_lines(scale, profile, pilot, track)))
    if has_gpus(profile):
        print()
        print("\n".join(loss_lines(scale)))
    prices = prices_of(profile)
    quantity = "gpu_hours" if has_gpus(profile) else "money" if prices[0] else "hours"
    print()
    print("\n".join(sensitivity_lines(quantity.replace("_", "-"), sensitivities(scale, quantity, *prices))))
    if arguments.planned_run:
        found = ranges(scale, pilot, *prices)
        known = found if has_gpus(profile) else {name: one for name, one in found.items() if name != "gpu_hours"}
        _keep(arguments.planned_run, known, prices[0].currency if prices[0] else "")
    if pilot is None:
        print(
            f"\nThese are figures of the profile and the recipe, not measured ones: try it with `{program_name()} try`."
        )


def _keep(name: str, found: dict[str, Range], currency: str) -> None:
    from sdg_helpers.planning.stored import save_plan
    from sdg_helpers.runs.run import run_folder

    save_plan(run_folder(name), found, currency)
    print(f"\nKept as the plan of run {name}.")


def _scale_to_plan(arguments: argparse.Namespace) -> tuple[Scale, Profile, Pilot | None, str]:
    """Return the scale of the whole, the profile that it runs with, its pilot if there is one, and the track."""
    from dataclasses import fields, replace

    from sdg_helpers import runs
    from sdg_helpers.planning.from_profile import scale_from_profile
    from sdg_helpers.planning.intervals import read_pilot
    from sdg_helpers.planning.measuring import scale_from_run
    from sdg_helpers.planning.scale import Scale
    from sdg_helpers.profiles import load_profile
    from sdg_helpers.runs import history

    folder = runs.existing_run(arguments.run) if arguments.run else None
    content = history.read(folder) if folder else None
    profile = load_profile(arguments.profile or (content["profile"] if content else "slurm"))
    scale = scale_from_profile(profile)
    changes: dict[str, Any] = {}
    for name, value in (("problems", arguments.problems), ("num_seeds", arguments.seeds)):
        changes |= {name: value} if value is not None else {}
    scale, pilot, track = replace(scale, **changes), None, "math"
    if folder:
        track = _track_of(folder)
        measured = scale_from_run(folder, scale.problems, scale.num_seeds, track)
        scale = replace(measured, servers=scale.servers, hours_per_job=scale.hours_per_job)
        pilot = read_pilot(runs.Track(folder / track, track), scale.problems)
    known = {field.name: field.type for field in fields(Scale)}
    for name, text in arguments.figures:
        if name not in known:
            raise SdgError(f"-s {name}: unknown figure.{did_you_mean(name, known)} Figures: {', '.join(known)}.")
        try:
            changes[name] = int(text) if known[name] == "int" else float(text)
        except ValueError:
            raise SdgError(f"-s {name} {text!r}: not a number. Write for example: -s mean_tokens 9000") from None
    return replace(scale, **changes), profile, pilot, track


def _track_of(folder: Path) -> str:
    """Return the track whose solutions a run has; math if it has none."""
    found = [name for name in _TRACKS if (folder / name / "solutions" / "manifest.json").exists()]
    return found[0] if found else "math"
