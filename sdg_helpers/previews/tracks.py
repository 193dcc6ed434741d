"""What a preview changes in each track: how it gets few problems, and how many the whole run has."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from sdg_helpers import files
from sdg_helpers.coding.own_questions import copy_rows
from sdg_helpers.coding.questions import DEMO, prepare_questions
from sdg_helpers.errors import SdgError
from sdg_helpers.previews.sample import draw_sample, is_local, spread_evenly
from sdg_helpers.problems.sources import source_file
from sdg_helpers.runs.run import Track
from sdg_helpers.science import plan
from sdg_helpers.stages import Stage

Values = Mapping[str, Mapping[str, Any]]  # notebook -> parameter -> value
SOLVE = {
    "math": "math/03_generate_solutions",
    "code": "code/02_generate_solutions",
    "science": "science/04_solve_questions",
}
NOTEBOOKS = {  # a preview needs no shards, and GenSelect needs more problems
    "math": ("01", "03", "04", "05", "06", "07"),
    "code": ("01", "02", "03", "04", "05"),
    "science": ("01", "02", "03", "04", "05"),
}


class Preview(NamedTuple):
    """changes: parameters by notebook; whole(track): problems of the whole run, None if unknown, after the preview."""

    changes: dict[str, dict[str, Any]]
    whole: Callable[[Track], int | None]


def prepare_preview(track: str, folder: Path, values: Values, count: int) -> Preview:
    """Choose about `count` problems of a track. folder: the preview's run; values: parameters of the whole run.

    Raises SdgError as the track's first notebook does, and for a count below 2.
    """
    if count < 2:
        raise SdgError(f"-n {count}: 2 problems at least are needed, to see how they differ.")
    return {"math": _math, "code": _code, "science": _science}[track](folder, values, count)


def _math(folder: Path, values: Values, count: int) -> Preview:
    first = "math/01_download_problems"
    sample = draw_sample(folder, values[first], count)
    changes = {"SOURCE": str(sample.path), "COLUMNS": {}, "MAX_PROBLEMS": 0, "DROP_TYPES": []}
    return Preview({first: changes}, lambda track: sample.of)


def _code(folder: Path, values: Values, count: int) -> Preview:
    """Take questions of all lengths from a file, and the first ones of a dataset on the hub."""
    first = "code/01_prepare_questions"
    known, languages = values[first], max(1, len(values[first]["LANGUAGES"]))
    wanted = max(2, count // languages)
    if not is_local(known["SOURCE"]):
        return Preview({first: {"MAX_QUESTIONS": wanted}}, lambda track: known["MAX_QUESTIONS"] * languages or None)
    source = Stage(folder / "preview" / "source", "source")
    manifest = prepare_questions(
        source,
        source=known["SOURCE"],
        columns=known["COLUMNS"],
        languages=known["LANGUAGES"],
        max_tokens=known["MAX_TOKENS"],
        tokenizer=known["TOKENIZER"],
        max_questions=known["MAX_QUESTIONS"] or None,
        max_tests=known["MAX_TESTS"],
        max_test_bytes=known["MAX_TEST_BYTES"],
        max_bad_rows=known["MAX_BAD_ROWS"],
    )
    lengths = {row["question_id"]: len(row["problem"]) for row in files.read_jsonl(source.folder / "problems.jsonl")}
    ids, chosen = list(lengths), spread_evenly(list(lengths.values()), wanted)
    sample = folder / "preview" / "sample.jsonl"
    path = None if known["SOURCE"] == "demo" else source_file(known["SOURCE"])
    copy_rows(path or DEMO, manifest["parameters"], {ids[number] for number in chosen}, sample)
    changes = {"SOURCE": str(sample), "MAX_QUESTIONS": 0}
    return Preview({first: changes}, lambda track: manifest["problems"])


def _science(folder: Path, values: Values, count: int) -> Preview:
    """Write questions about fewer topics, one for each subtopic, in one level and form."""
    first, second = "science/01_write_questions", "science/02_augment_questions"
    known = values[first]
    subtopics = 1 + min(1, known["NEW_SUBTOPICS"])
    topics = max(1, count // (subtopics * (1 + len(values[second]["KINDS"]))))
    changes = {
        "MAX_TOPICS": min(known["MAX_TOPICS"] or topics, topics),
        "MAX_SUBTOPICS": 1,
        "NEW_SUBTOPICS": subtopics - 1,
        "LEVELS": known["LEVELS"][:1],
        "NUM_OPTIONS": known["NUM_OPTIONS"][:1],
        "QUESTIONS_EACH": 1,
    }
    planned = _planned_questions(folder, known)

    def whole(track: Track) -> int | None:
        """As many problems of the planned questions as in the preview."""
        asked = track.stage("written").require()["counts"]["rows_in"]
        return round(planned * track.stage("solutions").require()["problems"] / max(1, asked))

    return Preview({first: changes}, whole)


def _planned_questions(folder: Path, known: Mapping[str, Any]) -> int:
    """Return how many questions the whole run asks for, if the model adds all the subtopics that it is asked for."""
    topics, grid = (Stage(folder / "preview" / name, name) for name in ("topics", "assignments"))
    new = known["NEW_SUBTOPICS"]
    chosen = plan.choose_topics(
        topics, fields=known["FIELDS"], topics=known["TOPICS"], max_topics=known["MAX_TOPICS"], new_subtopics=new
    )
    levels, options = known["LEVELS"], known["NUM_OPTIONS"]
    found = plan.plan_questions(
        topics.folder / "topics.jsonl",
        grid,
        levels=levels,
        num_options=options,
        max_subtopics=known["MAX_SUBTOPICS"],
    )
    added = chosen["counts"]["rows_out"] * new * len(levels) * len(options)
    return int(found["assignments"] + added) * int(known["QUESTIONS_EACH"])
