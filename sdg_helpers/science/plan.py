"""Science, stage 01, first part: choose topics and subtopics, and plan the grid of questions to be written."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from sdg_helpers import files
from sdg_helpers.answers.thinking import split_thinking
from sdg_helpers.errors import SdgError
from sdg_helpers.science.taxonomy import default_taxonomy, describe_form, fold, load_taxonomy
from sdg_helpers.solutions.reading import read_solutions
from sdg_helpers.stages import Stage

_ITEM = re.compile(r"[ \t]*(?:[-*+•]|\(?\d{1,3}[.):])?(.+)", re.DOTALL)
_MAX_WORDS = 12  # of a subtopic; a longer line is a remark


def choose_topics(
    stage: Stage,
    *,
    fields: Sequence[str] = (),
    topics: Sequence[str] = (),
    max_topics: int = 0,
    new_subtopics: int = 0,
) -> dict[str, Any]:
    """Write topics.jsonl: id, problem (field and topic), field, topic, known (its subtopics in one text), count.

    fields, topics: names, empty for all. max_topics: spread over the fields; 0 for all. new_subtopics: how many more to
    ask a model for, per topic. Returns the manifest. Raises SdgError for unknown names.
    """
    taxonomy = default_taxonomy()
    parameters = {
        "fields": list(fields),
        "topics": list(topics),
        "max_topics": max_topics,
        "new_subtopics": new_subtopics,
    }
    with stage.work(parameters, {"taxonomy": taxonomy}) as work:
        if work.done:
            return work.manifest
        chosen = list(load_taxonomy(taxonomy).topics(fields, topics))
        if not chosen:
            raise SdgError(
                f"TOPICS: none of {list(topics)} is in the fields {list(fields)}. Name topics of these fields, or "
                f"leave FIELDS empty ({taxonomy} lists both)."
            )
        taken = _spread(chosen, max_topics or len(chosen))
        path = stage.folder / "topics.jsonl"
        with files.atomic_writer(path) as out:
            for field, topic, known in taken:
                out.write(
                    files.dumps(
                        {
                            "id": files.content_id(field, topic),
                            "problem": f"{field}: {topic}",
                            "field": field,
                            "topic": topic,
                            "known": "; ".join(known),
                            "count": new_subtopics,
                        }
                    )
                )
        return work.finish(
            rows_in=len(chosen), rows_out=len(taken), outputs=[path], dropped={"not_chosen": len(chosen) - len(taken)}
        )


def _spread(chosen: list[tuple[str, str, list[str]]], count: int) -> list[tuple[str, str, list[str]]]:
    """Return `count` topics in the taxonomy's order, taking the first of every field, then the second, and so on."""
    place = Counter[str]()
    ranks = []
    for number, (field, _, _) in enumerate(chosen):
        ranks.append((place[field], number))
        place[field] += 1
    return [chosen[number] for number in sorted(number for _, number in sorted(ranks)[:count])]


def check_grid(levels: Sequence[str], num_options: Sequence[int]) -> tuple[dict[str, str], dict[int, str]]:
    """Return (level -> what it demands, number of options -> form) of a grid.

    Raises SdgError for an unknown level or number. Call it before the first request, so that a typo costs nothing.
    """
    demands = load_taxonomy().demands(levels)
    forms = {number: describe_form(number) for number in num_options}
    if not demands or not forms:
        raise SdgError(
            f"LEVELS and NUM_OPTIONS: at least one of each is needed, found {list(levels)} and {list(num_options)}. "
            f"Name a level of {default_taxonomy()}, and 4, 10 or 0 options."
        )
    return demands, forms


