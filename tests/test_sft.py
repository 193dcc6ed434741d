"""Stage 07: which solutions become rows, what a row looks like, and that the bytes depend only on data and seed."""

import json
import os
import random
import re
import subprocess
import sys

import pyarrow.parquet as pq
import pytest

from sdg_helpers import files
from sdg_helpers.errors import SdgError
from sdg_helpers.judging.pass_rates import count
from sdg_helpers.judging.verdicts import VerdictWriter
from sdg_helpers.prompts import load_prompt
from sdg_helpers.sft import rl_data
from sdg_helpers.sft.chat_templates import CHATML, ChatTemplate
from sdg_helpers.sft.dataset_cards import DatasetCard
from sdg_helpers.sft.export import export_sft
from sdg_helpers.sft.filters import REASONS, Filters
from sdg_helpers.sft.rows import RowFormat, RowMaker
from sdg_helpers.sft.shuffling import Excerpt, ShuffledRows
from sdg_helpers.stages import Stage
from tests.helpers.clone import ROOT
from tests.helpers.stages import stage_at, write_manifest

ANSWER = "The answer is \\boxed{4}"
# name: generation, finish_reason, verdict -> why it is dropped, or None for a row
CASES = {
    "kept": (f"<think>\nTwo and two.\n</think>\n\n{ANSWER}", "stop", True, None),
    "other": (f"<think>\nOtherwise.\n</think>\n\n{ANSWER}", "stop", True, None),
    "twin": (f"<think>\nOtherwise.\n</think>\n\n{ANSWER}", "stop", True, "duplicate"),
    "cut off": ("<think>\nCould it be \\boxed{4}?", "length", False, "unfinished"),
    "cut in the answer": (f"<think>\nYes.\n</think>\n\n{ANSWER}", "length", True, "unfinished"),
    "boxed in thought only": ("<think>\\boxed{4}", "stop", False, "no_think_tags"),
    "wrong": ("<think>\nHm.\n</think>\n\n\\boxed{5}", "stop", False, "incorrect"),
    "undecided": ("<think>\nHm.\n</think>\n\n\\boxed{four}", "stop", None, "undecided"),
    "not judged": ("<think>\nHm.\n</think>\n\n\\boxed{4} ", "stop", "absent", "no_verdict"),
    "ends early": (f"<think>\nI say <|im_end|> now.\n</think>\n\n{ANSWER}", "stop", True, "end_token_inside"),
}
PROBLEM = {
    "id": "p",
    "problem": "What is 2 + 2? {x} {{y}} {__class__}",
    "expected_answer": "4",
    "problem_source": "own",
}


def write_stages(folder, generations, problem=PROBLEM, relabel=None):
    """Return (solutions folder, verdicts.parquet) with one seed per generation (text, finish_reason, verdict)."""
    verdicts = folder / "verdicts.parquet"
    with Stage(folder / "solutions", "solutions").work({}, {}) as work, VerdictWriter(verdicts) as table:
        paths = []
        for seed, (text, finish, correct) in enumerate(generations):
            paths.append(work.folder / f"output-rs{seed}.jsonl")
            paths[-1].write_bytes(
                files.dumps(
                    {
                        **problem,
                        "seed": seed,
                        "generation": text,
                        "finish_reason": finish,
                        "num_generated_tokens": 10 + seed,
                    }
                )
            )
            if correct != "absent":
                table.add(problem["id"], seed, "4", relabel or problem["expected_answer"], correct, "exact")
        work.finish(rows_in=len(paths), rows_out=len(paths), outputs=paths)
    return folder / "solutions", verdicts


@pytest.fixture
def stages(tmp_path):
    return write_stages(tmp_path, [case[:3] for case in CASES.values()])


def export(stages, folder, filters=None, tokenizer="chatml", provenance=(), **more):
    """export_sft of (solutions folder, verdicts) with the prompt math/solve; more: of RowFormat or of export_sft."""
    of_rows = {name: more.pop(name) for name in ("forms", "extra_keys", "text_part") if name in more}
    return export_sft(
        stage_at(stages[0]),
        stages[1],
        stage_at(folder),
        row_format=RowFormat(load_prompt("math/solve"), ChatTemplate(tokenizer), **of_rows),
        card=DatasetCard("tiny", "cc-by-4.0", dict(provenance)),
        filters=filters,
        **more,
    )


