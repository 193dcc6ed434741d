"""Code 03: which solutions have a usable program. Every false drop of the reference (its fault 9) is a case."""

import pandas as pd
import pytest

from sdg_helpers.coding import bounded_parsing, cpp_programs, python_programs
from sdg_helpers.coding.blocks import fenced_blocks, last_program, longer_programs
from sdg_helpers.coding.filtering import REASONS, filter_solutions, program_flaw, program_id, program_of
from sdg_helpers.errors import SdgError
from tests.helpers.effort import assert_grows_linearly
from tests.helpers.programs import answer, full_row, write_solutions
from tests.helpers.stages import stage_at

GOOD = {
    "python": "print(int(input()) + 1)\n",
    "cpp": "#include <iostream>\nint main() { int n; std::cin >> n; std::cout << n + 1; }\n",
}


def row(generation, language="python", finish_reason="stop"):
    return {"id": "p", "language": language, "generation": generation, "finish_reason": finish_reason}


SOLUTIONS = [
    ("", row(answer(("python", GOOD["python"])))),
    ("", row(answer(("cpp", GOOD["cpp"])), "cpp")),
    ("", row(answer(("c++", GOOD["cpp"])), "cpp")),
    ("", row(answer(("Python3", GOOD["python"])))),
    *(("", row(answer((name, GOOD["python"])))) for name in ("py", "py3", "python3.8", "Python3.11")),
    *(("", row(answer((name, GOOD["cpp"])), "cpp")) for name in ("c++11", "C++14", "cpp14", "cc", "cplusplus")),
    *(("other_language", row(answer((name, GOOD["cpp"])), "cpp")) for name in ("c", "csharp", "cppx")),
    *(("other_language", row(answer((name, GOOD["python"])))) for name in ("pyx", "pytb", "python-repl")),
    *(("", row(answer((name, GOOD["python"])))) for name in ("pypy3", "PyPy3-64", "pypy", "python-3.11", "cpython")),
    *(("", row(answer((name, GOOD["cpp"])), "cpp")) for name in ("gnu++17", "g++20", "GNU++17", "c++2a", "cpp-17")),
    # after a text, and before an example that is labelled as a program
    ("", row(f"<think>\na\n</think>\nAnswer: ```python\n{GOOD['python']}```\nDone.")),
    *(
        ("", row(answer(("python", GOOD["python"]), ("python", example))))
        for example in (">>> 5\n6\n", "3\n1 2 3\n", "$ echo 5 | python main.py\n6\n", "")
    ),
    ("syntax_error", row(answer(("python", ">>> 5\n6\n")))),
    # in bold type
    ("", row(f"<think>\na\n</think>\n```python\n{GOOD['python']}```**\n\nDone.")),
    ("", row(f"<think>\na\n</think>\n**```python\n{GOOD['python']}``` **\n\nDone.")),
    ("unclosed_block", row(f"<think>\na\n</think>\n```python\n{GOOD['python']}**\n``*\n")),
    # the reference considers the first block only
    ("", row(answer(("", "3\n1 2 3\n"), ("text", "6\n"), ("python", GOOD["python"])))),
    ("", row(answer(("python", "def broken(\n"), ("python", GOOD["python"])))),
    ("syntax_error", row(answer(("python", GOOD["python"]), ("python", "def broken(\n")))),
    ("", row(answer(("python", GOOD["python"]), ("", "4\n")))),
    # code in the thinking does not count
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
    # the reference drops any program that contains `pass`, even in a word
    ("", "passengers = int(input())\nprint(passengers)"),
    ("", "n = input()\nprint('pass' if n else 'bypass')"),
    ("", "class Node:\n    pass\nn = int(input())\nprint(n)"),
    ("", "try:\n    n = int(input())\nexcept ValueError:\n    pass\nprint(n)"),
    ("", "def debug(*things):\n    pass\nn = input()\ndebug(n)\nprint(n)"),
    ("", "n = input()\nif n:\n    pass\nelse:\n    print(n)"),
    ("", "import sys\ndef main():\n    d = sys.stdin.read().split()\n    sys.stdout.write(d[0])\nmain()"),
    ("", "from sys import stdin, stdout\nstdout.write(stdin.readline())"),
    ("", "print(open(0).read())"),
    ("", "import os\nos.write(1, os.read(0, 9))"),
    ("", "print(*map(int, input().split()), sep='\\d')"),
    ("", "from typing import Protocol\nclass P(Protocol):\n    def f(self): ...\nprint(input())"),
    ("", "if __name__ == '__main__':\n    print(input())"),
    ("", "x: tuple[int, ...] = (int(input()),)\nprint(x[0])"),
    # `...` alone means `pass`
    ("", "try:\n    while True:\n        print(input())\nexcept EOFError:\n    ..."),
    ("", "n = int(input())\nif n < 0:\n    ...\nelse:\n    print(n)"),
    ("", "n = input()\nwhile n == 'x': ...\nprint(n)"),
    # a stub that is overridden or overloaded
    (
        "",
        "class A:\n    def solve(self):\n        pass\nclass B(A):\n    def solve(self):\n        print(input())\n"
        "B().solve()",
    ),
    (
        "",
        "from typing import overload\n@overload\ndef f(a: int) -> int: ...\n@overload\ndef f(a: str) -> str: ...\n"
        "def f(a): return a\nx = f(3)\nprint(input(), x)",
    ),
    ("", "def solve():\n    raise NotImplementedError\ndef solve():\n    print(input())\nsolve()"),
    ("placeholder", "class A:\n    def solve(self): ...\nclass B(A):\n    def solve(self): pass\nprint(input())"),
    # a decorated function is called, unless the decorator is passive
    ("", "def deco(f):\n    f()\n@deco\ndef main():\n    print(input())"),
    ("", "import atexit\n@atexit.register\ndef main():\n    print(input())"),
    ("", "@lambda c: c().f()\nclass A:\n    def f(self):\n        print(input())"),
    ("runs_nothing", "from functools import lru_cache\n@lru_cache(maxsize=None)\ndef main():\n    print(input())"),
    ("runs_nothing", "class Solution:\n    @staticmethod\n    def f(n):\n        print(input())"),
    ("runs_nothing", "import dataclasses\n@dataclasses.dataclass\nclass A:\n    def f(self):\n        print(input())"),
    # the reference accepts syntax errors where there is no `def`
    ("syntax_error", "n = int(input()\nprint(n)"),
    ("syntax_error", "print 'n', input()"),
    ("syntax_error", "n = input()\nreturn n\nprint(n)"),
    ("syntax_error", "print(input())\x00"),
    ("syntax_error", "  print(input())"),
    ("syntax_error", "-" * 90_000 + "1"),
    ("syntax_error", "(" * 90_000),
    ("placeholder", "pass"),
    ("placeholder", "# your code here\n"),
    ("placeholder", '"""Later."""\nimport sys\n...'),
    ("placeholder", "def solve():\n    pass\nn = input()\nprint(n)\nsolve()"),
    ("placeholder", "def main():\n    '''Reads and prints.'''\n    raise NotImplementedError\nmain()"),
    ("placeholder", "def best(n):\n    # to do\n    pass\nprint(best(int(input())))"),
    ("placeholder", "n = int(input())\n...\nprint(n)"),
    ("runs_nothing", "def main():\n    print(input())"),
    ("runs_nothing", "class Solution:\n    def f(self, n):\n        print(input())"),
    ("reads_no_input", "print(42)"),
    ("prints_nothing", "n = int(input())\nn += 1"),
]

