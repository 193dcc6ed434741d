"""`sdg browse`: a run's problems, solutions and suspect labels in a web browser."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from sdg_helpers.cli.commands import Add
from sdg_helpers.cli.console import display_path


def add_commands(add: Add) -> None:
    """Add browse."""
    browse = add("browse", _browse, "look at problems and solutions in a web browser, and decide on suspect labels")
    browse.add_argument("run", metavar="RUN")
    browse.add_argument("--track", choices=["math", "science", "code"], help="default: the first that has begun")
    browse.add_argument("--port", type=int, default=0, metavar="N", help="default: a free one")
    browse.add_argument("--no-open", action="store_true", help="print the address only")
    browse.add_argument(
        "--to", type=Path, metavar="FOLDER", help="write static files there instead, to read or to send"
    )
    browse.add_argument("--most", type=int, default=1000, metavar="N", help="problems in the folder (default: 1000)")


def _browse(arguments: argparse.Namespace) -> None:
    from tqdm import tqdm

    from sdg_helpers import runs
    from sdg_helpers.browser import serve, write_folder
    from sdg_helpers.browser.site import Site
    from sdg_helpers.browser.sources import begun_track

    track = begun_track(runs.existing_run(arguments.run), arguments.track)
    with tqdm(desc="reading the run", unit="B", unit_scale=True, leave=False, delay=1) as bar:

        def on_progress(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        site = Site(track, on_progress)
    if arguments.to:
        print(display_path(write_folder(site, arguments.to, arguments.most)))
        return
    with serve(site, arguments.port) as server:
        print(f"{server.url}\nCtrl-C stops it.", flush=True)
        if not arguments.no_open and _has_screen():
            import webbrowser

            webbrowser.open(server.url)
        server.serve_forever()


def _has_screen() -> bool:
    """Return whether a graphical browser can open here; one in the terminal would take it over."""
    return sys.platform == "darwin" or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
