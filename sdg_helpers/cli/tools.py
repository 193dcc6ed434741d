"""The other commands: NeMo-Skills import and export, notebooks and their parameters, cluster checks, model weights."""

from __future__ import annotations

import argparse
from pathlib import Path

from sdg_helpers.cli.console import display_path, print_table, program_name
from sdg_helpers.cli.main import Add
from sdg_helpers.errors import SdgError


def add_commands(add: Add) -> None:
    """Add export, import, notebooks, params, cluster and weights."""
    export = add("export", _export, "write a run in another tool's layout")
    export.add_argument("format", choices=["nemo-skills"])
    export.add_argument("run", metavar="RUN")
    export.add_argument("folder", metavar="OUT")
    importing = add("import", _import, "start a run from another tool's folder")
    importing.add_argument("format", choices=["nemo-skills"])
    importing.add_argument("folder", metavar="FOLDER")
    importing.add_argument("run", metavar="RUN")
    importing.add_argument("--profile", metavar="P", default="demo", help="where the run will continue (default: demo)")
    check = add("cluster", _check, "check that a cluster has everything a profile needs")
    check.add_argument("action", choices=["check"])
    check.add_argument("--profile", metavar="P", default="slurm")
    check.add_argument(
        "--wait",
        metavar="MINUTES",
        type=float,
        default=10.0,
        help="how long the small test jobs may wait for a node (default: 10)",
    )
    add("notebooks", _notebooks, "list the notebooks and the stages they make")
    params = add("params", _params, "explain the parameters of a notebook")
    params.add_argument("notebook", metavar="NOTEBOOK", help="math/03, or math/03_generate_solutions")
    weights = add("weights", _weights, "download the weights of an embedded model into the cache")
    weights.add_argument("action", choices=["fetch"])
    weights.add_argument("name", metavar="NAME", help="the model's name in the profile: qwen2.5-coder-1.5b-instruct")


def _export(arguments: argparse.Namespace) -> None:
    from sdg_helpers import nemo_skills, runs

    rows = nemo_skills.export_nemo_skills(runs.existing_run(arguments.run), Path(arguments.folder).expanduser())
    print_table([[stage, f"{count:,} rows"] for stage, count in rows.items()])


def _import(arguments: argparse.Namespace) -> None:
    from sdg_helpers import runs
    from sdg_helpers.nemo_skills import importing
    from sdg_helpers.profiles import load_profile
    from sdg_helpers.runs import history

    folder, profile = runs.run_folder(arguments.run), load_profile(arguments.profile)
    history.read_for_profile(folder, profile)  # raises before anything is written
    rows = importing.import_nemo_skills(Path(arguments.folder).expanduser(), folder)
    history.begin(folder, profile)
    print_table([[stage, f"{count:,} rows"] for stage, count in rows.items()])
    print(f"Continue with the next stage's notebook: {program_name()} run math --run {arguments.run} --from NN")


def _check(arguments: argparse.Namespace) -> int:
    from sdg_helpers.cluster.check import check_cluster
    from sdg_helpers.profiles import load_profile

    rows = check_cluster(load_profile(arguments.profile), arguments.wait)
    for row in rows:
        print(f"  {row['ok']:<4}{row['what']}\n      {row['found']}")
        if row["what to do"]:
            print(f"      → {row['what to do']}")
    failed = sum(row["ok"] == "no" for row in rows)
    if failed:
        raise SdgError(f"{failed} of {len(rows)} checks failed; nothing else was submitted.")
    print(f"All {len(rows)} checks passed.")
    return 0


def _notebooks(arguments: argparse.Namespace) -> None:
    from sdg_helpers import notebooks

    print_table([[one.key, ", ".join(info.name for info in one.stages)] for one in notebooks.discover()])


def _params(arguments: argparse.Namespace) -> None:
    from sdg_helpers import notebooks

    notebook = notebooks.find(arguments.notebook, notebooks.discover())
    print(f"Parameters of {notebook.key} ({display_path(notebook.path)})")
    print_table([[one.name, one.default, one.help] for one in notebook.parameters.values()])


def _weights(arguments: argparse.Namespace) -> None:
    from sdg_helpers.serving.embedded import weights

    fetch_weights([arguments.name])
    print(weights.fetch(arguments.name))


def fetch_weights(names: list[str]) -> None:
    """Download the weights that are not in the cache, with a progress bar."""
    from sdg_helpers.serving.embedded import weights

    for name in dict.fromkeys(names):
        if not weights.is_cached(name):
            from tqdm import tqdm

            with tqdm(total=weights.find(name).bytes, unit="B", unit_scale=True, desc=f"model {name}") as bar:

                def advance(done: int, total: int, bar: tqdm = bar) -> None:
                    bar.update(done - bar.n)

                weights.fetch(name, advance)
