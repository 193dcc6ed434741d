"""What a trainer sees: the same text as the model wrote, with one BOS, one thinking part and one end, whatever the
template; and what the card says where a template does otherwise.

The templates below are short ones of our own, each with the habit of a published family. `bench/chat_templates.py`
runs the published ones.
"""

import json

import pytest

from sdg_helpers import files
from sdg_helpers.errors import SdgError
from sdg_helpers.sft.chat_templates import ChatTemplate
from sdg_helpers.sft.forms import FORMS, split_escaped
from sdg_helpers.sft.special_tokens import Marks
from sdg_helpers.solutions.rows import escape_json, unescape_json
from tests.helpers.tokenizers import build_tokenizer
from tests.test_sft import ANSWER, CASES, PROBLEM, export, rows_in, write_stages

THINK = ("<think>", "</think>")
# The answer's turn as each family writes it; M stands for the message.
TURNS = {
    "qwen2.5": "<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n",
    "qwen3": "<|im_start|>{{ m.role }}\n{% if m.role == 'assistant' %}{% set own = m.reasoning_content or "
    "m.content.split('</think>')[0].split('<think>')[-1] %}<think>\n{{ own.strip('\\n') }}\n</think>\n\n"
    "{{ m.content.split('</think>')[-1].lstrip('\\n') }}{% else %}{{ m.content }}{% endif %}<|im_end|>\n",
    "qwen3.8": "<|im_start|>{{ m.role }}\n{% if m.role == 'assistant' %}<think>\n{{ m.reasoning_content or '' }}\n"
    "</think>\n\n{% endif %}{{ m.content }}<|im_end|>\n",
    "deepseek-r1": "{% if m.role == 'user' %}<｜User｜>{{ m.content }}{% else %}<｜Assistant｜>"
    "{{ m.content.split('</think>')[-1] }}<｜end▁of▁sentence｜>{% endif %}",
    "llama3": "<|start_header_id|>{{ m.role }}<|end_header_id|>\n\n{{ m.content | trim }}<|eot_id|>",
    "phi3": "<|{{ m.role }}|>\n{{ m.content }}<|end|>\n",
    "command": "<|START|>{{ m.role }}<|SAY|>{{ m.content }}<|END_RESPONSE|><|END_OF_TURN|>",
    "mistral": "{% if m.role == 'user' %}[INST] {{ m.content }} [/INST]{% else %} {{ m.content }}</s>{% endif %}",
}
FAMILIES = {  # opening, end of the conversation, generation prompt, special tokens, eos, bos, tokenizer adds the bos
    "qwen2.5": ("", "", "<|im_start|>assistant\n", ["<|im_start|>"], "<|im_end|>", None, False),
    "qwen3": ("", "", "<|im_start|>assistant\n", ["<|im_start|>", *THINK], "<|im_end|>", None, False),
    "qwen3.8": ("", "", "<|im_start|>assistant\n<think>\n", ["<|im_start|>", *THINK], "<|im_end|>", None, False),
    "deepseek-r1": (
        "{{ bos_token }}", "", "<｜Assistant｜><think>\n", ["<｜User｜>", "<｜Assistant｜>", *THINK],
        "<｜end▁of▁sentence｜>", "<｜begin▁of▁sentence｜>", True,
    ),
    "llama3": (
        "{{ bos_token }}", "", "<|start_header_id|>assistant<|end_header_id|>\n\n",
        ["<|start_header_id|>", "<|end_header_id|>"], "<|eot_id|>", "<|begin_of_text|>", True,
    ),
    "phi3": (
        "", "{{ eos_token }}", "<|assistant|>\n", ["<|user|>", "<|assistant|>", "<|end|>"], "<|endoftext|>", "<s>",
        False,
    ),
    "command": (
        "{{ bos_token }}", "", "<|START|>assistant<|SAY|>", ["<|START|>", "<|SAY|>", "<|END_RESPONSE|>"],
        "<|END_OF_TURN|>", "<BOS>", True,
    ),
    "mistral": ("{{ bos_token }}", "", "", ["[INST]", "[/INST]"], "</s>", "<s>", True),
}  # fmt: skip
ENDS = {
    "deepseek-r1": "<｜end▁of▁sentence｜>",
    "llama3": "<|eot_id|>",
    "phi3": "<|end|>",
    "command": "<|END_RESPONSE|><|END_OF_TURN|>",
    "mistral": "</s>",
}


