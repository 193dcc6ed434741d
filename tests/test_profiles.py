"""A wrong profile is refused before anything starts, with file, key and what is allowed."""

import pytest

from sdg_helpers import notebooks, runs
from sdg_helpers.errors import SdgError
from sdg_helpers.notebooks import parameters
from sdg_helpers.notebooks.values import values_for
from sdg_helpers.profiles import load_profile, refuse_secrets
from tests.helpers.clone import ROOT, make_clone

SERVER = "engine: endpoint, model: tiny, base_url: 'http://127.0.0.1:9/v1'"


@pytest.fixture
def clone(tmp_path, monkeypatch):
    monkeypatch.delenv("SDG_OUTPUTS", raising=False)
    monkeypatch.chdir(make_clone(tmp_path))
    return tmp_path


def write(clone, text):
    path = clone / "notebooks" / "profiles" / "mine.yaml"
    path.write_text(text)
    return path


def values(profile, overrides=(), only=None):
    every = notebooks.discover()
    selected = [one for one in every if only is None or one.key == only]
    return values_for(selected, every, profile, overrides)


REFUSED = [
    ("server: {}", ["unknown key server", "Did you mean servers?", "description, extends, servers, jobs, parameters"]),
    (f"servers: {{slover: {{{SERVER}}}}}", ["unknown key servers.slover", "Did you mean solver?"]),
    (
        f"servers: {{solver: {{{SERVER}, base_ulr: x}}}}",
        ["servers.solver.base_ulr for the engine endpoint", "Did you mean base_url?"],
    ),
    (f"servers: {{judge: {{{SERVER}, start_deadline_s: many}}}}", ["servers.judge.start_deadline_s", "many"]),
    (
        "servers: {solver: {engine: embedded, model: tiny, base_url: 'http://a/v1'}}",
        ["unknown key servers.solver.base_url", "for the engine embedded", "Allowed: engine, model, "],
    ),
    ("servers: {solver: {engine: vllm, model: tiny}}", ["servers.solver: unknown engine 'vllm'; choose from embedded"]),
    ("servers: {solver: 5}", ["servers.solver: expected keys such as engine and model, found 5"]),
    ("description: [1]", ["description", "[1]"]),
    ("- a list", ["expected a mapping", "found list"]),
    ("# nothing yet\n", ["expected a mapping", "found an empty file"]),
    ("jobs: {generate: 5}", ["expected keys under jobs.generate, found 5."]),
    ("parameters: {all: 5}", ["expected keys under parameters.all, found 5."]),
    ("parameters: {{ params }}", ["braces or brackets where a key belongs", "quotes", "line 1, column 14"]),
    ("description: 'open", ["invalid YAML"]),
    ("parameters: {all: {A: 1}}\nparameters: {}", ["duplicate key 'parameters'", "line 2"]),
    ("parameters: {all: {A: &a {X: 1}, B: {<<: *a, Y: 1, Y: 2}}}", ["duplicate key 'Y'"]),
    (f"servers: {{solver: {{{SERVER}, api_key: abc}}}}", ["servers.solver.api_key", "like a secret", "api_key_env"]),
    ("parameters: {all: {HF_TOKEN: abc}}", ["HF_TOKEN", "looks like a secret"]),
    ("parameters: {all: {NOTE: 'sk-abcdefghijklmnop1234'}}", ["NOTE", "looks like a secret"]),
    ("parameters: {all: {URLS: ['https://me:pass@host/v1']}}", ["URLS", "looks like a secret"]),
]


@pytest.mark.parametrize("text, parts", REFUSED)
def test_a_bad_profile_is_refused(clone, text, parts):
    path = write(clone, text)
    with pytest.raises(SdgError) as error:
        load_profile("mine")
    for part in [str(path), *parts]:
        assert part in str(error.value)
    for secret in ("abc", "me:pass"):
        assert secret not in str(error.value)


