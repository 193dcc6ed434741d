"""`sdg export`, `import`: other tools' layouts."""
from __future__ import annotations

import argparse
from pathlib import Path

from . import Add
from .console import print_table, program


def add_commands(add: Add) -> None:
    """export, import"""
    export = add("export", _export, "write a run in another tool's layout")
    export.add_argument("format", choices=["nemo-skills"])
    export.add_argument("run", metavar="RUN")
    export.add_argument("folder", metavar="OUT")
    bring = add("import", _import, "begin a run from another tool's folder")
    bring.add_argument("format", choices=["nemo-skills"])
    bring.add_argument("folder", metavar="FOLDER")
    bring.add_argument("run", metavar="RUN")
    bring.add_argument("--profile", metavar="P", default="demo", help="where the run will go on (default: demo)")


def _export(arguments: argparse.Namespace) -> None:
    from .. import nemo_skills, runs

    rows = nemo_skills.export_nemo_skills(runs.existing_run(arguments.run), Path(arguments.folder).expanduser())
    print_table([[stage, f"{count:,} rows"] for stage, count in rows.items()])


def _import(arguments: argparse.Namespace) -> None:
    from .. import runs
    from ..nemo_skills import importing
    from ..profiles import load_profile
    from ..runs import run_yaml

    folder, profile = runs.run_folder(arguments.run), load_profile(arguments.profile)
    run_yaml.read_for(folder, profile)  # what cannot be begun is refused before anything is written
    rows = importing.import_nemo_skills(Path(arguments.folder).expanduser(), folder)
    run_yaml.begin(folder, profile)
    print_table([[stage, f"{count:,} rows"] for stage, count in rows.items()])
    print(f"Go on with the notebook of the next stage: {program()} run math --run {arguments.run} --from NN")