def tokenizer(folder, family, **more):
    opening, closing, generation, tokens, eos, bos, adds_bos = FAMILIES[family]
    source = (
        f"{opening}{{% for m in messages %}}{TURNS[family]}{{% endfor %}}"
        f"{{% if add_generation_prompt %}}{{{{ {json.dumps(generation)} }}}}{{% else %}}{closing}{{% endif %}}"
    )
    return build_tokenizer(folder / family, source, tokens, eos, bos, adds_bos, **more)


def export_one(tmp_path, family, text=CASES["kept"][0], **more):
    stages = write_stages(tmp_path, [(text, "stop", True)])
    name = "chatml" if family == "chatml" else tokenizer(tmp_path, family)
    manifest = export(stages, tmp_path / "sft", tokenizer=name, **more)
    return manifest, rows_in(tmp_path / "sft" / "sft-data-math.jsonl"), ChatTemplate(name)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_tokens_of_a_row_are_the_models_text_once(tmp_path, family):
    manifest, rows, template = export_one(tmp_path, family)
    end, row = ENDS.get(family, "<|im_end|>"), rows[0]
    assert row["output"].endswith(ANSWER + end)
    ids = template.tokenizer(row["input"] + row["output"])["input_ids"]
    text = template.tokenizer.decode(ids)
    assert text.count(template.tokenizer.bos_token or "no such text") == (
        template.tokenizer.bos_token is not None and family != "phi3"
    )
    assert text.count("<think>") == text.count("</think>") == 1
    assert row["output"].count(end) == 1 and text.endswith(row["output"])
    assert [one for one in manifest["template_checks"] if not one["ok"]] == [
        one for one in manifest["template_checks"] if one["check"] == "the trainer adds no second end"
    ]


def findings(manifest):
    return {(one["form"], one["check"]): one["found"] for one in manifest["template_checks"] if not one["ok"]}


@pytest.mark.parametrize(
    "family, found",
    [
        ("qwen3", {}),
        ("qwen3.8", {"messages": "2: the template adds its own", "sharegpt": "2: the template adds its own"}),
        (
            "deepseek-r1",
            dict.fromkeys(("messages", "reasoning_content", "sharegpt"), "the template drops the thinking"),
        ),
        ("qwen2.5", {"reasoning_content": "the template drops the thinking"}),
    ],
)
def test_the_card_says_which_forms_lose_or_double_the_thinking(tmp_path, family, found):
    manifest, _, _ = export_one(tmp_path, family, forms=tuple(FORMS))
    said = findings(manifest)
    assert {form: text[: len(found[form])] for (form, _), text in said.items()} == found
    card = (tmp_path / "sft" / "README.md").read_text()
    assert all(f"| {form} | one thinking part | **no:** {text}" in card for form, text in found.items())


def test_a_second_end_of_the_trainer_is_announced_with_its_setting(tmp_path):
    manifest, rows, _ = export_one(tmp_path, "phi3", forms=("input_output", "messages"))
    assert set(findings(manifest)) == {
        ("input_output", "the trainer adds no second end"),
        ("messages", "one end of turn and nothing after it"),
    }
    assert 'eos_token="<|end|>"' in (tmp_path / "sft" / "README.md").read_text()


def test_an_end_that_the_tokenizer_appends_is_found(tmp_path):
    stages = write_stages(tmp_path, [CASES["kept"][:3]])
    manifest = export(stages, tmp_path / "sft", tokenizer=tokenizer(tmp_path, "mistral", adds_eos=True))
    assert "2 × </s>" in findings(manifest)["input_output", "one end of turn and nothing after it"]


