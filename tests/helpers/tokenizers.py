"""Small tokenizers for any chat template: bytes, and the special tokens that the template writes."""

import json

from sdg_helpers.paths import PACKAGE

CHATML = PACKAGE / "data" / "chatml"


def build_tokenizer(folder, template, tokens=(), eos="<|im_end|>", bos=None, adds_bos=False, adds_eos=False):
    """Write a tokenizer into `folder` and return its path.

    template: the Jinja source; tokens: its special tokens beside eos and bos; adds_bos, adds_eos: the tokenizer puts
    them around every text by itself. Think tags become tokens that are not special, as in Qwen3 and DeepSeek-R1.
    """
    folder.mkdir(parents=True, exist_ok=True)
    parts = json.loads((CHATML / "tokenizer.json").read_text())
    parts["added_tokens"] = []
    for number, token in enumerate(dict.fromkeys([*tokens, eos, *([bos] if bos else [])]), 256):
        parts["added_tokens"].append(
            {
                "id": number,
                "content": token,
                "single_word": False,
                "lstrip": False,
                "rstrip": False,
                "normalized": False,
                "special": token not in ("<think>", "</think>"),
            }
        )
    ids = {token["content"]: token["id"] for token in parts["added_tokens"]}
    around = [token for token, added in ((bos, adds_bos), (eos, adds_eos)) if added]
    if around:
        single = [{"Sequence": {"id": "A", "type_id": 0}}]
        if adds_bos:
            single.insert(0, {"SpecialToken": {"id": bos, "type_id": 0}})
        if adds_eos:
            single.append({"SpecialToken": {"id": eos, "type_id": 0}})
        parts["post_processor"] = {
            "type": "TemplateProcessing",
            "single": single,
            "pair": [*single, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {token: {"id": token, "ids": [ids[token]], "tokens": [token]} for token in around},
        }
    (folder / "tokenizer.json").write_text(json.dumps(parts))
    config = json.loads((CHATML / "tokenizer_config.json").read_text())
    config = {**config, "eos_token": eos, "pad_token": eos, **({"bos_token": bos} if bos else {})}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    (folder / "chat_template.jinja").write_text(template)
    return str(folder)
