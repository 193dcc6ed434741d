"""Decontamination: benchmarks from files and the hub, candidate pairs, a judge in both orders, the export's filter."""

import gzip
import random
import subprocess
import sys

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest

from sdg_helpers import files, sft
from sdg_helpers.completions.types import Limits, Sampling
from sdg_helpers.decontamination.benchmarks import BenchmarkSource, read_benchmarks
from sdg_helpers.decontamination.candidates import find_candidates, strip_options
from sdg_helpers.decontamination.decontaminate import (
    compare_candidates,
    drop_contaminated,
    says_same,
)
from sdg_helpers.decontamination.similarity import QuestionIndex, embed
from sdg_helpers.errors import SdgError
from sdg_helpers.prompts import load_prompt
from tests.helpers.clone import ROOT
from tests.helpers.hub import Hub
from tests.helpers.solving import endpoint_server, generate
from tests.helpers.stages import stage_at, write_manifest
from tests.helpers.standin import StandIn

# --- similarity


def best(text, questions, **limits):
    limits = {"min_similarity": 0.5, "min_overlap": 0.25, "most": 3, **limits}
    return QuestionIndex(questions).matches([text], **limits)[0]


BENCH = [
    "Which enzyme unwinds DNA during replication?",
    "What is the speed of light in vacuum?",
    "A train covers 120 km in two hours at a constant speed. How fast does it go, in kilometres per hour?",
]


@pytest.mark.parametrize(
    "text, number, equal",
    [
        ("which ENZYME unwinds DNA, during replication", 0, True),
        ("Name the enzyme that separates the strands of DNA when it is replicated.", 0, False),
        ("State the speed with which light travels in empty space.", 1, False),
        (
            "In a story, a train covers 120 km in two hours at a constant speed while it rains. Name the driver.",
            2,
            False,
        ),
    ],
)
def test_copies_and_paraphrases_are_candidates(text, number, equal):
    match = best(text, BENCH)[0]
    assert (match.number, match.equal) == (number, equal)


@pytest.mark.parametrize("text", ["How many electrons fit into a d shell?", "", "!!!", "\ud800", "x" * 100_000])
def test_other_questions_are_not_candidates(text):
    assert best(text, BENCH) == []


def test_overlap_alone_suffices_and_is_a_share_of_the_shorter_text():
    long = BENCH[2] + " " + "Then something entirely different about cooking is told at great length. " * 40
    match = best(long, BENCH, min_similarity=0.99)[0]
    assert match.number == 2 and match.overlap == 1 and not match.equal
    assert best(long, BENCH, min_similarity=0.99, min_overlap=1.01) == []


def test_embeddings_are_unit_vectors_and_do_not_depend_on_their_neighbours():
    alone, among = embed([BENCH[0]]), embed([BENCH[1] * 50, BENCH[0], ""])
    assert np.allclose(np.linalg.norm(among[:2], axis=1), 1, atol=1e-5) and not among[2].any()
    assert np.allclose(alone[0], among[1], atol=1e-6)


# --- benchmarks


def test_benchmarks_from_files_of_both_kinds(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"question": " Q1? ", "answer": 3}\n{"question": null}\n{"question": "Q2?"}\n')
    parquet.write_table(pa.table({"stem": ["Q2?", "Q3?"], "other": ["x", "y"]}), tmp_path / "b.parquet")
    sources = [str(tmp_path / "a.jsonl"), f"{tmp_path / 'b.parquet'}#stem"]
    assert read_benchmarks(sources) == (["a", "a", "b"], ["Q1?", "Q2?", "Q3?"])
    with pytest.raises(SdgError, match="none of the keys stem, other is one of question, .* Name the key"):
        read_benchmarks([str(tmp_path / "b.parquet")])
    with pytest.raises(SdgError, match="a row has no key 'x', only question, answer"):
        read_benchmarks([str(tmp_path / "a.jsonl#x")])
    with pytest.raises(SdgError, match="at least one file or dataset"):
        read_benchmarks([])


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.json", '{"data": [{"question": "Q1?"}, {"question": "Q2?"}]}'),
        ("a.csv", "\ufeffid,question\n1,Q1?\n2,Q2?\n"),
        ("a.tsv", "question\tanswer\nQ1?\t3\nQ2?\t4\n"),
        ("a.ndjson", '{"question": "Q1?"}\n{"question": 7}\n{"question": "Q2?"}\n'),
        ("a.jsonl.gz", '{"question": "Q1?"}\n{"question": "Q2?"}\n'),
    ],
)
def test_benchmarks_from_files_of_every_format(tmp_path, name, text):
    data = text.encode()
    (tmp_path / name).write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    assert read_benchmarks([str(tmp_path / name)]) == (["a", "a"], ["Q1?", "Q2?"])