HEAD = "#include <bits/stdc++.h>\nusing namespace std;\n"
REP = HEAD + "#define rep(i, a, b) for (int i = a; i < b; i++)\n"  # read by no parser before it is replaced
GETS = "p1 == p2 && (p2 = (p1 = buf) + fread(buf, 1, 1 << 16, stdin), p1 == p2) ? EOF : *p1++"
CPP = [
    ("", HEAD + "int passengers;\nint main() { cin >> passengers; cout << passengers; }"),
    # C++ only after macro expansion
    (
        "",
        HEAD + "#define rep(i, a, b) for (int i = (a); i < (b); ++i)\n#define FOR(i, n) rep(i, 0, n)\nint a[9];\n"
        "int main() { int n; cin >> n; rep(i, 0, n) cin >> a[i];\n"
        "FOR(i, n) { if (a[i]) { cout << i; } else cout << 1; } }",
    ),
    (
        "",
        HEAD + "#define forn(i, n) for (int i = 0; i < int(n); ++i)\nint main() {\n  int n; cin >> n;\n"
        "  forn(i, n) {\n    if (n & 1) continue;\n    cout << i;\n  }\n  forn(i, n)\n    cout << i;\n}",
    ),
    ("", HEAD + "#define int long long\nsigned main() { int n; cin >> n; cout << n; return 0; }"),
    (
        "",
        HEAD + "#define fastio ios::sync_with_stdio(0);cin.tie(0);\n#define rd(x) int x; cin >> x;\n"
        "int main() { fastio\n rd(n)\n cout << n; }",
    ),
    (
        "",
        "#include <cstdio>\n#define LOOP while (1) {\n#define END }\n"
        'int main() { int n; scanf("%d", &n); LOOP printf("%d", n); break; END return 0; }',
    ),
    (
        "",
        HEAD + "#define debug(x) \\\n  do { cerr << #x << x; } while (0)\n#define CAT(a, b) a##b\n"
        "int main() { int CAT(x, 1); cin >> x1; debug(x1); cout << x1; }",
    ),
    (
        "",
        '#pragma GCC optimize("O3")\n' + HEAD + "#ifdef LOCAL\n#define dbg(...) cerr << __VA_ARGS__\n#else\n"
        "#define dbg(...)\n#endif\nint main() { int n; cin >> n; dbg(n); cout << n << '\\n'; }",
    ),
    (
        "",
        HEAD + "int main() { auto f = [&](auto&& self, int x) -> int { return x ? self(self, x - 1) : 0; };\n"
        '  map<int, int> m; int n = 1\'000; cin >> n; for (auto& [k, v]: m) cout << k << v; cout << f(f, n) << "//"; }',
    ),
    # comments, pasting, strings and the rest in macros
    *(
        (
            "",
            REP + f"#define MOD 1000000007 {comment}\n"
            "int main() { int n, s = 1; cin >> n; rep(i, 0, n) { s = s * 2 % MOD; } cout << s; }",
        )
        for comment in ("// prime", "// don't", "/* p */", "/* of\n two lines */", "// a \\\n b")
    ),
    (
        "",
        REP + "#define CAT(a, b) a##b\n#define var(x, y) int x ## y\n"
        "int main() { var(n, 1); cin >> n1; rep(i, 0, 2) { CAT(n, 1)++; } cout << n1; }",
    ),
    (
        "",
        REP + '#define dbg(x...) do { cerr << #x << "x"; err(x); } while (0)\n'
        "template <class... T> void err(T...) {}\n"
        'int main() { int n; cin >> n; rep(i, 0, n) { dbg(i, "a"); dbg(); } cout << n; }',
    ),
    (
        "",
        REP + "#define say(s, ...) printf(s, ##__VA_ARGS__)\n"
        'int main() { int n; cin >> n; rep(i, 0, n) { say("a"); say("%d %d", i, n); } }',
    ),
    (
        "",
        REP + '#define debug(x) cout << "x: " << (x)\n#define ll long long\n#define out(c) putchar(c)\n'
        "int main() { ll n; cin >> n; rep(i, 0, n) { debug(\"a\"); out('('); out(','); } cout << n * 1ll; }",
    ),
    # syntax that tree-sitter's grammar lacks
    (
        "",
        HEAD + "int main() { int n; cin >> n; int** g = new int*[n]; char **c; c = new char * [n + 2];\n"
        "  auto v = new vector<pair<int, int>>*[n]; auto p = new unsigned long*; g[0] = new int[n]; cout << n; }",
    ),
    (
        "",
        HEAD + f"char buf[1 << 16], *p1 = buf, *p2 = buf;\nint get() {{ return {GETS}; }}\n"
        "int main() { cout << get(); }",
    ),
    (
        "",
        REP + f"#define get() ({GETS})\nchar buf[1 << 16], *p1 = buf, *p2 = buf;\n"
        "int main() { rep(i, 0, 3) { cout << get(); } }",
    ),
    (
        "",
        HEAD + "int a[9], n, s;\nint main() { int x;\n"
        "  while ((x = getchar(), x > 32)) (a[x % 9] += x, n++), (s <<= 1, s ^= x);\n"
        "  if ((n = s, n > 3)) cout << n; for (int i = 0, j = (s = 1, 2); i < j; i++) cout << s; }",
    ),
    (
        "",
        HEAD + "struct P { int x, y; };\nstruct S { P p, q; S(P a = {0, 0}, P b = {}) : p(a), q(b) {} };\n"
        "int f(P p = {1, 2}, P q = {0, 0}) { return p.x + q.y; }\nint main() { int n; cin >> n; cout << f() + n; }",
    ),
    (
        "",
        HEAD + "template <class T> struct Q { typename T::L l; void h(int, typename T::L) {}\n"
        "  void g() { l = typename T::L(); h(1, typename T::L{}); } auto k() { return typename T::L(); } };\n"
        "int main() { int n; cin >> n; cout << n; }",
    ),
    (
        "",
        HEAD + "int main() { char c; cin >> c; switch (c) { case '0' ... '9': cout << 1; break;\n"
        "  case 'a'...'f': cout << 2; default: cout << 0; } }",
    ),
    ("", HEAD + "int main() { int n; cin >> n; n > 0 ? void() : throw 1; cout << n; }"),
    # the rewriting does not repair broken programs
    *(
        ("syntax_error", REP + program)
        for program in (
            "int main() { int n; cin >> n; int** g = new int*[n; cout << n; }",
            "int main() { int n; cin >> n; rep(i, 0, n) { cout << (n = i, n > 3; } }",
            "int main() { int n; cin >> n; rep(i, 0, n) { cout << (n = , n > 3); } }",
            "int main() { int n; cin >> n; switch (n) { case ... 5: cout << n; } }",
            "struct P { int x, y; };\nint f(P p = {0 0}, P q = {0, 0}) { return p.x; }\nint main() { cout << 1; }",
            "#define MOD 7 // prime\nint main() { int n; cin >> n; rep(i, 0, n) { n = n * 2 % MOD; cout << n; }",
            "int main() { int n; cin >> n; rep(i, 0, n) { cout << n; } /* as before\n}",
            "int main() { int n; cin >> n; rep(i, 0, n) { int** g = new int*[n];",
            "int main() {\n  read n, then for each of the (x = a, b) print it\n  ... case 1 ... 5: as above\n}",
            "The program reads n with cin, and then prints what main gives, with cout.",
        )
    ),
    ("syntax_error", HEAD + "int main() { int n std::cin >> n; std::cout << n; }"),
    ("syntax_error", HEAD + "int main() { int n; cin >> n; cout << n \n if (n { }\n"),
    ("syntax_error", "{" * 90_000),
    ("syntax_error", 'R"(' * 30_000),
    ("placeholder", "int main() {\n  // your code here\n  return 0;\n}"),
    ("placeholder", "// nothing yet\n"),
    ("placeholder", HEAD + "void solve() {\n}\nint main() { int t; cin >> t; while (t--) solve(); cout << t; }"),
    ("placeholder", HEAD + "void solve() {}\nvoid solve(int n) {}\nint main() { solve(cin.get()); cout << 1; }"),
    ("", HEAD + "void solve() {}\nvoid solve(int n) { cout << n; }\nint main() { int n; cin >> n; solve(n); }"),
    (
        "",
        HEAD + "struct A { virtual void solve() {} };\n"
        "struct B : A { void solve() override { cout << cin.get(); } };\nint main() { A* a = new B; a->solve(); }",
    ),
    ("runs_nothing", HEAD + "class Solution { public: int f(int n) { cin >> n; cout << n; return n; } };"),
    ("reads_no_input", HEAD + "int main() { cout << 42; }"),
    ("reads_no_input", HEAD + '// cin >> n\nint main() { cout << "cin"; }'),
    ("prints_nothing", HEAD + "int main() { int n; cin >> n; }"),
]


