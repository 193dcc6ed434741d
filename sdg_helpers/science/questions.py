"""Science, stages 01 and 02: read questions from replies, plan variations of them, drop near-duplicates."""

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
from sdg_helpers.science.taxonomy import describe_form, fold
from sdg_helpers.solutions import seed_files
from sdg_helpers.solutions.reading import read_solutions
from sdg_helpers.stages import Stage, Work

KINDS = {
    "new_approach": "it belongs to the same subject, but another approach is needed to answer it",
    "similar": "the same approach answers it, but the situation and the numbers are new",
}
_REPLY_TAIL = 2000  # characters kept of a dropped reply, from its end
_ABOUT = ("field", "topic", "subtopic", "difficulty")


def read_questions(replies: Stage, stage: Stage, *, prompt: Prompt) -> dict[str, Any]:
    """Write questions.jsonl (id, problem, problem_type, problem_source, options, field, topic, subtopic, difficulty,
    written_by, inspired_by) and dropped.jsonl (id, seed, reason, reply); every reply goes into one of them.

    replies: the stage that asked a model with `prompt`; a copy of one of its worked examples is dropped.
    Returns the manifest. Raises SdgError when no reply is a question.
    """
    written = replies.require()
    with stage.work({"prompt": prompt.id}, _seed_inputs(replies.folder)) as work:
        if work.done:
            return work.manifest
        collector = _QuestionCollector(prompt, written["parameters"]["model"])
        outputs, kept = [stage.folder / "questions.jsonl", stage.folder / "dropped.jsonl"], 0
        with files.atomic_writer(outputs[0]) as out, files.atomic_writer(outputs[1]) as left_out:
            for row in read_solutions(replies.folder):
                question, reason = collector.read(row, "written")
                kept += question is not None
                if question:
                    out.write(files.dumps(question))
                else:
                    left_out.write(files.dumps(_dropped(row, reason)))
        return _finish_collecting(work, collector.rows, kept, collector.dropped, outputs)


def plan_variations(questions: Path, stage: Stage, *, kinds: Sequence[str] = ("new_approach",)) -> dict[str, Any]:
    """Write variations.jsonl, one row per question and kind, with the fields of the prompt `science/augment`.

    kinds: some of KINDS. Returns the manifest. Raises SdgError for an unknown kind, or none.
    """
    for kind in kinds:
        if kind not in KINDS:
            raise SdgError(f"unknown kind {kind!r}.{did_you_mean(kind, KINDS)} Known: {', '.join(KINDS)}.")
    if not kinds:
        raise SdgError(f"KINDS is empty: name at least one of {', '.join(KINDS)}.")
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
                                "form": describe_form(number),
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
    """Write problems.jsonl, the questions and those that they inspired, and dropped.jsonl: replies without a question,
    and near-duplicates with the id of the problem that they resemble (similar_to) and their similarity.

    replies: the stage that asked a model for variations with `prompt`. threshold: see NearDuplicates; the first of
    several near-duplicates is kept. The source questions come first, so a new question that repeats its source is
    dropped. Returns the manifest.
    """
    written = replies.require()
    inputs = {"questions": questions, **_seed_inputs(replies.folder)}
    with stage.work({"prompt": prompt.id, "threshold": threshold}, inputs) as work:
        if work.done:
            return work.manifest
        collector, index = _QuestionCollector(prompt, written["parameters"]["model"]), NearDuplicates(threshold)
        outputs, sources = [stage.folder / "problems.jsonl", stage.folder / "dropped.jsonl"], Counter[str]()
        ids: list[str] = []
        with files.atomic_writer(outputs[0]) as out, files.atomic_writer(outputs[1]) as left_out:
            for question, row, reason in chain(collector.known(questions), collector.all(replies.folder)):
                found = index.find(question["problem"]) if question else None
                if question and found:
                    collector.dropped["near_duplicate"] += 1
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
        return _finish_collecting(
            work, collector.rows, len(ids), collector.dropped, outputs, problems_by_source=dict(sources)
        )