def rows_in(path):
    return list(files.read_jsonl(path))


def test_every_solution_is_kept_or_counted_under_its_first_reason(stages, tmp_path):
    """Faults 7 and 13 of the reference: truncated solutions got an end-of-turn token, and its filter dropped all."""
    manifest = export(stages, tmp_path / "sft")
    reasons = [reason for *_, reason in CASES.values() if reason]
    assert manifest["counts"] == {
        "rows_in": 10,
        "rows_out": 2,
        "dropped": {one: reasons.count(one) for one in REASONS if one in reasons},
    }
    rows = rows_in(tmp_path / "sft" / "sft-data-math.jsonl")
    assert sorted(row["output"] for row in rows) == sorted(CASES[name][0] + "<|im_end|>" for name in ("kept", "other"))
    assert {tuple(row) for row in rows} == {("input", "output", "expected_answer")}
    assert rows[0]["input"].startswith("<|im_start|>user\n") and rows[0]["input"].endswith("<|im_start|>assistant\n")
    assert PROBLEM["problem"] in rows[0]["input"]


@pytest.mark.parametrize(
    "filters, kept",
    [
        ({"use_judgement": False}, {"kept", "other", "wrong", "undecided"}),
        ({"deduplicate": False}, {"kept", "other"}),
        ({"remove_unfinished": False}, {"kept", "other", "cut in the answer"}),
        (
            {"remove_no_think_tags": False, "use_judgement": False},
            {"kept", "other", "wrong", "undecided", "boxed in thought only"},
        ),
        ({"remove_len_outlier_solutions": True, "max_solution_length": 10}, {"kept"}),
    ],
)
def test_filters_go_by_the_names_of_the_recipe(stages, tmp_path, filters, kept):
    export(stages, tmp_path / "sft", filters=filters)
    outputs = {row["output"] for row in rows_in(tmp_path / "sft" / "sft-data-math.jsonl")}
    assert outputs == {
        text + ("<|im_end|>" if finish == "stop" else "") for name, (text, finish, *_) in CASES.items() if name in kept
    }, "a truncated solution has no end token"


def test_trimming_does_not_touch_the_thinking(tmp_path):
    """Fault 7 of the reference: if only the thinking had a box, </think> was cut off."""
    texts = ["<think>\n\\boxed{4}\nand more\n</think>\n\nI am done.", f"<think>\na\n</think>\n\n{ANSWER}.\nGood luck!"]
    stages = write_stages(tmp_path, [(text, "stop", True) for text in texts])
    export(stages, tmp_path / "sft")
    outputs = {row["output"].removesuffix("<|im_end|>") for row in rows_in(tmp_path / "sft" / "sft-data-math.jsonl")}
    assert outputs == {texts[0], f"<think>\na\n</think>\n\n{ANSWER}."}


def test_text_part_answer_exports_no_thinking(stages, tmp_path):
    export(stages, tmp_path / "sft", text_part="answer")
    assert [row["output"] for row in rows_in(tmp_path / "sft" / "sft-data-math.jsonl")] == [f"{ANSWER}<|im_end|>"]


def test_messages_and_extra_keys_are_in_the_same_order(stages, tmp_path):
    export(stages, tmp_path / "sft", forms=("input_output", "messages"), extra_keys=("seed", "problem_source"))
    plain = rows_in(tmp_path / "sft" / "sft-data-math.jsonl")
    chat = rows_in(tmp_path / "sft" / "sft-data-math-messages.jsonl")
    assert [row["seed"] for row in plain] == [row["seed"] for row in chat] and chat[0]["problem_source"] == "own"
    assert [message["role"] for message in chat[0]["messages"]] == ["user", "assistant"]
    assert plain[0]["output"] == chat[0]["messages"][1]["content"] + "<|im_end|>"


def test_repaired_answers_are_counted_and_exported(tmp_path):
    stages = write_stages(tmp_path, [CASES["kept"][:3]], problem={**PROBLEM, "expected_answer": "5"}, relabel="4")
    manifest = export(stages, tmp_path / "sft")
    assert manifest["rows_with_repaired_answer"] == 1
    assert rows_in(tmp_path / "sft" / "sft-data-math.jsonl")[0]["expected_answer"] == "4"


