"""Code 01: questions from references (each dataset in its layout and schema on the hub, served by a stand-in on
loopback), from your own file, and from the demo."""

import json
import os
import subprocess
import sys
from math import gcd

import orjson
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest

from sdg_helpers import files
from sdg_helpers.coding.example_tests import TestIndex, clean_tests, usable_tests
from sdg_helpers.coding.procedures import Procedure
from sdg_helpers.coding.questions import prepare_questions
from sdg_helpers.coding.sources import COLLECTIONS
from sdg_helpers.errors import SdgError
from sdg_helpers.problems.problem_file import read_problems
from sdg_helpers.prompts import load_prompt
from tests.helpers.clone import ROOT
from tests.helpers.hub import Hub
from tests.helpers.stages import stage_at

HEAVY = "a trace that must not be fetched " * 200


# -- the datasets in their layout on the hub ---------------------------------------------------------------------------


def reference(question_id, dataset, split, index, number=0):
    return {
        "question": "-",
        "r1_generation": HEAVY + str(number),
        "qwq_critique": HEAVY,
        "solution": HEAVY,
        "judgement": "right",
        "pass_rate": "0.5",
        "source": "codeforces",
        "license": "cc-by-4.0",
        "dataset": dataset,
        "split": split,
        "difficulty": "EASY",
        "index": str(index),
        "id": f"{question_id}{number}",
        "question_id": question_id,
    }


def taco(number, **more):
    return {
        "question": f"TACO {number}?",
        "solutions": HEAVY,
        "starter_code": "",
        "input_output": orjson.dumps({"inputs": [f"{number}\n", ["1", "2"]], "outputs": ["7\n", ["3"]]}).decode(),
        "difficulty": "EASY",
        "raw_tags": "[]",
        "name": None,
        "source": "codechef",
        "tags": "[]",
        "skill_types": "[]",
        "url": None,
        "Expected Auxiliary Space": None,
        "time_limit": None,
        "date": None,
        "picture_num": "0",
        "memory_limit": None,
        "Expected Time Complexity": None,
        **more,
    }


def apps(number, **more):
    return {
        "id": number,
        "question": f"APPS {number}?",
        "solutions": HEAVY,
        "starter_code": "",
        "difficulty": "interview",
        "url": "u",
        **more,
        "input_output": orjson.dumps({"inputs": ["x\n"], "outputs": [f"{number}\n"]}).decode(),
    }


def contest(number, description=None):
    tests = {"input": [f"{number}\n"], "output": [f"{number + 1}\n"]}
    return {
        "name": f"{number}_A",
        "description": f"Contest {number}?" if description is None else description,
        "public_tests": tests,
        "private_tests": tests,
        "generated_tests": {"input": [HEAVY], "output": [HEAVY]},
        "source": 2,
        "difficulty": 7,
        "solutions": {"language": [3], "solution": [HEAVY]},
        "incorrect_solutions": {"language": [3], "solution": [HEAVY]},
        "cf_contest_id": 1,
        "cf_index": "A",
        "cf_points": 0.0,
        "cf_rating": 800,
        "cf_tags": ["math"],
        "is_description_translated": False,
        "untranslated_description": "",
        "time_limit": {"seconds": 1, "nanos": 0},
        "memory_limit_bytes": 256,
        "input_file": "",
        "output_file": "",
    }


def codeforces(number, **more):
    return {
        "id": f"{number}/A",
        "aliases": [],
        "contest_id": str(number),
        "contest_name": "Round",
        "index": "A",
        "time_limit": 1.0,
        "memory_limit": 256.0,
        "title": "A",
        "description": f"Forces {number}?",
        "input_format": "One n.",
        "output_format": "n + 1.",
        "interaction_format": None,
        "note": "Easy.",
        "examples": [{"input": "1", "output": "2"}],
        "editorial": HEAVY,
        **more,
    }


def write(path, rows, row_group_size=50):
    path.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(pa.Table.from_pylist(rows), path, row_group_size=row_group_size)