@pytest.mark.parametrize("reason, solution", SOLUTIONS)
def test_the_program_is_the_last_block_of_the_language(reason, solution):
    program, found = program_of(solution)
    assert found == reason
    assert reason or program == GOOD[solution["language"]]


@pytest.mark.parametrize("reason, program", PYTHON)
def test_python_is_checked_by_its_syntax_tree(reason, program):
    assert program_flaw(program, "python") == reason


@pytest.mark.parametrize("reason, program", CPP)
def test_cpp_is_checked_with_its_macros_expanded(reason, program):
    assert program_flaw(program, "cpp") == reason


def test_every_reason_has_a_case():
    assert {case[0] for case in (*SOLUTIONS, *PYTHON, *CPP)} == {"", *REASONS}


def test_a_model_without_thinking_needs_no_think_tags():
    assert program_of(row("```python\nprint(input())\n```"), reasoning=False) == ("print(input())\n", "")
    assert program_of(row("<think>\n```python\nprint(input())\n```"), reasoning=False)[1] == "thinking_not_closed"


def test_fences_in_all_forms_that_models_write():
    text = (
        "1. So:\n   ```python\n   if input():\n       print(1)\n   ```\n~~~cpp\nint x; // ```\n~~~\n"
        '````python\ns = """\n```\n"""\nprint(s)\n````\n```python title="a.py"\r\nprint(2)\r\n```\r\n'
    )
    assert [(block.name, block.code) for block in fenced_blocks(text)] == [
        ("python", "if input():\n    print(1)\n"),
        ("cpp", "int x; // ```\n"),
        ("python", 's = """\n```\n"""\nprint(s)\n'),
        ("python", "print(2)\n"),
    ]
    assert last_program("```python\nprint('```')\n```", "python") == ("print('```')\n", "")
    assert last_program("a `b` ```c``` d", "python") == ("", "no_code_block")


