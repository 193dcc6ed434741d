"""The stand-in's replies in the code track: a program that adds a number to its input, in the requested language. It is
right with the given probability, else broken in one of the ways of SPOILT; its thinking names the way: `plan: torn`."""

from __future__ import annotations

import re
from collections.abc import Callable

SPOILT = {  # what is done to the answer -> the reason that the filter or the tests must give
    "wrong": "wrong_output",
    "torn": "syntax_error",
    "prose": "no_code_block",
    "other": "other_language",
    "constant": "reads_no_input",
    "mute": "prints_nothing",
    "slow": "time_limit",
}
PROGRAMS = {
    "python": {
        "right": "print(int(input()) + {k})",
        "wrong": "print(int(input()) - {k})",
        "torn": "print(int(input(",
        "constant": "print({k})",
        "mute": "n = int(input()) + {k}",
        "slow": "n = int(input())\nwhile True:\n    n += 1\nprint(n)",
    },
    "cpp": {
        "right": "int main() {{ long n; std::cin >> n; std::cout << n + {k}; }}",
        "wrong": "int main() {{ long n; std::cin >> n; std::cout << n - {k}; }}",
        "torn": "int main() {{ long n",
        "constant": "int main() {{ std::cout << {k}; }}",
        "mute": "int main() {{ long n; std::cin >> n; n += {k}; }}",
        "slow": "int main() {{ volatile long n; long m; std::cin >> m; n = m; while (true) n = n + 1; "
        "std::cout << n; }}",
    },
}


def write_problems(path, count: int) -> None:
    """Write a .jsonl file of questions that the stand-in can answer, with two tests each."""
    from sdg_helpers import files

    with open(path, "wb") as out:
        for k in range(2, count + 2):
            out.write(
                files.dumps(
                    {
                        "problem": f"Read an integer n and print it with {k} added.",
                        "tests": [{"input": f"{n}\n", "output": f"{n + k}\n"} for n in (1, 40)],
                    }
                )
            )


def way(text: str, seed: int | None, accuracy: float, draw: Callable[..., float]) -> str:
    """Return "right", or the way in which this sample is broken."""
    if draw("program", text, seed) < accuracy:
        return "right"
    return [*SPOILT][int(draw("spoilt", text, seed) * len(SPOILT))]


def reply(text: str, seed: int | None, accuracy: float, draw: Callable[..., float]) -> tuple[str, str] | None:
    """Return (thinking, answer text) for a request of the code track, None for any other."""
    asked = re.search(r"with a complete (python|cpp) program", text)
    if not asked:
        return None
    language, how = asked[1], way(text, seed, accuracy, draw)
    thinking = f"plan: {how}"
    if how == "prose":
        return thinking, "Add the two numbers."
    if how == "other":
        language, how = "cpp" if language == "python" else "python", "right"
    program = PROGRAMS[language][how].format(k=re.search(r"with (\d+) added", text)[1])
    head = "#include <iostream>\n" if language == "cpp" else ""
    return thinking, f"For example 1 gives more:\n```\n1\n```\n\n```{language}\n{head}{program}\n```\nDone."
