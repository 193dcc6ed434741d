"""The pins for pip and for conda never drift apart, and cover every direct dependency."""

import ast
import json
import re
import sys
from importlib import metadata
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
CONDA_PYTHON = {"python_full_version": "3.11.9", "python_version": "3.11", "sys_platform": "linux"}
OF_THE_SERVER = {"sglang"}  # not a dependency of the package: it may live in an environment of its own


def pins(lines, environment=None):
    found = {}
    for line in lines:
        requirement = Requirement(line.split("#")[0].strip())
        if requirement.marker is None or requirement.marker.evaluate(environment):
            found[canonicalize_name(requirement.name)] = str(requirement.specifier).removeprefix("==")
    return found


def constraints():
    return [line for line in (ROOT / "constraints.txt").read_text().splitlines() if re.match(r"\w", line)]


def conda_pip():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    return next(part["pip"] for part in environment["dependencies"] if isinstance(part, dict))


def direct_dependencies():
    """All of them but the extra that only make test-browser installs."""
    text = (ROOT / "pyproject.toml").read_text()
    return {canonicalize_name(name) for name in re.findall(r'"([\w-]+)[>=]=[\d.]+', text)} - declared_by("browser")


def test_conda_and_pip_have_the_same_pins():
    conda = pins(line for line in conda_pip() if not line.startswith("-"))
    locked = pins(constraints(), CONDA_PYTHON)
    assert set(conda) - OF_THE_SERVER == direct_dependencies()
    assert {name: locked.get(name) for name in conda if name not in OF_THE_SERVER} == {
        name: version for name, version in conda.items() if name not in OF_THE_SERVER
    }
    assert "-c constraints.txt" in conda_pip()


def test_what_only_the_browser_tests_need_is_locked_too():
    assert declared_by("browser") <= pins(constraints()).keys()


def test_every_constraint_is_one_exact_version_from_no_particular_host():
    for line in constraints():
        assert re.match(r"[\w.\[\]-]+==[^ ]+( ; .+)?$", line), line
        assert "://" not in line


def test_the_tests_run_with_the_locked_versions():
    locked = pins(constraints())
    for name in direct_dependencies():
        try:
            installed = metadata.version(name)
        except metadata.PackageNotFoundError:
            pytest.fail(f"{name} is not installed: make test installs it")
        assert installed == locked[name], f"{name}: installed {installed}, locked {locked[name]}"


# --- what the code imports

NOT_IMPORTED = {
    "ipykernel": "runs the notebooks as a process",
    "wordllama": "only its data files are read",
}
NOT_DECLARED = {"sglang", "torch"}  # imported only by code that runs in SGLang's own environment


def declared(*extras):
    """Names of the distributions that pyproject.toml asks for: the dependencies and these extras."""
    return declared_by("dependencies", *extras)


def declared_by(*names):
    """Names of the distributions in these lists of pyproject.toml."""
    text = (ROOT / "pyproject.toml").read_text()
    lists = [re.search(rf"^{name} = \[(.*?)\]", text, re.DOTALL | re.MULTILINE)[1] for name in names]
    return {canonicalize_name(name) for one in lists for name in re.findall(r'"([\w-]+)[>=]=[\d.]+', one)}


def imported(*folders):
    """Names of the distributions that the modules and notebooks in these folders import, with one place each."""
    found = {}
    for path in (path for folder in folders for path in (ROOT / folder).rglob("*") if path.suffix in (".py", ".ipynb")):
        for source in sources(path):
            for node in ast.walk(ast.parse(source)):
                names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
                names += [node.module] if isinstance(node, ast.ImportFrom) and not node.level else []
                found.update({name.partition(".")[0]: path.relative_to(ROOT) for name in names})
    by_module = metadata.packages_distributions()
    ours = {*sys.stdlib_module_names, "sdg_helpers", "tests", "bench", "__future__", *NOT_DECLARED}
    return {canonicalize_name(by_module.get(name, [name])[0]): path for name, path in found.items() if name not in ours}


def sources(path):
    if path.suffix == ".py":
        return [path.read_text()]
    return ["".join(cell["source"]) for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == "code"]


def test_the_package_and_its_notebooks_import_what_they_declare():
    used = imported("sdg_helpers", "notebooks")
    undeclared = {name: str(path) for name, path in used.items() if name not in declared("demo")}
    assert not undeclared, f"declare these in pyproject.toml: {undeclared}"
    assert declared() - set(used) == set(NOT_IMPORTED), "drop what is never imported, or say why in NOT_IMPORTED"


def test_the_tests_import_what_they_declare():
    undeclared = {
        name: str(path)
        for name, path in imported("tests").items()
        if name not in declared("demo", "lab", "dev", "browser")
    }
    assert not undeclared, f"declare these in pyproject.toml: {undeclared}"