NESTED = [
    ("python", '"""\nExample\n```\n1\n```\n"""\nprint(int(input()))\n'),
    ("python", '"""\nExample:\n```python\nf(1)\n```\n"""\nprint(int(input()))\n'),
    ("python", "s = '''\n```\n'''\nprint(s, input())\n"),
    ("cpp", "/*\n```\n1\n```\n*/\n" + GOOD["cpp"]),
]


@pytest.mark.parametrize("language, program", NESTED)
def test_a_fence_in_a_string_or_comment_does_not_end_the_program(language, program):
    text = f"```text\n1\n```\nSo:\n```{language}\n{program}```\nIt prints\n```\n5\n```\n"
    assert program_of(row(f"<think>\na\n</think>\n{text}", language)) == (program, "")


def test_a_broken_program_does_not_swallow_the_text_after_it():
    broken = "```python\nprint(input()\n```\nor\n```\n5\n```\n"
    assert program_of(row(f"<think>\na\n</think>\n{broken}")) == ("print(input()\n", "syntax_error")
    many = "```python\nx = (\n" + "```\n" * 5000
    assert len(list(longer_programs(many, "python"))) == 20


FUNCTION = "class Solution:\n    def add(self, a, b):\n        return a + b\n"


@pytest.mark.parametrize(
    "program, function, flaw",
    [
        (FUNCTION, "add", ""),
        (FUNCTION, "sub", "runs_nothing"),
        (FUNCTION, "", "runs_nothing"),
        ("def add(a, b):\n    return a + b\n", "add", ""),
        ("def add(a, b):\n    pass\n", "add", "runs_nothing"),
        (GOOD["python"], "add", ""),  # it reads its input: left to the tests
        ("def add(a, b)\n", "add", "syntax_error"),
    ],
)
def test_a_function_that_is_asked_for_needs_no_input(program, function, flaw):
    found = program_of({**row(answer(("python", program))), "function": function})[1]
    assert found == flaw == program_flaw(program, "python", function)


