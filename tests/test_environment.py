"""The pins for pip and for conda never drift apart, and cover every direct dependency."""

import re
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
    text = (ROOT / "pyproject.toml").read_text()
    return {canonicalize_name(name) for name in re.findall(r'"([\w-]+)>=[\d.]+', text)} - {"setuptools"}


def test_conda_and_pip_have_the_same_pins():
    conda = pins(line for line in conda_pip() if not line.startswith("-"))
    locked = pins(constraints(), CONDA_PYTHON)
    assert set(conda) - OF_THE_SERVER == direct_dependencies()
    assert {name: locked.get(name) for name in conda if name not in OF_THE_SERVER} == {
        name: version for name, version in conda.items() if name not in OF_THE_SERVER
    }
    assert "-c constraints.txt" in conda_pip()


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