def publish(folder, references=None):
    """Write all five repositories."""
    own = folder / "datasets"
    references = references or {
        "python": [
            reference("q-taco", "taco", "train", 2, 0),
            reference("q-apps", "apps", "test", 1),
            *(reference("q-taco", "taco", "train", 2, number) for number in range(1, 40)),
            reference("q-contest", "code_contests", "valid", 0),
            reference("q-none", "apps", "test", 99),
            reference("q-empty", "code_contests", "valid", 1),
            reference("q-long", "taco", "test", 0),
        ],
        "cpp": [reference("q-forces", "open-r1/codeforces", "train", 60, 0), reference("q-apps", "apps", "test", 1, 1)],
    }
    for split, rows in references.items():
        half = (len(rows) + 1) // 2
        for part, some in enumerate(filter(None, (rows[:half], rows[half:]))):
            write(own / f"nvidia/OpenCodeReasoning-2/train/{split}/train-0000{part}-of-00002.parquet", some)
    write(own / "BAAI/TACO/ALL/train-00000-of-00002.parquet", [taco(0), taco(1)])
    write(own / "BAAI/TACO/ALL/train-00001-of-00002.parquet", [taco(2), taco(3)])
    write(own / "BAAI/TACO/ALL/test-00000-of-00001.parquet", [taco(0, question="long " * 1000)])
    (own / "BAAI/TACO/TACO.py").write_text("raise SystemExit('a loading script was run')")
    (own / "codeparrot/apps").mkdir(parents=True)
    (own / "codeparrot/apps/test.jsonl").write_bytes(b"".join(files.dumps(apps(number)) for number in range(3)))
    (own / "codeparrot/apps/apps.py").write_text("raise SystemExit('a loading script was run')")
    write(
        own / "deepmind/code_contests/data/valid-00000-of-00001-5e672c5751f060d3.parquet", [contest(0), contest(1, "")]
    )
    write(own / "open-r1/codeforces/data/train-00000-of-00001.parquet", [codeforces(number) for number in range(70)])


CODE = """\
import resource, sys
from sdg_helpers.coding import prepare_questions
from sdg_helpers.stages import Stage
import orjson
manifest = prepare_questions(Stage(sys.argv[1], "problems"), **orjson.loads(sys.argv[2]))
print(orjson.dumps({**manifest, "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}).decode())
"""


def prepare(folder, url, tmp_path, **options):
    """Run in another process: the hub's library reads its address when it is imported."""
    environment = {**os.environ, "HF_ENDPOINT": url, "HF_HOME": str(tmp_path / "hf"), "HF_HUB_DISABLE_TELEMETRY": "1"}
    return subprocess.run(
        [sys.executable, "-c", CODE, str(folder), orjson.dumps(options).decode()],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )


def test_references_become_distinct_questions_in_order(tmp_path):
    publish(tmp_path / "hub")
    with Hub(tmp_path / "hub") as hub:
        done = prepare(tmp_path / "q", hub.url, tmp_path)
        assert done.returncode == 0, done.stderr[-2000:]
        fetched = hub.stats()["bytes"]
    manifest = orjson.loads(done.stdout.splitlines()[-1])
    assert manifest["counts"] == {
        "rows_in": 47,
        "rows_out": 4,
        "dropped": {"not_found": 1, "no_text": 1, "too_long": 1, "repeated": 40},
    }
    assert manifest["problems"] == 8 and manifest["questions_with_tests"] == 4
    rows = list(read_problems(tmp_path / "q" / "problems.jsonl"))
    assert [row["id"] for row in rows] == [
        f"q-{name}-{language}" for name in ("taco", "apps", "contest", "forces") for language in ("python", "cpp")
    ]
    assert rows[0] == {
        "id": "q-taco-python",
        "problem": "TACO 2?",
        "expected_answer": "",
        "question_id": "q-taco",
        "language": "python",
        "problem_source": "codeforces",
        "dataset": "taco",
        "split": "train",
        "index": 2,
        "difficulty": "EASY",
        "license": "cc-by-4.0",
        "num_tests": 2,
    }
    assert [rows[place]["problem"] for place in (2, 4)] == ["APPS 1?", "Contest 0?"]
    assert rows[6]["problem"] == (
        "Forces 60?\n\nInput\n\nOne n.\n\nOutput\n\nn + 1.\n\nExample\n\nInput\n\n1\n\nOutput\n\n2\n\nNote\n\nEasy."
    )
    with TestIndex(tmp_path / "q" / "tests.jsonl") as tests:
        assert tests.find("q-taco") == [{"input": "2\n", "output": "7\n"}, {"input": "1\n2", "output": "3"}]
        assert tests.find("q-contest") == [{"input": "0\n", "output": "1\n"}] and tests.find("nobody") == []
        assert tests.find("q-forces") == [{"input": "1", "output": "2"}]
    heavy = "nvidia/OpenCodeReasoning-2/train/python/train-00000-of-00002.parquet"
    assert 0 < fetched[heavy] < (tmp_path / "hub" / "datasets" / heavy).stat().st_size * 3
    assert not any(name.endswith(".py") for name in fetched)
    assert not (tmp_path / "q" / "partial").exists()


