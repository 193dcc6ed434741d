"""Stage 01: from the hub (a stand-in on loopback with real parquet files), from one's own file, from the demo."""

import os
import subprocess
import sys
from fractions import Fraction
from math import gcd, perm

import orjson
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest

from sdg_helpers import files
from sdg_helpers.errors import SdgError
from sdg_helpers.problems.download import download_problems
from sdg_helpers.problems.problem_file import ProblemIndex, find_problems, read_problems
from sdg_helpers.problems.repeats import fold_spaces
from tests.helpers.clone import ROOT, make_clone
from tests.helpers.hub import Hub
from tests.helpers.stages import stage_at

REPO = "nvidia/OpenMathReasoning"
HEAVY = "<think>" + "a long way to go " * 60  # the text that must not be fetched


def rows(start, count, copies, kind="has_answer_extracted"):
    return [
        {
            "expected_answer": str(number),
            "problem_type": kind,
            "problem_source": "aops_c6_high_school",
            "generation_model": "DeepSeek-R1",
            "pass_rate_72b_tir": "0.5",
            "problem": f"What is {number} + 0?",
            "generated_solution": HEAVY + str(number * copy),
            "inference_mode": "cot",
            "used_in_kaggle": True,
        }
        for number in range(start, start + count)
        for copy in range(copies)
    ]


def publish(folder, **splits):
    """A dataset repository with one parquet file a split, in the schema of the real one."""
    folder = folder / "datasets" / REPO
    (folder / "data").mkdir(parents=True)
    for split, content in splits.items():
        table = pa.Table.from_pylist(content)
        parquet.write_table(table, folder / "data" / f"{split}-00000-of-00001.parquet", row_group_size=500)
    listed = "".join(f"  - split: {split}\n    path: data/{split}-*\n" for split in splits)
    (folder / "README.md").write_text(f"---\nconfigs:\n- config_name: default\n  data_files:\n{listed}---\n# Card\n")


CODE = """\
import re, sys
from pathlib import Path
from sdg_helpers.problems import download_problems
from sdg_helpers.stages import Stage
import orjson
options = orjson.loads(sys.argv[2])
manifest = download_problems(Stage(sys.argv[1], "problems"), **options)
peak = re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())  # ru_maxrss would be our parent's, too
print(orjson.dumps({**manifest, "peak_mb": int(peak[1]) / 1024}).decode())
"""


def download(folder, url, tmp_path, **options):
    """In a process of its own: the hub's address is read when its library is imported."""
    environment = {**os.environ, "HF_ENDPOINT": url, "HF_HOME": str(tmp_path / "hf"), "HF_HUB_DISABLE_TELEMETRY": "1"}
    return subprocess.run(
        [sys.executable, "-c", CODE, str(folder), orjson.dumps(options).decode()],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )


def test_one_row_a_problem_with_every_drop_counted_and_the_heavy_column_left_there(tmp_path):
    """Fault 1 of the reference: its download kept a row a solution, ten times the problems."""
    nameless = [{**row, "expected_answer": None} for row in rows(300, 5, 1, "no_answer_extracted")]
    publish(
        tmp_path / "hub",
        cot=rows(0, 200, 10) + rows(500, 20, 3, "converted_proof"),
        additional_problems=rows(190, 20, 1) + nameless,
        tir=rows(900, 5, 1),
    )
    with Hub(tmp_path / "hub") as hub:
        done = download(tmp_path / "p", hub.url, tmp_path)
        assert done.returncode == 0, done.stderr[-2000:]
        fetched = sum(hub.stats()["bytes"].values())
    manifest = orjson.loads(done.stdout.splitlines()[-1])
    assert manifest["counts"] == {
        "rows_in": 2085,
        "rows_out": 215,
        "dropped": {"repeated": 1810, "converted_proof": 60},
    }
    assert manifest["rows_by_split"] == {"cot": 2060, "additional_problems": 25}
    assert manifest["problems_by_type"] == {"has_answer_extracted": 210, "no_answer_extracted": 5}
    found = list(read_problems(tmp_path / "p" / "problems.jsonl"))
    assert [row["expected_answer"] for row in found] == [*map(str, range(210)), *[""] * 5]
    assert list(found[0]) == ["id", "problem", "expected_answer", "problem_type", "problem_source", "pass_rate_72b_tir"]
    assert found[0]["id"] == files.content_id("What is 0 + 0?")
    size = sum(path.stat().st_size for path in (tmp_path / "hub").rglob("*.parquet"))
    assert fetched < 3 * size  # not once a batch


