"""How to train on the exported files: one paragraph of the card per trainer, with the keys that it reads.

Checked against TRL 1.16, axolotl 0.19, LLaMA-Factory 0.9.5, torchtune 0.6.1, verl 0.9.1 and NeMo RL 0.8.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sdg_helpers.sft.chat_templates import ChatTemplate
from sdg_helpers.sft.forms import FORMS
from sdg_helpers.sft.tables import Table
from sdg_helpers.sft.template_checks import SECOND_END, TemplateCheck

Files = Mapping[str, Sequence[str]]  # the files of each config


def training_notes(
    folder: Path,
    tables: Sequence[Table],
    as_parquet: Sequence[Table],
    checks: Sequence[TemplateCheck],
    template: ChatTemplate,
) -> list[str]:
    """Return the paragraphs for the tables of a folder, as JSONL and as Parquet.

    A form with a finding is recommended to no trainer that uses the template.
    """
    files, parquet = ({table.config: table.names(folder) for table in some} for some in (tables, as_parquet))
    wrong = {FORMS[one["form"]].config for one in checks if not one["ok"] and one["check"] != SECOND_END}
    sound, sound_parquet = (
        {config: names for config, names in some.items() if config not in wrong} for some in (files, parquet)
    )
    return [
        "Each trainer reads one of the forms. `FOLDER` is this folder, or its name on the hub.",
        _trl(sound, template),
        _axolotl(sound, template),
        _llama_factory(files),
        _nemo_rl(sound, template),
        _torchtune(files),
        _verl(sound_parquet),
    ]


def _best(files: Files, *configs: str) -> str | None:
    return next((config for config in configs if config in files), None)


def _no_form(trainer: str) -> str:
    return f"**{trainer}**: no exported form fits it with this tokenizer. Export with the form input_output."


def _trl(files: Files, template: ChatTemplate) -> str:
    config = _best(files, "sft", "messages", "reasoning")  # of sharegpt, it would keep the role "human"
    if config is None:
        return _no_form("TRL")
    if config == "sft":
        lines = [
            'data = load_dataset("FOLDER", "sft", split="train").select_columns(["input", "output"])',
            'data = data.rename_columns({"input": "prompt", "output": "completion"})',
            f"args = SFTConfig(completion_only_loss=True, eos_token={_quote(template.end)})",
        ]
    else:
        lines = [
            f'data = load_dataset("FOLDER", "{config}", split="train")',
            "args = SFTConfig(assistant_only_loss=True)",
        ]
    return _paragraph("TRL", "python", lines)


def _axolotl(files: Files, template: ChatTemplate) -> str:
    config = _best(files, "sft", "messages", "reasoning", "sharegpt")
    if config is None:
        return _no_form("axolotl")
    lines = ["datasets:", "  - path: FOLDER", f"    name: {config}", "    split: train"]
    if config == "sft":
        lines += [
            "    type:",
            "      field_instruction: input",
            "      field_input: none  # a key that no row has",
            "      field_output: output",
            '      format: "{instruction}"',
            '      no_input_format: "{instruction}"',
        ]
    else:
        lines += ["    type: chat_template"]
        if config == "sharegpt":
            lines += [
                "    field_messages: conversations",
                "    message_property_mappings: {role: from, content: value}",
            ]
        lines += ["chat_template: tokenizer_default"]
    lines += ["train_on_inputs: false", "special_tokens:", f"  eos_token: {_quote(template.end)}"]
    return _paragraph("axolotl", "yaml", lines)


def _llama_factory(files: Files) -> str:
    """It renders prompts with templates of its own, so only conversations fit."""
    entries: dict[str, Any] = {}
    if "messages" in files:
        entries["messages"] = {
            "columns": {"messages": "messages"},
            "tags": {
                "role_tag": "role",
                "content_tag": "content",
                "user_tag": "user",
                "assistant_tag": "assistant",
                "system_tag": "system",
            },
        }
    elif "sharegpt" in files:
        entries["sharegpt"] = {"columns": {"messages": "conversations"}}
    if not entries:
        return (
            "**LLaMA-Factory** renders questions with templates of its own, so `input` would be rendered twice: export "
            "with the form messages or sharegpt."
        )
    named = {
        Path(files[config][0]).stem: {"file_name": files[config][0], "formatting": "sharegpt", **entry}
        for config, entry in entries.items()
    }
    lines = json.dumps(named, indent=1, ensure_ascii=False).splitlines()
    return _paragraph("LLaMA-Factory", "json", lines, " (`dataset_info.json`; set `template` to that of the model)")


def _nemo_rl(files: Files, template: ChatTemplate) -> str:
    config = _best(files, "sft", "messages", "reasoning")
    if config is None:
        return _no_form("NeMo RL")
    lines = ["policy:"]
    if config == "sft":
        lines += [
            "  tokenizer: {chat_template: null}  # the rows are rendered already",
            "data:",
            f"  add_bos: {'true' if template.added_start else 'false'}",
        ]
    else:
        lines += ["  tokenizer: {chat_template: default}", "data:", "  add_bos: false"]
    lines += [
        "  add_eos: false",
        "  train:",
        "    dataset_name: ResponseDataset",
        f"    data_path: {files[config][0]}",
        *(["    input_key: input", "    output_key: output"] if config == "sft" else []),
    ]
    return _paragraph("NeMo RL", "yaml", lines)


def _torchtune(files: Files) -> str:
    """Its tokenizers render messages themselves and read no special token in a text."""
    config = _best(files, "messages", "sharegpt")
    if config is None:
        return (
            "**torchtune** renders messages itself and reads special tokens in `input` as plain text: export with the "
            "form messages or sharegpt."
        )
    lines = [
        "dataset:",
        "  _component_: torchtune.datasets.chat_dataset",
        "  source: json",
        f"  data_files: {files[config][0]}",
        "  split: train",
        f"  conversation_column: {'messages' if config == 'messages' else 'conversations'}",
        f"  conversation_style: {'openai' if config == 'messages' else 'sharegpt'}",
        "  train_on_input: false",
    ]
    return _paragraph("torchtune", "yaml", lines)


def _verl(files: Files) -> str:
    parts = []
    if config := _best(files, "messages", "reasoning"):
        lines = [f"data.train_files=[{','.join(files[config])}]", "data.messages_key=messages"]
        parts.append(_paragraph("verl", "sh", lines, ", supervised"))
    if "verl" in files:
        lines = [
            "# reward.py; train with",
            f"#   data.train_files=[{','.join(files['verl'])}] data.prompt_key=prompt",
            "#   reward.custom_reward_function.path=reward.py reward.custom_reward_function.name=score",
            "from verl.utils.reward_score.math_reward import compute_score",
            "",
            "def score(data_source, solution_str, ground_truth, extra_info=None, **options):",
            "    return compute_score(solution_str, ground_truth)",
        ]
        note = (
            ", reinforcement learning. It has reward functions for a few well-known values of `data_source` only, so "
            "name one"
        )
        parts.append(_paragraph("verl", "python", lines, note))
    missing = "**verl** reads messages from Parquet: export with a form of messages without a finding, and as Parquet."
    return "\n\n".join(parts) or missing


def _paragraph(trainer: str, language: str, lines: Sequence[str], note: str = "") -> str:
    return f"**{trainer}**{note}:\n\n```{language}\n" + "\n".join(lines) + "\n```"


def _quote(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
