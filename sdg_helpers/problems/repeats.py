"""Recognise repeated problems, and merge the answers of their copies."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sdg_helpers import files
from sdg_helpers.answers.equality import group_answers
from sdg_helpers.errors import SdgError

_MOST_ANSWERS = 8  # different answers of one problem that are listed
_DELIMITER = re.compile(r"(\$\$?|\\[()\[\]])")
_SPACING = re.compile(r"\\[,;:!> ]|\\(?:q?quad|enspace|thinspace|medspace|thickspace|negthinspace)(?![A-Za-z])|~")
_SPACE_IN_MATH = re.compile(r"(\\[A-Za-z]{1,40})\s+(?=[A-Za-z])|\s+")


def fold_spaces(text: str) -> str:
    r"""Return a text in which white space and LaTeX spacing make no difference.

    In formulas, where TeX ignores white space, it is removed together with `\,`, `\quad` and the like, except between a
    command and a letter; elsewhere a run of it becomes one space.
    """
    parts, in_math = [], False
    for part in _DELIMITER.split(text):
        if _DELIMITER.fullmatch(part):
            in_math = part in (r"\(", r"\[") or (part.startswith("$") and not in_math)
            parts.append("$")
        elif in_math:
            spaced = _SPACING.sub(" ", part)
            parts.append(_SPACE_IN_MATH.sub(lambda match: f"{match[1]} " if match[1] else "", spaced))
        else:
            parts.append(re.sub(r"\s+", " ", _SPACING.sub(" ", part)))
    return "".join(parts).strip()


class Repeats:
    """Knows the problems seen so far. Holds three hashes per problem, not its text."""

    def __init__(self) -> None:
        self._ids: dict[int, int] = {}  # hash of the id -> hash of the text
        self._answers: dict[int, int] = {}  # hash of the text -> hash of the answer, 0 for none
        self._later: dict[int, list[str]] = {}  # hash of the text -> answers of later copies that the first one lacks

    def is_new(self, problem: Mapping[str, Any], where: str) -> bool:
        """Return whether a problem (id, problem, expected_answer) is not a copy of an earlier one; note its answer.

        Raises SdgError, naming `where`, for an id that belongs to a different problem.
        """
        digest, answer = _hash(fold_spaces(problem["problem"])), problem["expected_answer"]
        if self._ids.setdefault(_hash(problem["id"]), digest) != digest:
            raise SdgError(
                f"{where}: the id {problem['id']!r} is already used by another problem. Make the ids unique, or remove "
                "them: ids are then computed from the texts."
            )
        hashed = _hash(answer) if answer else 0
        if digest not in self._answers:
            self._answers[digest] = hashed
            return True
        if answer and hashed != self._answers[digest]:
            later = self._later.setdefault(digest, [])
            if answer not in later and len(later) < _MOST_ANSWERS:
                later.append(answer)
        return False

    def merge_answers(self, path: Path) -> int:
        """Give the problems of a file the answers of their later copies; return how many have conflicting answers."""
        if not self._later:
            return 0
        conflicting = 0
        with files.atomic_writer(path) as out:
            for row in files.read_jsonl(path):
                later = self._later.get(_hash(fold_spaces(row["problem"])), ())
                answers = [answer for answer in (row["expected_answer"], *later) if answer]
                if len(group_answers(answers, row["problem"])) > 1:
                    row |= {"expected_answer": "", "conflicting_answers": answers}
                    conflicting += 1
                elif answers:
                    row["expected_answer"] = answers[0]
                out.write(files.dumps(row))
        return conflicting


def _hash(text: str) -> int:
    return int(files.content_id(text), 16)