def test_only_the_small_columns_are_downloaded(tmp_path):
    """Each row has a megabyte of text that no reader needs."""
    rows = [
        {**reference(f"q{number}", "apps", "test", number % 3), "r1_generation": os.urandom(500_000).hex()}
        for number in range(6)
    ]
    publish(tmp_path / "hub", {"python": rows})
    with Hub(tmp_path / "hub") as hub:
        done = prepare(tmp_path / "q", hub.url, tmp_path, splits=["python"])
        assert done.returncode == 0, done.stderr[-2000:]
        fetched = sum(size for name, size in hub.stats()["bytes"].items() if "OpenCodeReasoning" in name)
    assert fetched < 1_000_000  # of 6 MB


def test_taco_is_also_read_from_arrow_files(tmp_path):
    publish(tmp_path / "hub", {"python": [reference("q", "taco", "train", 3)]})
    folder = tmp_path / "hub" / "datasets" / "BAAI" / "TACO"
    for path in (folder / "ALL").iterdir():
        path.unlink()
    (folder / "train").mkdir()
    table = pa.Table.from_pylist([taco(number) for number in range(4)])
    for part in range(2):
        with (
            pa.OSFile(str(folder / "train" / f"data-0000{part}-of-00002.arrow"), "wb") as out,
            pa.ipc.new_stream(out, table.schema) as stream,
        ):
            stream.write_table(table.slice(2 * part, 2))
    with Hub(tmp_path / "hub") as hub:
        done = prepare(tmp_path / "q", hub.url, tmp_path, splits=["python"], languages=["cpp"])
    assert done.returncode == 0, done.stderr[-2000:]
    assert [row["problem"] for row in read_problems(tmp_path / "q" / "problems.jsonl")] == ["TACO 3?"]


@pytest.mark.parametrize(
    "options, said",
    [
        ({"splits": ["ruby"]}, "split 'ruby': no file matches train/ruby/train-*.parquet"),
        ({"source": "nvidia/Nothing"}, "nvidia/Nothing, split 'python': cannot be read from the hub"),
        ({"revision": "v9"}, "revision 'v9': cannot be read from the hub"),
        ({"languages": ["pyhton"]}, "Did you mean python?"),
    ],
)
def test_errors_name_what_the_hub_does_not_have(tmp_path, options, said):
    publish(tmp_path / "hub")
    with Hub(tmp_path / "hub") as hub:
        done = prepare(tmp_path / "q", hub.url, tmp_path, **options)
    assert done.returncode != 0 and "SdgError" in done.stderr and said in done.stderr, done.stderr
    assert not (tmp_path / "q" / "problems.jsonl").exists()


@pytest.mark.parametrize(
    "change, said",
    [
        ({"dataset": "leetcode"}, "unknown; known are taco, apps, code_contests, open-r1/codeforces"),
        ({"index": None}, "but one is without index"),
        ({"index": "first"}, "its index 'first' is not a number"),
        ({"question_id": None}, "but one is without question_id"),
    ],
)
def test_bad_references_are_rejected_before_any_download(tmp_path, change, said):
    publish(
        tmp_path / "hub",
        {"python": [reference("p", "apps", "test", 0), {**reference("q", "apps", "test", 1), **change}]},
    )
    with Hub(tmp_path / "hub") as hub:
        done = prepare(tmp_path / "q", hub.url, tmp_path, splits=["python"])
        assert said in done.stderr, done.stderr
        assert not any("apps" in name for name in hub.stats()["bytes"])


@pytest.mark.bench
def test_memory_does_not_grow_with_the_solutions_of_a_question(tmp_path):
    peaks = []
    for count in (5_000, 50_000):
        rows = [reference(f"q{number % 500}", "apps", "test", number % 3, number) for number in range(count)]
        publish(tmp_path / f"hub{count}", {"python": rows})
        with Hub(tmp_path / f"hub{count}") as hub:
            done = prepare(tmp_path / f"q{count}", hub.url, tmp_path / str(count), splits=["python"])
        peaks.append(orjson.loads(done.stdout.splitlines()[-1])["peak_mb"])
    print(peaks)
    assert peaks[1] < peaks[0] + 60


