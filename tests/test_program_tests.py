"""Right programs of every kind run: through files, checkers and functions, with threads, recursion, long integers."""

from decimal import Context

import pytest

from sdg_helpers.coding.drivers import write_program
from sdg_helpers.coding.procedures import INTERACTIVE, Procedure, is_file_name, own_procedure
from sdg_helpers.coding.program_tests import UNDECIDED, run_tests
from sdg_helpers.coding.sandbox import open_sandbox
from sdg_helpers.coding.sandboxed_process import RunLimits
from tests.helpers.programs import BWRAP, needs_sandbox

OURS = open_sandbox() if BWRAP else None
LIMITS = RunLimits(seconds=4)
PERMUTATION = [{"input": "3\n", "output": "1 2 3\n"}]
CHECKER = """\
import sys
given, expected, found = (open(path).read().split() for path in sys.argv[1:])
print(int(sorted(found) == sorted(expected)))
"""
TWO_SUM = [{"input": "[[2, 7, 11], 9]", "output": "[[0, 1]]"}, {"input": "[[3, 3], 6]", "output": "[0, 1]"}]
METHOD = """\
class Solution:
    def twoSum(self, nums: List[int], target: int) -> List[int]:
        print("debugging", nums)
        seen = defaultdict(int)
        for place, number in enumerate(nums):
            if target - number in seen:
                return seen[target - number], place
            seen[number] = place
"""


def reason(program, tests, language="python", question="", **procedure):
    return run_tests(OURS, program, language, tests, LIMITS, question, Procedure(**procedure)).reason


@needs_sandbox
@pytest.mark.parametrize(
    "program, given, expected",
    [
        ("print(2 ** int(input()))", "20000", str(Context(prec=7000).power(2, 20000))),
        ("n = input()\nprint(int(n) % 7, len(str(int(n))))", "1" + "0" * 9000, f"{pow(10, 9000, 7)} 9001"),
        (
            "import sys\nsys.setrecursionlimit(10**6)\ndef f(n):\n    return n and 1 + f(n - 1)\n"
            "print(f(int(input())))",
            "50000",
            "50000",
        ),
    ],
)
def test_right_programs_that_need_much(program, given, expected):
    assert reason(program, [{"input": given, "output": expected}]) == "tests"


THREADS = """\
import sys, threading
%s
done = []
barrier = threading.Barrier(%d)
def work(number):
    barrier.wait()
    done.append(number)
threads = [threading.Thread(target=work, args=(n,)) for n in range(%d)]
for one in threads: one.start()
for one in threads: one.join()
print(len(done) + int(input()), __name__, len(sys.argv))
"""
THREADS_CPP = """\
#include <iostream>
#include <thread>
#include <vector>
int main() {
  int n; std::cin >> n;
  std::vector<int> seen(8); std::vector<std::thread> threads;
  for (int i = 0; i < 8; i++) threads.emplace_back([&seen, i] { seen[i] = 1; });
  for (auto& one : threads) one.join();
  for (int one : seen) n += one;
  std::cout << n;
}
"""


@needs_sandbox
@pytest.mark.parametrize("size, count", [("", 2), ("", 16), ("threading.stack_size(1 << 29)", 2)])
def test_threads_share_the_memory_for_stacks(size, count):
    program = THREADS % (size, count, count)
    assert reason(program, [{"input": "1", "output": f"{count + 1} __main__ 1"}]) == "tests"


@needs_sandbox
def test_deep_recursion_in_a_thread_with_a_large_stack():
    program = (
        "import sys, threading\nsys.setrecursionlimit(10**6)\nthreading.stack_size(1 << 28)\n"
        "def f(n):\n    return n and 1 + f(n - 1)\n"
        "t = threading.Thread(target=lambda: print(f(int(input()))))\nt.start()\nt.join()"
    )
    assert reason(program, [{"input": "50000", "output": "50000"}]) == "tests"


@needs_sandbox
def test_threads_in_cpp():
    if OURS.compiler is None:
        pytest.skip("no g++ on this machine")
    assert reason(THREADS_CPP, [{"input": "1", "output": "9"}], "cpp") == "tests"


@needs_sandbox
@pytest.mark.parametrize(
    "program, expected",
    [
        ("print(3, 2, 1)", "tests"),
        ("print(3, 2)", "wrong_output"),
        ("print(1 / 0)", "crashed"),
    ],
)
def test_a_checker_judges_where_several_outputs_are_right(program, expected):
    assert reason(program, PERMUTATION, checker=CHECKER) == expected


