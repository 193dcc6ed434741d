"""Stage 03 against a scripted server: problems, a run, the bytes of its rows."""

from pathlib import Path

from sdg_helpers import files, solutions
from sdg_helpers.completions.types import Limits, Sampling
from sdg_helpers.prompts import load_prompt
from sdg_helpers.serving.server import Server
from tests.helpers.stages import stage_at

HOSTILE = 'Braces {problem} {__class__} {0} "quoted" \\frac{1}{2} \u2028 é'


def endpoint_server(base_url):
    """Return a server that somebody else runs."""
    return Server(base_url, "standin", "endpoint", "x")


def write_problems(path, count):
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "wb") as out:
        for i in range(count):
            text = HOSTILE if i == 1 else f"What is {i} + {i * 7 % 11}?"
            out.write(files.dumps({"id": files.content_id(text), "problem": text, "expected_answer": str(i)}))
    return path


def generate(problems, folder, base_url, num_seeds=3, concurrency=16, **more):
    options = {
        "prompt": load_prompt("math/solve-few-shot"),
        "sampling": Sampling(0.6, 0.95, 200),
        "limits": Limits(concurrency=concurrency, timeout_s=30),
        "model": "standin",
        "open_server": lambda: endpoint_server(base_url),
        **more,
    }
    return solutions.generate_solutions(problems, stage_at(folder), num_seeds=num_seeds, **options)


def rows_of(folder):
    return {path.name: path.read_bytes() for path in Path(folder).glob("output-rs*.jsonl")}