@pytest.mark.parametrize(
    "text, merged",
    [
        ("{A: &a {X: 1, Y: 2}, B: {<<: *a, Y: 3}}", {"X": 1, "Y": 3}),
        ("{A: {C: &b {<<: {X: 1}, X: 2}}, B: {<<: *b, Y: 3}}", {"X": 2, "Y": 3}),
    ],
)
def test_merge_keys_are_expanded(clone, text, merged):
    write(clone, f"parameters: {{all: {text}}}")
    assert load_profile("mine").parameters["all"]["B"] == merged


@pytest.mark.parametrize("key", ["max_tokens", "TOKENIZER", "api_key_env", "num_generated_tokens", "keyboard"])
def test_names_that_do_not_look_like_secrets(key):
    refuse_secrets({key: "value"}, "here")


def test_an_unknown_profile_is_answered_with_the_known_ones(clone):
    with pytest.raises(SdgError, match=r"Did you mean demo\?.*Profiles here: demo"):
        load_profile("dmo")
    with pytest.raises(SdgError, match="nowhere/else.yaml does not exist"):
        load_profile("nowhere/else.yaml")


def test_the_key_of_a_profile_elsewhere_is_its_path(clone, tmp_path):
    path = tmp_path / "lab.yaml"
    path.write_text("description: my own\n")
    assert load_profile("demo").key == "demo"
    assert load_profile(path).key == load_profile("lab.yaml").key == str(path)


def test_without_a_judge_the_solver_judges(clone):
    write(clone, f"servers: {{solver: {{{SERVER}}}, judge: {{{SERVER.replace('tiny', 'wise')}}}}}")
    assert load_profile("mine").server("judge").model == "wise"
    write(clone, f"servers: {{solver: {{{SERVER}}}}}")
    profile = load_profile("mine")
    assert profile.server("judge") == profile.server("solver") and profile.server("judge").model == "tiny"
    assert runs.open_run("a", "mine").model("judge") == "tiny"
    with pytest.raises(SdgError, match=r"'jugde'.*Did you mean judge\?"):
        profile.server("jugde")
    write(clone, "description: none")
    with pytest.raises(SdgError, match="no server for the solver"):
        load_profile("mine").server("solver")


def test_profile_values_reach_their_notebooks(clone):
    write(clone, "parameters: {math/03_generate_solutions: {SLEEP-s: 1, LIMIT: null}, all: {num_seeds: 4, sleep_s: 9}}")
    given = values(load_profile("mine"), [("Num_Seeds", "8")])
    assert given == {
        "start/00_start_here": {},
        "math/01_download_problems": {},
        "math/03_generate_solutions": {"NUM_SEEDS": 8, "SLEEP_S": 1.0, "LIMIT": None},
    }
    assert isinstance(given["math/03_generate_solutions"]["SLEEP_S"], float)


WRONG = [
    (
        "{math/3_generate: {A: 1}}",
        ["parameters: 'math/3_generate': no such notebook", "Did you mean math/03_generate_solutions?"],
    ),
    ("{math/03: {NUM_SEED: 1}}", ["parameters: math/03: unknown parameter NUM_SEED", "Did you mean NUM_SEEDS?"]),
    ("{all: {NUM_PROBLEM: 1}}", ["parameters: all", "Did you mean NUM_PROBLEMS?"]),
    (
        "{math/01: {NUM_SEEDS: 1}}",
        ["unknown parameter NUM_SEEDS", "belongs to math/03_generate_solutions, not selected here"],
    ),
    (
        "{math/03: {NUM_SEEDS: four}}",
        ["NUM_SEEDS: expected int (the default is 2), found str 'four'. NUM_SEEDS: solutions a problem"],
    ),
    ("{math/03: {NUM_SEEDS: true}}", ["expected int", "found bool"]),
    ("{math/03: {NUM_SEEDS: null}}", ["expected int", "found NoneType"]),
    ("{math/03: {THEN: 3}}", ["expected str", "found int"]),
    ("{all: {RUN: mine}}", ["RUN", "use --run"]),
    ("{all: {profile: mine}}", ["use --profile"]),
]