# -- what the datasets say about tests ---------------------------------------------------------------------------------


def taken(name, **row):
    """What a collection takes from a row: question, tests, procedure. Columns that the row lacks are None, as read."""
    collection = COLLECTIONS[name]
    seen = {column: row.get(column) for column in collection.columns}
    return collection.question(seen), collection.tests(seen), collection.procedure(seen)


def test_an_interactive_question_has_its_protocol_and_no_tests():
    question, tests, procedure = taken(
        "open-r1/codeforces",
        description="Find the hidden number.",
        interaction_format="Print '? x' to ask.",
        examples=[{"input": "<\n", "output": "? 5\n! 3\n"}],
    )
    assert "Interaction\n\nPrint '? x' to ask." in question and tests == []
    assert procedure == Procedure(undecided="interactive") and procedure.kind == "interactive"


def test_files_checkers_limits_and_official_tests_of_codeforces():
    question, tests, procedure = taken(
        "open-r1/codeforces",
        description="Print any permutation.",
        input_mode="file",
        generated_checker="print(1)",
        time_limit=2.0,
        memory_limit=256.0,
        examples=[{"input": "1", "output": "1"}],
        official_tests=[{"input": "3", "output": "1 2 3"}],
    )
    assert "from the file input.txt" in question and tests == [("1", "1"), ("3", "1 2 3")]
    assert procedure == Procedure(
        checker="print(1)", input_file="input.txt", output_file="output.txt", seconds=2, memory_mb=256
    )
    assert taken("open-r1/codeforces", description="A", input_mode="stdio")[2] == Procedure()


@pytest.mark.parametrize(
    "names, files_used",
    [
        (("", ""), ("", "")),
        (("stdin", "stdout"), ("", "")),
        (("data.in", ""), ("data.in", "")),
        (("../x", "y"), ("", "")),
    ],
)
def test_files_and_limits_of_codecontests(names, files_used):
    limits = {"time_limit": {"seconds": 1, "nanos": 500_000_000}, "memory_limit_bytes": 64 << 20}
    procedure = taken("code_contests", description="A", input_file=names[0], output_file=names[1], **limits)[2]
    assert (procedure.input_file, procedure.output_file) == files_used
    assert (procedure.seconds, procedure.memory_mb) == (1.5, 64)
    assert procedure.undecided == ("unreadable_tests" if "../x" in names else "")


def test_a_function_and_its_starter_code_are_asked_for():
    given = {"fn_name": "add", "inputs": [[1, 2], [3, 4]], "outputs": [[3], 7]}
    starter = "class Solution:\n    def add(self, a, b):"
    question, tests, procedure = taken(
        "apps", question="Add.", starter_code=starter, input_output=orjson.dumps(given).decode()
    )
    assert question.startswith("Add.\n\nWrite the Python function `add`.") and f"```python\n{starter}\n```" in question
    assert tests == [("[1, 2]", "[3]"), ("[3, 4]", "7")] and procedure == Procedure(function="add")


def test_json_tests_with_a_huge_number_are_read_and_broken_ones_are_lost():
    huge = '{"inputs": ["1\\n"], "outputs": ["1\\n"], "meta": ' + "9" * 5000 + "}"
    assert taken("apps", question="A", input_output=huge)[1:] == ([("1\n", "1\n")], Procedure())
    for broken in ("{", "[1]", "[" * 100_000, "7"):
        assert taken("apps", question="A", input_output=broken)[1:] == ([], Procedure(undecided="unreadable_tests"))
    assert taken("apps", question="A", input_output="")[1:] == ([], Procedure())


@pytest.mark.parametrize(
    "limits, read",
    [
        (("2.0 seconds", "256.0 megabytes"), (2, 256)),
        (("500 ms", "1 GB"), (0.5, 1024)),
        ((None, ""), (0, 0)),
        (("soon", "9 lightyears"), (0, 0)),
    ],
)
def test_limits_of_taco_are_texts(limits, read):
    procedure = taken("taco", question="A", time_limit=limits[0], memory_limit=limits[1])[2]
    assert (procedure.seconds, procedure.memory_mb) == read