@pytest.mark.parametrize(
    "options, said",
    [({"splits": ["cot", "kot"]}, "kot"), ({"revision": "v9"}, "v9"), ({"source": "nvidia/Nothing"}, "nvidia/Nothing")],
)
def test_what_the_hub_does_not_have_is_named(tmp_path, options, said):
    publish(tmp_path / "hub", cot=rows(0, 5, 1))
    with Hub(tmp_path / "hub") as hub:
        done = download(tmp_path / "p", hub.url, tmp_path, **{"splits": ["cot"], **options})
    assert done.returncode != 0 and "SdgError" in done.stderr and said in done.stderr, done.stderr
    assert not (tmp_path / "p" / "problems.jsonl").exists()


def test_missing_columns_are_named(tmp_path):
    publish(tmp_path / "hub", cot=[{"riddle": "What?", "expected_answer": "1"}])
    with Hub(tmp_path / "hub") as hub:
        done = download(tmp_path / "p", hub.url, tmp_path, splits=["cot"])
    assert "no column of problems among riddle, expected_answer" in done.stderr, done.stderr
    publish(tmp_path / "other", cot=[{"question": "What?", "answer": "1"}])
    with Hub(tmp_path / "other") as hub:
        done = download(tmp_path / "q", hub.url, tmp_path, splits=["cot"])
    assert orjson.loads(done.stdout.splitlines()[-1])["columns"] == {
        "problem": "question",
        "expected_answer": "answer",
        "id": "",
    }


@pytest.mark.slow  # the hub's client retries for half a minute
def test_unreachable_hub_is_reported(tmp_path):
    gone = download(tmp_path / "p2", "http://127.0.0.1:9", tmp_path, splits=["cot"])
    assert "Check the name, the revision and the network" in gone.stderr


@pytest.mark.bench
def test_memory_does_not_grow_with_the_repetitions(tmp_path):
    peaks = []
    for count in (3_000, 30_000):
        publish(tmp_path / f"hub{count}", cot=rows(0, count, 10))
        with Hub(tmp_path / f"hub{count}") as hub:
            done = download(tmp_path / f"p{count}", hub.url, tmp_path / str(count), splits=["cot"])
        peaks.append(orjson.loads(done.stdout.splitlines()[-1])["peak_mb"])
    print(peaks)
    assert peaks[1] < peaks[0] + 60


def own(tmp_path, text, name="own.jsonl"):
    (tmp_path / name).write_text(text)
    return download_problems(stage_at(tmp_path / "p"), source=str(tmp_path / name))


def test_a_users_file_keeps_its_ids_and_keys(tmp_path):
    manifest = own(
        tmp_path,
        '{"id": 7, "problem": "A?", "expected_answer": 5, "level": 2}\n\n{"problem": "B?"}\n'
        '{"id": "7", "problem": "A?"}\n{"problem": "  "}\n',
    )
    assert manifest["counts"] == {"rows_in": 4, "rows_out": 2, "dropped": {"repeated": 1, "empty": 1}}
    assert list(files.read_jsonl(tmp_path / "p" / "problems.jsonl")) == [
        {"id": "7", "problem": "A?", "expected_answer": "5", "level": 2},
        {"id": files.content_id("B?"), "problem": "B?", "expected_answer": ""},
    ]
    (tmp_path / "own.jsonl").write_text('{"problem": "Changed?"}\n')
    with pytest.raises(SdgError, match="row 1: .*would become .*nothing was changed"):
        download_problems(stage_at(tmp_path / "p"), source=str(tmp_path / "own.jsonl"))


def test_a_users_parquet_file(tmp_path):
    parquet.write_table(pa.Table.from_pylist(rows(0, 3, 2)), tmp_path / "own.parquet")
    assert download_problems(stage_at(tmp_path / "p"), source=str(tmp_path / "own.parquet"))["counts"]["rows_out"] == 3


@pytest.mark.parametrize(
    "text, said",
    [
        ("", "no problem in 0 rows"),
        ('["A?"]\n', "First bad row: .*own.jsonl, line 1: not a JSON object"),
        ('{"riddle": "A?"}\n', "no column of problems among riddle; known names are problem, question"),
        ('{"problem": 7}\n', "no column of problems among problem"),
        (
            '{"id": "x", "problem": "A?"}\n{"id": "x", "problem": "B?"}\n',
            "own.jsonl, line 2: the id 'x' is already used by another problem",
        ),
        ('{"problem": "  "}\n', "no problem in 1 rows"),
    ],
)
def test_bad_input_is_refused_with_its_place(tmp_path, text, said):
    with pytest.raises(SdgError, match=said):
        own(tmp_path, text)
    assert not (tmp_path / "p" / "problems.jsonl").exists()