@pytest.mark.parametrize("text, parts", WRONG)
def test_a_wrong_parameter_is_refused(clone, text, parts):
    path = write(clone, f"parameters: {text}")
    with pytest.raises(SdgError) as error:
        values(load_profile("mine"))
    for part in [str(path), *parts]:
        assert part in str(error.value)


PARSED = [
    ("4", "2", 4),
    ("1e3", "2", 1000),
    ("1e-3", "0.5", 0.001),
    ("3", "0.5", 3.0),
    ("true", "False", True),
    ("12", "'text'", "12"),
    ("no", "'text'", "no"),
    ("[a, 2]", "[]", ["a", 2]),
    ("[1]", "(1, 2)", [1]),
    ("2024-01-01", "None", "2024-01-01"),
    ("a: b: c", "None", "a: b: c"),
    ("7", "None", 7),
]


@pytest.mark.parametrize("text, default, value", PARSED)
def test_command_line_values(text, default, value):
    found = parameters.Parameter("NAME", default, "help").parse(text, "-p")
    assert found == value and type(found) is type(value)


def test_an_override_must_fit_a_selected_notebook(clone):
    profile = load_profile("demo")
    with pytest.raises(SdgError, match=r"-p: unknown parameter NUM_SEED. Did you mean NUM_SEEDS\?"):
        values(profile, [("NUM_SEED", "3")])
    with pytest.raises(SdgError, match="It belongs to math/03_generate_solutions, not selected"):
        values(profile, [("NUM_SEEDS", "3")], only="math/01_download_problems")
    with pytest.raises(SdgError, match="looks like a secret"):
        values(profile, [("THEN", "hf_abcdefghijklmnopqrst")])


@pytest.mark.parametrize("name", sorted(path.stem for path in (ROOT / "notebooks" / "profiles").glob("*.yaml")))
def test_shipped_profiles_fit_the_shipped_notebooks(name, monkeypatch):
    monkeypatch.chdir(ROOT)
    profile = load_profile(name)
    assert profile.description
    assert profile.server("solver") and profile.server("judge")
    values(profile)


def test_a_profile_extends_another(tmp_path):
    base, own = tmp_path / "base.yaml", tmp_path / "own.yaml"
    base.write_text(
        f"description: base\nservers: {{solver: {{{SERVER}}}}}\n"
        "parameters: {all: {concurrency: 8, timeout_s: 60.0}, math/03_generate_solutions: {num_seeds: 2}}\n"
    )
    own.write_text(f"extends: base.yaml\nservers: {{judge: {{{SERVER}}}}}\nparameters: {{all: {{concurrency: 4}}}}\n")
    profile = load_profile(own)
    assert profile.parameters == {
        "all": {"concurrency": 4, "timeout_s": 60.0},
        "math/03_generate_solutions": {"num_seeds": 2},
    }
    assert profile.servers.solver is None and profile.servers.judge is not None and profile.description == ""
    assert load_profile("openai").parameters == load_profile("endpoint").parameters
    (tmp_path / "third.yaml").write_text("extends: own.yaml\n")
    with pytest.raises(SdgError, match="extends another profile itself"):
        load_profile(tmp_path / "third.yaml")
    (tmp_path / "third.yaml").write_text("extends: endpiont\n")
    with pytest.raises(SdgError, match="Did you mean endpoint"):
        load_profile(tmp_path / "third.yaml")


@pytest.mark.parametrize(
    "keys, servers",
    [
        ("num_chunks: 16", 16),
        ("num_chunks: 64, max_parallel: 8", 8),
        ("num_chunks: 16, max_parallel: 0", 16),
        ("servers: 4", 4),
        ("max_parallel: 0", 1),
    ],
)
def test_earlier_keys_give_the_number_of_servers(clone, keys, servers):
    profile = load_profile(write(clone, f"servers: {{solver: {{{SERVER}}}}}\njobs: {{generate: {{{keys}}}}}"))
    assert profile.jobs.spec("generate").servers == servers and profile.jobs.spec("judge").servers == 1
