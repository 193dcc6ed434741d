"""Science, stages 01 and 02: read what a model wrote into questions, plan variations of them, drop what is almost a
copy."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import Any

from sdg_helpers import files
from sdg_helpers.decontamination.near_duplicates import NearDuplicates
from sdg_helpers.errors import SdgError, did_you_mean
from sdg_helpers.problems.problem_file import read_problems
from sdg_helpers.prompts import Prompt
from sdg_helpers.science.question_reader import REASONS, Question, read_question
from sdg_helpers.science.taxonomy import folded, form_of
from sdg_helpers.solutions import seed_files
from sdg_helpers.solutions.reading import read_solutions
from sdg_helpers.stages import Stage, Work

KINDS = {
    "new_approach": "it belongs to the same subject, but another approach is needed to answer it",
    "similar": "the same approach answers it, but the situation and the numbers are new",
}
_KEPT_OF_REPLY = 2000  # characters of a reply that became no question
_ABOUT = ("field", "topic", "subtopic", "difficulty")


def read_questions(replies: Stage, stage: Stage, *, prompt: Prompt) -> dict[str, Any]:
    """Write questions.jsonl (id, problem, problem_type, problem_source, options, field, topic, subtopic, difficulty,
    written_by, inspired_by) and dropped.jsonl (id, seed, reason, reply): every reply is in one of them.

    replies: the stage that asked a model with `prompt`, whose worked examples must not come back.
    Returns the manifest; raises SdgError when no reply is a question.
    """
    written = replies.require()
    with stage.work({"prompt": prompt.id}, _seed_inputs(replies.folder)) as work:
        if work.done:
            return work.manifest
        reader = _Reader(prompt, written["parameters"]["model"])
        outputs, kept = [stage.folder / "questions.jsonl", stage.folder / "dropped.jsonl"], 0
        with files.atomic_writer(outputs[0]) as out, files.atomic_writer(outputs[1]) as left_out:
            for row in read_solutions(replies.folder):
                question, reason = reader.read(row, "written")
                kept += question is not None
                if question:
                    out.write(files.dumps(question))
                else:
                    left_out.write(files.dumps(_dropped(row, reason)))
        return _finish(work, reader.rows, kept, reader.dropped, outputs)


def plan_variations(questions: Path, stage: Stage, *, kinds: Sequence[str] = ("new_approach",)) -> dict[str, Any]:
    """Write variations.jsonl, one row a question and kind: what prompt `science/augment` needs. kinds: keys of KINDS.

    Returns the manifest.
    """
    for kind in kinds:
        if kind not in KINDS:
            raise SdgError(f"kind {kind!r}: expected one of {', '.join(KINDS)}.{did_you_mean(kind, KINDS)}")
    if not kinds:
        raise SdgError(f"kinds: expected at least one of {', '.join(KINDS)}, found none.")
    parameters = {"kinds": {kind: KINDS[kind] for kind in kinds}}
    with stage.work(parameters, {"questions": questions}) as work:
        if work.done:
            return work.manifest
        path, rows = stage.folder / "variations.jsonl", 0
        with files.atomic_writer(path) as out:
            for row in read_problems(questions):
                number = len(row["options"])
                for kind in kinds:
                    rows += 1
                    out.write(
                        files.dumps(
                            {
                                "id": files.content_id(row["id"], kind),
                                "problem": row["problem"],
                                **{key: row[key] for key in _ABOUT},
                                "num_options": number,
                                "form": form_of(number),
                                "kind": kind,
                                "demand": KINDS[kind],
                                "inspired_by": row["id"],
                            }
                        )
                    )
        return work.finish(rows_in=rows, rows_out=rows, outputs=[path])


def collect_questions(
    questions: Path, replies: Stage, stage: Stage, *, prompt: Prompt, threshold: float = 0.7
) -> dict[str, Any]:
    """Write problems.jsonl, the questions and those that they inspired, and dropped.jsonl: replies that are no
    question, and near-duplicates, with the id of the one they resemble (similar_to) and how much.

    threshold: see NearDuplicates. Of near-duplicates the first stays; the source questions come first, so a new one
    that repeats its source goes. Returns the manifest.
    """
    written = replies.require()
    inputs = {"questions": questions, **_seed_inputs(replies.folder)}
    with stage.work({"prompt": prompt.id, "threshold": threshold}, inputs) as work:
        if work.done:
            return work.manifest
        reader, index, ids = _Reader(prompt, written["parameters"]["model"]), NearDuplicates(threshold), []
        outputs, sources = [stage.folder / "problems.jsonl", stage.folder / "dropped.jsonl"], Counter()
        with files.atomic_writer(outputs[0]) as out, files.atomic_writer(outputs[1]) as left_out:
            for question, row, reason in chain(reader.known(questions), reader.all(replies.folder)):
                found = index.find(question["problem"]) if question else None
                if found:
                    reader.dropped["near_duplicate"] += 1
                    left_out.write(
                        files.dumps(
                            {
                                **question,
                                "reason": "near_duplicate",
                                "similar_to": ids[found[0]],
                                "similarity": found[1],
                            }
                        )
                    )
                elif question:
                    index.add(question["problem"])
                    ids.append(question["id"])
                    sources[question["problem_source"]] += 1
                    out.write(files.dumps(question))
                else:
                    left_out.write(files.dumps(_dropped(row, reason)))
        return _finish(work, reader.rows, len(ids), reader.dropped, outputs, problems_by_source=dict(sources))


def near_duplicate_pairs(folder: Path, limit: int = 20) -> list[dict[str, Any]]:
    """The first dropped near-duplicates beside what they resemble: problem, resembles, similarity."""
    dropped = list(
        islice((row for row in files.read_jsonl(folder / "dropped.jsonl") if row["reason"] == "near_duplicate"), limit)
    )
    texts = _problems_by_id(folder, {row["similar_to"] for row in dropped})
    return [
        {"problem": row["problem"], "resembles": texts[row["similar_to"]]["problem"], "similarity": row["similarity"]}
        for row in dropped
    ]


def inspired_pairs(folder: Path, limit: int = 3) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """(source, what it inspired) of the first inspired problems whose source is a problem too."""
    found = list(islice((row for row in read_problems(folder / "problems.jsonl") if row["inspired_by"]), 4 * limit))
    sources = _problems_by_id(folder, {row["inspired_by"] for row in found})
    return [(sources[row["inspired_by"]], row) for row in found if row["inspired_by"] in sources][:limit]


def _problems_by_id(folder: Path, ids: set[str]) -> dict[str, dict[str, Any]]:
    return {row["id"]: row for row in read_problems(folder / "problems.jsonl") if row["id"] in ids}


class _Reader:
    """Turns replies into rows of questions, each text once; counts what it drops by reason."""

    def __init__(self, prompt: Prompt, model: str):
        self.rows, self.dropped, self._model, self._ids = 0, Counter(), model, set()
        self._examples = {folded(text) for text in _example_texts(prompt)}

    def known(self, questions: Path) -> Iterator[tuple[dict[str, Any], dict[str, Any], str]]:
        """Questions that are read already, in the form of `all`."""
        for row in read_problems(questions):
            self.rows += 1
            self._ids.add(int(row["id"], 16))
            yield row, row, ""

    def all(self, replies: Path) -> Iterator[tuple[dict[str, Any] | None, dict[str, Any], str]]:
        """(question, reply, "") or (None, reply, reason) for every reply."""
        for row in read_solutions(replies):
            question, reason = self.read(row, row["kind"])
            yield question, row, reason

    def read(self, row: dict[str, Any], source: str) -> tuple[dict[str, Any] | None, str]:
        """(question, "") or (None, reason)."""
        self.rows += 1
        found = read_question(row["generation"], row["num_options"], row["finish_reason"])
        reason = self._reason(found)
        if reason:
            self.dropped[reason] += 1
            return None, reason
        number = len(found.options)
        return {
            "id": files.content_id(found.problem),
            "problem": found.problem,
            "problem_type": f"multiple_choice_{number}" if number else "open",
            "problem_source": source,
            "options": list(found.options),
            **{key: row[key] for key in _ABOUT},
            "written_by": self._model,
            "inspired_by": row.get("inspired_by", ""),
        }, ""

    def _reason(self, found: Question | str) -> str:
        if isinstance(found, str):
            return found
        if folded(found.text) in self._examples:
            return "copies_an_example"
        known = len(self._ids)
        self._ids.add(int(files.content_id(found.problem), 16))
        return "repeated" if len(self._ids) == known else ""


def _example_texts(prompt: Prompt) -> Iterator[str]:
    """The questions that a prompt shows as examples."""
    shown = [turn.assistant for turn in prompt.few_shot_turns]
    shown += [text for example in prompt.few_shot_examples.examples for text in example.values()]
    for text in shown:
        for number in (4, 10, 0):
            found = read_question(text, number)
            if isinstance(found, Question):
                yield found.text


def _dropped(row: dict[str, Any], reason: str) -> dict[str, Any]:
    return {"id": row["id"], "seed": row["seed"], "reason": reason, "reply": row["generation"][-_KEPT_OF_REPLY:]}


def _seed_inputs(replies: Path) -> dict[str, Path]:
    return {path.name: path for path in seed_files.seed_files(replies).values()}


def _finish(work: Work, rows: int, kept: int, dropped: Counter, outputs: list[Path], **more: Any) -> dict[str, Any]:
    ordered = {reason: dropped[reason] for reason in (*REASONS, "near_duplicate")}
    if not kept:
        raise SdgError(
            f"{work.folder}: expected at least one question in {rows} replies, found none "
            f"({dict(dropped)}). Look at the replies, or give another model or prompt."
        )
    return work.finish(rows_in=rows, rows_out=kept, dropped=ordered, outputs=outputs, **more)