def test_a_row_of_a_benchmark_that_cannot_be_read_is_an_error(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"question": "Q1?"}\n{"question": \n')
    with pytest.raises(SdgError, match="a.jsonl, line 2: .*Correct or remove this row"):
        read_benchmarks([str(tmp_path / "a.jsonl")])
    with pytest.raises(SdgError, match="no such file"):
        read_benchmarks([str(tmp_path / "b.jsonl")])


@pytest.mark.parametrize(
    "text, source",
    [
        ("TIGER-Lab/MMLU-Pro", ("TIGER-Lab/MMLU-Pro", "", "", "test", "")),
        ("Idavidrein/gpqa:gpqa_diamond:train#Question", ("Idavidrein/gpqa", "", "gpqa_diamond", "train", "Question")),
        ("a/b@0123abc:validation", ("a/b", "0123abc", "", "validation", "")),
        ("x/y.parquet#q", ("x/y.parquet", "", "", "test", "q")),
    ],
)
def test_parse_a_benchmark(text, source):
    assert BenchmarkSource.parse(text) == BenchmarkSource(*source)


@pytest.mark.parametrize("text", ["mmlu", "a/b/c", "a/b:c:d:e", "/b", ""])
def test_bad_benchmark_names_are_rejected(text):
    with pytest.raises(SdgError, match="neither the path of a file .* nor a dataset on the hub"):
        BenchmarkSource.parse(text)


HUB_READER = """
import sys
from sdg_helpers.decontamination.benchmarks import read_benchmarks
from sdg_helpers.errors import SdgError
for name in sys.argv[1:]:
    try:
        print(read_benchmarks([name]))
    except SdgError as error:
        print("SdgError:", error)
"""


def test_benchmarks_from_the_hub(tmp_path, monkeypatch):
    folder = tmp_path / "hub" / "datasets" / "lab" / "exam" / "data"
    folder.mkdir(parents=True)
    parquet.write_table(
        pa.table({"question": ["Q1?", "Q2?"], "options": [["a"], ["b"]]}), folder / "test-00000-of-00001.parquet"
    )
    with Hub(tmp_path / "hub") as hub:
        for name, value in {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "home")}.items():
            monkeypatch.setenv(name, value)
        for name in ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE"):
            monkeypatch.delenv(name, raising=False)
        names = ["lab/exam", "lab/exam:train", "lab/none", "lab/exam@abc"]
        done = subprocess.run(
            [sys.executable, "-c", HUB_READER, *names], cwd=ROOT, capture_output=True, text=True, timeout=120
        )
    lines = done.stdout.splitlines()
    assert lines[0] == "(['lab/exam', 'lab/exam'], ['Q1?', 'Q2?'])", done.stderr
    assert lines[1].startswith("SdgError: benchmark lab/exam, split 'train': there is no such split")
    assert lines[2].startswith("SdgError: benchmark lab/none, split 'test'")
    assert lines[3].startswith("SdgError: benchmark lab/exam, split 'test'") and "abc" in lines[3]


# --- the judge's replies


@pytest.mark.parametrize(
    "reply, said",
    [
        ("True.", True),
        ("True", True),
        ("**True**", True),
        ("true, they ask the same", True),
        ("Yes.", True),
        ("Judgement: Yes", True),
        ("They do.\n**Judgement:** yes", True),
        ("Answer: True", True),
        ("`True`.", True),
        ("<think>False at first sight</think>\n\nTrue.", True),
        ("False.", False),
        ("No", False),
        ("Judgement: No", False),
        ("True? I first thought so.\nJudgement: No", False),
        ("<think>True</think>No.", False),
        ("", None),
        ("Truly", None),
        ("True or False", None),
        ("Yes/No", None),
        ("I do not know", None),
        ("<think>True", None),
        ("Notable", None),
    ],
)
def test_says_same_reads_any_spelling(reply, said):
    """Fault 12 of the reference: `True.` counted as clean."""
    assert says_same(reply) is said


def test_options_are_not_part_of_the_question():
    assert strip_options({"problem": "Why?\n\nA. x\nB. y", "options": ["x", "y"]}) == "Why?"
    assert strip_options({"problem": "Why?\n\nA. x\nB. y"}) == "Why?\n\nA. x\nB. y"


# --- the stages

