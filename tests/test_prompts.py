"""Prompts: NeMo-Skills' format loads, rows are never templates, a missing key is named."""

from pathlib import Path

import pytest

from sdg_helpers.errors import SdgError
from sdg_helpers.paths import prompts_folder
from sdg_helpers.prompts import load_prompt
from tests.helpers.clone import make_clone

HOSTILE = "a {problem} {__class__} {0} {{x}} %s ${HOME} " + "{" * 1000


@pytest.fixture
def prompt_file(tmp_path):
    def write(text):
        path = tmp_path / "p.yaml"
        path.write_text(text)
        return path

    return write


def test_a_row_is_never_a_template(prompt_file):
    prompt = load_prompt(prompt_file("user: 'Solve {problem} in {{braces}}'"))
    assert prompt.messages({"problem": HOSTILE}) == [{"role": "user", "content": f"Solve {HOSTILE} in {{braces}}"}]
    assert len(prompt.user_text({"problem": "x" * 1_000_000})) == 1_000_018


@pytest.mark.parametrize(
    "text, message",
    [
        ("user: '{problem.__class__}'", "plain {placeholder}"),
        ("user: '{0}'", "plain {placeholder}"),
        ("user: '{problem!r}'", "plain {placeholder}"),
        ("user: 'unclosed {'", "does not parse"),
        ("usr: x", "the key user is missing.\n  unknown key usr. Did you mean user?"),
        ("user: x\nsytem: y", "Did you mean system?"),
        ("user: x\nuser: y", "duplicate key 'user'"),
        ("user: x\nfew_shot_turns: [{user: x, asistant: y}]", "few_shot_turns.0.asistant. Did you mean assistant?"),
        ("user: [", "invalid YAML"),
        ("- a", "found list"),
        ("user: '{examples}'\nfew_shot_examples: {examples_type: math}", "Write the examples into the file"),
    ],
)
def test_a_bad_prompt_is_refused_on_loading(prompt_file, text, message):
    with pytest.raises(SdgError, match=message.replace("{", r"\{").replace("?", r"\?")):
        load_prompt(prompt_file(text))


def test_a_missing_key_is_named_with_what_the_row_has(prompt_file):
    prompt = load_prompt(prompt_file("user: '{problem}'"))
    with pytest.raises(
        SdgError, match="a row has no key 'problem', which the prompt needs; it has id, problm.*Did you mean problm"
    ):
        prompt.messages({"id": 1, "problm": "x"})


def test_a_path_is_relative_to_the_root_of_the_clone(tmp_path, monkeypatch):
    make_clone(tmp_path)
    (tmp_path / "my").mkdir()
    (tmp_path / "my" / "p.yaml").write_text("user: '{problem}'")
    monkeypatch.chdir(tmp_path / "notebooks" / "math")  # as a kernel
    assert load_prompt("my/p.yaml").user == "{problem}"
    with pytest.raises(SdgError, match=f"{tmp_path}/my/q.yaml does not exist"):
        load_prompt("my/q.yaml")


def test_an_unknown_name_is_answered_with_the_known_ones():
    with pytest.raises(SdgError, match="Did you mean math/solve"):
        load_prompt("math/slove")


def test_few_shot_turns_are_literal_chat_turns(prompt_file):
    prompt = load_prompt(
        prompt_file("system: Be {exact}.\nuser: '{problem}'\nfew_shot_turns:\n- {user: '{a}', assistant: '{b}'}")
    )
    assert [(m["role"], m["content"]) for m in prompt.messages({"problem": "p"})] == [
        ("system", "Be {exact}."),
        ("user", "{a}"),
        ("assistant", "{b}"),
        ("user", "p"),
    ]
    assert prompt.user_text({"problem": "p"}) == "p"


def test_a_prompt_in_the_format_of_nemo_skills_loads(prompt_file):
    prompt = load_prompt(
        prompt_file(
            'few_shot_examples:\n  prefix: "Examples:\\n"\n  template: "Q: {problem}\\nA: {solution}\\n"\n'
            '  suffix: "Now:\\n"\n'
            "  examples_type: mine\n  examples: [{problem: 1+1, solution: '2'}]\nsystem: null\n"
            "user: |-\n  Put it in \\boxed{{}}.\n  {examples}{problem}\n"
        )
    )
    assert prompt.user_text({"problem": "3"}) == "Put it in \\boxed{}.\nExamples:\nQ: 1+1\nA: 2\nNow:\n3"
    assert prompt.fields == ["problem"]


def test_the_id_depends_on_what_the_model_sees(prompt_file):
    one = load_prompt(prompt_file("user: '{problem}'\npurpose: a"))
    two = load_prompt(prompt_file("user: '{problem}'\npurpose: b"))
    three = load_prompt(prompt_file("user: '{problem}!'\npurpose: b"))
    assert one.id == two.id != three.id


PROMPTS = prompts_folder()
OURS = sorted(path for path in PROMPTS.rglob("*.yaml") if path.name != "topics.yaml")  # not a prompt: a taxonomy


@pytest.mark.parametrize("path", OURS, ids=lambda p: p.relative_to(PROMPTS).as_posix())
def test_every_shipped_prompt_is_documented(path: Path):
    prompt = load_prompt(path)
    assert prompt.purpose and prompt.output and set(prompt.placeholders) == set(prompt.fields)
