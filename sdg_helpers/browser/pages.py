"""The page's files, and the rules under which a browser shows them: nothing from elsewhere, no script but ours."""

from __future__ import annotations

from pathlib import Path

from sdg_helpers.paths import PACKAGE

FOLDER = PACKAGE / "data" / "browser"
# No text of a run can become a script: scripts come from our files only, and strings are never turned into HTML.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; font-src 'self'; img-src 'self'; base-uri 'none'; "
    "form-action 'none'; require-trusted-types-for 'script'"
)
# A page on disk loads its data as scripts, whose names one policy of ours checks.
FOLDER_POLICY = f"{_POLICY}; trusted-types sdg-data"
# JupyterLab on this machine may show the page inside a notebook.
_ANCESTORS = "frame-ancestors 'self' http://127.0.0.1:* http://localhost:*"
HEADERS = {
    "Content-Security-Policy": f"{_POLICY}; trusted-types 'none'; connect-src 'self'; {_ANCESTORS}",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".woff2": "font/woff2",
    ".svg": "image/svg+xml",
}


def page_files() -> dict[str, Path]:
    """Return the files of the page by their path in it."""
    paths = (path for path in FOLDER.rglob("*") if path.is_file() and path.suffix in _TYPES)
    return {path.relative_to(FOLDER).as_posix(): path for path in sorted(paths)}


def content_type(path: Path) -> str:
    """Return the MIME type of a page file."""
    return _TYPES[path.suffix]
