"""Every committed notebook follows the house style: one shape, short cells, explained parameters, no outputs."""

import ast
import copy
import json
import re
import sys
import textwrap

import nbformat
import pytest
from nbformat.v4.rwbase import rejoin_lines
from papermill.inspection import inspect_notebook

from sdg_helpers import runs
from tests.helpers.clone import ROOT, write_notebook

NOTEBOOKS = sorted(path for path in (ROOT / "notebooks").rglob("*.ipynb") if ".ipynb_checkpoints" not in path.parts)
CODE_LINES, WORDS = 15, 80
BANNED = {ast.FunctionDef: "def", ast.AsyncFunctionDef: "async def", ast.ClassDef: "class", ast.Try: "try"}
TABLE = ("needs", "makes", "time", "next")


def faults(path):
    """Return what is wrong with a notebook's shape: an empty list if nothing is."""
    notebook = rejoin_lines(nbformat.from_dict(json.loads(path.read_text())))  # nbformat.read repairs some faults
    try:
        nbformat.validate(copy.deepcopy(notebook))
    except nbformat.ValidationError as error:
        return [f"not a valid notebook: {error.message}"]
    return [
        *_frame(path, notebook),
        *_parameters(path, notebook),
        *_committed_clean(notebook),
        *(
            fault
            for number, cell in enumerate(notebook.cells, 1)
            if cell.cell_type == "code"
            for fault in _code(number, cell)
        ),
        *_prose(notebook.cells),
    ]


def _frame(path, notebook):
    track, number = path.parent.name, path.stem[:2]
    title = f"# {number}: " if track == "notebooks" else f"# {track.capitalize()} {number}: "
    first, second, last = notebook.cells[0], notebook.cells[1], notebook.cells[-1]
    if first.cell_type != "markdown" or not first.source.startswith(title):
        yield f"the first cell does not begin with the title {title!r}"
    if len(re.findall(r"^[-*] ", first.source, re.MULTILINE)) != 3:
        yield "the first cell does not list in three bullets what you learn"
    if second.cell_type != "markdown" or not all(word in second.source.lower() for word in ("|", *TABLE)):
        yield f"the second cell is not the table of {', '.join(TABLE)}"
    line = second.source.partition("\n")[0]
    if not line.startswith("You are here: ") or re.findall(r"\*\*(\d\d) ", line) != [number]:
        yield f"the second cell does not begin with the line of all stages that shows {number} in bold"
    if last.cell_type != "markdown" or "exercise" not in last.source.lower():
        yield "the last cell has no exercises"
    if "counts" not in "".join(cell.source.lower() for cell in notebook.cells[-4:-1]):
        yield "the counts are not shown at the end"


def _parameters(path, notebook):
    tagged = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])]
    if len(tagged) != 1 or tagged[0] is not next(cell for cell in notebook.cells if cell.cell_type == "code"):
        yield "the first code cell, and no other, must be tagged `parameters`"
        return
    defaults = {}
    yield from _literals(tagged[0].source, defaults)
    explained = inspect_notebook(str(path))
    if defaults.keys() != explained.keys():
        yield f"papermill does not see {sorted(defaults.keys() ^ explained.keys())} (a = in the comment, or two lines?)"
    for name in defaults.keys() & explained.keys():
        if _value(explained[name]["default"]) != defaults[name]:
            yield f"papermill misreads the default of {name}: {explained[name]['default']}"
        if len(explained[name]["help"].split()) < 2:
            yield f"{name} has no trailing comment that explains it"
    if (defaults.get("RUN"), defaults.get("PROFILE")) != ("demo", "demo"):
        yield 'RUN and PROFILE must exist, with the default "demo"'


def _value(text):
    try:
        return ast.literal_eval(text)
    except (SyntaxError, ValueError):
        return text


def _literals(source, defaults):
    for statement in ast.parse(source).body:
        name = statement.target.id if isinstance(statement, ast.AnnAssign) else ""
        if not re.fullmatch(r"[A-Z][A-Z0-9_]*", name):
            yield f"line {statement.lineno} of the parameters is not of the form UPPERCASE: type = literal"
            continue
        try:
            defaults[name] = ast.literal_eval(statement.value)
        except ValueError:
            yield f"{name} is not a literal"
            continue
        if (actual := type(defaults[name]).__name__) != (annotated := ast.unparse(statement.annotation)):
            yield f"{name} is annotated as {annotated}, but its default is {actual}"


