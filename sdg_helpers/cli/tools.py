"""The other commands: NeMo-Skills import and export, cluster checks, model weights, shell completion."""

from __future__ import annotations

import argparse
from pathlib import Path

from sdg_helpers.cli.commands import Add
from sdg_helpers.cli.console import print_table, program_name
from sdg_helpers.errors import SdgError


def add_commands(add: Add) -> None:
    """Add export, import, cluster, weights and completion."""
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
    weights = add("weights", _weights, "download the weights of an embedded model into the cache")
    weights.add_argument("action", choices=["fetch"])
    weights.add_argument("name", metavar="NAME", help="the model's name in the profile: qwen2.5-coder-1.5b-instruct")
    completion = add("completion", _completion, "print the shell code that completes sdg's words at the Tab key")
    completion.add_argument("shell", choices=["bash", "zsh", "fish"])


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


def _weights(arguments: argparse.Namespace) -> None:
    from sdg_helpers.serving.embedded import weights

    fetch_weights([arguments.name])
    print(weights.fetch(arguments.name))


def _completion(arguments: argparse.Namespace) -> None:
    import argcomplete

    print(argcomplete.shellcode(["sdg"], shell=arguments.shell))


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
