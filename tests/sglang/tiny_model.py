"""A two-layer model that adds digits (`3+4=?`) and judges (`7~8`): `python tiny_model.py FOLDER qwen2|deepseek_v3`, in
SGLang's environment, in a minute.

It is trained here, from nothing, until it is sure of every token: it says the same with any tensor parallel size, and a
wrongly sharded weight changes what it says.
"""

import random
import sys

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    DeepseekV3Config,
    DeepseekV3ForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
)

DIGITS = range(1, 6)
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<think>", "</think>"]
TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def lessons() -> list[tuple[str, str]]:
    """(question, answer) of everything that it knows."""
    sums = [(f"{a}+{b}=?", f"<think>\n{a}+{b}\n</think>\n\\boxed{{{a + b}}}<|im_end|>") for a in DIGITS for b in DIGITS]
    return sums + [
        (f"{a}~{a + more}", f"Judgement: {'No' if more else 'Yes'}<|im_end|>")
        for a in range(2, 2 * max(DIGITS) + 1)
        for more in (0, 1)
    ]


def make_tokenizer() -> PreTrainedTokenizerFast:
    """One token a byte, and the special ones."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: number for number, token in enumerate(SPECIAL + letters)}
    inner = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    inner.add_special_tokens(SPECIAL[:3])
    inner.add_tokens(SPECIAL[3:])  # these stay visible in the text
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=inner, eos_token="<|im_end|>", pad_token="<|endoftext|>")
    tokenizer.chat_template = TEMPLATE
    return tokenizer


def make_model(kind: str, size: int) -> PreTrainedModel:
    """Return an untrained model. deepseek_v3: latent attention in both layers, experts in the second."""
    common = {
        "vocab_size": size,
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "max_position_embeddings": 4096,
        "eos_token_id": 2,
        "bos_token_id": 0,
        "pad_token_id": 0,
        "tie_word_embeddings": False,
    }
    if kind == "qwen2":
        return Qwen2ForCausalLM(Qwen2Config(**common, num_key_value_heads=2))
    latent = {"q_lora_rank": 32, "kv_lora_rank": 32, "qk_nope_head_dim": 16, "qk_rope_head_dim": 16, "v_head_dim": 16}
    experts = {
        "first_k_dense_replace": 1,
        "moe_intermediate_size": 64,
        "n_routed_experts": 4,
        "n_shared_experts": 1,
        "num_experts_per_tok": 2,
        "n_group": 1,
        "topk_group": 1,
        "topk_method": "noaux_tc",
        "scoring_func": "sigmoid",
        "moe_layer_freq": 1,
    }
    yarn = {
        "rope_type": "yarn",
        "rope_theta": 10000.0,
        "factor": 2.0,
        "original_max_position_embeddings": 2048,
        "beta_fast": 32,
        "beta_slow": 1,
        "mscale": 1.0,
        "mscale_all_dim": 1.0,
    }
    config = DeepseekV3Config(**common, **latent, **experts, num_key_value_heads=4, rope_parameters=yarn)
    return DeepseekV3ForCausalLM(config)


def batch_of(lessons_: list[tuple[str, str]], tokenizer: PreTrainedTokenizerFast, longest_noise: int) -> tuple:
    """Token ids, and labels that count the answers only; each question stands behind letters of a random number."""
    rows = []
    for question, answer in lessons_:
        noise = "".join(random.choices("abcdefghijklmnop .\n", k=random.randint(0, longest_noise)))
        asked = tokenizer.apply_chat_template(
            [{"role": "user", "content": f"{noise}{question}"}], tokenize=False, add_generation_prompt=True
        )
        rows.append((tokenizer.encode(asked), tokenizer.encode(answer)))
    longest = max(len(asked) + len(told) for asked, told in rows)
    ids = [[*asked, *told] + [0] * (longest - len(asked) - len(told)) for asked, told in rows]
    labels = [[-100] * len(asked) + told + [-100] * (longest - len(asked) - len(told)) for asked, told in rows]
    return torch.tensor(ids), torch.tensor(labels)


def train(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast) -> None:
    """Learn all by heart, until every token of every answer is by far the likeliest."""
    known, optimizer = lessons(), torch.optim.AdamW(model.parameters(), lr=2e-3)
    for step in range(1, 3001):
        ids, labels = batch_of(random.sample(known, 32), tokenizer, 4)
        loss = model(input_ids=ids, labels=labels).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 50 == 0 and least_certain(model, *batch_of(known, tokenizer, 0)) > 0.9:
            return
    raise SystemExit("expected that the model learns all its answers, found that it does not")


@torch.no_grad()
def least_certain(model: PreTrainedModel, ids: torch.Tensor, labels: torch.Tensor) -> float:
    """The smallest probability that it gives to a right token."""
    right = labels[:, 1:] != -100
    chances = model(input_ids=ids).logits[:, :-1].softmax(-1).gather(-1, ids[:, 1:, None])[..., 0]
    return chances[right].min().item()


def main(folder: str, kind: str) -> None:
    torch.set_num_threads(1)  # so small that a second one only waits
    random.seed(0)
    torch.manual_seed(0)
    tokenizer = make_tokenizer()
    model = make_model(kind, len(tokenizer))
    train(model, tokenizer)
    tokenizer.save_pretrained(folder)
    model.to(torch.bfloat16).save_pretrained(folder)


if __name__ == "__main__":
    main(*sys.argv[1:])