def test_tests_that_cannot_be_used_leave_a_question_undecided():
    assert usable_tests([("x" * 101, "1")], Procedure(), 3, 100) == ([], Procedure(undecided="no_usable_tests"))
    assert usable_tests([], Procedure(), 3, 100) == ([], Procedure())
    assert usable_tests([("1", "2")], Procedure(), 3, 100) == ([{"input": "1", "output": "2"}], Procedure())


# -- your own file -----------------------------------------------------------------------------------------------------


def own(tmp_path, text, **options):
    (tmp_path / "own.jsonl").write_text(text)
    return prepare_questions(stage_at(tmp_path / "q"), source=str(tmp_path / "own.jsonl"), **options)


def test_your_own_file_keeps_its_ids_and_keys(tmp_path):
    manifest = own(
        tmp_path,
        '{"id": 7, "problem": "A?", "level": 2, "tests": [{"input": "1", "output": "2"}]}\n'
        '{"problem": "B?"}\n{"problem": "B?"}\n{"problem": " "}\n{"problem": "long long"}\n',
        languages=["cpp"],
        max_tokens=5,
    )
    assert manifest["counts"] == {"rows_in": 5, "rows_out": 2, "dropped": {"no_text": 1, "too_long": 1, "repeated": 1}}
    assert list(files.read_jsonl(tmp_path / "q" / "problems.jsonl")) == [
        {
            "id": "7-cpp",
            "problem": "A?",
            "expected_answer": "",
            "question_id": "7",
            "language": "cpp",
            "problem_source": "own",
            "level": 2,
            "num_tests": 1,
        },
        {
            "id": f"{files.content_id('B?')}-cpp",
            "problem": "B?",
            "expected_answer": "",
            "question_id": files.content_id("B?"),
            "language": "cpp",
            "problem_source": "own",
            "num_tests": 0,
        },
    ]
    assert list(files.read_jsonl(tmp_path / "q" / "tests.jsonl")) == [
        {"id": "7", "tests": [{"input": "1", "output": "2"}]}
    ]
    (tmp_path / "own.jsonl").write_text('{"problem": "C?"}\n')
    before = (tmp_path / "q" / "problems.jsonl").read_bytes()
    with pytest.raises(SdgError, match=r"row 1: .*A\?.* would become .*C\?.*nothing was changed"):
        prepare_questions(stage_at(tmp_path / "q"), source=str(tmp_path / "own.jsonl"), languages=["cpp"], max_tokens=5)
    assert (tmp_path / "q" / "problems.jsonl").read_bytes() == before


def test_how_questions_are_tested_is_counted_and_stored(tmp_path):
    rows = [
        {"id": "plain", "problem": "A?", "tests": [{"input": "1", "output": "2"}]},
        {"id": "check", "problem": "B?", "checker": "print(1)", "tests": [{"input": "1", "output": "2"}]},
        {"id": "call", "problem": "C?", "function": "f", "tests": [{"input": [[1], 2], "output": [3]}]},
        {"id": "talk", "problem": "D?", "undecided": "interactive"},
        {"id": "lost", "problem": "E?", "tests": [{"input": 7, "output": 8}]},
        {"id": "none", "question": "F?"},
        {"id": "bad", "problem": "G?", "seconds": "fast"},
    ]
    manifest = own(tmp_path, "\ufeff" + "".join(files.dumps(row).decode() for row in rows) + "not JSON\n")
    assert manifest["tests_by_source"] == {
        "own": {"compared": 1, "checker": 1, "function": 1, "interactive": 1, "no_usable_tests": 1, "no_tests": 1}
    }
    assert manifest["counts"] == {"rows_in": 8, "rows_out": 6, "dropped": {"unreadable": 2}}
    assert [place.partition(": ")[2][:12] for place in manifest["bad_rows"]] == ["'seconds' mu", "invalid JSON"]
    assert (manifest["problems"], manifest["python_only"]) == (11, 1)
    asked = [row for row in read_problems(tmp_path / "q" / "problems.jsonl") if row["question_id"] == "call"]
    assert [(row["language"], row["function"]) for row in asked] == [("python", "f")]
    with TestIndex(tmp_path / "q" / "tests.jsonl") as tests:
        assert tests.find_with_procedure("call") == (
            [{"input": "[[1], 2]", "output": "[3]"}],
            Procedure(function="f"),
        )
        assert tests.find_with_procedure("talk")[1].undecided == "interactive"
        assert tests.find_with_procedure("none") == ([], Procedure())


