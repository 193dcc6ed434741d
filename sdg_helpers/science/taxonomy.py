"""The taxonomy of science questions: fields, topics and subtopics; levels of difficulty; forms of a question."""

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

_MAX_OPTIONS = 10
_FOLD = re.compile(r"[\W_]+")


@dataclass(frozen=True)
class Taxonomy:
    """Levels: name -> what such a question demands. Fields: field -> topic -> subtopics."""

    levels: dict[str, str]
    fields: dict[str, dict[str, list[str]]]

    def topics(self, fields: Sequence[str] = (), topics: Sequence[str] = ()) -> Iterator[tuple[str, str, list[str]]]:
        """Yield (field, topic, subtopics) of the named fields and topics; no names means all.

        Raises SdgError for an unknown name.
        """
        known = [topic for inside in self.fields.values() for topic in inside]
        _reject_unknown("field", fields, list(self.fields))
        _reject_unknown("topic", topics, known)
        for field, inside in self.fields.items():
            for topic, subtopics in inside.items():
                if (not fields or field in fields) and (not topics or topic in topics):
                    yield field, topic, subtopics

    def demands(self, levels: Sequence[str]) -> dict[str, str]:
        """Return what each of the named levels demands. Raises SdgError for an unknown name."""
        _reject_unknown("difficulty", levels, list(self.levels))
        return {level: self.levels[level] for level in levels}

    def table(self) -> pd.DataFrame:
        """Return one row per field, with the numbers of its topics and subtopics."""
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
            f"{path}: cannot read this taxonomy (YAML with `levels` and `fields`): {error}. Fix the file or its path."
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
            f"{path}: not a valid taxonomy: {'; '.join(faults[:5])}. Every name and subtopic must be a text that "
            "occurs once. Fix the file."
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
            if fold(str(topic)) in topics:
                yield f"topic {topic!r} twice"
            topics.add(fold(str(topic)))
            if not isinstance(subtopics, list) or not all(isinstance(one, str) and one.strip() for one in subtopics):
                yield f"{field} / {topic} is not a list of texts"
            elif len({fold(one) for one in subtopics}) < len(subtopics) or not subtopics:
                yield f"{field} / {topic} has no subtopics, or one twice"


def fold(text: str) -> str:
    """Return the text in lower case with its words separated by single spaces: equal for two spellings of a name."""
    return _FOLD.sub(" ", text.casefold()).strip()


def describe_form(num_options: int) -> str:
    """Return how a prompt describes a question with that many options; 0: an open question. Raises SdgError."""
    if num_options == 0:
        return "without options; its answer is a number, a formula or a few words"
    if not 2 <= num_options <= _MAX_OPTIONS:
        raise SdgError(f"number of options: must be 0 (an open question) or 2 to {_MAX_OPTIONS}, found {num_options}.")
    return f"with {num_options} options, A to {LETTERS[num_options - 1]}"


def _reject_unknown(what: str, names: Sequence[str], known: Sequence[str]) -> None:
    for name in names:
        if name not in known:
            raise SdgError(f"unknown {what} {name!r}.{did_you_mean(str(name), known)} Known: {', '.join(known)}.")
