"""Recognise repeated problems, and merge the answers of their copies."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sdg_helpers import files
from sdg_helpers.answers.equality import group_answers
from sdg_helpers.errors import SdgError

_MOST_ANSWERS = 8  # different answers of one problem that are listed
_REST = ""  # stands for the answers that are not
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
    """Knows the problems seen so far. Holds three hashes and a count per problem, not its text."""

    def __init__(self) -> None:
        self._ids: dict[int, int] = {}  # hash of the id -> hash of the text
        self._answers: dict[int, int] = {}  # hash of the text -> hash of the first copy's answer, 0 for none
        self._agreeing: Counter[int] = Counter()  # hash of the text -> later copies with that answer
        self._later: dict[int, Counter[str]] = {}  # hash of the text -> other answers of later copies, _REST for more

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
        if answer and hashed == self._answers[digest]:
            self._agreeing[digest] += 1
        elif answer:
            later = self._later.setdefault(digest, Counter())
            later[answer if answer in later or len(later) < _MOST_ANSWERS else _REST] += 1
        return False

    def merge_answers(self, path: Path) -> int:
        """Give the problems of a file the answers of their later copies; return how many have conflicting answers.

        A problem with conflicting answers gets them as `conflicting_answers`, and as its answer the one that more than
        half of its labelled copies have, "" without one.
        """
        if not self._later:
            return 0
        conflicting = 0
        with files.atomic_writer(path) as out:
            for row in files.read_jsonl(path):
                copies = self._labelled_copies(row)
                answers = [answer for answer in copies if answer != _REST]
                groups = group_answers(answers, row["problem"])
                if len(groups) > 1 or copies[_REST]:
                    row["conflicting_answers"] = answers
                    conflicting += 1
                if answers:
                    most = max(groups, key=lambda group: sum(copies[answers[index]] for index in group))
                    agreed = 2 * sum(copies[answers[index]] for index in most) > copies.total()
                    row["expected_answer"] = answers[most[0]] if agreed else ""
                out.write(files.dumps(row))
        return conflicting

    def _labelled_copies(self, row: Mapping[str, Any]) -> Counter[str]:
        """Return how many copies of a problem have each answer, the first copy's answer first."""
        digest, answer = _hash(fold_spaces(row["problem"])), row["expected_answer"]
        first = Counter({answer: 1 + self._agreeing[digest]} if answer else ())
        return first + self._later.get(digest, Counter())


def _hash(text: str) -> int:
    return int(files.content_id(text), 16)
