"""Code 03: which solutions hold a program. Each false drop of the reference (its fault 9) is a case."""
import time

import pandas as pd
import pytest

from sdg_helpers import files
from sdg_helpers.coding.blocks import fenced_blocks, last_program
from sdg_helpers.coding.filtering import REASONS, filter_solutions, program_flaw, program_id, program_of
from sdg_helpers.errors import SdgError
from sdg_helpers.stages import Stage

GOOD = {"python": "print(int(input()) + 1)\n",
        "cpp": "#include <iostream>\nint main() { int n; std::cin >> n; std::cout << n + 1; }\n"}


def answer(*blocks, thinking="I see."):
    """A solution's text: thinking, then blocks of (name, code)."""
    text = "\n\nor\n\n".join(f"```{name}\n{code}```" for name, code in blocks)
    return f"<think>\n{thinking}\n</think>\n\nHere it is.\n\n{text}\n\nDone."


def row(generation, language="python", finish_reason="stop"):
    return {"id": "p", "language": language, "generation": generation, "finish_reason": finish_reason}


SOLUTIONS = [
    ("", row(answer(("python", GOOD["python"])))),
    ("", row(answer(("cpp", GOOD["cpp"])), "cpp")),
    ("", row(answer(("c++", GOOD["cpp"])), "cpp")),
    ("", row(answer(("Python3", GOOD["python"])))),
    # the reference looks at the first block only
    ("", row(answer(("", "3\n1 2 3\n"), ("text", "6\n"), ("python", GOOD["python"])))),
    ("", row(answer(("python", "def broken(\n"), ("python", GOOD["python"])))),
    ("syntax_error", row(answer(("python", GOOD["python"]), ("python", "def broken(\n")))),
    ("", row(answer(("python", GOOD["python"]), ("", "4\n")))),
    # the thinking's code is not the answer's
    ("no_code_block", row("<think>\n```python\nprint(input())\n```\n</think>\n\nThe program is above.")),
    ("", row(answer(("python", GOOD["python"]), thinking="```python\nx = (\n```"))),
    ("unfinished", row(answer(("python", GOOD["python"])), finish_reason="length")),
    ("thinking_not_closed", row("<think>\nSo\n```python\nprint(input())\n```\n")),
    ("thinking_not_closed", row("```python\nprint(input())\n```\n")),
    ("other_language", row(answer(("cpp", GOOD["cpp"])))),
    ("other_language", row(answer(("", GOOD["python"])))),
    ("other_language", row(answer(("python", GOOD["python"])), "cpp")),
    ("unclosed_block", row("<think>\na\n</think>\n```python\nprint(input())\n")),
    ("no_code_block", row("<think>\na\n</think>\nUse `print(input())`.")),
    ("too_long", row(answer(("python", GOOD["python"] + "#" * 100_001 + "\n")))),
]

PYTHON = [
    # the reference drops what holds the letters of `pass`
    ("", "passengers = int(input())\nprint(passengers)"), ("", "n = input()\nprint('pass' if n else 'bypass')"),
    ("", "class Node:\n    pass\nn = int(input())\nprint(n)"),
    ("", "try:\n    n = int(input())\nexcept ValueError:\n    pass\nprint(n)"),
    ("", "def debug(*things):\n    pass\nn = input()\ndebug(n)\nprint(n)"),
    ("", "n = input()\nif n:\n    pass\nelse:\n    print(n)"),
    ("", "import sys\ndef main():\n    d = sys.stdin.read().split()\n    sys.stdout.write(d[0])\nmain()"),
    ("", "from sys import stdin, stdout\nstdout.write(stdin.readline())"), ("", "print(open(0).read())"),
    ("", "import os\nos.write(1, os.read(0, 9))"), ("", "print(*map(int, input().split()), sep='\\d')"),
    ("", "from typing import Protocol\nclass P(Protocol):\n    def f(self): ...\nprint(input())"),
    ("", "if __name__ == '__main__':\n    print(input())"), ("", "x: tuple[int, ...] = (int(input()),)\nprint(x[0])"),
    # the reference lets syntax errors pass where no `def` is
    ("syntax_error", "n = int(input()\nprint(n)"), ("syntax_error", "print 'n', input()"),
    ("syntax_error", "n = input()\nreturn n\nprint(n)"), ("syntax_error", "print(input())\x00"),
    ("syntax_error", "  print(input())"), ("syntax_error", "-" * 90_000 + "1"), ("syntax_error", "(" * 90_000),
    ("placeholder", "pass"), ("placeholder", "# your code here\n"), ("placeholder", '"""Later."""\nimport sys\n...'),
    ("placeholder", "def solve():\n    pass\nn = input()\nprint(n)\nsolve()"),
    ("placeholder", "def main():\n    '''Reads and prints.'''\n    raise NotImplementedError\nmain()"),
    ("placeholder", "def best(n):\n    # to do\n    pass\nprint(best(int(input())))"),
    ("placeholder", "n = int(input())\n...\nprint(n)"),
    ("runs_nothing", "def main():\n    print(input())"),
    ("runs_nothing", "class Solution:\n    def f(self, n):\n        print(input())"),
    ("reads_no_input", "print(42)"), ("prints_nothing", "n = int(input())\nn += 1"),
]

