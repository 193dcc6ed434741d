"""What science questions are about and how hard they are: fields, topics and subtopics, levels of difficulty, forms."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import yaml

from sdg_helpers import paths
from sdg_helpers.answers.options import LETTERS
from sdg_helpers.errors import SdgError, did_you_mean

_MOST_OPTIONS = 10
_FOLD = re.compile(r"[\W_]+")


@dataclass(frozen=True)
class Taxonomy:
    """levels: name -> what a question of this level demands; fields: field -> topic -> subtopics."""

    levels: dict[str, str]
    fields: dict[str, dict[str, list[str]]]

    def topics(self, fields: Sequence[str] = (), topics: Sequence[str] = ()) -> Iterator[tuple[str, str, list[str]]]:
        """(field, topic, subtopics) of the named fields and topics, of all where none is named.

        Raises SdgError for a name that is not there.
        """
        known = [topic for inside in self.fields.values() for topic in inside]
        _refuse_unknown("field", fields, list(self.fields))
        _refuse_unknown("topic", topics, known)
        for field, inside in self.fields.items():
            for topic, subtopics in inside.items():
                if (not fields or field in fields) and (not topics or topic in topics):
                    yield field, topic, subtopics

    def demands(self, levels: Sequence[str]) -> dict[str, str]:
        """level -> what it demands, of the named levels; raises SdgError for a name that is not there."""
        _refuse_unknown("difficulty", levels, list(self.levels))
        return {level: self.levels[level] for level in levels}

    def table(self) -> pd.DataFrame:
        """One row a field: topics, subtopics."""
        rows = [(field, len(inside), sum(map(len, inside.values()))) for field, inside in self.fields.items()]
        return pd.DataFrame(rows, columns=["field", "topics", "subtopics"]).set_index("field")


def default_taxonomy() -> Path:
    """Return the file of the taxonomy that comes with the prompts."""
    return paths.prompts_folder() / "science" / "topics.yaml"


def load_taxonomy(path: Path | str | None = None) -> Taxonomy:
    """Read a taxonomy, by default the one that comes with the prompts.

    Raises SdgError unless it has levels with texts, and fields with topics and distinct subtopics.
    """
    path = Path(path or default_taxonomy())
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise SdgError(
            f"{path}: expected a taxonomy (YAML with `levels` and `fields`), found {error}. "
            "Give the right path, or mend the file."
        ) from None
    if not isinstance(content, dict) or set(content) != {"levels", "fields"}:
        raise SdgError(
            f"{path}: expected the keys levels and fields, found "
            f"{', '.join(map(str, content)) if isinstance(content, dict) else type(content).__name__}. "
            f"See {default_taxonomy()} for the form."
        )
    faults = [*_level_faults(content["levels"]), *_field_faults(content["fields"])]
    if faults:
        raise SdgError(
            f"{path}: expected every name and subtopic to be a different text, found: "
            f"{'; '.join(faults[:5])}. Mend the file."
        )
    levels = {name: " ".join(text.split()) for name, text in content["levels"].items()}
    return Taxonomy(levels, content["fields"])


def _level_faults(levels: object) -> Iterator[str]:
    if not isinstance(levels, dict) or not levels:
        yield "no levels"
        return
    yield from (
        f"level {name!r} demands {text!r}"
        for name, text in levels.items()
        if not isinstance(text, str) or not text.strip()
    )


def _field_faults(fields: object) -> Iterator[str]:
    if not isinstance(fields, dict) or not all(isinstance(inside, dict) and inside for inside in fields.values()):
        yield "fields that are not mappings of topics"
        return
    topics: set[str] = set()
    for field, inside in fields.items():
        for topic, subtopics in inside.items():
            if folded(str(topic)) in topics:
                yield f"topic {topic!r} twice"
            topics.add(folded(str(topic)))
            if not isinstance(subtopics, list) or not all(isinstance(one, str) and one.strip() for one in subtopics):
                yield f"{field} / {topic} is not a list of texts"
            elif len({folded(one) for one in subtopics}) < len(subtopics) or not subtopics:
                yield f"{field} / {topic} has no subtopics, or one twice"


def folded(text: str) -> str:
    """The text without case, spaces and signs: what two spellings of one subtopic share."""
    return _FOLD.sub(" ", text.casefold()).strip()


def form_of(num_options: int) -> str:
    """How a prompt names the form of a question: with 4 or 10 options, or (0) without."""
    if num_options == 0:
        return "without options; its answer is a number, a formula or a few words"
    if not 2 <= num_options <= _MOST_OPTIONS:
        raise SdgError(
            f"number of options: expected 0 (an open question) or 2 to {_MOST_OPTIONS}, found {num_options}."
        )
    return f"with {num_options} options, A to {LETTERS[num_options - 1]}"


def _refuse_unknown(what: str, names: Sequence[str], known: Sequence[str]) -> None:
    for name in names:
        if name not in known:
            raise SdgError(f"{what} {name!r}: expected one of {', '.join(known)}.{did_you_mean(str(name), known)}")