@pytest.mark.parametrize(
    "family, text, reason",
    [
        ("chatml", "<think>\n<|im_start|>user\nTwo\n</think>\n\n" + ANSWER, "special_token_inside"),
        ("chatml", "<think>\nTwo<|endoftext|> two.\n</think>\n\n" + ANSWER, "special_token_inside"),
        ("chatml", "<think>\nTwo\n</think>\n\n" + ANSWER + "<|im_end|>", "end_token_inside"),
        ("phi3", "<think>\nTwo<|end|> two.\n</think>\n\n" + ANSWER, "end_token_inside"),
        ("phi3", "<think>\nTwo<|endoftext|> two.\n</think>\n\n" + ANSWER, "end_token_inside"),
        ("mistral", "<think>\nTwo [/INST] two.\n</think>\n\n" + ANSWER, "special_token_inside"),
        ("chatml", "<think>\nTwo.\n</think>\n\n<think>\nTwo.\n</think>\n\n" + ANSWER, "thinking_parts"),
        ("chatml", "<think>\nTwo </think> two.\n</think>\n\n" + ANSWER, "thinking_parts"),
        ("chatml", "Well. <think>\nTwo.\n</think>\n\n" + ANSWER, "thinking_parts"),
        ("chatml", "Two.\n</think>\n\n" + ANSWER, "thinking_parts"),
        ("chatml", "<think>\n1 < 2 <|a|> <th>\n</think>\n\n" + ANSWER, None),
        ("chatml", "\n<think>\nTwo.\n</think>\n\n" + ANSWER, None),
    ],
)
def test_text_that_a_tokenizer_reads_as_control_is_dropped(tmp_path, family, text, reason):
    """Every row is searched, not only those that are rendered."""
    stages = write_stages(tmp_path, [(text, "stop", True), CASES["other"][:3]])
    name = "chatml" if family == "chatml" else tokenizer(tmp_path, family)
    manifest = export(stages, tmp_path / "sft", tokenizer=name, filters={"trim_solutions": False})
    assert manifest["counts"]["dropped"] == ({reason: 1} if reason else {})
    assert all(row["output"].startswith("<think>") for row in rows_in(tmp_path / "sft" / "sft-data-math.jsonl"))


def test_a_special_token_in_the_question_drops_its_rows(tmp_path):
    problem = {**PROBLEM, "problem": "What does <|im_start|> mean?"}
    with pytest.raises(SdgError, match="1 × special_token_inside"):
        export(write_stages(tmp_path, [CASES["kept"][:3]], problem=problem), tmp_path / "sft")


@pytest.mark.parametrize("family", ["deepseek-r1", "qwen3.8", "qwen3", "chatml"])
def test_an_answer_without_its_thinking_closes_what_the_prompt_opens(tmp_path, family):
    manifest, rows, _ = export_one(tmp_path, family, text_part="answer")
    text = rows[0]["input"] + rows[0]["output"]
    assert text.count("<think>") == text.count("</think>") == (family in ("deepseek-r1", "qwen3.8"))
    assert ANSWER in text and not findings(manifest)


def test_a_prompt_that_closes_the_thinking_takes_answers_only(tmp_path):
    source = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    source += "{% if add_generation_prompt %}<|im_start|>assistant\n<think>\n\n</think>\n\n{% endif %}"
    name = build_tokenizer(tmp_path / "closed", source, ["<|im_start|>", *THINK])
    stages = write_stages(tmp_path, [CASES["kept"][:3]])
    with pytest.raises(SdgError, match="its prompt closes the thinking"):
        export(stages, tmp_path / "sft", tokenizer=name)
    export(stages, tmp_path / "sft", tokenizer=name, text_part="answer")
    assert rows_in(tmp_path / "sft" / "sft-data-math.jsonl")[0]["output"] == ANSWER + "<|im_end|>"