HEAD = "#include <bits/stdc++.h>\nusing namespace std;\n"
CPP = [
    ("", HEAD + "int passengers;\nint main() { cin >> passengers; cout << passengers; }"),
    # C++ only after its macros
    ("", HEAD + "#define rep(i, a, b) for (int i = (a); i < (b); ++i)\n#define FOR(i, n) rep(i, 0, n)\nint a[9];\n"
     "int main() { int n; cin >> n; rep(i, 0, n) cin >> a[i];\n"
     "FOR(i, n) { if (a[i]) { cout << i; } else cout << 1; } }"),
    ("", HEAD + "#define forn(i, n) for (int i = 0; i < int(n); ++i)\nint main() {\n  int n; cin >> n;\n"
     "  forn(i, n) {\n    if (n & 1) continue;\n    cout << i;\n  }\n  forn(i, n)\n    cout << i;\n}"),
    ("", HEAD + "#define int long long\nsigned main() { int n; cin >> n; cout << n; return 0; }"),
    ("", HEAD + "#define fastio ios::sync_with_stdio(0);cin.tie(0);\n#define rd(x) int x; cin >> x;\n"
     "int main() { fastio\n rd(n)\n cout << n; }"),
    ("", "#include <cstdio>\n#define LOOP while (1) {\n#define END }\n"
     'int main() { int n; scanf("%d", &n); LOOP printf("%d", n); break; END return 0; }'),
    ("", HEAD + "#define debug(x) \\\n  do { cerr << #x << x; } while (0)\n#define CAT(a, b) a##b\n"
     "int main() { int CAT(x, 1); cin >> x1; debug(x1); cout << x1; }"),
    ("", "#pragma GCC optimize(\"O3\")\n" + HEAD + "#ifdef LOCAL\n#define dbg(...) cerr << __VA_ARGS__\n#else\n"
     "#define dbg(...)\n#endif\nint main() { int n; cin >> n; dbg(n); cout << n << '\\n'; }"),
    ("", HEAD + "int main() { auto f = [&](auto&& self, int x) -> int { return x ? self(self, x - 1) : 0; };\n"
     "  map<int, int> m; int n = 1'000; cin >> n; for (auto& [k, v] : m) cout << k << v; cout << f(f, n) << \"//\"; }"),
    ("syntax_error", HEAD + "int main() { int n std::cin >> n; std::cout << n; }"),
    ("syntax_error", HEAD + "int main() { int n; cin >> n; cout << n \n if (n { }\n"),
    ("syntax_error", "{" * 90_000), ("syntax_error", "R\"(" * 30_000),
    ("placeholder", "int main() {\n  // your code here\n  return 0;\n}"), ("placeholder", "// nothing yet\n"),
    ("placeholder", HEAD + "void solve() {\n}\nint main() { int t; cin >> t; while (t--) solve(); cout << t; }"),
    ("runs_nothing", HEAD + "class Solution { public: int f(int n) { cin >> n; cout << n; return n; } };"),
    ("reads_no_input", HEAD + "int main() { cout << 42; }"),
    ("reads_no_input", HEAD + "// cin >> n\nint main() { cout << \"cin\"; }"),
    ("prints_nothing", HEAD + "int main() { int n; cin >> n; }"),
]


@pytest.mark.parametrize("reason, solution", SOLUTIONS)
def test_the_program_is_the_last_block_of_the_language(reason, solution):
    program, found = program_of(solution)
    assert found == reason
    assert reason or program == GOOD[solution["language"]]


@pytest.mark.parametrize("reason, program", PYTHON)
def test_python_is_read_as_a_syntax_tree(reason, program):
    assert program_flaw(program, "python") == reason


@pytest.mark.parametrize("reason, program", CPP)
def test_cpp_is_read_with_its_macros_in_place(reason, program):
    assert program_flaw(program, "cpp") == reason


def test_every_reason_has_a_case():
    assert {case[0] for case in (*SOLUTIONS, *PYTHON, *CPP)} == {"", *REASONS}