def test_a_missing_or_unreadable_file(tmp_path):
    with pytest.raises(SdgError, match="none.jsonl: no such file. Set SOURCE to an existing file"):
        download_problems(stage_at(tmp_path / "p"), source=str(tmp_path / "none.jsonl"))
    (tmp_path / "own.xlsx").write_text("problem\nA?\n")
    with pytest.raises(SdgError, match="own.xlsx: the file's format must be one of .jsonl, .json, .csv, .* not .xlsx"):
        download_problems(stage_at(tmp_path / "p"), source=str(tmp_path / "own.xlsx"))
    with pytest.raises(SdgError, match="is a folder. Set SOURCE to one file in it"):
        download_problems(stage_at(tmp_path / "p"), source=str(tmp_path))
    (tmp_path / "bad.parquet").write_text("no")
    with pytest.raises(SdgError, match="bad.parquet: cannot be read as .parquet"):
        download_problems(stage_at(tmp_path / "p"), source=str(tmp_path / "bad.parquet"))


def test_a_path_is_from_the_root_of_the_clone(tmp_path, monkeypatch):
    make_clone(tmp_path)
    (tmp_path / "own.jsonl").write_text('{"problem": "A?"}\n')
    monkeypatch.chdir(tmp_path / "notebooks" / "math")  # as a kernel
    assert download_problems(stage_at(tmp_path / "p"), source="own.jsonl")["counts"]["rows_out"] == 1
    with pytest.raises(SdgError, match=f"{tmp_path}/other.jsonl: no such file"):
        download_problems(stage_at(tmp_path / "q"), source="other.jsonl")


@pytest.mark.parametrize("count", [0, -3])
def test_max_problems_below_one_is_refused(tmp_path, count):
    with pytest.raises(SdgError, match=f"max_problems must be 1 or more, or None for all .*, not {count}"):
        download_problems(stage_at(tmp_path / "p"), source="demo", max_problems=count)
    assert not (tmp_path / "p").exists()


@pytest.mark.parametrize(
    "text, said",
    [
        (
            '{"id": "a", "problem": "x"}\n{"id": "b", "problem": "y"}\n{"id": "a", "problem": "z"}\n',
            "'a' in rows 1 and 3",
        ),
        ('{"problem": "x"}\n', "row 1: the key 'id' must hold a text"),
        ("", "this file has no problems"),
    ],
)
def test_problems_that_later_stages_cannot_use_are_refused(tmp_path, text, said):
    (tmp_path / "problems.jsonl").write_text(text)
    with pytest.raises(SdgError, match=said):
        ProblemIndex.build(tmp_path / "problems.jsonl")


# What is true of the demo's problems, computed; the reference answers of three of them are wrong on purpose.
TRUTH = {
    "17 + 25": 17 + 25,
    "9 \\times 8": 9 * 8,
    "6 eggs": "42 eggs",
    "144 divided by 12": 144 // 12,
    "0.2 + 0.3": "1/2",
    "25% of 80": 80 // 4,
    "power of 10": "1,024",
    "after Saturday": "Tuesday",
    "2x + 6": "x = 3",
    "12 + 19": 12 + 19,
    "3 pens and 1 book": 3 * 2 + 5,
    "7 \\times 6 - 2": 7 * 6 - 2,
    "60 kilometres": 60 * 5 // 2,
    "average of 4": (4 + 8 + 15) // 3,
    "perimeter": "22 cm",
    "first ten": sum(range(1, 11)),
    "common divisor": gcd(36, 60),
    "prime numbers are less": sum(all(n % d for d in range(2, n)) for n in range(2, 20)),
    "50 coins falls": int(50 * Fraction(8, 10) * Fraction(12, 10)),
    "remainder when 100": 100 % 7,
    "fair dice": "\\frac{1}{6}",
    "divisors does 360": sum(360 % d == 0 for d in range(1, 361)),
    "units digit": pow(7, 2025, 10),
    "squares of any size": "",
    "5 people stand": perm(5) - 2 * perm(4),
}