TEXTS = {
    "equal": "What is 12 + 30?",
    "same": "A box holds 17 red and 25 blue balls. How many are they: 17 + 25?",
    "other": "A box holds 17 red and 9 blue balls. How many are they: 17 + 9?",
    "far": "Name a noble gas of air.",
}
BENCHMARK = ["what is 12 + 30", "There are 17 red balls and 25 blue balls in a box. How many balls: 17 + 25?"]


@pytest.fixture
def data(tmp_path):
    """(problems, benchmark): four problems, one of them in the benchmark word for word, one in other words."""
    with open(tmp_path / "problems.jsonl", "wb") as out:
        out.writelines(
            files.dumps({"id": name, "problem": text, "expected_answer": "1"}) for name, text in TEXTS.items()
        )
    with open(tmp_path / "bench.jsonl", "wb") as out:
        out.writelines(files.dumps({"question": text}) for text in BENCHMARK)
    return tmp_path / "problems.jsonl", tmp_path / "bench.jsonl"


def decontaminate(folder, problems, bench, url, prompt="decontamination/same-question", **more):
    find_candidates(problems, [str(bench)], stage_at(folder / "candidates"), **more)
    compare_candidates(
        folder / "candidates/candidates.jsonl",
        stage_at(folder / "compared"),
        limits=Limits(8),
        model="standin",
        open_server=lambda: endpoint_server(url),
        prompt=load_prompt(prompt),
        sampling=Sampling(0.0, max_tokens=100),
    )
    return drop_contaminated(
        problems, stage_at(folder / "candidates"), stage_at(folder / "compared"), stage_at(folder / "clean")
    )


