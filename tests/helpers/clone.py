"""A small clone for the runner's tests: notebooks of a few cells that complete real stages, and a profile."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from sdg_helpers.notebooks.discovery import Notebook, without_address_grammar

with without_address_grammar():
    import nbformat
    from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

ROOT = Path(__file__).resolve().parents[2]
PROFILE = """\
description: for tests
servers:
  solver: {engine: endpoint, model: tiny, base_url: "http://127.0.0.1:9/v1"}
parameters:
  all: {num_seeds: 4}
  math/03: {SLEEP_S: 0}
"""
PARAMETERS = 'RUN: str = "demo"  # name of the run\nPROFILE: str = "demo"  # where to run\n'
OPEN = """\
import os, time
from sdg_helpers.runs import open_run
run = open_run(RUN, profile=PROFILE)
math = run.track("math")"""
MAKE = """\
with math.stage({stage!r}).work({{"rows": {rows}}}, {inputs}) as work:
    while not work.done:
        for row in range({rows}):
            work.progress(row, {rows}, force=True, tokens_per_s=31.4)
            time.sleep(SLEEP_S)
        out = work.folder / {file!r}
        out.write_text("row\\n" * {rows})
        work.finish(rows_in={rows} + 1, rows_out={rows}, dropped={{"repeated": 1}}, outputs=[out])
{last}"""


def write_notebook(path: Path, parameters: str, *cells: str) -> Path:
    """Write a notebook of a title, a parameters cell and code cells."""
    first = new_code_cell(parameters)
    first.metadata["tags"] = ["parameters"]
    notebook = new_notebook(
        cells=[new_markdown_cell("# A title"), first, *map(new_code_cell, cells)],
        metadata={"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}},
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook, path)
    return path


def make_clone(folder: Path) -> Path:
    """Write a clone with 00_start_here and two notebooks of the math track, 01 and 03."""
    notebooks = folder / "notebooks"
    (notebooks / "profiles").mkdir(parents=True)
    (notebooks / "profiles" / "demo.yaml").write_text(PROFILE)
    write_notebook(notebooks / "00_start_here.ipynb", PARAMETERS, OPEN)
    write_notebook(
        notebooks / "math" / "01_download_problems.ipynb",
        PARAMETERS + "NUM_PROBLEMS = 3  # problems\n",
        OPEN + "\nSLEEP_S = 0",
        MAKE.format(stage="problems", rows="NUM_PROBLEMS", inputs={}, file="problems.jsonl", last="print(os.getcwd())"),
    )
    write_notebook(
        notebooks / "math" / "03_generate_solutions.ipynb",
        PARAMETERS + "NUM_SEEDS = 2  # solutions a problem\nSLEEP_S = 0.0  # seconds a row\n"
        'LIMIT = 5  # rows at most; None: all\nTHEN = ""  # what happens at the end\n',
        OPEN + '\nmath.require("problems")',
        MAKE.format(
            stage="solutions",
            rows="NUM_SEEDS",
            file="output-rs0.jsonl",
            inputs='{"problems": math.problems / "problems.jsonl"}',
            last='if THEN == "raise":\n    1 / 0\nif THEN == "die":\n    os.kill(os.getpid(), 9)',
        ),
    )
    return folder


def shown_by(run: Path, notebook: Notebook) -> list[str]:
    """Return the figures (PNG, base64) of an executed notebook; fail on failed cells and on warnings."""
    executed = nbformat.read(run / "notebooks" / notebook.track / f"{notebook.name}.ipynb", 4)
    outputs = [output for cell in executed.cells for output in cell.get("outputs", [])]
    complaints = [
        output
        for output in outputs
        if output.output_type == "error"
        or output.get("name") == "stderr"
        and "building the font cache" not in output.text
    ]  # printed once on a new machine
    assert not complaints, f"{notebook.key}: {complaints[0]}"
    return [output.data["image/png"] for output in outputs if "image/png" in output.get("data", {})]


def sdg(clone: Path, *words: str, **more) -> subprocess.CompletedProcess:
    """Run the command `sdg` in the clone, as a user would."""
    return subprocess.run(
        command(*words), cwd=clone, env=environment(), capture_output=True, text=True, timeout=300, **more
    )


def command(*words: str) -> list[str]:
    return [sys.executable, "-m", "sdg_helpers.cli", *words]


def environment() -> dict[str, str]:
    """Return this process's environment with this checkout's package and without variables named SDG_*."""
    own = {key: value for key, value in os.environ.items() if not key.startswith("SDG_")}
    return {**own, "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))}