def _committed_clean(notebook):
    if notebook.metadata.get("kernelspec", {}).get("name") != "python3":
        yield "the kernelspec is not python3"
    if (notebook.nbformat, notebook.nbformat_minor) < (4, 5):
        yield "nbformat is older than 4.5, so cells have no ids"
    if "papermill" in notebook.metadata or "widgets" in notebook.metadata:
        yield "metadata of an execution is committed"
    ids = [cell.get("id") for cell in notebook.cells]
    if None in ids or len(set(ids)) != len(ids):
        yield "cells without an id, or with the same one"
    for number, cell in enumerate(notebook.cells, 1):
        if cell.cell_type == "code" and (cell.outputs or cell.execution_count is not None):
            yield f"cell {number} is committed with its outputs: run nbstripout"
        if "execution" in cell.metadata or "papermill" in cell.metadata:
            yield f"cell {number} is committed with its execution times: run nbstripout"


def _code(number, cell):
    lines = cell.source.splitlines()
    if len(lines) > CODE_LINES and "parameters" not in cell.metadata.get("tags", []):
        yield f"cell {number} has {len(lines)} lines of code, more than {CODE_LINES}"
    if not cell.source.strip():
        yield f"cell {number} is empty"
    if any(line.lstrip().startswith("!") for line in lines) or re.search(r"\bpip3? install\b", cell.source):
        yield f"cell {number} runs a shell or installs something"
    python = "\n".join("pass" if line.lstrip().startswith(("%", "!")) else line for line in lines)
    for node in ast.walk(ast.parse(python)):
        if type(node) in BANNED:
            yield f"cell {number} has a `{BANNED[type(node)]}`: it belongs in the package"
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store) and node.id in sys.stdlib_module_names:
            yield f"cell {number} assigns {node.id}, the name of a module of the standard library"
    if "run.track(" in cell.source and not re.search(r"^track\b.*= .*run\.track\(", cell.source, re.MULTILINE):
        yield f"cell {number} does not call the track `track`"


def _prose(cells):
    for number, cell in enumerate(cells[2:-1], 3):
        text = re.sub(r"```.*?```|^\|.*$|\$\$.*?\$\$", "", cell.source, flags=re.DOTALL | re.MULTILINE)
        if cell.cell_type == "markdown" and len(text.split()) > WORDS:
            yield f"cell {number} has {len(text.split())} words, more than {WORDS}"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.relative_to(ROOT / "notebooks").as_posix())
def test_the_house_style(path):
    assert faults(path) == []


def test_all_notebooks_of_a_track_show_the_same_stages():
    shown = {}
    for path in NOTEBOOKS:
        line = nbformat.read(path, 4).cells[1].source.splitlines()[0]
        shown.setdefault(path.parent.name, set()).add(line.replace("**", ""))
    assert {track: len(lines) for track, lines in shown.items()} == dict.fromkeys(shown, 1)
    assert shown["notebooks"] == {line.replace("here: ", "here: 00 start here → ") for line in shown["math"]}


ANSWERED = [path.relative_to(ROOT / "notebooks").with_suffix("").as_posix() for path in NOTEBOOKS]


@pytest.mark.parametrize("name", ANSWERED)
def test_every_exercise_has_a_folded_answer_whose_code_can_be_read(name):
    text = nbformat.read(ROOT / "notebooks" / f"{name}.ipynb", 4).cells[-1].source
    exercises = re.split(r"^\d\. ", text, flags=re.MULTILINE)[1:]
    assert len(exercises) == 3
    for one in exercises:
        assert one.count("<details><summary>Answer</summary>\n\n") == one.count("\n\n</details>") == 1, one
        for code in re.findall(r"```python\n(.*?)```", one, re.DOTALL):
            ast.parse(textwrap.dedent(code))


def test_notebooks_are_numbered_and_produce_the_stages_of_their_track():
    by_track = {}
    for path in NOTEBOOKS:
        assert re.fullmatch(r"\d\d_[a-z0-9_]+", path.stem), f"{path}: expected NN_words.ipynb"
        by_track.setdefault(path.parent.name, []).append(path.stem)
    for track, names in by_track.items():
        numbers = [int(name[:2]) for name in names]
        assert numbers == list(range(numbers[0], numbers[0] + len(names))), track
        missing = {info.notebook for info in runs.STAGES.get(track, ())} - {f"{track}/{name}" for name in names}
        assert not missing, f"the tracks name notebooks that do not exist: {missing}"