@pytest.mark.parametrize("prompt", ["decontamination/same-question", "decontamination/same-question-few-shot"])
def test_problems_in_the_benchmark_are_dropped_and_reported(data, tmp_path, prompt):
    with StandIn() as server:
        manifest = decontaminate(tmp_path / "a", *data, server.base_url, prompt)
        asked = server.stats()["requests"]
        assert decontaminate(tmp_path / "a", *data, server.base_url, prompt) == manifest
        assert server.stats()["requests"] == asked > 0 == asked % 2
        assert decontaminate(tmp_path / "b", *data, server.base_url, prompt)["counts"] == manifest["counts"]
    assert manifest["counts"] == {"rows_in": 4, "rows_out": 2, "dropped": {"equal": 1, "judged_same": 1}}
    assert [row["id"] for row in files.read_jsonl(tmp_path / "a/clean/problems.jsonl")] == ["other", "far"]
    for name in ("clean/contamination.jsonl", "clean/problems.jsonl", "candidates/pairs.jsonl"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    report = {
        (row["id"], row["benchmark_question"]): row
        for row in files.read_jsonl(tmp_path / "a/clean/contamination.jsonl")
    }
    removed = report["same", BENCHMARK[1]]
    assert removed["contaminated"] and removed["reason"] == "judged_same" and removed["benchmark"] == "bench"
    assert set(removed["replies"]) == {"problem_first", "benchmark_first"}
    assert all(reply.endswith("Judgement: Yes") for reply in removed["replies"].values())
    kept = report["other", BENCHMARK[1]]
    assert not kept["contaminated"] and kept["reason"] == "" and kept["similarity"] >= 0.45


@pytest.mark.parametrize(
    "said, dropped",
    [
        ({"problem_first": "True.", "benchmark_first": "No"}, {"equal": 1, "judged_same": 1}),
        ({"problem_first": "No", "benchmark_first": "Judgement: Yes"}, {"equal": 1, "judged_same": 1}),
        ({"problem_first": "No", "benchmark_first": "Hm."}, {"equal": 1, "undecided": 1}),
        ({"problem_first": "No"}, {"equal": 1, "undecided": 1}),
        ({"problem_first": "No", "benchmark_first": "False."}, {"equal": 1}),
    ],
)
def test_one_yes_or_an_unclear_reply_drops_a_problem(data, tmp_path, said, dropped):
    find_candidates(data[0], [str(data[1])], stage_at(tmp_path / "candidates"))
    compared = tmp_path / "compared"
    compared.mkdir()
    with open(compared / "output-rs0.jsonl", "wb") as out:
        for row in files.read_jsonl(tmp_path / "candidates/candidates.jsonl"):
            about_same = row["problem"] == TEXTS["same"] and row["pair"]
            if about_same and row["way"] in said or not about_same:
                text = said[row["way"]] if about_same else "Judgement: No"
                out.write(
                    files.dumps(
                        {**row, "seed": 0, "generation": text, "finish_reason": "stop", "num_generated_tokens": 3}
                    )
                )
    write_manifest(compared)
    manifest = drop_contaminated(
        data[0], stage_at(tmp_path / "candidates"), stage_at(compared), stage_at(tmp_path / "clean")
    )
    assert manifest["counts"]["dropped"] == dropped


def test_without_candidates_no_server_is_opened(data, tmp_path):
    bench = tmp_path / "bench2.jsonl"
    bench.write_bytes(files.dumps({"question": "Who wrote the symphony with the drum roll?"}))
    manifest = decontaminate(tmp_path / "a", data[0], bench, "http://127.0.0.1:9/v1")
    assert manifest["counts"] == {"rows_in": 4, "rows_out": 4, "dropped": {}} and manifest["pairs"] == 0


def test_an_error_when_every_problem_is_contaminated(data, tmp_path):
    find_candidates(
        data[0], [f"{data[0]}#problem"], stage_at(tmp_path / "candidates"), min_similarity=0.99, min_overlap=1
    )
    compare_candidates(tmp_path / "candidates/candidates.jsonl", stage_at(tmp_path / "compared"))
    with pytest.raises(SdgError, match="every one of the 4 problems is in a benchmark .*'equal': 4"):
        drop_contaminated(
            data[0], stage_at(tmp_path / "candidates"), stage_at(tmp_path / "compared"), stage_at(tmp_path / "clean")
        )


def test_pairs_of_another_run_are_rejected(data, tmp_path):
    find_candidates(
        data[0], [f"{data[0]}#problem"], stage_at(tmp_path / "candidates"), min_similarity=0.99, min_overlap=1
    )
    compare_candidates(tmp_path / "candidates/candidates.jsonl", stage_at(tmp_path / "compared"))
    other = tmp_path / "other.jsonl"
    other.write_bytes(files.dumps({"id": "x", "problem": "Another one?"}))
    with pytest.raises(SdgError, match="'[0-9a-f]{16}' does not belong to the given problems"):
        drop_contaminated(
            other, stage_at(tmp_path / "candidates"), stage_at(tmp_path / "compared"), stage_at(tmp_path / "clean")
        )


def test_the_export_of_any_track_drops_what_the_report_marks(data, tmp_path):
    with StandIn(accuracy=1) as server:
        decontaminate(tmp_path, *data, server.base_url)
        generate(data[0], tmp_path / "solutions", server.base_url, num_seeds=2)
    rows = [(name, seed, "1", "1", True, "exact") for seed in range(2) for name in TEXTS]
    columns = ["id", "seed", "predicted_answer", "expected_answer", "correct", "how"]
    pd.DataFrame(rows, columns=columns).to_parquet(tmp_path / "verdicts.parquet")
    manifest = sft.export_sft(
        stage_at(tmp_path / "solutions"),
        tmp_path / "verdicts.parquet",
        stage_at(tmp_path / "sft"),
        row_format=sft.RowFormat(load_prompt("math/solve")),
        card=sft.DatasetCard("tiny", "cc-by-4.0"),
        filters={
            "remove_contaminated": True,
            "deduplicate": False,
            "contamination_file": str(tmp_path / "clean/contamination.jsonl"),
        },
    )
    assert manifest["counts"] == {"rows_in": 8, "rows_out": 4, "dropped": {"contaminated": 4}}


SCALE = """
import resource, sys
from pathlib import Path
from sdg_helpers import decontamination as d
from sdg_helpers.stages import Stage
folder = Path(sys.argv[1])
d.find_candidates(folder / "problems.jsonl", [str(folder / "bench.jsonl")], Stage(folder / sys.argv[2], "candidates"))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


@pytest.mark.bench
def test_many_problems_against_many_questions(tmp_path):
    rng, words = random.Random(0), [f"word{n}" for n in range(4000)]

    def text(size):
        return " ".join(rng.choices(words, k=size))

    with open(tmp_path / "bench.jsonl", "wb") as out:
        out.writelines(files.dumps({"question": text(40)}) for _ in range(20_000))
    peak_mb = {}
    for count in (5_000, 50_000):
        with open(tmp_path / "problems.jsonl", "wb") as out:
            out.writelines(files.dumps({"id": f"{count}-{n}", "problem": text(40)}) for n in range(count))
        done = subprocess.run(
            [sys.executable, "-c", SCALE, str(tmp_path), str(count)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        )
        peak_mb[count] = float(done.stdout)
    print(peak_mb)
    assert peak_mb[50_000] < peak_mb[5_000] + 60
