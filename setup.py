"""Build hook: copy the notebooks and prompts into the wheel, where `sdg init` finds them. The rest: pyproject.toml."""

import shutil
import sys
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

sys.path.insert(0, str(Path(__file__).resolve().parent))

from sdg_helpers.paths import workspace_files  # noqa: E402  (needs nothing that has to be installed)


class BuildWithWorkspace(build_py):
    """Add data/workspace/ to the package. An editable install needs no copy: it uses the clone's own files."""

    def run(self) -> None:
        super().run()
        if not self.editable_mode:
            for name, path in workspace_files().items():
                target = Path(self.build_lib, "sdg_helpers", "data", "workspace", name)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, target)


setup(cmdclass={"build_py": BuildWithWorkspace})