def test_the_card_describes_the_data_and_resists_injected_markup(tmp_path):
    stages = write_stages(tmp_path, [CASES["kept"][:3]], problem={**PROBLEM, "problem_source": "| x |\n# Mine <b>"})
    export(stages, tmp_path / "sft", provenance={"problems": "our own"})
    card = (tmp_path / "sft" / "README.md").read_text()
    assert "license: cc-by-4.0" in card and "1 worked solution to 1 problem (" in card and "our own" in card
    assert "\n# Mine" not in card and "<b>" not in card


@pytest.mark.parametrize(
    "more, said",
    [
        (
            {"track": "code", "extra_keys": ("language", "pass_rate")},
            [
                "| expected_answer | empty: a programming problem has no single correct program |",
                "| language | as in the solutions |",
                "| pass_rate | fraction of all the problem's solutions that are correct |",
            ],
        ),
        ({"track": "science"}, ["| expected_answer | the answer that most of the problem's solutions agree on |"]),
        (
            {"text_part": "answer"},
            ["| output | the answer without the thinking, followed by the template's end-of-turn token |"],
        ),
    ],
    ids=["code", "science", "answer"],
)
def test_the_card_describes_every_field(stages, tmp_path, more, said):
    export(stages, tmp_path / "sft", **more)
    card = (tmp_path / "sft" / "README.md").read_text().splitlines()
    assert [line for line in said if line not in card] == []


def test_pass_rates_of_the_rl_form_count_every_decided_solution(stages, tmp_path):
    (tmp_path / "problems.jsonl").write_bytes(files.dumps(PROBLEM) + files.dumps({**PROBLEM, "id": "q"}))
    export(stages, tmp_path / "sft", rl_problems=tmp_path / "problems.jsonl")
    assert rows_in(tmp_path / "sft" / "rl-data-math.jsonl") == [  # two of the ten have no decision
        {
            "problem": PROBLEM["problem"],
            "expected_answer": "4",
            "pass_rate": round(5 / 8, 4),
            "pass_rate_samples": 8,
        }
    ]
    card = (tmp_path / "sft" / "README.md").read_text()
    assert "**rl-data-math.jsonl** (`rl`), 1 row, one per problem; dropped: 1 no_answer (no expected answer)" in card


def test_the_rl_form_drops_filtered_and_undecided_problems(tmp_path):
    texts = {"kept": "What is 2 + 2?", "leaked": "AIME 2024 I, problem 1", "undecided": "Which?", "unanswered": "Why?"}
    (tmp_path / "problems.jsonl").write_bytes(
        b"".join(files.dumps({**PROBLEM, "id": name, "problem": text}) for name, text in texts.items())
    )
    (tmp_path / "leaks.jsonl").write_bytes(files.dumps({"problem": texts["leaked"], "contaminated": True}))
    with VerdictWriter(tmp_path / "verdicts.parquet") as table:
        for name, answer, correct in (
            ("kept", "4", True),
            ("kept", "4", None),
            ("leaked", "4", True),
            ("undecided", "4", None),
            ("unanswered", "", False),
        ):
            table.add(name, 0, "4", answer, correct, "model" if correct is None else "exact")
    filters = Filters(remove_contaminated=True, contamination_file=str(tmp_path / "leaks.jsonl"))
    maker = RowMaker(RowFormat(load_prompt("math/solve")), filters)
    problems, verdicts = tmp_path / "problems.jsonl", tmp_path / "verdicts.parquet"
    table, verl, rows, dropped = rl_data.write_rl_data(
        tmp_path, problems, verdicts, count(verdicts), 42, "math", maker, "own"
    )
    rate = {"pass_rate": 1.0, "pass_rate_samples": 1}
    assert rows_in(table.paths[0]) == [{"problem": texts["kept"], "expected_answer": "4", **rate}]
    assert rows == 1 and dropped == {"contaminated": 1, "no_verdict": 1, "no_answer": 1}
    assert pq.read_table(verl.paths[0]).to_pylist() == [
        {
            "data_source": "own",
            "prompt": [{"role": "user", "content": load_prompt("math/solve").user_text({"problem": texts["kept"]})}],
            "ability": "math",
            "reward_model": {"style": "rule", "ground_truth": "4"},
            "extra_info": {"split": "train", "index": 0, "id": "kept", **rate},
        }
    ]


