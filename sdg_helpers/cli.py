"""The command `sdg`. Every command imports what it needs when it runs, so that `sdg --help` answers at once."""
from __future__ import annotations

import argparse
import os
import re
import shlex
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from . import __version__, cli_cluster
from .errors import SdgError

if TYPE_CHECKING:
    from .notebooks import Notebook
    from .runs import Run

BAD_INPUT, FAILED, INTERRUPTED = 2, 1, 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code: 0, 1 a notebook failed, 2 bad input, 130 stopped."""
    arguments = _parser().parse_args(argv)
    try:
        return arguments.command(arguments) or 0
    except SdgError as error:
        if arguments.debug:
            raise
        print(f"sdg: {error}", file=sys.stderr)
        return BAD_INPUT
    except KeyboardInterrupt as stopped:
        print(f"sdg: stopped ({str(stopped) or 'Ctrl-C'}).", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:  # `sdg status | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="sdg", description="Open Reasoning Cookbook: from hard problems to reasoning data for fine-tuning.")
    parser.add_argument("--version", action="version", version=f"sdg {__version__}")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_run(commands)
    status = _add(commands, "status", _status, "how far a run is, stage by stage; without RUN a table of all runs")
    status.add_argument("run", nargs="?", metavar="RUN")
    status.add_argument("--json", action="store_true", help="for programs")
    reset = _add(commands, "reset", _reset, "drop a stage's results and all that was made from them, after asking")
    reset.add_argument("run", metavar="RUN")
    reset.add_argument("stage", metavar="STAGE", help="math/solutions, or solutions")
    reset.add_argument("--yes", action="store_true", help="do not ask")
    _add(commands, "notebooks", _notebooks, "list the notebooks and what they make")
    params = _add(commands, "params", _params, "explain the parameters of a notebook")
    params.add_argument("notebook", metavar="NOTEBOOK", help="math/03, or math/03_generate_solutions")
    weights = _add(commands, "weights", _weights, "fetch the weights of an embedded model into the user's cache")
    weights.add_argument("action", choices=["fetch"])
    weights.add_argument("name", metavar="NAME", help="as in a profile's servers: qwen2.5-coder-1.5b-instruct")
    _add_exchange(commands)
    cli_cluster.add_commands(commands, _add)
    return parser


def _add(commands: argparse._SubParsersAction, name: str, function, text: str) -> argparse.ArgumentParser:
    parser = commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
    parser.set_defaults(command=function)
    return parser


def _add_run(commands: argparse._SubParsersAction) -> None:
    run = _add(commands, "run", _run, "execute notebooks in order, from where the run stands")
    run.add_argument("tracks", nargs="*", metavar="TRACK", help="start, math, …; default: start math")
    run.add_argument("--profile", metavar="P", help="where to run: a name, or a .yaml file (default: the one that the "
                                                    "run was begun with, else demo)")
    run.add_argument("--run", metavar="NAME", help="the folder in outputs/ (default: the profile's name)")
    run.add_argument("--from", dest="first", metavar="03", help="the first notebook to execute")
    run.add_argument("--to", dest="last", metavar="06", help="the last one")
    run.add_argument("-p", dest="overrides", nargs=2, action="append", default=[], metavar=("KEY", "VALUE"),
                     help="a parameter, for every selected notebook that has it; may be repeated")
    run.add_argument("--submit", action="store_true",
                     help="run the driver itself as a small job of Slurm, so that the login session may close")
    run.add_argument("--again", action="store_true", help="execute complete notebooks too (nothing is made twice)")


def _add_exchange(commands: argparse._SubParsersAction) -> None:
    export = _add(commands, "export", _export, "write a run in another tool's layout")
    export.add_argument("format", choices=["nemo-skills"])
    export.add_argument("run", metavar="RUN")
    export.add_argument("folder", metavar="OUT")
    bring = _add(commands, "import", _import, "begin a run from another tool's folder")
    bring.add_argument("format", choices=["nemo-skills"])
    bring.add_argument("folder", metavar="FOLDER")
    bring.add_argument("run", metavar="RUN")
    bring.add_argument("--profile", metavar="P", default="demo", help="where the run will go on (default: demo)")


def _run(arguments: argparse.Namespace) -> int:
    from . import chain, notebooks, parameters, run_yaml
    from .execution import NotebookFailed
    from .profiles import load_profile
    from .runs import Run, run_folder

    every = notebooks.discover()
    profile = load_profile(arguments.profile or _profile_of(arguments.run))
    selected = _selected(arguments)
    values = parameters.values_for(selected, every, profile, arguments.overrides)
    name = arguments.run or re.sub(r"[^A-Za-z0-9._-]", "-", profile.path.stem)
    run = Run(name, run_folder(name), profile)
    run_yaml.add_session(run.folder, profile, {key: value for key, value in arguments.overrides})
    if arguments.submit:
        return _submit(run, arguments, name)
    print(f"run {name}, profile {profile.key}: {_shown(run.folder)}", flush=True)
    if any(notebook.asks_a_model for notebook in selected):
        _fetch_weights([spec.model for spec in profile.specs if spec.engine == "embedded"])
    try:
        chain.run_notebooks(run, selected, values, sys.stdout, arguments.again)
    except (NotebookFailed, KeyboardInterrupt) as error:
        if arguments.debug:
            raise
        return _stopped(error, arguments, name)
    print(f"Complete. Executed notebooks: {_shown(run.folder / 'notebooks')}   How far it is: "
          f"{_program()} status {name}")
    return 0


def _profile_of(name: str | None) -> str:
    from . import run_yaml, runs

    told = run_yaml.read(runs.run_folder(name)) if name else None
    return told["profile"] if told else "demo"


def _submit(run: Run, arguments: argparse.Namespace, name: str) -> int:
    from .submitting import submit_driver

    arguments.profile = run.profile.key  # the job begins in another folder
    words = ["run", *_words(arguments, name), *(["--again"] if arguments.again else [])]
    job_id, log = submit_driver(run.folder, run.profile.jobs.spec("driver"), words)
    print(f"Submitted as job {job_id}; its log: {_shown(log)}   How far it is: {_program()} status {name}   To stop: "
          f"{_program()} cancel {name}")
    return 0


def _words(arguments: argparse.Namespace, name: str) -> list[str]:
    """The words after `sdg run` that ask for the same again."""
    words = [*arguments.tracks, *(["--profile", arguments.profile] if arguments.profile else []), "--run", name]
    for flag, value in (("--from", arguments.first), ("--to", arguments.last)):
        words += [flag, value] if value else []
    for override in arguments.overrides:
        words += ["-p", *override]
    return words


def _stopped(error: BaseException, arguments: argparse.Namespace, name: str) -> int:
    """Say what happened and the exact command to go on."""
    words = _words(arguments, name)
    interrupted = isinstance(error, KeyboardInterrupt)
    told = f"stopped ({str(error) or 'Ctrl-C'})." if interrupted else error
    print(f"sdg: {told}\nWhat was made is kept. To go on: {_program()} run {shlex.join(words)}", file=sys.stderr)
    return INTERRUPTED if interrupted else FAILED


def _selected(arguments: argparse.Namespace) -> list[Notebook]:
    from . import notebooks

    found = [one for track in arguments.tracks or ["start", "math"] for one in notebooks.discover(track)]
    first, last = _number(arguments.first, found, "00"), _number(arguments.last, found, "99")
    selected = [one for one in found if first <= one.number <= last]
    if not selected:
        raise SdgError(f"--from {first} --to {last}: expected at least one notebook between, found none. Notebooks: "
                       f"{', '.join(one.key for one in found)}.")
    return selected


def _number(text: str | None, found: list[Notebook], default: str) -> str:
    from . import notebooks

    if text is None:
        return default
    if text.isdigit() and f"{int(text):02d}" in {one.number for one in found}:
        return f"{int(text):02d}"
    return notebooks.find(text, found, "--from and --to").number


def _program() -> str:
    """How this program was called: `sdg`, or its path where the shell would not find it."""
    called = Path(sys.argv[0])
    if called.name != "sdg" or shutil.which("sdg") == str(called):
        return "sdg"
    return shlex.quote(_shown(called))


def _shown(path: Path) -> str:
    """The path from here, where that is shorter to read."""
    relative = os.path.relpath(path)
    return str(path) if relative.startswith("..") else relative


def _status(arguments: argparse.Namespace) -> None:
    from . import runs, status

    rows = [vars(one) for one in status.run_status(runs.existing_run(arguments.run))] if arguments.run \
        else status.runs_table()
    if arguments.json:
        import json

        print(json.dumps(rows, indent=2, default=str))
    elif arguments.run:
        _print_table([[f"{row['track']}/{row['stage']}", row["state"], row["detail"]] for row in rows])
    else:
        _print_table([list(row.values()) for row in rows] or [[f"no runs in {_shown(runs.outputs_root())}"]])


def _reset(arguments: argparse.Namespace) -> None:
    from . import files, reset, runs

    folder = runs.existing_run(arguments.run)
    track, info = reset.find_stage(arguments.stage)
    dropped = reset.downstream(track, info.name)
    there = [one for one in dropped if (folder / track / one.name).is_dir()]
    if not there:
        print(f"{track}/{info.name} of run {arguments.run} has not begun: nothing to drop.")
        return
    with files.Lock(folder / ".lock", f"run {arguments.run!r}"):
        for one in there:
            print(f"  {_shown(folder / track / one.name)}  {reset.megabytes(folder / track / one.name):,.1f} MB")
        if not arguments.yes and not _asked("Drop these results? They cannot be brought back. Type yes: "):
            raise SdgError("nothing was dropped.")
        reset.reset_stages(folder, track, dropped)
    print(f"Dropped. To make them anew, run from notebook {info.notebook}.")


def _asked(question: str) -> bool:
    if not sys.stdin.isatty():
        raise SdgError("expected a terminal to ask on, found none. Give --yes to drop without asking.")
    return input(question).strip().lower() == "yes"


def _notebooks(arguments: argparse.Namespace) -> None:
    from . import notebooks

    _print_table([[one.key, ", ".join(info.name for info in one.stages)] for one in notebooks.discover()])


def _params(arguments: argparse.Namespace) -> None:
    from . import notebooks

    notebook = notebooks.find(arguments.notebook, notebooks.discover())
    print(f"Parameters of {notebook.key} ({_shown(notebook.path)})")
    _print_table([[one.name, one.default, one.help] for one in notebook.parameters.values()])


def _weights(arguments: argparse.Namespace) -> None:
    from . import weights

    _fetch_weights([arguments.name])
    print(weights.fetch(arguments.name))


def _fetch_weights(names: list[str]) -> None:
    """Fetch, with a bar, the weights that are not in the cache yet."""
    from . import weights

    for name in dict.fromkeys(names):
        if not weights.is_cached(name):
            from tqdm import tqdm

            with tqdm(total=weights.find(name).bytes, unit="B", unit_scale=True, desc=f"model {name}") as bar:
                weights.fetch(name, lambda done, total, bar=bar: bar.update(done - bar.n))


def _export(arguments: argparse.Namespace) -> None:
    from . import nemo_skills, runs

    rows = nemo_skills.export_nemo_skills(runs.existing_run(arguments.run), Path(arguments.folder).expanduser())
    _print_table([[stage, f"{count:,} rows"] for stage, count in rows.items()])


def _import(arguments: argparse.Namespace) -> None:
    from . import nemo_skills_import, run_yaml, runs
    from .profiles import load_profile

    folder = runs.run_folder(arguments.run)
    rows = nemo_skills_import.import_nemo_skills(Path(arguments.folder).expanduser(), folder)
    run_yaml.begin(folder, load_profile(arguments.profile))
    _print_table([[stage, f"{count:,} rows"] for stage, count in rows.items()])
    print(f"Go on with the notebook of the next stage: {_program()} run math --run {arguments.run} --from NN")


def _print_table(rows: list[list[str]]) -> None:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        print("  " + "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip())


if __name__ == "__main__":
    sys.exit(main())
