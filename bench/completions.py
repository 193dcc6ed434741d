"""How fast the completions engine is beside a bare loop: requests a second, CPU and memory, on one machine.

    python -m bench.completions                     # ours and the bare loop, 0 and 50 ms, 64 and 512 at a time
    python -m bench.completions --slots             # share of the server's slots that is used
    python -m bench.completions --memory            # peak memory at 10,000 and at 1,000,000 requests
    python -m bench.completions --neighbour PYTHON  # also datatrove, from the environment of that interpreter
    python -m bench.completions --before CHECKOUT   # also the engine and the stage of another checkout of this project

The stand-in server has the first core to itself, the client the second. Each client reads prompts from a JSONL file
and writes a JSONL file. Ours does all it does in a real run: lazy input, pacing, retries, failures, progress, latency
quantiles, and rows that survive kill -9. The stage is all of stage 03 but its merge. The bare loop (aiohttp and orjson,
as many workers as requests in flight) does none of it. Requests a second are by the server's clock, from the first
request to the last reply.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import orjson

PROMPT = "Solve the following problem and put the answer in \\boxed{}.\n\nWhat is %d + %d? Explain every step."
CLIENTS = {}


def client(function):
    CLIENTS[function.__name__] = function
    return function


def prompts(path: str):
    with open(path, "rb") as file:
        for line in file:
            yield orjson.loads(line)


@client
def ours(options: argparse.Namespace) -> None:
    """The engine, appending a row for every completion."""
    import openai

    from sdg_helpers import files
    from sdg_helpers.completions.engine import complete
    from sdg_helpers.completions.types import Limits, Request, Sampling

    requests = (
        Request(row, [{"role": "user", "content": row["problem"]}], int(row["id"])) for row in prompts(options.input)
    )
    with files.AppendLog(options.output) as rows, files.AppendLog(options.output + ".failures") as failures:
        progress = complete(
            requests,
            openai.AsyncOpenAI(base_url=options.url, api_key="none"),
            model="standin",
            sampling=Sampling(0.6, 0.95, 4096),
            limits=Limits(options.concurrency),
            on_completion=lambda request, reply: rows.append(
                {
                    **request.key,
                    "generation": reply.text,
                    "finish_reason": reply.finish_reason,
                    "num_generated_tokens": reply.completion_tokens,
                }
            ),
            on_failure=lambda request, failure: failures.append({"id": request.key["id"], "reason": failure.reason}),
            on_progress=lambda progress: None,
        )
    assert progress.failed == 0, progress


@client
def stage(options: argparse.Namespace) -> None:
    """Stage 03 without its merge: problems, prompt, rows by seed, failures, session and progress."""
    from contextlib import closing

    import numpy as np

    from sdg_helpers.completions.types import Limits, Sampling
    from sdg_helpers.prompts import Prompt
    from sdg_helpers.serving.server import Server
    from sdg_helpers.solutions import solving
    from sdg_helpers.solutions.seed_files import PartialWriter

    problems, folder = Path(options.input), Path(options.output + ".d")
    done = np.zeros((sum(1 for _ in prompts(options.input)), 1), dtype=bool)
    settings = solving.GenerationSettings(
        "standin", Prompt(name="bench", user="{problem}"), Sampling(0.6, 0.95, 4096), Limits(options.concurrency), 0
    )
    server = Server(options.url, "standin", "endpoint", "none")
    with closing(PartialWriter(folder, "bench")) as writer:
        solving.solve(solving.all_requests(problems, done, settings), writer, done, server, settings)
    assert done.all()


async def _bare(options: argparse.Namespace) -> None:
    import aiohttp

    todo, url = prompts(options.input), options.url + "/chat/completions"
    headers = {"Content-Type": "application/json", "Authorization": "Bearer none"}
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0), headers=headers, timeout=aiohttp.ClientTimeout(total=None)
    ) as session:
        with open(options.output, "wb", buffering=1 << 20) as rows:

            async def work() -> None:
                for row in todo:
                    body = {
                        "model": "standin",
                        "messages": [{"role": "user", "content": row["problem"]}],
                        "temperature": 0.6,
                        "top_p": 0.95,
                        "max_tokens": 4096,
                        "seed": int(row["id"]),
                    }
                    async with session.post(url, data=orjson.dumps(body)) as response:
                        reply = orjson.loads(await response.read())
                    choice = reply["choices"][0]
                    row.update(
                        generation=choice["message"]["content"],
                        finish_reason=choice["finish_reason"],
                        num_generated_tokens=reply["usage"]["completion_tokens"],
                    )
                    rows.write(orjson.dumps(row) + b"\n")

            await asyncio.gather(*(work() for _ in range(options.concurrency)))


@client
def bare(options: argparse.Namespace) -> None:
    """aiohttp and orjson on asyncio's own loop."""
    asyncio.run(_bare(options))


