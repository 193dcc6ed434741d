"""The wheel stands alone: it carries notebooks, prompts and data, and `sdg init` makes a workspace from it."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from sdg_helpers import paths, workspace
from sdg_helpers.errors import SdgError
from sdg_helpers.workspace import create_workspace

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A folder with the unpacked wheel, built without network from a copy of the clone."""
    folder = tmp_path_factory.mktemp("wheel")
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    for name in subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines():
        if (ROOT / name).is_file():
            (folder / "source" / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, folder / "source" / name)
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-index", "--no-deps", "--no-build-isolation"]
    without_clone = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    built = subprocess.run([*pip, "-w", folder, folder / "source"], env=without_clone, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    with zipfile.ZipFile(next(folder.glob("sdg_helpers-*.whl"))) as wheel:
        wheel.extractall(folder / "site")
    return folder / "site"


def sdg(installed, folder, *words):
    environment = {name: value for name, value in os.environ.items() if name != "SDG_OUTPUTS"}
    return subprocess.run(
        [sys.executable, "-m", "sdg_helpers.cli", *map(str, words)],
        cwd=folder,
        env={**environment, "PYTHONPATH": str(installed)},
        capture_output=True,
        text=True,
    )


def test_the_wheel_carries_every_file_that_it_needs(installed):
    shipped = installed / "sdg_helpers" / "data" / "workspace"
    copied = {path.relative_to(shipped).as_posix() for path in shipped.rglob("*") if path.is_file()}
    notebooks = {path.relative_to(ROOT).as_posix() for path in ROOT.glob("notebooks/**/[0-9][0-9]_*.ipynb")}
    notebooks = {name for name in notebooks if ".ipynb_checkpoints" not in name}  # where JupyterLab was
    prompts = {path.relative_to(ROOT).as_posix() for path in ROOT.glob("prompts/**/*.yaml")}
    profiles = {path.relative_to(ROOT).as_posix() for path in ROOT.glob("notebooks/profiles/*.yaml")}
    assert copied == notebooks | prompts | profiles | {"prompts/README.md", "outputs/README.md"}
    assert len(notebooks) >= 19 and len(prompts) >= 15
    for name in copied:
        assert (shipped / name).read_bytes() == (ROOT / name).read_bytes()
    ours = {path.relative_to(ROOT) for path in (ROOT / "sdg_helpers").rglob("*") if path.is_file()}
    packed = {path.relative_to(installed) for path in (installed / "sdg_helpers").rglob("*") if path.is_file()}
    assert {path for path in ours - packed if "__pycache__" not in path.parts} == set()


@pytest.mark.slow
def test_a_workspace_is_all_that_the_commands_need(installed, tmp_path):
    refused = sdg(installed, tmp_path, "notebooks")
    assert refused.returncode == 2 and "`sdg init FOLDER`" in refused.stderr
    created = sdg(installed, tmp_path, "init", "work")
    assert created.returncode == 0, created.stderr
    assert "Next: cd work && " in created.stdout and created.stdout.endswith(" run math --profile demo\n")
    listed = sdg(installed, tmp_path / "work", "notebooks")
    assert "math/07_export_sft" in listed.stdout and "science/05_vote_and_export" in listed.stdout
    explained = sdg(installed, tmp_path / "work" / "notebooks", "params", "math/03")
    assert "math/03_generate_solutions  (math/03_generate_solutions.ipynb)\n" in explained.stdout
    code = "from sdg_helpers.prompts import prompt_path; print(prompt_path('math/solve'))"
    asked = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path / "work",
        env={**os.environ, "PYTHONPATH": str(installed)},
        capture_output=True,
        text=True,
    )
    assert asked.stdout.strip() == str(tmp_path / "work" / "prompts" / "math" / "solve.yaml")


# --- what sdg init does to a folder


@pytest.fixture
def shipped(tmp_path, monkeypatch):
    """A package with one notebook, one profile and one prompt."""
    root = tmp_path / "shipped"
    for name in ("notebooks/math/01_a.ipynb", "notebooks/profiles/demo.yaml", "prompts/math/solve.yaml"):
        (root / name).parent.mkdir(parents=True)
        (root / name).write_text(f"{name}, version 1")
    monkeypatch.setattr(paths, "shipped_root", lambda: root)
    return root


def test_edited_files_are_kept_and_the_others_follow_the_version(shipped, tmp_path):
    work = tmp_path / "work"
    assert create_workspace(work).added == [
        "notebooks/math/01_a.ipynb",
        "notebooks/profiles/demo.yaml",
        "prompts/math/solve.yaml",
    ]
    assert len(create_workspace(work).unchanged) == 3
    (work / "notebooks/math/01_a.ipynb").write_text("mine")
    for path in (shipped / "notebooks/math/01_a.ipynb", shipped / "prompts/math/solve.yaml"):
        path.write_text("version 2")
    (work / "notebooks/profiles/demo.yaml").unlink()
    for _ in range(2):  # an edited file stays an edited file
        copied = create_workspace(work)
        assert copied.kept == ["notebooks/math/01_a.ipynb"]
    assert copied.unchanged == ["notebooks/profiles/demo.yaml", "prompts/math/solve.yaml"]
    assert (work / "notebooks/math/01_a.ipynb").read_text() == "mine"
    assert (work / "prompts/math/solve.yaml").read_text() == "version 2"
    assert (work / "notebooks/profiles/demo.yaml").exists()


def test_an_interrupted_copy_is_completed(shipped, tmp_path, monkeypatch):
    def stop(names):
        raise KeyboardInterrupt

    work = tmp_path / "work"
    create = workspace.files.atomic_writer
    with monkeypatch.context() as patch:
        patch.setattr(
            workspace.files,
            "atomic_writer",
            lambda path, **more: stop(path) if path.suffix == ".yaml" else create(path, **more),
        )
        with pytest.raises(KeyboardInterrupt):
            create_workspace(work)
    assert len(list(work.rglob("*.*"))) > 1
    copied = create_workspace(work)
    assert copied.unchanged == ["notebooks/math/01_a.ipynb"] and len(copied.added) == 2


def test_only_a_new_folder_or_a_workspace_is_accepted(shipped, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(SdgError, match="is a file. Give a new folder"):
        create_workspace(tmp_path / "file")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").write_text("")
    with pytest.raises(SdgError, match="is not empty, and it is not a workspace"):
        create_workspace(tmp_path / "full")
    assert [path.name for path in (tmp_path / "full").iterdir()] == ["thesis.tex"]
    with pytest.raises(SdgError, match="probably a clone"):
        create_workspace(shipped)
    (tmp_path / "fresh" / ".git").mkdir(parents=True)
    assert len(create_workspace(tmp_path / "fresh").added) == 3
