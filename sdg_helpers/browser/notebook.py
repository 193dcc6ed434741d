"""Show the browser inside a notebook."""

from __future__ import annotations

from pathlib import Path
from threading import Thread

from IPython.display import IFrame

from sdg_helpers.browser.server import serve
from sdg_helpers.browser.site import Site
from sdg_helpers.browser.sources import begun_track


def show(run: Path, track: str | None = None, height: int = 800) -> IFrame:
    """Return the browser of a run (its folder) as a frame. It is served from here for as long as the kernel runs.

    track: default: the first that has begun. height: pixels. Raises SdgError when there are no problems yet.
    """
    server = serve(Site(begun_track(run, track)))
    Thread(target=server.serve_forever, daemon=True).start()
    return IFrame(server.url, "100%", height)