@needs_sandbox
@pytest.mark.parametrize("checker", ["", "import sys ...", "print('fine')", "print(1)\nraise SystemExit(2)", "x = 1"])
def test_a_broken_checker_decides_nothing(checker):
    found = reason("print(3, 2, 1)", PERMUTATION, checker=checker or " ")
    assert found == "checker_failed" and found in UNDECIDED


@needs_sandbox
@pytest.mark.parametrize(
    "program, expected",
    [
        ("n = int(open('input.txt').read())\nopen('output.txt', 'w').write(str(2 * n))", "tests"),
        ("import sys\nsys.stdin = open('input.txt')\nprint(2 * int(input()))", "tests"),
        ("print(2 * int(input()))", "tests"),
        ("print(3 * int(input()))", "wrong_output"),
        ("open('output.txt', 'w').write('8')\nraise SystemExit(1)", "crashed"),
        ("while True: pass", "time_limit"),
    ],
)
def test_files_replace_stdin_and_stdout(program, expected):
    tests = [{"input": "4\n", "output": "8\n"}]
    assert reason(program, tests, input_file="input.txt", output_file="output.txt", seconds=0.1) == expected


@needs_sandbox
@pytest.mark.parametrize(
    "program, expected",
    [
        (METHOD, "tests"),
        ("def twoSum(nums, target):\n    return [0, 1]", "tests"),
        (METHOD.replace("place\n            seen", "place + 1\n            seen"), "wrong_output"),
        ("class Solution:\n    def twoSum(self):\n        pass", "crashed"),
        ("class Solution:\n    def threeSum(self):\n        pass", "no_function"),
        ("print(input())", "crashed"),
    ],
)
def test_a_function_is_called(program, expected):
    assert reason(program, TWO_SUM, function="twoSum") == expected


@needs_sandbox
def test_the_words_of_the_question_reach_the_comparison():
    program, tests = "print('Yes', 0.33333)", [{"input": "", "output": "YES 0.333333"}]
    assert reason(program, tests) == "wrong_output"
    question = "Print Yes or No in any case, and a number with an error of at most 10^-4."
    assert reason(program, tests, question=question) == "tests"


def test_programs_of_interactive_questions_are_not_run():
    report = run_tests(None, "print(1)", "python", PERMUTATION, LIMITS, "", Procedure(undecided=INTERACTIVE))
    assert report.reason == INTERACTIVE and report.reason in UNDECIDED


def test_windows_formats_of_long_integers_are_translated(tmp_path):
    write_program(tmp_path, 'printf("%I64d %05I64u %d %%I64", a, b, c);', "cpp", Procedure())
    assert (tmp_path / "main.cpp").read_text() == 'printf("%lld %05llu %d %%I64", a, b, c);'


@needs_sandbox
def test_old_contest_programs_in_cpp_compile():
    if OURS.compiler is None:
        pytest.skip("no g++ on this machine")
    program = '#include <cstdio>\nint main() { __int64 n; scanf("%I64d", &n); printf("%I64d", n + 1); }'
    assert reason(program, [{"input": "4000000000", "output": "4000000001"}], "cpp") == "tests"


def test_a_question_has_its_own_limits():
    default = RunLimits(seconds=5, memory_mb=512)
    assert Procedure().limits(default, "cpp") == default
    known = Procedure(seconds=2, memory_mb=256)
    assert (known.limits(default, "cpp").seconds, known.limits(default, "python").seconds) == (4, 10)
    assert known.limits(default, "cpp").memory_mb == 512
    huge = Procedure(seconds=1e9, memory_mb=1e9).limits(default, "cpp")
    assert (huge.seconds, huge.memory_mb) == (60, 4096)


def test_only_plain_file_names_and_typed_values_are_accepted():
    assert [name for name in ("in.txt", "../x", "/etc/passwd", ".", "a b", "a;b", "x" * 99) if is_file_name(name)] == [
        "in.txt"
    ]
    assert own_procedure({"seconds": 2, "checker": None}) == Procedure(seconds=2)
    for bad in ({"checker": 1}, {"seconds": "2"}, {"input_file": "../x"}, {"function": "f()"}):
        with pytest.raises(ValueError, match=f"'{next(iter(bad))}'|'../x'"):
            own_procedure(bad)