def test_a_model_that_does_not_think_needs_no_thinking():
    assert program_of(row("```python\nprint(input())\n```"), reasoning=False) == ("print(input())\n", "")
    assert program_of(row("<think>\n```python\nprint(input())\n```"), reasoning=False)[1] == "thinking_not_closed"


def test_fences_as_models_write_them():
    text = ("1. So:\n   ```python\n   if input():\n       print(1)\n   ```\n~~~cpp\nint x; // ```\n~~~\n"
            '````python\ns = """\n```\n"""\nprint(s)\n````\n```python title="a.py"\r\nprint(2)\r\n```\r\n')
    assert [(block.name, block.code) for block in fenced_blocks(text)] == [
        ("python", "if input():\n    print(1)\n"), ("cpp", "int x; // ```\n"),
        ("python", 's = """\n```\n"""\nprint(s)\n'), ("python", "print(2)\n")]
    assert last_program("```python\nprint('```')\n```", "python") == ("print('```')\n", "")
    assert last_program("a `b` ```c``` d", "python") == ("", "no_code_block")


@pytest.mark.parametrize("text, language", [
    ("#define a b b\n#define b a a\n" + "a " * 40_000, "cpp"),
    ("#define f(x) x x\nint main() {" + "f(" * 45_000, "cpp"),
    ("#define f(x) x\nint main() {" + "f(" * 20_000 + ")" * 20_000 + "}", "cpp"), ("/*" * 49_000, "cpp"),
    ("'" * 90_000, "cpp"), ("x" + "[0]" * 30_000, "python"), ("a" + "+a" * 49_000, "python"),
    ("if 1:\n " * 14_000, "python"), ("f" + "()" * 45_000, "python")])
def test_hostile_programs_are_looked_at_in_no_time(text, language):
    start = time.monotonic()
    program_flaw(text, language)
    assert time.monotonic() - start < 10  # quadratic ones would take minutes


def write_solutions(folder, rows):
    """A complete solutions stage of one seed file a list of rows."""
    with Stage(folder, "solutions").work({}, {}) as work:
        paths = []
        for seed, of_seed in enumerate(rows):
            paths.append(work.folder / f"output-rs{seed}.jsonl")
            paths[-1].write_bytes(b"".join(map(files.dumps, of_seed)))
        work.finish(rows_in=1, rows_out=1, outputs=paths)
    return folder


def full_row(problem_id, seed, generation, language="python", finish_reason="stop"):
    return {"id": f"{problem_id}-{language}", "problem": "Add 1.", "expected_answer": "", "question_id": problem_id,
            "language": language, "seed": seed, "generation": generation, "finish_reason": finish_reason,
            "num_generated_tokens": 9}


def test_every_solution_has_a_verdict_and_the_counts_add_up(tmp_path):
    good = answer(("python", GOOD["python"]))
    rows = [[full_row("a", 0, good), full_row("a", 0, answer(("cpp", GOOD["cpp"])), "cpp"),
             full_row("b", 0, good, finish_reason="length")],
            [full_row("a", 1, good), full_row("a", 1, good, "cpp"), full_row("b", 1, answer(("python", "print(1)\n")))]]
    solutions = write_solutions(tmp_path / "solutions", rows)
    manifest = filter_solutions(solutions, tmp_path / "filtered")
    assert manifest["counts"] == {"rows_in": 6, "rows_out": 6, "dropped": {}}
    assert manifest["rows_by_how"] == {"filter": 3, "unfinished": 1, "other_language": 1, "reads_no_input": 1}
    assert manifest["by_language"]["cpp"] == {"filter": 1, "other_language": 1}
    table = pd.read_parquet(tmp_path / "filtered" / "verdicts.parquet")
    assert table["seed"].tolist() == [0, 0, 0, 1, 1, 1] and table["correct"].tolist() == [
        True, True, False, True, False, False]
    python = program_id(GOOD["python"])
    assert table["predicted_answer"].tolist()[0] == table["predicted_answer"].tolist()[3] == python
    assert table["predicted_answer"].isna().tolist() == [False, False, True, False, True, True]
    assert filter_solutions(solutions, tmp_path / "filtered") == manifest


def test_a_row_without_a_language_is_refused(tmp_path):
    solutions = write_solutions(tmp_path / "solutions", [[{**full_row("a", 0, "x"), "language": "rust"}]])
    with pytest.raises(SdgError, match="'a-python': expected a `language` .python, cpp., found 'rust'"):
        filter_solutions(solutions, tmp_path / "filtered")
