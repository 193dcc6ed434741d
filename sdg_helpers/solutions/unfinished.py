"""Solutions that were cut while the model wrote them: partial/texts/{writer}.jsonl holds what had arrived of each."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from sdg_helpers import files
from sdg_helpers.completions.kept_texts import KeptTexts
from sdg_helpers.solutions.seed_files import PartialWriter


def open_texts(writer: PartialWriter, is_over: Callable[[str], bool]) -> KeptTexts:
    """Return the texts of a writer's session, with those of the writers before it that have ended.

    is_over: whether the writer of this name is, so that its file can be taken over.
    """
    texts = KeptTexts(path_of(writer.folder.parent, writer.name))
    texts.take_over(path for path in sorted(texts.path.parent.glob("*.jsonl")) if is_over(path.stem))
    return texts


def path_of(folder: Path, writer: str) -> Path:
    """Return where the writer of this name keeps its texts. folder: of the stage."""
    return folder / "partial" / "texts" / f"{writer}.jsonl"


def write_continued(folder: Path) -> None:
    """Write continued.jsonl: for each solution that was cut and continued, how many tokens it had by then.

    Its text is one that the model can write, and at temperature 0 the one that it would have written in one go. With
    sampling, the rest was drawn anew unless the server draws each token by seed and position.
    """
    rows = [row for path in sorted((folder / "partial").glob("continued-*.jsonl")) for row in files.read_log(path)]
    if rows:
        with files.atomic_writer(folder / "continued.jsonl") as out:
            out.writelines(map(files.dumps, rows))