@pytest.mark.parametrize(
    "answer, kept",
    [
        ("So \\boxed{5}.\nHope it helps!", "So \\boxed{5}."),
        ("\n\n\\[\n\\boxed{5}\n\\]", None),
        ("$$\n\\boxed{5}\n$$\nDone.", "$$\n\\boxed{5}\n$$"),
        ("\\[ \\boxed{5} \\]\nDone.", "\\[ \\boxed{5} \\]"),
        (
            "\\begin{align*}\nx&=\\boxed{5}\\\\\ny&=3\n\\end{align*}\nDone.",
            "\\begin{align*}\nx&=\\boxed{5}\\\\\ny&=3\n\\end{align*}",
        ),
        ("\\[\n\\begin{aligned}\nx&=1\\\\[2pt]\ny&=\\boxed{5}\n\\end{aligned}\n\\]", None),
        ("x \\boxed{2}.\nIt is \\frac{1}{2} of 4.\nDone.", "x \\boxed{2}."),
        ("\\boxed{5}\n", "\\boxed{5}"),
        ("\\[\n\\boxed{5}\nnever closed", "\\[\n\\boxed{5}"),
        ("no box\nat all", None),
    ],
)
def test_answers_are_cut_after_the_boxed_line_or_formula(answer, kept):
    assert Filters().trim(answer) == (answer if kept is None else kept)


def test_the_order_depends_only_on_seed_and_data(tmp_path):
    generations = [(f"<think>\n{number}\n</think>\n\n{ANSWER}", "stop", True) for number in range(40)]
    stages = write_stages(tmp_path, generations)
    orders = []
    for name, seed in (("a", 42), ("b", 42), ("c", 7)):
        export(stages, tmp_path / name, shuffle_seed=seed, extra_keys=("seed",))
        orders.append([row["seed"] for row in rows_in(tmp_path / name / "sft-data-math.jsonl")])
    assert orders[0] == orders[1] != orders[2] and sorted(orders[0]) == sorted(orders[2]) == list(range(40))
    assert orders[0] != list(range(40))


def test_the_shipped_tokenizer_is_what_transformers_makes_of_its_folder():
    from transformers import AutoTokenizer

    ours, theirs = ChatTemplate("chatml").tokenizer, AutoTokenizer.from_pretrained(str(CHATML))
    for name in ("bos_token", "bos_token_id", "eos_token", "all_special_tokens"):
        assert getattr(ours, name) == getattr(theirs, name), name
    assert {number: str(one) for number, one in ours.added_tokens_decoder.items()} == {
        number: str(one) for number, one in theirs.added_tokens_decoder.items()
    }
    assert ours.get_chat_template() == theirs.get_chat_template()
    for text in ("", "?", "<|im_end|>x<|endoftext|>", " é 数 🙂\n\n b\0", "<|im_start"):
        assert ours(text)["input_ids"] == theirs(text)["input_ids"]
        assert ours.encode(text, add_special_tokens=False) == theirs.encode(text, add_special_tokens=False)
    for token in ("<|im_end|>", "a", "no such token"):
        number = ours.convert_tokens_to_ids(token)
        assert number == theirs.convert_tokens_to_ids(token)
        assert number is None or ours.convert_ids_to_tokens(number) == theirs.convert_ids_to_tokens(number)
    for texts in ([" a <b> "], ["{{ 1 }}", "{% raw %}", "\n\n"]):
        messages = [{"role": "user", "content": text} for text in texts]
        for more in ({"add_generation_prompt": True}, {"add_generation_prompt": False, "enable_thinking": True}):
            ours_text = ours.apply_chat_template(messages, tokenize=False, **more)
            assert ours_text == theirs.apply_chat_template(messages, tokenize=False, **more)