def plan_questions(
    topics: Path,
    stage: Stage,
    *,
    levels: Sequence[str],
    num_options: Sequence[int],
    max_subtopics: int = 0,
    expanded: Path | None = None,
) -> dict[str, Any]:
    """Write assignments.jsonl, one row per subtopic, level and number of options: id, problem (all of it in words),
    field, topic, subtopic, difficulty, demands, num_options, form.

    max_subtopics: how many of a topic's known ones to use; 0 for all. expanded: folder of the replies with new
    subtopics, all of which are used. Returns the manifest; its counts are of subtopics.
    """
    demands, forms = check_grid(levels, num_options)
    parameters = {"levels": demands, "num_options": list(num_options), "max_subtopics": max_subtopics}
    inputs = {"topics": topics, **({"expanded": expanded / "output-rs0.jsonl"} if expanded else {})}
    with stage.work(parameters, inputs) as work:
        if work.done:
            return work.manifest
        dropped = Counter[str]()
        path, rows, subtopics, new = stage.folder / "assignments.jsonl", 0, 0, 0
        with files.atomic_writer(path) as out:
            for topic, subtopic, is_new in _subtopics(topics, expanded, max_subtopics, dropped):
                subtopics, new = subtopics + 1, new + is_new
                for level in demands:
                    for number in forms:
                        rows += 1
                        out.write(files.dumps(_assignment(topic, subtopic, level, demands[level], number)))
        return work.finish(
            rows_in=subtopics + dropped.total(),
            rows_out=subtopics,
            dropped=dropped,
            outputs=[path],
            assignments=rows,
            new_subtopics=new,
        )


def _assignment(topic: dict[str, Any], subtopic: str, level: str, demands: str, num_options: int) -> dict[str, Any]:
    field, name = topic["field"], topic["topic"]
    return {
        "id": files.content_id(field, name, subtopic, level, str(num_options)),
        "problem": f"{field}: {name}: {subtopic} ({level}, {describe_form(num_options)})",
        "field": field,
        "topic": name,
        "subtopic": subtopic,
        "difficulty": level,
        "demands": demands,
        "num_options": num_options,
        "form": describe_form(num_options),
    }


def _subtopics(
    topics: Path, expanded: Path | None, max_subtopics: int, dropped: Counter
) -> Iterator[tuple[dict[str, Any], str, bool]]:
    """Yield (topic, subtopic, whether it is a model's) of every subtopic to use; count the others in `dropped`."""
    replies = {row["id"]: row["generation"] for row in read_solutions(expanded)} if expanded else {}
    for topic in files.read_jsonl(topics):
        known = topic["known"].split("; ")
        taken = known[: max_subtopics or len(known)]
        dropped["not_chosen"] += len(known) - len(taken)
        yield from ((topic, subtopic, False) for subtopic in taken)
        seen = {fold(one) for one in known}
        for subtopic in read_subtopics(replies.get(topic["id"], "")):
            if fold(subtopic) in seen:
                dropped["repeated"] += 1
            else:
                seen.add(fold(subtopic))
                yield topic, subtopic, True


def read_subtopics(reply: str) -> list[str]:
    """Return the subtopics of a reply, one per line, numbered or not; sentences and headings are skipped."""
    _, answer = split_thinking(reply)
    found = []
    for line in answer.splitlines():
        match = _ITEM.fullmatch(line)
        item = " ".join(match[1].replace("**", "").split()) if match else ""
        if item and not item.endswith((":", "?", "!")) and len(item.split()) <= _MAX_WORDS and fold(item):
            found.append(item.rstrip(".;,"))
    return found


def grid_cost(
    subtopics: int,
    levels: Sequence[str],
    num_options: Sequence[int],
    questions_each: int,
    *,
    reply_tokens: float = 220,
    tokens_per_s: float = 4000,
    gpus: int = 8,
) -> pd.DataFrame:
    """Estimate what writing the whole grid costs: one row per level and one for all; requests, tokens, gpu_hours.

    subtopics: their number. reply_tokens: of a question with its options. tokens_per_s: generated by one server of
    `gpus` GPUs at full load.
    """
    requests = subtopics * len(num_options) * questions_each
    tokens = requests * reply_tokens
    row = {"requests": requests, "tokens": tokens, "gpu_hours": tokens / tokens_per_s * gpus / 3600}
    table = pd.DataFrame([row] * len(levels), index=pd.Index(list(levels), name="level"))
    table.loc["all"] = table.sum()
    return table
