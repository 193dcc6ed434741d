"""`sdg lab`: the notebooks in JupyterLab, with room for their names and without its question about news."""

from __future__ import annotations

import argparse
import os
import sys
from importlib.util import find_spec

from sdg_helpers.cli.commands import Add
from sdg_helpers.errors import SdgError
from sdg_helpers.paths import PACKAGE, project_root

_DEFAULTS = PACKAGE / "data" / "lab"  # a configuration folder of Jupyter; the user's own settings override it


def add_commands(add: Add) -> None:
    """Add lab."""
    lab = add("lab", _lab, "open the notebooks in JupyterLab")
    lab.add_argument("notebook", metavar="NOTEBOOK", nargs="?", default="00", help="which one to open (default: 00)")
    lab.add_argument("--port", type=int, metavar="N", help="default: 8888, or the next free one")
    lab.add_argument("--no-open", action="store_true", help="print the address only; over SSH, forward its port")


def _lab(arguments: argparse.Namespace) -> None:
    """Become JupyterLab, with the kernel of this environment."""
    from sdg_helpers import notebooks

    if not find_spec("jupyterlab"):
        raise SdgError("JupyterLab is not installed here. Install it: pip install 'sdg_helpers[lab]'.")
    notebook = notebooks.find(arguments.notebook, notebooks.discover())
    root = project_root()
    words = [str(notebook.path.relative_to(root)), f"--ServerApp.root_dir={root}"]
    if arguments.port is not None:
        words.append(f"--port={arguments.port}")
    if arguments.no_open:
        words.append("--no-browser")
    if os.geteuid() == 0:  # in a container; it listens on loopback and asks for a token
        words.append("--allow-root")
    folders = filter(None, (os.environ.get("JUPYTER_CONFIG_PATH"), str(_DEFAULTS)))
    environment = {**os.environ, "JUPYTER_CONFIG_PATH": os.pathsep.join(folders)}
    os.chdir(root)
    os.execve(sys.executable, [sys.executable, "-m", "jupyterlab", *words], environment)