def test_the_shipped_tokenizer_needs_no_transformers():
    code = (
        "import sys\n"
        "from sdg_helpers.sft.chat_templates import ChatTemplate, PromptRenderer\n"
        "PromptRenderer(ChatTemplate())('2 + 2?')\n"
        "print('transformers' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True)
    assert done.stdout == "False\n"


def test_the_shuffled_order_does_not_depend_on_the_buckets(tmp_path):
    rng, results = random.Random(1), []
    rows = [(rng.randbytes(16), f"line {number}\n".encode(), number) for number in range(3000)]
    for bucket, buffer in ((10**9, 10**9), (2000, 5000), (500, 700)):
        with ShuffledRows(tmp_path / "spill", 30_000, bucket, buffer) as shuffled:
            for key, line, note in rows:
                shuffled.add(key, line, note)
            results.append([(bytes(line), note, again) for line, note, again in shuffled])
    assert results[0] == results[1] == results[2] == [(line, note, False) for _, line, note in sorted(rows)]


def test_long_thinking_is_not_copied_to_the_spill_file(tmp_path):
    source = tmp_path / "output-rs0.jsonl"
    source.write_bytes(bytes(range(256)) * 400)
    with ShuffledRows(tmp_path / "spill", 1, buffer_bytes=1, sources=[source]) as shuffled:
        shuffled.add(bytes(16), b"before ", 1, Excerpt.of(source.read_bytes()[5:90_000], 0, 5), b" after")
        assert (tmp_path / "spill").stat().st_size < 100
        assert [line for line, _, _ in shuffled] == [b"before " + source.read_bytes()[5:90_000] + b" after"]
        source.write_bytes(bytes(100_000))
        with pytest.raises(SdgError, match=r"output-rs0\.jsonl: something else changed this file"):
            list(shuffled)


def test_pass_rates_are_counted_from_the_verdicts_without_a_table(stages, tmp_path):
    """Five of the eight decided solutions are correct."""
    export(stages, tmp_path / "kept", filters={"max_pass_rate": 0.63}, extra_keys=("pass_rate", "pass_rate_samples"))
    rows = rows_in(tmp_path / "kept" / "sft-data-math.jsonl")
    assert {(row["pass_rate"], row["pass_rate_samples"]) for row in rows} == {(5 / 8, 8)}
    with pytest.raises(SdgError, match="3 × pass_rate"):
        export(stages, tmp_path / "dropped", filters={"max_pass_rate": 0.62})


def test_rows_say_where_they_come_from_if_asked_to(stages, tmp_path):
    export(stages, tmp_path / "plain")
    assert "provenance" not in rows_in(tmp_path / "plain" / "sft-data-math.jsonl")[0]
    export(stages, tmp_path / "sft", extra_keys=("provenance", "seed"))
    rows = rows_in(tmp_path / "sft" / "sft-data-math.jsonl")
    for row in rows:
        said = json.loads(row["provenance"])
        assert said.keys() >= {"run", "id", "seed", "decided_by"} and said["seed"] == row["seed"]
    assert "| provenance | JSON: run, model" in (tmp_path / "sft" / "README.md").read_text()


def test_every_filter_has_a_description():
    fields = Filters.model_fields.values()
    assert len(fields) > 10 and all(field.description for field in fields)


@pytest.mark.parametrize(
    "more, said",
    [
        ({"filters": {"min_pass_rate": "x"}}, "filter min_pass_rate: Input should be a valid number, found 'x'"),
        ({"filters": {"use_judgement": "no"}}, "filter use_judgement: Input should be a valid boolean, found 'no'"),
        ({"filters": {"deduplicate": None}}, "filter deduplicate: Input should be a valid boolean, found None"),
        (
            {"filters": {"max_solution_length": True}},
            "filter max_solution_length: Input should be a valid integer, found True",
        ),
        ({"filters": {"max_solution_length": 1.5}}, "max_solution_length: Input should be a valid integer, found 1.5"),
        ({"filters": {"contamination_file": 7}}, "contamination_file: Input should be a valid string, found 7"),
        ({"filters": {"use_judgment": False}}, "Did you mean use_judgement?"),
        ({"forms": ("message",)}, "mean messages?"),
        (
            {"filters": {"min_solution_length": 10**6, "remove_len_outlier_solutions": True}},
            "all 10 solutions were dropped",
        ),
        ({"text_part": "answers"}, "Did you mean answer?"),
        ({"tokenizer": "/no/such/folder"}, "cannot load it"),
    ],
)
def test_bad_settings_are_rejected(stages, tmp_path, more, said):
    with pytest.raises(SdgError, match=said):
        export(stages, tmp_path / "sft", **more)


def test_an_error_names_the_broken_line(stages, tmp_path):
    path = stages[0] / "output-rs3.jsonl"
    path.write_bytes(path.read_bytes()[:-20] + b"\n")
    write_manifest(stages[0])  # which does not know better
    with pytest.raises(SdgError, match=r"output-rs3.jsonl, line 1: invalid JSON"):
        export(stages, tmp_path / "sft")


def test_a_template_that_opens_the_thinking(tmp_path):
    """DeepSeek-R1's template ends the prompt with <think>: the output must not open it again."""
    folder = tmp_path / "tokenizer"
    folder.mkdir()
    source = ROOT / "sdg_helpers" / "data" / "chatml"
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / name).write_text((source / name).read_text())
    template = (source / "chat_template.jinja").read_text().replace('assistant\\n"', 'assistant\\n<think>\\n"')
    assert "<think>" in template
    (folder / "chat_template.jinja").write_text(template)
    export(write_stages(tmp_path, [CASES["kept"][:3]]), tmp_path / "sft", tokenizer=str(folder))
    row = rows_in(tmp_path / "sft" / "sft-data-math.jsonl")[0]
    assert row["input"].endswith("assistant\n<think>\n") and row["output"].startswith("Two and two.\n</think>")


