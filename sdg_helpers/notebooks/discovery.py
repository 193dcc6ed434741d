"""Find notebooks and read their parameters."""

from __future__ import annotations

import hashlib
import json
import logging
import re
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from sdg_helpers import files, paths
from sdg_helpers.errors import SdgError, did_you_mean
from sdg_helpers.notebooks.parameters import Parameter, read_parameters
from sdg_helpers.runs.tracks import STAGES, StageInfo

START = "start"  # the track of notebooks directly in notebooks/: 00_start_here
_FILE_NAME = re.compile(r"(\d\d)_\w+\.ipynb")


@dataclass(frozen=True)
class Notebook:
    """A notebook of the cookbook: `number` "03", `name` "03_generate_solutions", `track` "math"."""

    path: Path
    track: str

    @property
    def name(self) -> str:
        return self.path.stem

    @property
    def number(self) -> str:
        return self.name[:2]

    @property
    def title(self) -> str:
        """Number and name in words: "03 generate solutions"."""
        return self.name.replace("_", " ")

    @property
    def key(self) -> str:
        """Name in profiles and messages: "math/03_generate_solutions"."""
        return f"{self.track}/{self.name}"

    @property
    def stages(self) -> list[StageInfo]:
        """The stages that this notebook produces."""
        return [info for info in STAGES.get(self.track, ()) if info.notebook == self.key]

    @cached_property
    def parameters(self) -> dict[str, Parameter]:
        """Its parameters by name, as `papermill --help-notebook` reads them."""
        try:
            cells = json.loads(self.path.read_bytes())["cells"]
            tagged = [cell for cell in cells if "parameters" in cell["metadata"].get("tags", ())]
            return read_parameters("".join(tagged[0]["source"])) if tagged else {}
        except (ValueError, LookupError, TypeError, AttributeError, SyntaxError, OSError) as error:
            raise SdgError(
                f"{self.path}: not a readable notebook: {type(error).__name__}: {error}. Restore the file."
            ) from error

    @property
    def asks_a_model(self) -> bool:
        """Whether a code cell opens one of the run's model servers."""
        return any(kind == "code" and "run.server" in source for kind, source in self._cells())

    def digest(self) -> str:
        """Return a hash of all cell sources; outputs do not count."""
        return hashlib.sha256(repr(self._cells()).encode()).hexdigest()

    def _cells(self) -> list[tuple[str, str]]:
        cells = (files.read_json(self.path) or {}).get("cells", [])
        return [(cell.get("cell_type", ""), "".join(cell.get("source", []))) for cell in cells]


def discover(track: str | None = None) -> list[Notebook]:
    """Return all notebooks in running order, or those of one track ("math"; "start" is 00_start_here).

    Raises SdgError for a track that has no notebooks.
    """
    folder = paths.project_root() / "notebooks"
    found = [
        Notebook(path, path.parent.name if path.parent != folder else START)
        for path in sorted({*folder.glob("*.ipynb"), *folder.glob("*/*.ipynb")})
        if _FILE_NAME.fullmatch(path.name) and not path.parent.name.startswith(".")
    ]
    found.sort(key=lambda notebook: (notebook.track != START, notebook.track, notebook.name))
    if track is None:
        return found
    tracks = list(dict.fromkeys(notebook.track for notebook in found))
    if track not in tracks:
        raise SdgError(
            f"unknown track {track!r}.{did_you_mean(track, tracks)} Tracks in {folder}: "
            f"{', '.join(tracks) or 'none, because it holds no notebooks'}."
        )
    return [notebook for notebook in found if notebook.track == track]


def find(text: str, notebooks: Sequence[Notebook], where: str = "NOTEBOOK") -> Notebook:
    """Return the notebook meant by "math/03_generate_solutions", "math/03", "03_generate_solutions" or "03".

    where: the option or file that `text` comes from, for errors. Raises SdgError for no match and for several.
    """
    wanted = re.sub(r"^notebooks/|\.ipynb$", "", text.lower().replace("-", "_"))
    found = [
        notebook
        for notebook in notebooks
        if wanted
        in (notebook.key.lower(), f"{notebook.track}/{notebook.number}", notebook.name.lower(), notebook.number)
    ]
    keys = [notebook.key for notebook in found or notebooks]
    if not found:
        raise SdgError(f"{where} {text!r}: no such notebook.{did_you_mean(text, keys)} Notebooks: {', '.join(keys)}.")
    if len(found) > 1:
        raise SdgError(f"{where} {text!r}: several notebooks match: {', '.join(keys)}. Give one of these names.")
    return found[0]


def escape_braces(path: Path) -> str:
    """Return a path for papermill, which reads {braces} as placeholders."""
    return str(path).replace("{", "{{").replace("}", "}}")


def silence_library_warnings() -> None:
    """Keep log lines and warnings of papermill and Jupyter off the progress line; their errors are exceptions."""
    if "papermill" not in sys.modules:
        warnings.filterwarnings("ignore", module=r"(jupyter|papermill|nbclient|nbformat|zmq|traitlets).*")
        for name in ("papermill", "traitlets", "nbclient"):
            logging.getLogger(name).addHandler(logging.NullHandler())


@contextmanager
def without_address_grammar() -> Iterator[None]:
    """Keep jsonschema, if it is first imported in this block, from building a grammar of web addresses.

    That takes 1.6 s of CPU time. JupyterLab brings the package that does it; checking a notebook does not use it.
    """
    absent = "rfc3987_syntax" not in sys.modules
    if absent:
        sys.modules["rfc3987_syntax"] = None  # type: ignore[assignment]  # None: cannot be imported
    try:
        yield
    finally:
        if absent:
            del sys.modules["rfc3987_syntax"]
