"""Solutions of the code track, and whether this machine has a sandbox for their programs."""

import shutil
import subprocess

import pytest

from sdg_helpers import files
from sdg_helpers.stages import Stage

# Asked of bubblewrap, not of our code: where it works, ours has to.
BWRAP = (
    shutil.which("bwrap")
    and subprocess.run(["bwrap", "--unshare-all", "--ro-bind", "/", "/", "true"], capture_output=True).returncode == 0
)


needs_sandbox = pytest.mark.skipif(
    not BWRAP, reason="bubblewrap is not installed, or may not make namespaces here: apt-get install bubblewrap"
)


def answer(*blocks, thinking="I see."):
    """Return a solution's text: thinking, then blocks of (name, code)."""
    text = "\n\nor\n\n".join(f"```{name}\n{code}```" for name, code in blocks)
    return f"<think>\n{thinking}\n</think>\n\nHere it is.\n\n{text}\n\nDone."


def write_solutions(folder, rows):
    """Write a complete solutions stage: one seed file per list of rows."""
    with Stage(folder, "solutions").work({}, {}) as work:
        paths = []
        for seed, of_seed in enumerate(rows):
            paths.append(work.folder / f"output-rs{seed}.jsonl")
            paths[-1].write_bytes(b"".join(map(files.dumps, of_seed)))
        work.finish(rows_in=1, rows_out=1, outputs=paths)
    return folder


def full_row(problem_id, seed, generation, language="python", finish_reason="stop"):
    return {
        "id": f"{problem_id}-{language}",
        "problem": "Add 1.",
        "expected_answer": "",
        "question_id": problem_id,
        "language": language,
        "seed": seed,
        "generation": generation,
        "finish_reason": finish_reason,
        "num_generated_tokens": 9,
    }