PAIRS = [{"input": "1", "output": "2"}, {"input": "3", "output": "6"}]


@pytest.mark.parametrize(
    ("row", "columns"),
    [
        ({"Question": "A?", "Test_Cases": PAIRS}, {}),
        ({"problem": "A?", "tests": json.dumps(PAIRS)}, {}),
        ({"problem": "A?", "tests": [{"input": one["input"], "expected_output": one["output"]} for one in PAIRS]}, {}),
        ({"problem": "A?", "input_output": {"inputs": ["1", "3"], "outputs": ["2", "6"]}}, {}),
        ({"problem": "A?", "input_output": json.dumps({"inputs": ["1", "3"], "outputs": ["2", "6"]})}, {}),
        ({"problem": "A?", "public_tests": {"input": ["1", "3"], "output": ["2", "6"]}}, {}),
        ({"problem": "A?", "tests": [], "examples": PAIRS}, {}),
        ({"riddle": "A?", "checks": {"all": PAIRS}}, {"problem": "riddle", "tests": "checks.all"}),
        ({"prompt": [{"role": "user", "content": "A?"}], "tests": PAIRS}, {}),
    ],
)
def test_tests_of_your_own_file_in_all_common_forms(tmp_path, row, columns):
    own(tmp_path, files.dumps(row).decode(), columns=columns)
    with TestIndex(tmp_path / "q" / "tests.jsonl") as tests:
        assert tests.find(files.content_id("A?")) == PAIRS
    assert {row["problem"] for row in read_problems(tmp_path / "q" / "problems.jsonl")} == {"A?"}


def test_a_function_may_be_named_among_the_tests(tmp_path):
    row = {"problem": "Add.", "input_output": {"fn_name": "add", "inputs": [[1, 2]], "outputs": [3]}}
    own(tmp_path, files.dumps(row).decode())
    with TestIndex(tmp_path / "q" / "tests.jsonl") as tests:
        found = tests.find_with_procedure(files.content_id("Add."))
    assert found == ([{"input": "[1, 2]", "output": "3"}], Procedure(function="add"))


def test_a_file_without_tests_is_refused_when_a_column_looks_like_them(tmp_path):
    row = files.dumps({"problem": "A?", "unit_tests": PAIRS, "n": 1}).decode()
    with pytest.raises(SdgError, match=r"Did you mean the column 'unit_tests'\? Then set COLUMNS = .*unit_tests"):
        own(tmp_path, row)
    with pytest.raises(SdgError, match="'test' is not one of id, problem, tests. Did you mean tests"):
        own(tmp_path, row, columns={"test": "unit_tests"})
    assert own(tmp_path, row, columns={"tests": ""})["questions_with_tests"] == 0
    (tmp_path / "text").mkdir()
    with pytest.raises(SdgError, match="Did you mean the column 'examples'"):
        own(tmp_path / "text", files.dumps({"problem": "A?", "examples": "1 gives 2"}).decode())


def test_the_first_copy_with_tests_is_kept(tmp_path):
    rows = [
        {"id": "a", "problem": "Double $x$."},
        {"id": "b", "problem": "Double  $ x $. ", "tests": PAIRS[:1], "level": 2},
        {"id": "c", "problem": "Double $x$.", "tests": PAIRS},
        {"id": "d", "problem": "Double $x$.", "function": "f"},
    ]
    manifest = own(tmp_path, "".join(files.dumps(row).decode() for row in rows), languages=["python"])
    kept = [(row["question_id"], row["num_tests"]) for row in read_problems(tmp_path / "q" / "problems.jsonl")]
    assert kept == [("b", 1), ("d", 0)] and manifest["counts"]["dropped"]["repeated"] == 2


def test_a_function_is_not_asked_for_in_cpp(tmp_path):
    with pytest.raises(SdgError, match="no question is left of 1 rows .dropped: {'python_only': 1}"):
        own(tmp_path, '{"problem": "A?", "function": "f"}\n', languages=["cpp"])