def test_the_demo_has_work_for_every_stage(tmp_path):
    manifest = download_problems(stage_at(tmp_path / "p"), source="demo")
    assert manifest["counts"] == {"rows_in": 41, "rows_out": 25, "dropped": {"repeated": 12, "converted_proof": 4}}
    found = list(read_problems(tmp_path / "p" / "problems.jsonl"))
    named = {row["problem"]: [truth for words, truth in TRUTH.items() if words in row["problem"]] for row in found}
    assert all(len(truths) == 1 for truths in named.values()), named
    wrong = [row["problem"] for row in found if row["expected_answer"] != str(named[row["problem"]][0])]
    assert wrong == [
        "What is 12 + 19?",
        "A pen costs 2 coins and a book costs 5 coins. How many coins do 3 pens and 1 book cost together?",
        "What is $7 \\times 6 - 2$?",
    ]
    assert sum(row["expected_answer"] == "" for row in found) == 1


def test_problems_are_found_by_id(tmp_path):
    path = tmp_path / "problems.jsonl"
    rows = [{"id": name, "problem": name.upper()} for name in "abc"]
    path.write_bytes(b"".join(map(files.dumps, rows)))
    assert find_problems(path, ["b", "a", "none"]) == {"a": rows[0], "b": rows[1]}
    assert find_problems(path, iter(["b"])) == {"b": rows[1]}
    assert find_problems(path, []) == {}


def test_copies_of_a_problem_merge_their_answers(tmp_path):
    rows = [
        {"problem": "same", "expected_answer": "1/2"},
        {"problem": "same", "expected_answer": "0.5"},
        {"problem": "late", "expected_answer": None},
        {"problem": "late", "expected_answer": "7"},
        {"problem": "conflict", "expected_answer": "3"},
        {"problem": "conflict", "expected_answer": "4"},
        {"problem": "conflict", "expected_answer": "n/a"},
    ]
    (tmp_path / "own.jsonl").write_bytes(b"".join(map(files.dumps, rows)))
    manifest = download_problems(stage_at(tmp_path / "p"), source=str(tmp_path / "own.jsonl"))
    found = {row["problem"]: row for row in files.read_jsonl(tmp_path / "p" / "problems.jsonl")}
    assert {name: row["expected_answer"] for name, row in found.items()} == {"same": "1/2", "late": "7", "conflict": ""}
    assert found["conflict"]["conflicting_answers"] == ["3", "4"] and manifest["conflicting_answers"] == 1
    assert manifest["counts"] == {"rows_in": 7, "rows_out": 3, "dropped": {"repeated": 4}}


# -- columns, numbers, bad rows and repeats of your own files ----------------------------------------------------------


def read_own(tmp_path, text, name="own.jsonl", **options):
    """The manifest, and (problem, expected_answer) of every problem."""
    (tmp_path / name).write_text(text)
    manifest = download_problems(stage_at(tmp_path / f"of {name}"), source=str(tmp_path / name), **options)
    found = files.read_jsonl(tmp_path / f"of {name}" / "problems.jsonl")
    return manifest, [(row["problem"], row["expected_answer"]) for row in found]


@pytest.mark.parametrize(
    "row, columns, found",
    [
        ('{"problem": "2+2?", "answer": "4", "solution": "…"}', ("problem", "answer"), ("2+2?", "4")),
        ('{"Question": "2+2?", "Final_Answer": 4}', ("Question", "Final_Answer"), ("2+2?", "4")),
        ('{"prompt": "2+2?", "ground_truth": "4"}', ("prompt", "ground_truth"), ("2+2?", "4")),
        ('{"problem": "2+2?", "solution": "So $\\\\boxed{4}$."}', ("problem", "solution"), ("2+2?", "4")),
        ('{"question": "2+2?", "answer": "Two more.\\n#### 4"}', ("question", "answer"), ("2+2?", "4")),
        ('{"instruction": "Add.", "input": "2 2", "answer": "4"}', ("instruction", "answer"), ("Add.\n\n2 2", "4")),
        (
            '{"prompt": [{"role": "user", "content": "2+2?"}], "reward_model": {"ground_truth": "4"}}',
            ("prompt", "reward_model.ground_truth"),
            ("2+2?", "4"),
        ),
        ('{"problem": "2+2?", "expected_answer": "", "answer": "4"}', ("problem", "answer"), ("2+2?", "4")),
        ('{"problem": "2+2?", "level": 3}', ("problem", ""), ("2+2?", "")),
    ],
)
def test_columns_are_found_by_their_names(tmp_path, row, columns, found):
    manifest, problems = read_own(tmp_path, row)
    assert manifest["columns"] == {"problem": columns[0], "expected_answer": columns[1], "id": ""}
    assert problems == [found]