def good(path):
    """Return a notebook without a fault; the tests below spoil it."""
    write_notebook(
        path,
        'RUN: str = "demo"  # name of the run\nPROFILE: str = "demo"  # where to run\n'
        "SEEDS: list = [1, 2]  # numbers of the seeds",
        "counts = {}\ncounts",
    )
    notebook = nbformat.read(path, 4)
    notebook.cells[0].source = "# Math 01: a title\nWhat comes out.\n\n- one\n- two\n- three"
    table = "You are here: **01 rows** → 02 more\n\n| needs | makes | time and cost | next |\n|-|-|-|-|"
    notebook.cells.insert(1, nbformat.v4.new_markdown_cell(table))
    notebook.cells.append(nbformat.v4.new_markdown_cell("## Exercises\n1. Change a parameter."))
    return notebook


SPOILT = [
    (lambda nb: None, None),
    (lambda nb: nb.cells[0].update(source="# A title"), "does not begin with the title '# Math 01: '"),
    (lambda nb: nb.cells[0].update(source="# Math 01: a title\n- one"), "three bullets"),
    (lambda nb: nb.cells[1].update(source="| needs | makes |"), "table of needs"),
    (lambda nb: nb.cells[1].update(source=nb.cells[1].source.replace("**", "")), "shows 01 in bold"),
    (lambda nb: nb.cells[-1].update(source="Good bye"), "no exercises"),
    (lambda nb: nb.cells[3].update(source="1"), "counts are not shown"),
    (lambda nb: nb.cells[2].metadata.update(tags=[]), "tagged `parameters`"),
    (lambda nb: nb.cells[3].metadata.update(tags=["parameters"]), "tagged `parameters`"),
    (
        lambda nb: nb.cells[2].update(source=nb.cells[2].source + "\nlower: int = 1  # a small one"),
        "not of the form UPPERCASE",
    ),
    (lambda nb: nb.cells[2].update(source=nb.cells[2].source + "\nN = 1  # of no type"), "not of the form UPPERCASE"),
    (lambda nb: nb.cells[2].update(source=nb.cells[2].source + "\nN: float = 1  # a number"), "is annotated as float"),
    (lambda nb: nb.cells[2].update(source=nb.cells[2].source + "\nN: int = 2 * 3  # a product"), "not a literal"),
    (lambda nb: nb.cells[2].update(source=nb.cells[2].source + "\nN: int = 2  # equal if a = b"), "does not see"),
    (lambda nb: nb.cells[2].update(source=nb.cells[2].source + '\nN: str = "#1"  # a sharp'), "misreads the default"),
    (lambda nb: nb.cells[2].update(source=nb.cells[2].source + "\nN: int = 2"), "no trailing comment"),
    (lambda nb: nb.cells[2].update(source='RUN: str = "mine"  # the run'), "RUN and PROFILE"),
    (lambda nb: nb.metadata.kernelspec.update(name="conda-env"), "kernelspec"),
    (lambda nb: nb.metadata.update(papermill={}), "metadata of an execution"),
    (lambda nb: nb.cells[3].update(execution_count=1), "with its outputs"),
    (lambda nb: nb.cells[3].update(outputs=[nbformat.v4.new_output("stream", text="x")]), "with its outputs"),
    (lambda nb: nb.cells[3].metadata.update(execution={}), "execution times"),
    (lambda nb: nb.cells[3].update(id=nb.cells[2].id), "with the same|not a valid"),
    (lambda nb: nb.cells[3].update(source="counts\n" * 16), "16 lines"),
    (lambda nb: nb.cells[3].update(source="counts\ndef f():\n    pass"), "`def`"),
    (lambda nb: nb.cells[3].update(source="try:\n    counts\nexcept OSError:\n    pass"), "`try`"),
    (lambda nb: nb.cells[3].update(source="math = counts"), "assigns math"),
    (lambda nb: nb.cells[3].update(source='science = run.track("science")'), "does not call the track `track`"),
    (lambda nb: nb.cells[3].update(source="%pip install counts"), "installs something"),
    (lambda nb: nb.cells[3].update(source="!ls counts"), "runs a shell"),
    (lambda nb: nb.cells.insert(3, nbformat.v4.new_markdown_cell("word " * 81)), "81 words"),
    (lambda nb: nb.cells.insert(3, nbformat.v4.new_markdown_cell("| word |\n" * 81)), None),
]


@pytest.mark.filterwarnings("ignore::nbformat.validator.DuplicateCellId")
@pytest.mark.parametrize("spoil, fault", SPOILT)
def test_each_rule_finds_its_fault(tmp_path, spoil, fault):
    path = tmp_path / "math" / "01_good.ipynb"
    notebook = good(path)
    spoil(notebook)
    path.write_text(json.dumps(notebook))
    found = faults(path)
    assert (found == []) if fault is None else re.search(fault, "; ".join(found)), found
