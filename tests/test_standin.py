"""The scripted server's own sense: what it answers, how it judges, and that it says the same twice."""

import asyncio
from fractions import Fraction

import pytest

from tests.helpers.standin import StandIn
from tests.helpers.standin_script import Script, comparable, draw, evaluate, judge, request_key


def chat(text):
    return [{"role": "user", "content": text}]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("What is 12 + 7?", 19),
        (r"Compute $3 \cdot 4$.", 12),
        (r"Find \(2 \times (3 + 4)\)", 14),
        ("What is 7 / 2?", 3.5),
        (r"What is $\frac{1}{2} + \frac{1}{3}$?", Fraction(5, 6)),
        ("What is 1,000 - 1?", 999),
        ("5 − 8 × 2 = ?", -11),
        ("1/0?", None),
        ("How many primes are there below 100?", None),
        ("x + 1", None),
        ("2 ** 999999999", None),
        ("Step 1. Add 2 and 3.", None),
        ("What is -3 + 5?", 2),
    ],
)
def test_arithmetic(text, value):
    assert evaluate(text) == value


@pytest.mark.parametrize(
    ("predicted", "expected", "verdict"),
    [
        ("1/2", "0.5", "Yes"),
        (r"\frac{1}{2}", "$0.50$", "Yes"),
        ("1,000", "1000", "Yes"),
        ("3", "4", "No"),
        ("x + 1", "X+1", "Yes"),
        ("(1, 2)", "(2, 1)", "No"),
        ("", "4", "No"),
    ],
)
def test_judgements(predicted, expected, verdict):
    for shape in ("Predicted answer: {}\nExpected answer: {}", "**predicted answer:** {}\n**Expected answer**: {}\n"):
        assert judge(shape.format(predicted, expected)).endswith(f"Judgement: {verdict}")


def test_only_a_comparison_is_judged():
    assert judge("What is 1 + 1? Expected answer: 2") is None


def test_text_depends_only_on_messages_and_seed():
    script = Script(0.6, 500)
    replies = {script.reply(chat("How many primes?"), seed) for seed in range(40)}
    assert replies == {Script(0.6, 500).reply(chat("How many primes?"), seed) for seed in range(40)}
    answers = [text.partition("boxed{")[2] for _, text in replies]
    assert 2 <= len(set(answers)) <= 4 and max(map(answers.count, answers)) > 8  # votes agree, mostly


def test_share_of_right_answers_is_the_accuracy():
    right = sum(r"\boxed{46}" in Script(0.6, 0).reply(chat("What is 12 + 34?"), seed)[1] for seed in range(1000))
    assert 550 < right < 650
    assert 0.45 < sum(draw(n) for n in range(1000)) / 1000 < 0.55


def test_keys_are_logged_even_when_the_server_is_killed(tmp_path):
    log = tmp_path / "keys"
    with StandIn(log_keys=log) as server:
        client = server.client()

        async def ask():
            for seed in (1, 2, 2):
                await client.chat.completions.create(model="standin", messages=chat("hi"), seed=seed)

        asyncio.run(ask())
        stats = server.stats()
        server.kill()
    assert log.read_text().split() == [request_key(chat("hi"), seed).hex() for seed in (1, 2, 2)]
    assert (stats["accepted"], stats["unique"], stats["repeats"]) == (3, 2, 1)


def test_comparable_text():
    assert comparable(r"\left( A \right)") == comparable("(a)")