@pytest.mark.parametrize("answer", ['"", "gold": "4"', 'null, "gold": "4"', '"n/a", "gold": 4, "level": 1'])
def test_a_file_without_any_answer_is_refused_with_the_likely_column(tmp_path, answer):
    row = f'{{"problem": "A?", "expected_answer": {answer}}}'
    with pytest.raises(SdgError, match="no row has a reference answer .* Did you mean the column 'gold'"):
        read_own(tmp_path, row)
    # a refused stage is not begun: it can be repeated with other settings
    assert read_own(tmp_path, row, columns={"expected_answer": "gold"})[1] == [("A?", "4")]


def test_problems_may_have_no_answers(tmp_path):
    row = '{"problem": "A?", "label": "hard"}'
    assert read_own(tmp_path, row, columns={"expected_answer": ""})[1] == [("A?", "")]


@pytest.mark.parametrize(
    "columns, said",
    [
        ({"expected_answer": "gld"}, "none of the first 1 rows has. Did you mean gold?"),
        ({"problems": "problem"}, "'problems' is not one of id, problem, expected_answer. Did you mean problem?"),
        ({"problem": ""}, "maps 'problem' to ''"),
    ],
)
def test_columns_that_do_not_exist_are_refused(tmp_path, columns, said):
    with pytest.raises(SdgError, match=said.replace("?", "[?]")):
        read_own(tmp_path, '{"problem": "A?", "gold": 1}', columns=columns)


@pytest.mark.parametrize(
    "written, read",
    [
        ("1267650600228229401496703205376", "1267650600228229401496703205376"),
        ("2.50", "2.50"),
        ("0.00001", "0.00001"),
        ("-7", "-7"),
        ("1e400", "1e400"),
        ("true", "True"),
        ('["1", "2"]', "1, 2"),
        ("[1, 2.50]", "1, 2.50"),
        *((none, "") for none in ("null", "NaN", '""', '"null"', '"N/A"', '"-"', '"unknown"', "[]", '["n/a"]')),
    ],
)
def test_an_answer_keeps_its_own_text(tmp_path, written, read):
    rows = f'{{"problem": "A?", "expected_answer": {written}}}\n{{"problem": "B?", "expected_answer": "1"}}'
    assert read_own(tmp_path, rows)[1] == [("A?", read), ("B?", "1")]


def test_bad_rows_are_skipped_counted_and_listed_up_to_a_bound(tmp_path):
    text = '\ufeff{"problem": "A?", "answer": 1}\n{"problem": "B?"\n{"problem": 7}\n\n{"problem": "C?", "answer": {}}\n'
    manifest, problems = read_own(tmp_path, text, max_bad_rows=3)
    assert problems == [("A?", "1")] and manifest["counts"]["dropped"] == {"unreadable": 3}
    assert [row.rpartition("own.jsonl, ")[2].partition(":")[0] for row in manifest["bad_rows"]] == [
        "line 2",
        "line 3",
        "line 5",
    ]
    with pytest.raises(SdgError, match="3 rows cannot be read, and at most 2 may be skipped.*\n.*line 2: invalid JSON"):
        read_own(tmp_path, text, name="again.jsonl", max_bad_rows=2)


@pytest.mark.parametrize(
    "one, other",
    [
        ("What is 2+2?", " What is\n 2+2? "),
        ("Compute $2\\,+\\,2$.", "Compute $2 + 2$."),
        ("Compute $a\\quad b$.", "Compute \\(ab\\)."),
        ("Let~$x=1$. What\\ is $x$?", "Let $x = 1$. What is $ x $?"),
        ("Find $\\sin x$.", "Find $\\sin  x$."),
    ],
)
def test_white_space_makes_no_other_problem(one, other):
    assert fold_spaces(one) == fold_spaces(other)


@pytest.mark.parametrize("one, other", [("Add 1 2.", "Add 12."), ("Find $\\sin x$.", "Find $\\sinx$."), ("A?", "a?")])
def test_other_texts_are_other_problems(one, other):
    assert fold_spaces(one) != fold_spaces(other)


