"""Which votes rest on sound arithmetic? Solutions that make the same mistake agree, and are no proof."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from sdg_helpers.answers.arithmetic import wrong_equations
from sdg_helpers.solutions.rows import parse_solution, read_id, unescape_json
from sdg_helpers.solutions.seed_files import seed_files


def count_sound_votes(solutions: Path, voters: Iterable[tuple[str, int]]) -> Counter[str]:
    """Return, by problem id, how many of the given solutions (id, seed) contain no wrong equation.

    Passes over the files once and parses only the lines asked for. Solutions that are not there are not sound.
    """
    wanted: dict[int, set[str]] = {}
    for problem_id, seed in voters:
        wanted.setdefault(seed, set()).add(problem_id)
    sound: Counter[str] = Counter()
    for seed, path in seed_files(solutions).items() if wanted else ():
        remaining = wanted.get(seed, set())
        if not remaining:
            continue
        with open(path, "rb", buffering=1 << 20) as file:
            for number, line in enumerate(file, 1):
                problem_id = read_id(line) or parse_solution(line, path, number).keys["id"]
                if problem_id in remaining:
                    text = unescape_json(parse_solution(line, path, number).text)
                    sound[problem_id] += not wrong_equations(text)
    return sound
