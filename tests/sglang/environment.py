"""SGLang in a separate environment, on a CPU: `python tests/sglang/environment.py FOLDER [--arguments-only]`.

Only the compiled GPU kernels are replaced (kernels.py); arguments, scheduler, HTTP server, start of processes over
several nodes, sharded save and load are SGLang's own. Nothing is done when it was built before from the same files.
"""

from __future__ import annotations

import argparse
import hashlib
import re
import shutil
import subprocess
import sys
import venv
from pathlib import Path

HERE = Path(__file__).resolve().parent
TORCH_ON_CPU = "https://download.pytorch.org/whl/cpu"  # asked only where the usual index has no build for CPUs


def main() -> None:
    """Build what is not there yet."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--arguments-only", action="store_true", help="enough to parse a command line, not to serve")
    given = parser.parse_args()
    if sys.version_info < (3, 11):
        sys.exit(f"SGLang needs Python 3.11 or newer, found {sys.version.split()[0]}: make PYTHON=/path/to/python …")
    stages = ("arguments",) if given.arguments_only else ("arguments", "serving")
    for stage in stages:
        stamp = given.folder / f"built-{stage}"
        if not stamp.exists() or stamp.read_text() != recipe(stage):
            {"arguments": build_arguments, "serving": build_serving}[stage](given.folder)
            stamp.write_text(recipe(stage))


def recipe(stage: str) -> str:
    """What an environment depends on, as one short text."""
    sources = [HERE / f"requirements-{stage}.txt", HERE / "kernels.py", Path(__file__)]
    return hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()


def sglang_version() -> str:
    """The version that environment.yml names: the one place."""
    return re.search(r"sglang==([\d.]+)", (HERE.parent.parent / "environment.yml").read_text())[1]


def build_arguments(folder: Path) -> None:
    """A fresh environment with torch for CPUs and sglang without its dependencies: 2.3 GB."""
    venv.create(folder, with_pip=True, clear=True)
    lines = (HERE / "requirements-arguments.txt").read_text().splitlines()
    torch = next(line for line in lines if line.startswith("torch=="))
    if pip(folder, f"{torch}+cpu", check=False):
        pip(folder, f"{torch}+cpu", "--extra-index-url", TORCH_ON_CPU)
    pip(folder, *(line for line in lines if line and not line.startswith(("#", "torch=="))))
    pip(folder, "--no-deps", f"sglang=={sglang_version()}")


def build_serving(folder: Path) -> None:
    """The packages of the server, three replacements for what needs a GPU, and latent attention on a CPU."""
    pip(folder, "-r", str(HERE / "requirements-serving.txt"))
    pip(folder, "--no-deps", "torchvision==0.28.0")  # its own idea of torch would be the one for GPUs
    packages = next(folder.glob("lib/python3.*/site-packages"))
    vision = packages / "torchvision" / "__init__.py"
    text = vision.read_text()
    if "    _meta_registrations,\n" not in text:
        sys.exit(f"{vision}: expected the import of _meta_registrations, found none; mend environment.py")
    vision.write_text(text.replace("    _meta_registrations,\n", ""))  # of compiled operators that are not there
    # the attention in plain torch has no latent attention but the absorbed kind, which SGLang chooses for decoding only
    handlers = packages / "sglang/srt/models/deepseek_common/attention_backend_handler.py"
    always_absorbed = 'AttentionBackendRegistry.register("torch_native", _dispatch_mla_subtype)\n'
    if not (text := handlers.read_text()).endswith(always_absorbed):
        handlers.write_text(text + always_absorbed)
    for name in ("torchaudio", "sgl_kernel"):
        (packages / name).mkdir(exist_ok=True)
    (packages / "torchaudio" / "__init__.py").write_text("")
    shutil.copyfile(HERE / "kernels.py", packages / "sgl_kernel" / "__init__.py")


def pip(folder: Path, *arguments: str, check: bool = True) -> int:
    """pip install in that environment; returns its status."""
    command = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    # sglang names packages that only GPUs need; pip's complaints about their absence are no news
    done = subprocess.run([*command, *arguments], stderr=subprocess.PIPE, text=True)
    if done.returncode and check:
        sys.exit(f"{done.stderr}\npip install {' '.join(arguments)} failed (status {done.returncode})")
    return done.returncode


if __name__ == "__main__":
    main()
