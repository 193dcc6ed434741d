"""A real JupyterLab in a workspace, and a notebook in it as a person uses it: by clicks."""

import json
import re
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

from tests.helpers.clone import ROOT, command, environment

PROFILE = """\
description: the scripted model
servers:
  solver: {{engine: endpoint, model: standin, base_url: "{url}", api_key_env: STANDIN_KEY}}
"""
_HOMES = ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR")
_SETTINGS = "lab/user-settings/@jupyterlab/notebook-extension/tracker.jupyterlab-settings"
_ADDRESS = re.compile(r"(http://127\.0\.0\.1:\d+)/lab\?(token=\w+)")
_CELLS = "[...jupyterapp.shell.currentWidget.content.model.cells].map((cell) => cell.toJSON())"
_IDLE = "jupyterapp?.shell.currentWidget?.sessionContext?.session?.kernel?.status === 'idle'"


def lab_environment(folder: Path) -> dict[str, str]:
    """Return an environment for a new user of JupyterLab, but that all cells are drawn, so that a picture can hold a
    whole notebook."""
    homes = {name: str(folder / name.lower()) for name in _HOMES}
    settings = Path(homes["JUPYTER_CONFIG_DIR"], _SETTINGS)
    settings.parent.mkdir(parents=True, exist_ok=True)
    settings.write_text(json.dumps({"windowingMode": "none"}))
    Path(homes["JUPYTER_CONFIG_DIR"], "jupyter_lab_config.json").write_text(
        json.dumps({"LabApp": {"expose_app_in_browser": True}})  # so that a test can ask what the kernel does
    )
    return {**environment(), **homes, "STANDIN_KEY": "standin-key", "HF_HUB_OFFLINE": "1", "NO_PROXY": "127.0.0.1"}


def make_workspace(folder: Path, base_url: str, env: dict[str, str]) -> Path:
    """Create a workspace whose profile `demo` asks a scripted server."""
    subprocess.run(command("init", str(folder)), env=env, check=True, stdout=subprocess.DEVNULL)
    (folder / "notebooks" / "profiles" / "demo.yaml").write_text(PROFILE.format(url=base_url))
    return folder


def sdg_in(folder: Path, env: dict[str, str], *words: str) -> None:
    done = subprocess.run(command(*words), cwd=folder, env=env, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr


@contextmanager
def started(folder: Path, words: list[str], env: dict[str, str], log: Path):
    """Start what starts JupyterLab; yields (address, token) once it listens."""
    with open(log, "w") as out:
        process = subprocess.Popen(words, cwd=folder, env=env, stdout=out, stderr=subprocess.STDOUT)
        try:
            deadline = time.monotonic() + 120
            while not (found := _ADDRESS.search(log.read_text())):
                assert process.poll() is None and time.monotonic() < deadline, log.read_text()
                time.sleep(0.1)
            yield found[1], found[2]
        finally:
            process.terminate()
            process.wait(60)


@contextmanager
def sdg_lab(folder: Path, env: dict[str, str], log: Path):
    """Run `sdg lab` in a workspace; yields a function from a notebook's path to its address in a window of its own."""
    with started(folder, command("lab", "--no-open", "--port=0"), env, log) as (base, token):
        yield lambda path: f"{base}/lab/workspaces/{Path(path).stem}/tree/notebooks/{path}?{token}"


class LabNotebook:
    """The notebook that a page of JupyterLab shows."""

    def __init__(self, seen):
        self.seen, self.page = seen, seen.page
        self.page.wait_for_function(f"() => {_IDLE}", timeout=60_000)

    def choose(self, menu, entry):
        """Click an entry of the main menu."""
        self.page.click(f".lm-MenuBar-item:has-text('{menu}')")
        self.page.click(f".lm-Menu-item:has-text('{entry}')")

    def cells(self):
        """Return the code cells as they would be saved."""
        return [cell for cell in self.page.evaluate(_CELLS) if cell["cell_type"] == "code"]

    def run_all(self):
        """Run all cells and wait for the last one, which must not have run before."""
        waiting = "[...document.querySelectorAll('.jp-InputPrompt')].some((one) => one.innerText.includes('*'))"
        self.page.wait_for_function(f"() => {_IDLE} && !{waiting}", timeout=60_000)
        self.choose("Run", "Run All Cells")
        counted = f"{_CELLS}.filter((cell) => cell.cell_type === 'code').every((cell) => cell.execution_count)"
        self.page.wait_for_function(f"() => {_IDLE} && {counted}", timeout=120_000)

    def picture(self, name, height=8000):
        """Keep a picture of the whole notebook."""
        width = self.page.viewport_size["width"]
        self.page.set_viewport_size({"width": width, "height": height})
        self.page.evaluate("document.querySelector('.jp-WindowedPanel-outer').scrollTop = 0")
        self.page.wait_for_timeout(1000)
        self.seen.shot(name)
        self.page.set_viewport_size({"width": width, "height": 900})


def make_lab(env: dict[str, str], log: Path):
    """Run `make lab` in this clone, with the environment that runs the tests."""
    words = ["make", f"--old-file={sys.prefix}/installed", f"VENV={sys.prefix}", "lab"]
    return started(ROOT, words, env, log)