@pytest.mark.slow
@pytest.mark.parametrize(
    "text, size, language",
    [
        (lambda n: "#define a b b\n#define b a a\n" + "a " * n, 40_000, "cpp"),
        (lambda n: "#define f(x) x x\nint main() {" + "f(" * n, 45_000, "cpp"),
        (lambda n: "#define f(x) a" + " " * n + "b\nf(1)", 80_000, "cpp"),
        (lambda n: "#define f(x) " + "x##" * n + "\n" + "f()" * n, 15_000, "cpp"),
        (lambda n: "#define f([x...) a, ## [x\nf()" * n, 100, "cpp"),
        (lambda n: "(a" + "[x]" * n, 33_000, "cpp"),
        (lambda n: "={" * n, 49_000, "cpp"),
        (lambda n: "#define f(x) x\nint main() {" + "f(" * n + ")" * n + "}", 20_000, "cpp"),
        (lambda n: "/*" * n, 49_000, "cpp"),
        (lambda n: "'" * n, 90_000, "cpp"),
        (lambda n: "=typename " * n, 9_900, "cpp"),
        (lambda n: "=typename x" * n, 9_000, "cpp"),
        (lambda n: "a<" * n, 49_000, "cpp"),
        (lambda n: "x" + "[0]" * n, 30_000, "python"),
        (lambda n: "a" + "+a" * n, 49_000, "python"),
        (lambda n: "if 1:\n " * n, 14_000, "python"),
        (lambda n: "f" + "()" * n, 45_000, "python"),
    ],
)
def test_hostile_programs_take_linear_time(text, size, language):
    find_flaw = {"python": python_programs, "cpp": cpp_programs}[language].find_flaw
    assert_grows_linearly(lambda size: find_flaw(text(size)), size)


