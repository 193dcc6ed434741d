"""Stage 03 as a process to be killed: python -m tests.helpers.solve PROBLEMS FOLDER BASE_URL CONCURRENCY [NUM_SEEDS]"""

import resource
import sys
from pathlib import Path

from sdg_helpers.completions.types import Limits, Sampling
from sdg_helpers.prompts import load_prompt
from sdg_helpers.solutions.generate import generate_solutions
from tests.helpers.solving import endpoint_server
from tests.helpers.stages import stage_at

problems, folder, base_url, concurrency, num_seeds = [*sys.argv[1:], "3"][:5]
print("ready", flush=True)
generate_solutions(
    Path(problems),
    stage_at(Path(folder)),
    open_server=lambda: endpoint_server(base_url),
    model="standin",
    prompt=load_prompt("math/solve-few-shot"),
    num_seeds=int(num_seeds),
    sampling=Sampling(0.6, 0.95, 200),
    limits=Limits(concurrency=int(concurrency), timeout_s=60),
)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
