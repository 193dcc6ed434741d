"""A profile of the science track for the scripted model."""

from sdg_helpers import files

PROFILE = """\
description: the scripted model
servers:
  solver: {{engine: endpoint, model: standin, base_url: "{url}"}}
parameters:
  all: {{concurrency: 16}}
  science/01_write_questions: {{prompt: science/write-question, levels: [hard, complex], max_subtopics: 2,
                                new_subtopics: 2, num_options: [4, 10], questions_each: 2}}
  science/02_augment_questions: {{prompt: science/augment, kinds: [new_approach, similar]}}
  science/03_decontaminate: {{prompt: decontamination/same-question, benchmarks: ["{bench}"], max_candidates: 3}}
  science/04_solve_questions: {{prompt: science/solve}}
"""


# the scripted writer's questions are sums: some equal one of these word for word, others in different words
BENCHMARK = [
    f"A record of events has {a} entries of one kind and {b} of another. What is {a} + {b}?"
    for a in range(2, 90, 9)
    for b in range(3, 90, 9)
]


def write_profile(path, url, jobs=""):
    """Write a profile for the scripted model, and its benchmark in the same folder; return its path."""
    with open(path.with_name("bench.jsonl"), "wb") as out:
        out.writelines(files.dumps({"question": text}) for text in BENCHMARK)
    path.write_text(PROFILE.format(url=url, bench=path.with_name("bench.jsonl")) + jobs)
    return path