@pytest.mark.parametrize(
    ("answers", "label", "conflicting"),
    [
        (["", "4", "4"], "4", None),
        (["", "4", "4", "5"], "4", ["4", "5"]),
        (["5", "4", "4"], "4", ["5", "4"]),
        (["4", "5"], "", ["4", "5"]),
        (["", "5", "4"], "", ["5", "4"]),
        (["4", "4", "5", "5"], "", ["4", "5"]),
        (["4", "4", "5", "6"], "", ["4", "5", "6"]),  # half is not most
        (["1/2", "0.5", "3"], "1/2", ["1/2", "0.5", "3"]),
        (["4", "5", "n/a", "-"], "", ["4", "5"]),
        ([*map(str, range(10)), *"9999"], "", [*map(str, range(9))]),  # not all answers are listed
        ([*map(str, range(10)), *["0"] * 12], "0", [*map(str, range(9))]),
    ],
)
def test_conflicting_labels_are_counted_and_most_labelled_copies_decide(tmp_path, answers, label, conflicting):
    spaces = ("What is 2+2?", "What is 2+2? ", "What is  2+2?")
    rows = [{"problem": spaces[n % 3], "expected_answer": answer} for n, answer in enumerate(answers)]
    manifest, problems = read_own(tmp_path, "".join(files.dumps(row).decode() for row in rows))
    assert problems == [("What is 2+2?", label)] and manifest["conflicting_answers"] == (conflicting is not None)
    (row,) = files.read_jsonl(tmp_path / "of own.jsonl" / "problems.jsonl")
    assert row.get("conflicting_answers") == conflicting
    assert manifest["counts"] == {"rows_in": len(rows), "rows_out": 1, "dropped": {"repeated": len(rows) - 1}}


def test_a_name_is_preferred_as_we_spell_it(tmp_path):
    assert read_own(tmp_path, '{"Problem": "Title", "problem": "2+2?", "answer": "4"}\n')[1] == [("2+2?", "4")]


def test_a_chat_whose_content_is_in_parts(tmp_path):
    content = [{"type": "text", "text": "What is"}, {"type": "text", "text": "2+2?"}]
    row = {"prompt": [{"role": "user", "content": content}], "answer": "4"}
    assert read_own(tmp_path, files.dumps(row).decode())[1] == [("What is\n2+2?", "4")]
    picture = {"prompt": [{"role": "user", "content": [*content, {"type": "image"}]}], "answer": "4"}
    with pytest.raises(SdgError, match="no column of problems"):
        read_own(tmp_path, files.dumps(picture).decode(), name="picture.jsonl")


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ({"value": "4", "unit": ""}, r"Did you mean the column 'answer.value'\? .*\"answer.value\""),
        ([["4"]], "no row has a reference answer: 'answer' must hold a text, a number or a list of them"),
    ],
)
def test_answers_of_a_form_that_is_not_read_are_refused(tmp_path, answer, said):
    text = files.dumps({"problem": "2+2?", "answer": answer}).decode()
    with pytest.raises(SdgError, match=said):
        read_own(tmp_path, text)
    assert read_own(tmp_path, text, columns={"expected_answer": ""})[1] == [("2+2?", "")]
    if isinstance(answer, dict):
        found = read_own(tmp_path, text, "by-key.jsonl", columns={"expected_answer": "answer.value"})
        assert found[1] == [("2+2?", "4")]


OPTIONS = ["three", "four"]


@pytest.mark.parametrize(
    "more",
    [
        {"choices": OPTIONS, "answer": 1},
        {"Options": OPTIONS, "answer": "B"},
        {"options": {"A": "three", "B": "four"}, "answer": "B"},
        {"choices": {"label": ["A", "B"], "text": OPTIONS}, "answer": "B"},
        {"A": "three", "B": "four", "answer": "B"},
        {"option_a": "three", "option_b": "four", "answer": "B"},
        {"opa": "three", "opb": "four", "answer": "B"},
    ],
)
def test_options_that_the_problem_does_not_show_are_not_lost_silently(tmp_path, more):
    rows = [
        {"problem": "How many?", **more},
        {"problem": "How many, four or three?", **more},  # named, but not as these options
        {"problem": "How many?\n\nA) Three\nB) four", **more},
    ]
    manifest, found = read_own(tmp_path, "".join(files.dumps(row).decode() for row in rows))
    assert [text for text, _ in found] == [rows[2]["problem"]] and manifest["counts"]["dropped"] == {"unreadable": 2}
    assert "has options that the problem does not show" in manifest["bad_rows"][0]


@pytest.mark.parametrize("options", [None, [], ["one"], {"temperature": 0.5}, "A) 1 B) 2", [["x"], ["y"]], 7])
def test_what_is_no_list_of_options_does_not_matter(tmp_path, options):
    row = {"problem": "2+2?", "answer": "4", "options": options}
    assert read_own(tmp_path, files.dumps(row).decode())[1] == [("2+2?", "4")]