@client
def bare_uvloop(options: argparse.Namespace) -> None:
    """The same on uvloop."""
    import uvloop

    uvloop.run(_bare(options))


@client
def datatrove(options: argparse.Namespace) -> None:
    """datatrove's inference runner against the same endpoint."""
    from datatrove.data import Document
    from datatrove.pipeline.inference.run_inference import InferenceConfig, InferenceRunner
    from datatrove.pipeline.writers import JsonlWriter

    async def ask(document, generate):
        return await generate(
            {
                "messages": [{"role": "user", "content": document.text}],
                "temperature": 0.6,
                "top_p": 0.95,
                "max_tokens": 4096,
                "seed": int(document.id),
            }
        )

    config = InferenceConfig(
        server_type="endpoint",
        model_name_or_path="standin",
        api_key="none",
        endpoint_url=options.url.removesuffix("/v1"),
        metric_interval=100000,
        max_concurrent_generations=options.concurrency,
    )
    writer = JsonlWriter(options.output + ".d", output_filename="${rank}.jsonl", compression=None)
    documents = (Document(text=row["problem"], id=str(row["id"])) for row in prompts(options.input))
    InferenceRunner(rollout_fn=ask, config=config, output_writer=writer).run(documents)


def one(name: str, count: int, concurrency: int, latency_s: float, options: argparse.Namespace) -> dict:
    """Run one client against a fresh server; requests/s, CPU seconds, peak MB."""
    from tests.helpers.standin import StandIn

    with (
        tempfile.TemporaryDirectory() as folder,
        StandIn(size=options.size, latency=f"{latency_s:g}", no_track=True) as server,
    ):
        os.sched_setaffinity(server.process.pid, {options.cores[0]})
        with open(f"{folder}/in.jsonl", "wb") as file:
            file.writelines(orjson.dumps({"id": str(n), "problem": PROMPT % (n, n * 7)}) + b"\n" for n in range(count))
        python = options.neighbour if name == "datatrove" else sys.executable
        name, _, before = name.partition(" ")
        root = options.before.resolve() if before else Path(__file__).resolve().parent.parent
        command = [
            python,
            str(root / "bench/completions.py"),
            "--client",
            name,
            "--url",
            server.base_url,
            "--input",
            f"{folder}/in.jsonl",
            "--output",
            f"{folder}/out.jsonl",
            "--concurrency",
            str(concurrency),
        ]
        environment = {**os.environ, "PYTHONPATH": str(root)}
        begun = time.perf_counter()
        process = subprocess.Popen(
            command,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=sys.stderr,
            preexec_fn=lambda: os.sched_setaffinity(0, {options.cores[1]}),
        )
        told = process.communicate()[0].decode().strip().splitlines()
        if process.returncode:
            raise SystemExit(f"{name} ended with {process.returncode}")
        stats, used = server.stats(), json.loads(told[-1])
        return {
            "wall_s": time.perf_counter() - begun,
            "requests": stats["requests"],
            "rps": count / (stats["last"] - stats["first"]),
            **used,
        }