def near_duplicate_pairs(folder: Path, limit: int = 20) -> list[dict[str, Any]]:
    """Return the first dropped near-duplicates and the problems that they resemble: problem, resembles, similarity."""
    dropped = list(
        islice((row for row in files.read_jsonl(folder / "dropped.jsonl") if row["reason"] == "near_duplicate"), limit)
    )
    texts = _problems_by_id(folder, {row["similar_to"] for row in dropped})
    return [
        {"problem": row["problem"], "resembles": texts[row["similar_to"]]["problem"], "similarity": row["similarity"]}
        for row in dropped
    ]


def inspired_pairs(folder: Path, limit: int = 3) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Return (source, inspired problem) of the first inspired problems whose source was kept too."""
    found = list(islice((row for row in read_problems(folder / "problems.jsonl") if row["inspired_by"]), 4 * limit))
    sources = _problems_by_id(folder, {row["inspired_by"] for row in found})
    return [(sources[row["inspired_by"]], row) for row in found if row["inspired_by"] in sources][:limit]


def _problems_by_id(folder: Path, ids: set[str]) -> dict[str, dict[str, Any]]:
    return {row["id"]: row for row in read_problems(folder / "problems.jsonl") if row["id"] in ids}


class _QuestionCollector:
    """Turns replies into rows of questions, each text once, and counts what it drops by reason."""

    def __init__(self, prompt: Prompt, model: str):
        self.rows, self.dropped, self._model = 0, Counter[str](), model
        self._ids: set[int] = set()
        self._examples = {fold(text) for text in _example_texts(prompt)}

    def known(self, questions: Path) -> Iterator[tuple[dict[str, Any], dict[str, Any], str]]:
        """Yield questions that were read before, in the form of `all`."""
        for row in read_problems(questions):
            self.rows += 1
            self._ids.add(int(row["id"], 16))
            yield row, row, ""

    def all(self, replies: Path) -> Iterator[tuple[dict[str, Any] | None, dict[str, Any], str]]:
        """Yield (question, reply, "") or (None, reply, reason) for every reply."""
        for row in read_solutions(replies):
            question, reason = self.read(row, row["kind"])
            yield question, row, reason

    def read(self, row: dict[str, Any], source: str) -> tuple[dict[str, Any] | None, str]:
        """Return (question, "") or (None, reason). source: the row's problem_source."""
        self.rows += 1
        found = read_question(row["generation"], row["num_options"], row["finish_reason"])
        reason = found if isinstance(found, str) else self._reason_to_drop(found)
        if reason or isinstance(found, str):
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

    def _reason_to_drop(self, found: Question) -> str:
        if fold(found.text) in self._examples:
            return "copies_an_example"
        known = len(self._ids)
        self._ids.add(int(files.content_id(found.problem), 16))
        return "repeated" if len(self._ids) == known else ""


def _example_texts(prompt: Prompt) -> Iterator[str]:
    """Yield the questions that a prompt shows as examples."""
    shown = [turn.assistant for turn in prompt.few_shot_turns]
    shown += [text for example in prompt.few_shot_examples.examples for text in example.values()]
    for text in shown:
        for number in (4, 10, 0):
            found = read_question(text, number)
            if isinstance(found, Question):
                yield found.text


def _dropped(row: dict[str, Any], reason: str) -> dict[str, Any]:
    return {"id": row["id"], "seed": row["seed"], "reason": reason, "reply": row["generation"][-_REPLY_TAIL:]}


def _seed_inputs(replies: Path) -> dict[str, Path]:
    return {path.name: path for path in seed_files.seed_files(replies).values()}


def _finish_collecting(
    work: Work, rows: int, kept: int, dropped: Counter[str], outputs: list[Path], **more: Any
) -> dict[str, Any]:
    ordered = {reason: dropped[reason] for reason in (*REASONS, "near_duplicate")}
    if not kept:
        raise SdgError(
            f"{work.folder}: no question in {rows} replies ({dict(dropped)}). Look at the replies, or use another "
            "model or prompt."
        )
    return work.finish(rows_in=rows, rows_out=kept, dropped=ordered, outputs=outputs, **more)