BIG = """\
import re, sys
from pathlib import Path
from sdg_helpers.prompts import load_prompt
from sdg_helpers.sft import DatasetCard, RowFormat, export_sft
from tests.helpers.stages import stage_at
folder = Path(sys.argv[1])
export_sft(stage_at(folder / "solutions"), folder / "verdicts.parquet", stage_at(folder / "sft"),
           row_format=RowFormat(load_prompt("math/solve")), card=DatasetCard("tiny", "cc0-1.0"))
print(int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) / 1024)
"""


def write_big(folder, problems, seeds=4, size=30_000):
    """Write solutions of 30 KB each, all correct."""
    text = "Some thought about it, with $x^{2}$ and \\frac{1}{2}.\n" * (size // 50)
    (folder / "solutions").mkdir(parents=True)
    with (
        Stage(folder / "solutions", "solutions").work({}, {}) as work,
        VerdictWriter(folder / "verdicts.parquet") as table,
    ):
        for seed in range(seeds):
            with open(work.folder / f"output-rs{seed}.jsonl", "wb") as out:
                for number in range(problems):
                    out.write(
                        files.dumps(
                            {
                                **PROBLEM,
                                "id": f"p{number}",
                                "problem": f"What is {number} + 0?",
                                "seed": seed,
                                "generation": f"<think>\n{seed} {text}\n</think>\n\n{ANSWER}",
                                "finish_reason": "stop",
                                "num_generated_tokens": 9000,
                            }
                        )
                    )
                    table.add(f"p{number}", seed, "4", "4", True, "exact")
        work.finish(
            rows_in=problems * seeds, rows_out=problems * seeds, outputs=sorted(work.folder.glob("output-rs*.jsonl"))
        )


def peak_mb(folder):
    done = subprocess.run(
        [sys.executable, "-c", BIG, str(folder)],
        cwd=ROOT,
        env=dict(os.environ),
        text=True,
        capture_output=True,
        check=True,
    )
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.slow
def test_the_data_is_not_held_in_memory(tmp_path):
    write_big(tmp_path, 2500)  # 300 MB
    assert (tmp_path / "solutions" / "output-rs0.jsonl").stat().st_size > 70e6
    assert peak_mb(tmp_path) < 450


@pytest.mark.bench
def test_memory_is_flat(tmp_path):
    peaks = []
    for problems in (8_000, 32_000):  # 1 and 4 GB
        write_big(tmp_path / str(problems), problems)
        peaks.append(peak_mb(tmp_path / str(problems)))
    print(peaks)
    assert max(peaks) < 600 and peaks[1] < peaks[0] + 100


def test_the_card_has_no_path_of_the_machine(stages, tmp_path):
    export(stages, tmp_path / "sft")
    assert not re.search(r"/tmp/|/home/|/root/", (tmp_path / "sft" / "README.md").read_text())