def compare(options: argparse.Namespace) -> None:
    names = [name for name in CLIENTS if name != "datatrove" or options.neighbour]
    if options.before:
        names += ["ours before", "stage before"]
    names = options.clients or names
    start = {name: one(name, 64, 16, 0.0, options) for name in names}
    print(f"{options.count} requests, {options.size} characters a reply, median of {options.rounds}", flush=True)
    print(
        f"{'client':12} {'ms':>4} {'at once':>8} {'requests/s':>11} {'× bare':>7} {'CPU s/1,000':>12} {'× bare':>7} "
        f"{'peak MB':>8}"
    )
    for latency_s in options.latency:
        for concurrency in options.concurrencies:
            runs = {name: [] for name in names}
            for _ in range(options.rounds):
                for name in names:
                    runs[name].append(one(name, options.count, concurrency, latency_s, options))
            rps = {name: statistics.median(run["rps"] for run in runs[name]) for name in names}
            cpu = {
                name: statistics.median(
                    (run["cpu_s"] - start[name]["cpu_s"]) / (options.count - 64) * 1000 for run in runs[name]
                )
                for name in names
            }
            for name in names:
                print(
                    f"{name:12} {latency_s * 1000:4.0f} {concurrency:8} {rps[name]:11,.0f} "
                    f"{rps[name] / rps['bare']:7.2f} {cpu[name]:12.3f} {cpu[name] / cpu['bare']:7.2f} "
                    f"{max(run['peak_mb'] for run in runs[name]):8.0f}",
                    flush=True,
                )


def memory(options: argparse.Namespace) -> None:
    for count in options.memory_counts:
        run = one("ours", count, 512, 0.0, options)
        print(f"{count:9,} requests: peak {run['peak_mb']:.0f} MB, {run['rps']:,.0f} requests/s", flush=True)


def slots() -> None:
    """Print the share of the server's slots in use until the input ends: once with slow and failing requests among the
    others, once with a capacity that the client does not know."""
    from sdg_helpers.completions.engine import complete
    from sdg_helpers.completions.types import Limits, Request, Sampling
    from tests.helpers.standin import StandIn

    cases = (
        ("slow and failing requests", 64, 64, {"latency": "tail:0.2:1.5:0.04", "faults": "500=0.05"}),
        ("a hidden capacity", 256, 32, {"latency": "lognormal:0.1:0.5", "capacity": 32}),
    )
    for name, concurrency, room, options in cases:
        with StandIn(**options) as server:
            at_the_end = {}

            def requests(server=server, at_the_end=at_the_end):
                for number in range(1000):
                    yield Request(number, [{"role": "user", "content": PROMPT % (number, number * 7)}])
                at_the_end.update(server.stats())

            progress = complete(
                requests(),
                server.client(),
                model="standin",
                sampling=Sampling(0.6, 0.95, 4096),
                limits=Limits(concurrency),
                on_completion=lambda *_: None,
                on_failure=lambda *_: None,
            )
        used = at_the_end["busy_s"] / (at_the_end["now"] - at_the_end["first"]) / room
        print(f"{name}: {used:.1%} of {room} slots in use; {progress.pushed_back} requests pushed back", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.completions", description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--count", type=int, default=10_000)
    add("--rounds", type=int, default=3)
    add("--size", type=int, default=4096)
    add("--latency", type=float, nargs="+", default=[0.0, 0.05], help="seconds")
    add("--concurrencies", type=int, nargs="+", default=[64, 512])
    add("--cores", type=int, nargs=2, default=[0, 1])
    add("--neighbour", help="a Python that has datatrove")
    add("--before", type=Path, help="a checkout of this project")
    add("--clients", nargs="+", help="only these, bare among them")
    add("--slots", action="store_true")
    add("--memory", action="store_true")
    add("--memory-counts", type=int, nargs="+", default=[10_000, 1_000_000])
    for name in ("--client", "--url", "--input", "--output"):
        add(name, help=argparse.SUPPRESS)
    add("--concurrency", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.client:
        CLIENTS[options.client](options)
        used = resource.getrusage(resource.RUSAGE_SELF)
        print(json.dumps({"cpu_s": used.ru_utime + used.ru_stime, "peak_mb": used.ru_maxrss / 1024}))
    elif options.slots:
        slots()
    elif options.memory:
        memory(options)
    else:
        compare(options)


if __name__ == "__main__":
    main()
