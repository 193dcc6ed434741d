"""The libraries that completions are compared with, each in an environment of its own: .venv-bench/NAME."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).resolve().parent.parent / ".venv-bench"


@dataclass(frozen=True)
class Peer:
    """A pinned library. as_of: its dependencies are resolved as of this day. share: how many of the requests it is
    asked for; a slow one gets fewer, which changes its requests/s little."""

    requirements: tuple[str, ...]
    as_of: str
    share: float = 1.0


PEERS = {
    "datatrove": Peer(("datatrove[io]==0.10.1", "aiofiles", "aiosqlite", "httpx", "numpy<2.3"), "2026-11-01"),
    "openai-httpx": Peer(("openai==2.8.0",), "2026-11-01", 0.5),
    "openai-aiohttp": Peer(("openai[aiohttp]==2.8.0",), "2026-11-01", 0.5),
    "curator": Peer(("bespokelabs-curator==0.1.31",), "2026-11-01", 0.5),
    "distilabel": Peer(("distilabel[openai]==1.5.3",), "2025-03-01", 0.2),
}


class CannotInstall(Exception):
    """A peer's environment could not be made; the message is the reason."""


def python_of(name: str) -> Path:
    """Return the Python of a peer's environment, which is made first if it is missing or has other pins.

    Raises CannotInstall.
    """
    peer, folder = PEERS[name], FOLDER / name
    python, stamp = folder / "bin/python", folder / "installed"
    wanted = f"{' '.join(peer.requirements)} as of {peer.as_of}, Python {sys.version}\n"
    if not (stamp.exists() and stamp.read_text() == wanted):
        shutil.rmtree(folder, ignore_errors=True)
        _uv("venv", "--python", sys.executable, str(folder))
        _uv("pip", "install", "--python", str(python), "--exclude-newer", peer.as_of, *peer.requirements)
        stamp.write_text(wanted)
    return python


def _uv(*words: str) -> None:
    done = subprocess.run([sys.executable, "-m", "uv", "--quiet", *words], capture_output=True, text=True)
    if done.returncode:
        raise CannotInstall(" ".join(done.stderr.split()) or f"uv {words[0]} ended with {done.returncode}")