@pytest.mark.parametrize(
    "text, said",
    [
        ("", "no question is left of 0 rows"),
        ('{"riddle": "A?"}\n', "line 1: needs a text under the key 'problem'"),
        ('{"problem": "A?", "tests": ["1"]}\n', "line 1: 'tests' must be a list of"),
        ('{"problem": "A?", "tests": "print(1)"}\n', "line 1: its tests are not JSON"),
        ('{"problem": "A?", "tests": {"inputs": ["1"], "outputs": []}}\n', "line 1: 'tests' must be a list of"),
        ('{"id": 1, "problem": "A?"}\n{"id": 1, "problem": "B?"}\n', "line 2: the id '1' was used before"),
    ],
)
def test_bad_input_is_rejected_with_its_row(tmp_path, text, said):
    with pytest.raises(SdgError, match=said):
        own(tmp_path, text)
    assert not (tmp_path / "q" / "problems.jsonl").exists()


def test_only_tests_with_text_input_are_kept():
    pairs = [
        ("1\n", "2\n"),
        (["a", "b"], ["c"]),
        ("1\n", "3\n"),
        ("2", " "),
        ("3", None),
        ([[1, 2]], [3]),
        ("x" * 101, "1"),
        ("4", "5"),
        ("6", "7"),
    ]
    assert clean_tests(pairs, max_tests=3, max_bytes=100) == [
        {"input": "1\n", "output": "2\n"},
        {"input": "a\nb", "output": "c"},
        {"input": "4", "output": "5"},
    ]


# -- the demo ----------------------------------------------------------------------------------------------------------


def numbers(text):
    return list(map(int, text.split()))


def brackets(text):
    text = text.strip()
    while len(shorter := text.replace("()", "").replace("[]", "").replace("{}", "")) < len(text):
        text = shorter
    return "no" if text else "yes"


def guests(text):
    stays = [(a, b) for a, b in zip(*[iter(numbers(text)[1:])] * 2, strict=True)]
    return max(sum(a <= minute < b for a, b in stays) for minute, _ in stays)


def coins(text):
    amount, _, *kinds = numbers(text)
    reached, steps = {0}, 0
    while amount not in reached and steps <= amount:
        reached, steps = {a + k for a in reached for k in kinds if a + k <= amount}, steps + 1
    return steps if amount in reached else -1


# Properties of the demo's tests, computed in a different way than by the programs that wrote them.
TRUTH = {
    "boxes of nails": lambda text: sum(numbers(text)),
    "sum of the digits": lambda text: sum(map(int, text.strip())),
    "tallest": lambda text: sorted(numbers(text)[1:])[-1] - sorted(numbers(text)[1:])[0],
    "vowels": lambda text: sum(text.count(vowel) for vowel in "aeiou"),
    "fizz": lambda text: "\n".join(
        ("fizz" * (n % 3 == 0) + "buzz" * (n % 5 == 0)) or str(n) for n in range(1, int(text) + 1)
    ),
    "both ends": lambda text: "yes" if text.split() == [text.strip()[::-1]] else "no",
    "ropes": lambda text: gcd(*numbers(text)),
    "prime": lambda text: len(
        set(range(2, int(text) + 1))
        - {a * b for a in range(2, int(int(text) ** 0.5) + 1) for b in range(a, int(text) // a + 1)}
    ),
    "weather": lambda text: f"{sum(numbers(text)[1:]) / numbers(text)[0]:.3f}",
    "brackets": brackets,
    "guests": guests,
    "coins": coins,
}


def test_the_demos_tests_are_correct(tmp_path):
    manifest = prepare_questions(stage_at(tmp_path / "q"), source="demo")
    assert manifest["counts"] == {
        "rows_in": 15,
        "rows_out": 12,
        "dropped": {"repeated": 1, "too_long": 1, "no_text": 1},
    }
    found = list(read_problems(tmp_path / "q" / "problems.jsonl"))
    assert len(found) == 24 and manifest["questions_with_tests"] == 12
    with TestIndex(tmp_path / "q" / "tests.jsonl") as index:
        for row in found[::2]:
            [truth] = [truth for words, truth in TRUTH.items() if words in row["problem"].partition("Input")[0]]
            tests = index.find(row["question_id"])
            assert len(tests) >= 3
            assert [test["output"].strip() for test in tests] == [str(truth(test["input"])) for test in tests]
            assert tests[0]["input"].strip() in row["problem"] and tests[0]["output"].strip() in row["problem"]


@pytest.mark.parametrize("name", ["code/solve", "code/solve-few-shot"])
def test_the_prompts_name_the_language(name):
    text = load_prompt(name).user_text({"problem": "Add {1}.", "language": "cpp"})
    assert "```cpp" in text and "Add {1}." in text and "{{" not in text
