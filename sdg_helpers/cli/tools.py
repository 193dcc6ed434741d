"""Exchange with other tools, explanations of notebooks, checks of a cluster, fetched weights."""

from __future__ import annotations

import argparse
from pathlib import Path

from sdg_helpers.cli.console import display_path, print_table, program
from sdg_helpers.cli.main import Add
from sdg_helpers.errors import SdgError


def add_commands(add: Add) -> None:
    """export, import, notebooks, params, cluster, weights"""
    export = add("export", _export, "write a run in another tool's layout")
    export.add_argument("format", choices=["nemo-skills"])
    export.add_argument("run", metavar="RUN")
    export.add_argument("folder", metavar="OUT")
    bring = add("import", _import, "begin a run from another tool's folder")
    bring.add_argument("format", choices=["nemo-skills"])
    bring.add_argument("folder", metavar="FOLDER")
    bring.add_argument("run", metavar="RUN")
    bring.add_argument("--profile", metavar="P", default="demo", help="where the run will go on (default: demo)")
    check = add("cluster", _check, "see whether a cluster has all that a profile asks for")
    check.add_argument("action", choices=["check"])
    check.add_argument("--profile", metavar="P", default="slurm")
    check.add_argument(
        "--wait",
        metavar="MINUTES",
        type=float,
        default=10.0,
        help="how long the small jobs that look at a node may wait to begin (default: 10)",
    )
    add("notebooks", _notebooks, "list the notebooks and what they make")
    params = add("params", _params, "explain the parameters of a notebook")
    params.add_argument("notebook", metavar="NOTEBOOK", help="math/03, or math/03_generate_solutions")
    weights = add("weights", _weights, "fetch the weights of an embedded model into the user's cache")
    weights.add_argument("action", choices=["fetch"])
    weights.add_argument("name", metavar="NAME", help="as in a profile's servers: qwen2.5-coder-1.5b-instruct")


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
    history.read_for_profile(folder, profile)  # what cannot be begun is refused before anything is written
    rows = importing.import_nemo_skills(Path(arguments.folder).expanduser(), folder)
    history.begin(folder, profile)
    print_table([[stage, f"{count:,} rows"] for stage, count in rows.items()])
    print(f"Go on with the notebook of the next stage: {program()} run math --run {arguments.run} --from NN")


def _check(arguments: argparse.Namespace) -> int:
    from sdg_helpers.cluster.check import check_cluster
    from sdg_helpers.profiles import load_profile

    rows = check_cluster(load_profile(arguments.profile), arguments.wait)
    for row in rows:
        print(f"  {row['ok']:<4}{row['what']}\n      {row['found']}")
        if row["what to do"]:
            print(f"      → {row['what to do']}")
    bad = sum(row["ok"] == "no" for row in rows)
    if bad:
        raise SdgError(f"{bad} of {len(rows)} checks are not met; nothing else was submitted.")
    print(f"All {len(rows)} checks are met.")
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
    """Fetch, with a bar, the weights that are not in the cache yet."""
    from sdg_helpers.serving.embedded import weights

    for name in dict.fromkeys(names):
        if not weights.is_cached(name):
            from tqdm import tqdm

            with tqdm(total=weights.find(name).bytes, unit="B", unit_scale=True, desc=f"model {name}") as bar:
                weights.fetch(name, lambda done, total, bar=bar: bar.update(done - bar.n))