def test_every_form_has_the_same_rows_in_the_same_order(tmp_path):
    stages = write_stages(tmp_path, [CASES["kept"][:3], CASES["other"][:3]])
    export(stages, tmp_path / "sft", forms=tuple(FORMS), extra_keys=("seed",))
    plain, chat, apart, shared = (
        rows_in(tmp_path / "sft" / f"sft-data-math{suffix}.jsonl")
        for suffix in ("", "-messages", "-reasoning", "-sharegpt")
    )
    assert [row["seed"] for row in plain] == [row["seed"] for row in apart] == [row["seed"] for row in shared]
    for one, two, three in zip(chat, apart, shared, strict=True):
        text, message = one["messages"][-1]["content"], two["messages"][-1]
        assert f"<think>\n{message['reasoning_content']}\n</think>\n\n{message['content']}" == text
        assert [turn["value"] for turn in three["conversations"]] == [turn["content"] for turn in one["messages"]]
        assert [turn["from"] for turn in three["conversations"]] == ["human", "gpt"]


@pytest.mark.parametrize(
    "text, thinking, answer",
    [
        ("<think>\na\\n\n</think>\n\n\tb\n", "a\\n", "b\n"),
        ("<think>a</think>b", "a", "b"),
        ("b only", "", "b only"),
        ("<think>\nnever closed", "never closed", ""),
        ('<think>\n"quoted" \\\n</think>\n\nb', '"quoted" \\\n', "b"),
    ],
)
def test_thinking_is_split_off_without_parsing(text, thinking, answer):
    assert tuple(map(unescape_json, split_escaped(escape_json(text)))) == (thinking, answer)


@pytest.mark.parametrize("keys", [("expected_answer",), ("input",), ("messages",), ("prompt",), ("seed", "seed")])
def test_reserved_and_repeated_keys_are_refused(tmp_path, keys):
    with pytest.raises(SdgError, match="reserved|given twice"):
        export(write_stages(tmp_path, [CASES["kept"][:3]]), tmp_path / "sft", extra_keys=keys)


def test_marks_with_a_common_start_are_all_found():
    marks = Marks([f"<|reserved_{number}|>" for number in range(300)] + ["<s>", "[INST]", '<"quoted">'])
    text = escape_json('<think> a<b <|reserved_7|> [x] [INST] <|reserved_299|></think> <"quoted"> <s')
    assert sorted(marks.find(text)) == sorted(
        [b"<think>", b"</think>", b"<|reserved_7|>", b"<|reserved_299|>", b"[INST]", b'<\\"quoted\\">']
    )


def test_the_card_names_each_trainer_and_only_sound_forms(tmp_path):
    (tmp_path / "problems.jsonl").write_bytes(files.dumps(PROBLEM))
    export_one(
        tmp_path,
        "deepseek-r1",
        forms=("input_output", "messages"),
        rl_problems=tmp_path / "problems.jsonl",
        parquet=True,
    )
    card = (tmp_path / "sft" / "README.md").read_text()
    assert all(f"**{name}**" in card for name in ("TRL", "axolotl", "LLaMA-Factory", "NeMo RL", "torchtune", "verl"))
    assert "add_bos: true" in card, "the row has no BOS: NeMo RL gives texts to the tokenizer without it"
    assert "data.messages_key=messages" not in card, "this template drops the thinking from messages"
    assert "data.train_files=[parquet/rl-data-math-verl-00000-of-00001.parquet]" in card


def test_a_trainer_without_a_fitting_form_is_told_which_to_export(tmp_path):
    export(write_stages(tmp_path, [CASES["kept"][:3]]), tmp_path / "sft", forms=("sharegpt",))
    card = (tmp_path / "sft" / "README.md").read_text()
    assert "**TRL**: no exported form fits it" in card and "conversation_style: sharegpt" in card
    assert '"messages": "conversations"' in card and "field_messages: conversations" in card
