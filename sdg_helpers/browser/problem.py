"""One problem with its solutions, read from the run's files by offset."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

from sdg_helpers import files
from sdg_helpers.answers.equality import canonical, group_answers
from sdg_helpers.answers.thinking import split_thinking
from sdg_helpers.browser.index import facts_of
from sdg_helpers.browser.queries import flags_of, table_rows
from sdg_helpers.browser.solution_rows import seed_of, solution_key
from sdg_helpers.errors import SdgError, UnreadableRow
from sdg_helpers.exact_json import replace_lone_surrogates
from sdg_helpers.solutions.rows import GENERATED_KEYS, Solution, parse_solution, unescape_json

_SHOWN = ("id", "problem", "expected_answer", "problem_source")
_ANSWER = 500  # characters of an answer
CUT = 8_000  # characters of a text that are sent at first
PIECE = 100_000  # and at a time after that


class Problems:
    """Read problems and solutions of an index. `run` is the run's folder."""

    def __init__(self, database: sqlite3.Connection, run: Path, cut: int = CUT):
        """cut: characters of each text."""
        self._database, self._run, self._cut = database, run, cut
        self._files = dict(database.execute("SELECT number, path FROM files"))
        self._facts = facts_of(database)

    def problem(self, position: int, thinking: bool = False) -> dict[str, Any]:
        """Return everything about one problem. thinking: with its texts, otherwise only their length.

        Raises SdgError for an unknown problem.
        """
        row = self.row(position)
        known = table_rows(self._database, [position], flags_of(self._facts))[0]
        names = ("votes", "seeds", "wrong", "undecided")
        counts = self._database.execute(
            f"SELECT {', '.join(names)} FROM problems WHERE position = ?", (position,)
        ).fetchone()
        solutions = self.solutions(position, thinking)
        reference = canonical(str(row.get("expected_answer") or ""))
        answers = group_votes(solutions, str(row.get("problem", "")))
        for one in answers:  # a verdict compares with the label, which is the reference unless it was replaced
            same = one["correct"] is True and known["decision"] != "relabel"
            one["is_reference"] = bool(reference) and (same or canonical(one["answer"]) == reference)
        return {
            **known,
            **dict(zip(names, counts, strict=True)),
            "problem": self.shorten(str(row.get("problem", ""))),
            "more": {
                key: self.shorten(value if isinstance(value, str) else files.dumps(value).decode().strip())
                for key, value in row.items()
                if key not in (*_SHOWN, *GENERATED_KEYS) and value not in (None, "", [])
            },
            "answers": [one | {"answer": _brief(one["answer"])} for one in answers],
            "solutions": [one | {"predicted": _brief(one["predicted"])} for one in solutions],
            "replies": self._replies(position),
            "failures": [
                {"seed": seed, "reason": reason, "detail": detail}
                for seed, reason, detail in self._database.execute(
                    "SELECT seed, reason, detail FROM failures WHERE position = ?", (position,)
                )
            ],
        }

    def row(self, position: int) -> dict[str, Any]:
        """Return a problem as its file has it."""
        found = self._database.execute("SELECT offset, length FROM problems WHERE position = ?", (position,)).fetchone()
        if found is None:
            raise SdgError(f"there is no problem number {position}.")
        return files.parse_row(self._read(0, *found), self._run / self._files[0], position + 1)

    def solutions(self, position: int, thinking: bool = False) -> list[dict[str, Any]]:
        """Return the solutions of a problem by seed. thinking: with its text."""
        found = []
        for seed in self._facts["seeds"]:
            row = self._solution(position, seed)
            if row is None:
                continue
            key, file, offset, length, correct, how, predicted, dropped = row
            one = {
                "seed": seed_of(key),
                "correct": None if correct is None else bool(correct),
                "how": None if how is None else self._facts["how"][how],
                "predicted": predicted,
                "dropped": None if dropped is None else self._facts["reasons"][dropped],
                "kept": not self._facts["export"] and dropped is None,
            }
            found.append(one | self._texts(file, offset, length, thinking))
        return found

    def answer(self, position: int, seed: int) -> str | None:
        """Return the answer of one solution, None for a solution without one or that does not exist."""
        row = self._solution(position, seed)
        return row[6] if row else None

    def text(self, position: int, seed: int | None, part: str, start: int) -> dict[str, Any]:
        """Return the next piece of a long text. part: problem, or of the solution of a seed: answer or thinking."""
        if part == "problem" or seed is None:
            whole = str(self.row(position).get("problem", ""))
        else:
            row = self._solution(position, seed)
            if row is None or part not in ("answer", "thinking"):
                raise SdgError(f"problem {position}, seed {seed}: there is no such text.")
            solution = self._parse(*row[1:4])
            whole = split_thinking(unescape_json(solution.text))[part == "answer"] or ""
        return self.shorten(whole, start, PIECE)

    def shorten(self, text: str, start: int = 0, limit: int | None = None) -> dict[str, Any]:
        """Return a text's characters from `start` on, up to a limit, and its whole length."""
        end = start + (self._cut if limit is None else limit)
        return {"text": replace_lone_surrogates(text[start:end]), "length": len(text)}

    def _solution(self, position: int, seed: int) -> tuple[Any, ...] | None:
        found: tuple[Any, ...] | None = self._database.execute(
            "SELECT key, file, offset, length, correct, how, predicted, dropped FROM solutions WHERE key = ?",
            (solution_key(seed, position),),
        ).fetchone()
        return found

    def _texts(self, file: int, offset: int, length: int, with_thinking: bool) -> dict[str, Any]:
        solution = self._parse(file, offset, length)
        more = {"tokens": solution.tokens, "finish": solution.finish_reason, "damaged": ""}
        try:
            thinking, answer = split_thinking(unescape_json(solution.text))
        except UnreadableRow as error:
            return {**more, "damaged": str(error), "thinking": None, "answer": self.shorten("")}
        shown = None if thinking is None else self.shorten(thinking, limit=None if with_thinking else 0)
        return {**more, "thinking": shown, "answer": self.shorten(answer.strip())}

    def _parse(self, file: int, offset: int, length: int) -> Solution:
        return parse_solution(self._read(file, offset, length), self._run / self._files[file], offset)

    def _read(self, file: int, offset: int, length: int) -> bytes:
        path = self._run / self._files[file]
        try:
            with open(path, "rb") as source:
                source.seek(offset)
                line = source.read(length)
        except OSError as error:
            raise SdgError(f"{path}: cannot be read any more: {error.strerror}. Run `sdg browse` again.") from None
        if len(line) != length or not line.endswith(b"\n"):
            raise SdgError(f"{path} has changed since the browser read it. Run `sdg browse` again.")
        return line

    def _replies(self, position: int) -> list[dict[str, Any]]:
        """Return the judge's replies on a problem's answers, the last one of each comparison."""
        places = self._database.execute(
            "SELECT file, offset, length FROM replies WHERE position = ? ORDER BY file, offset", (position,)
        )
        replies = {}
        for file, offset, length in places:
            row = files.parse_row(self._read(file, offset, length), self._run / self._files[file], offset)
            replies[row["predicted_answer"], row["expected_answer"]] = {
                "predicted": _brief(row["predicted_answer"]),
                "expected": _brief(row["expected_answer"]),
                "judgement": row["judgement"],
                "model": row.get("model"),
                "reply": self.shorten(str(row["reply"])),
            }
        return list(replies.values())


def _brief(text: str | None) -> str | None:
    return text if text is None or len(text) <= _ANSWER else text[:_ANSWER] + "…"


def group_votes(solutions: list[dict[str, Any]], problem: str) -> list[dict[str, Any]]:
    """Return a problem's distinct answers, most votes first: answer, seeds, and whether it is right."""
    seeds: dict[str, list[int]] = {}
    correct: dict[str, bool | None] = {}
    for one in solutions:
        if one["predicted"]:
            seeds.setdefault(one["predicted"], []).append(one["seed"])
            correct[one["predicted"]] = one["correct"]  # equal texts have equal verdicts
    spellings = sorted(seeds, key=lambda text: -len(seeds[text]))
    groups = [
        {
            "answer": spellings[group[0]],
            "seeds": sorted(seed for place in group for seed in seeds[spellings[place]]),
            "correct": next((value for place in group if (value := correct[spellings[place]]) is not None), None),
        }
        for group in group_answers(spellings, problem)
    ]
    return sorted(groups, key=lambda group: -len(group["seeds"]))
