"""Write the browser as a folder of static files, which opens from disk without a server."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sdg_helpers import exact_json, files
from sdg_helpers.browser.pages import FOLDER_POLICY, page_files
from sdg_helpers.browser.site import Site
from sdg_helpers.errors import SdgError

MOST = 1000  # problems
_CUT = 20_000  # characters of each text
_CHUNK_BYTES = 4 << 20  # of a file of problems, roughly


def write_folder(site: Site, folder: Path, most: int = MOST) -> Path:
    """Write the page and the first `most` problems of a track with their solutions; return the page's path.

    Texts are cut after 20,000 characters; the page says so. Raises SdgError unless the folder is new or empty, and
    `most` at least 1.
    """
    if most < 1:
        raise SdgError(f"a folder needs at least one problem, not {most}.")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise SdgError(f"{folder} is not an empty folder. Give a new one, or remove it first.")
    rows = site.table({}, most)["rows"]
    with files.disk_errors(folder):
        for name, path in page_files().items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, folder / name)
    chunks = []
    for number, (first, problems) in enumerate(_chunks(site, [row["position"] for row in rows])):
        _write(folder, f"problems-{number}", problems)
        chunks.append(first)
    _write(folder, "run", {**site.run(), "rows": rows, "chunks": chunks})
    page = folder / "index.html"
    html = page.read_text().replace('data-mode="served"', 'data-mode="folder"')
    meta = f'<meta http-equiv="Content-Security-Policy" content="{FOLDER_POLICY}">'
    with files.atomic_writer(page) as out:
        out.write(html.replace("<head>", f"<head>\n{meta}", 1).encode())
    return page


def _chunks(site: Site, positions: list[int]) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield (index of the first problem, problems by position), a few megabytes at a time."""
    chunk, size, first = dict[str, Any](), 0, 0
    for place, position in enumerate(positions):
        problem = site.problem(position, _CUT, thinking=True)
        chunk[str(position)] = problem
        size += len(exact_json.dumps(problem))
        if size >= _CHUNK_BYTES:
            yield first, chunk
            chunk, size, first = {}, 0, place + 1
    if chunk:
        yield first, chunk


def _write(folder: Path, name: str, value: Any) -> None:
    """Write a value as a script that hands it to the page; a page on disk may load scripts, but not JSON."""
    with files.atomic_writer(folder / "data" / f"{name}.js") as out:
        out.write(b'sdg.receive("%b", %b);\n' % (name.encode(), exact_json.dumps(value)))