def test_a_program_that_hangs_the_parser_is_too_long(monkeypatch):
    monkeypatch.setattr(bounded_parsing, "CPU_S", 1)
    monkeypatch.setattr(bounded_parsing, "_child", None)
    assert program_flaw("x=/" * 20_000 + "x", "cpp") == "too_long"  # a quarter of an hour in tree-sitter
    assert program_flaw(GOOD["cpp"], "cpp") == program_flaw(GOOD["python"] + "# ü", "python") == ""
    assert program_flaw("\ud800\0", "python") == "syntax_error"


def test_the_process_that_parses_is_started_again(monkeypatch):
    program_flaw("", "python")
    bounded_parsing._child.process.kill()
    assert program_flaw(GOOD["python"], "python") == ""
    ask = bounded_parsing._Child.ask
    monkeypatch.setattr(bounded_parsing._Child, "ask", lambda child, *given: child.process.kill() or ask(child, *given))
    with pytest.raises(SdgError, match="was killed twice"):
        program_flaw(GOOD["python"], "python")


def test_a_process_that_does_not_start_is_an_error(monkeypatch):
    monkeypatch.setattr(bounded_parsing, "_child", None)
    monkeypatch.setattr(bounded_parsing, "__name__", "sdg_helpers.no_such_module")
    with pytest.raises(SdgError, match="does not start: .*No module named"):
        program_flaw("", "python")


def test_every_solution_has_a_verdict_and_the_counts_add_up(tmp_path):
    good = answer(("python", GOOD["python"]))
    rows = [
        [
            full_row("a", 0, good),
            full_row("a", 0, answer(("cpp", GOOD["cpp"])), "cpp"),
            full_row("b", 0, good, finish_reason="length"),
        ],
        [full_row("a", 1, good), full_row("a", 1, good, "cpp"), full_row("b", 1, answer(("python", "print(1)\n")))],
    ]
    solutions = write_solutions(tmp_path / "solutions", rows)
    manifest = filter_solutions(stage_at(solutions), stage_at(tmp_path / "filtered"))
    assert manifest["counts"] == {"rows_in": 6, "rows_out": 6, "dropped": {}}
    assert manifest["rows_by_how"] == {"filter": 3, "unfinished": 1, "other_language": 1, "reads_no_input": 1}
    assert manifest["by_language"]["cpp"] == {"filter": 1, "other_language": 1}
    table = pd.read_parquet(tmp_path / "filtered" / "verdicts.parquet")
    assert table["seed"].tolist() == [0, 0, 0, 1, 1, 1] and table["correct"].tolist() == [
        True,
        True,
        False,
        True,
        False,
        False,
    ]
    python = program_id(GOOD["python"])
    assert table["predicted_answer"].tolist()[0] == table["predicted_answer"].tolist()[3] == python
    assert table["predicted_answer"].isna().tolist() == [False, False, True, False, True, True]
    assert filter_solutions(stage_at(solutions), stage_at(tmp_path / "filtered")) == manifest


def test_a_row_without_a_known_language_is_rejected(tmp_path):
    solutions = write_solutions(tmp_path / "solutions", [[{**full_row("a", 0, "x"), "language": "rust"}]])
    with pytest.raises(SdgError, match="'a-python': `language` must be one of python, cpp, found 'rust'"):
        filter_solutions(stage_at(solutions), stage_at(tmp_path / "filtered"))
