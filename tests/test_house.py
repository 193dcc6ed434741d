"""The package's layout: every module imports alone, imports form no circle, an `__init__.py` only hands names on."""

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.clone import ROOT

PACKAGE = ROOT / "sdg_helpers"
LAZY = "__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)"
LIGHT = 15  # modules of ours that a small module may load

# Import each module in a fork of a process that holds the large libraries and nothing of ours.
IMPORT_ALONE = """
import difflib, gc, importlib, multiprocessing, os, sys, traceback
import aiohttp, lazy_loader, matplotlib.pyplot, mpmath, openai, orjson, pandas, psutil, pyarrow.parquet, pydantic, rensa
import tree_sitter_cpp, xxhash, yaml
gc.freeze()
assert not any(name.startswith("sdg_helpers") for name in sys.modules)
for module in sys.argv[1:]:
    pid = os.fork()
    if not pid:
        try:
            importlib.import_module(module)
        except BaseException:
            print(module, traceback.format_exc(limit=-3), flush=True)
        os._exit(0)
    os.waitpid(pid, 0)
"""


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


PATHS = {module_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}
FACES = {module_name(path): path for path in sorted(PACKAGE.rglob("__init__.pyi"))}


def top_level(body: list[ast.stmt]):
    """Statements that run at import, also those in `if`, `try` and `with`."""
    for statement in body:
        if isinstance(statement, ast.If) and {"TYPE_CHECKING", "__name__"} & set(ast.unparse(statement.test).split()):
            continue
        yield statement
        for field in ("body", "orelse", "finalbody", "handlers"):
            if not isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef):
                yield from top_level(getattr(statement, field, []))


def imported(path: Path, module: str, is_package: bool) -> set[str]:
    """Modules of ours that a file imports at its top level; a name from a face counts as the face."""
    found = set()
    for statement in top_level(ast.parse(path.read_text()).body):
        if isinstance(statement, ast.Import):
            found.update(alias.name for alias in statement.names)
        elif isinstance(statement, ast.ImportFrom):
            parts = module.split(".") if is_package else module.split(".")[:-1]
            above = parts[: len(parts) - statement.level + 1] if statement.level else []
            source = ".".join([*above, *filter(None, [statement.module])])
            for alias in statement.names:
                inner = f"{source}.{alias.name}"
                found.add(inner if inner in PATHS else source)
    return found & PATHS.keys()


def import_graph() -> dict[str, set[str]]:
    """Module -> modules that it imports; a face imports what its stub names, as if it were not lazy."""
    graph = {name: imported(path, name, path.name == "__init__.py") for name, path in PATHS.items()}
    for name, stub in FACES.items():
        graph[name] |= imported(stub, name, True)
    return graph


def find_circle(graph: dict[str, set[str]]) -> list[str]:
    """The first circle of imports, or an empty list."""
    done: set[str] = set()

    def visit(name: str, path: list[str]) -> list[str]:
        if name in path:
            return [*path[path.index(name) :], name]
        if name not in done:
            for other in sorted(graph[name]):
                if circle := visit(other, [*path, name]):
                    return circle
            done.add(name)
        return []

    return next((circle for name in graph if (circle := visit(name, []))), [])


@pytest.mark.slow
def test_every_module_imports_alone():
    modules = [name for name in PATHS if not name.endswith("__main__")]
    assert len(modules) > 100
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", IMPORT_ALONE, *modules],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_imports_form_no_circle():
    assert find_circle(import_graph()) == []


def test_a_circle_is_found():
    assert find_circle({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == ["b", "c", "b"]


@pytest.mark.parametrize("name", [name for name, path in PATHS.items() if path.name == "__init__.py"])
def test_a_package_file_has_no_logic(name):
    text = PATHS[name].read_text()
    docstring, *rest = ast.parse(text).body
    assert isinstance(docstring, ast.Expr) and isinstance(docstring.value, ast.Constant)
    lines = [ast.get_source_segment(text, statement) for statement in rest]
    if name == "sdg_helpers":
        assert [line.partition(" = ")[0] for line in lines] == ["__version__"]
    else:
        assert lines == (["import lazy_loader", LAZY] if name in FACES else [])


@pytest.mark.parametrize("name", FACES)
def test_a_face_hands_on_names_that_exist_and_hide_no_module(name):
    face, stub = importlib.import_module(name), ast.parse(FACES[name].read_text())
    assert face.__all__ and all(isinstance(statement, ast.ImportFrom) for statement in stub.body)
    for exported in face.__all__:
        assert getattr(face, exported) is not None
        assert f"{name}.{exported}" not in PATHS, f"{name} exports {exported}, which is also the name of a module"


def test_a_small_module_loads_few_others():
    code = "import sys, sdg_helpers.judging.verdicts\nprint(*(m for m in sys.modules if m.startswith('sdg_helpers')))"
    loaded = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    print(f"import sdg_helpers.judging.verdicts loads {len(loaded.split())} modules: {loaded}")
    assert len(loaded.split()) <= LIGHT
