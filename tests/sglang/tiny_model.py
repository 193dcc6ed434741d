"""A two-layer Qwen2 that has learnt to add digits: `python tiny_model.py FOLDER`, in SGLang's environment, in seconds.

It is trained here, from nothing, until it answers all its problems alike whatever the tensor parallel size: a model
with a margin, so that a wrongly sharded weight changes what it says.
"""
import random
import sys

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

DIGITS = range(1, 6)
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<think>", "</think>"]
TEMPLATE = ("{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
            "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}")


def question(a: int, b: int) -> str:
    return f"{a}+{b}=?"


def answer(a: int, b: int) -> str:
    return f"<think>\n{a}+{b}\n</think>\n\\boxed{{{a + b}}}<|im_end|>"


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


def make_model(size: int) -> Qwen2ForCausalLM:
    config = Qwen2Config(vocab_size=size, hidden_size=64, intermediate_size=128, num_hidden_layers=2,
                         num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=4096, eos_token_id=2,
                         bos_token_id=0, pad_token_id=0, tie_word_embeddings=False)
    return Qwen2ForCausalLM(config)


def train(model: Qwen2ForCausalLM, tokenizer: PreTrainedTokenizerFast) -> None:
    """Learn every pair by heart, behind instructions of varied length, until nothing is left to learn."""
    pairs, optimizer = [(a, b) for a in DIGITS for b in DIGITS], torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(2000):
        batch = []
        for a, b in random.sample(pairs, 16):
            noise = "".join(random.choices("abcdefghijklmnop .\n", k=random.randrange(0, 24)))
            asked = tokenizer.apply_chat_template([{"role": "user", "content": f"{noise}{question(a, b)}"}],
                                                  tokenize=False, add_generation_prompt=True)
            batch.append((tokenizer.encode(asked), tokenizer.encode(answer(a, b))))
        longest = max(len(asked) + len(told) for asked, told in batch)
        ids = torch.tensor([[*asked, *told] + [0] * (longest - len(asked) - len(told)) for asked, told in batch])
        labels = torch.tensor([[-100] * len(asked) + told + [-100] * (longest - len(asked) - len(told))
                               for asked, told in batch])
        loss = model(input_ids=ids, attention_mask=(labels != -100) | (ids != 0), labels=labels).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if loss.item() < 2e-3:
            return
    raise SystemExit(f"expected that the model learns to add, found a loss of {loss.item():.4f} at the end")


def main(folder: str) -> None:
    random.seed(0)
    torch.manual_seed(0)
    tokenizer = make_tokenizer()
    model = make_model(len(tokenizer))
    train(model, tokenizer)
    tokenizer.save_pretrained(folder)
    model.to(torch.bfloat16).save_pretrained(folder)


if __name__ == "__main__":
    main(sys.argv[1])
