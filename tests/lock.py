"""Resolve constraints.txt again: one set of pins for Python 3.10-3.14, which an environment with sglang shares.

    make lock        (needs uv, which the target installs)

sglang pins many packages exactly, so an environment with it is resolved first; ours then has to keep to its pins."""

import re
import subprocess
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
UV = ["uv", "pip", "compile", "--quiet", "--no-emit-index-url", "--no-emit-find-links", "--no-annotate", "--no-header"]
HEAD = (ROOT / "constraints.txt").read_text().splitlines()[0]


def compile_pins(*arguments: str, cwd: Path = ROOT) -> str:
    """The pins that uv resolves for these arguments."""
    return subprocess.run([*UV, *arguments], check=True, cwd=cwd, capture_output=True, text=True).stdout


with tempfile.TemporaryDirectory() as folder:
    wanted = Path(folder, "sglang.in")
    sglang = re.search(r"sglang==[\d.]+", (ROOT / "environment.yml").read_text())[0]
    wanted.write_text(f"-e {ROOT}[demo,lab,dev]\n{sglang}\n")
    shared = [
        line
        for line in compile_pins("--python-version", "3.11", str(wanted)).splitlines()
        if re.match(r"(?!torch|nvidia|triton|sglang|cuda)[\w.-]+==", line)
    ]
    held = Path(folder, "held.txt")
    held.write_text("\n".join(f"{line} ; python_full_version >= '3.11'" for line in shared))
    pins = compile_pins("--universal", "--python-version", "3.10", "--all-extras", "-c", str(held), "pyproject.toml")
(ROOT / "constraints.txt").write_text(f"{HEAD}\n{pins}")
