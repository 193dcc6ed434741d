"""The clients that bench.completions compares: each asks for the same completions and writes them as JSONL.

    python bench/clients.py ours --url URL --input PROMPTS --output ROWS --concurrency 64

A client runs in the environment of its library, so everything but the standard library is imported where it is used.
CPU seconds and peak memory (MB) go to ROWS.used, as JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import resource
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

MODEL, MAX_TOKENS = "standin", 4096
SAMPLING = {"temperature": 0.6, "top_p": 0.95}
CLIENTS: dict[str, Callable[[argparse.Namespace], None]] = {}


def client(function: Callable[[argparse.Namespace], None]) -> Callable[[argparse.Namespace], None]:
    CLIENTS[function.__name__.replace("_", "-")] = function
    return function


def prompts(path: str, loads: Callable[[bytes], Any] = json.loads) -> Iterator[dict[str, Any]]:
    with open(path, "rb") as file:
        yield from map(loads, file)


def body_of(row: dict[str, Any]) -> dict[str, Any]:
    messages = [{"role": "user", "content": row["problem"]}]
    return {"model": MODEL, "messages": messages, **SAMPLING, "max_tokens": MAX_TOKENS, "seed": int(row["id"])}


@client
def ours(options: argparse.Namespace) -> None:
    """The engine, appending a row for every completion, with all that it does in a real run."""
    import openai
    import orjson

    from sdg_helpers import files
    from sdg_helpers.completions.engine import complete
    from sdg_helpers.completions.types import Limits, Request, Sampling

    requests = (
        Request(row, [{"role": "user", "content": row["problem"]}], int(row["id"]))
        for row in prompts(options.input, orjson.loads)
    )
    with files.AppendLog(options.output) as rows, files.AppendLog(options.output + ".failures") as failures:
        progress = complete(
            requests,
            openai.AsyncOpenAI(base_url=options.url, api_key="none"),
            model=MODEL,
            sampling=Sampling(**SAMPLING, max_tokens=MAX_TOKENS),
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
    sampling, limits = Sampling(**SAMPLING, max_tokens=MAX_TOKENS), Limits(options.concurrency)
    settings = solving.GenerationSettings(MODEL, Prompt(name="bench", user="{problem}"), sampling, limits, 0)
    server = Server(options.url, MODEL, "endpoint", "none")
    with closing(PartialWriter(folder, "bench")) as writer:
        solving.solve(solving.all_requests(problems, done, settings), writer, done, server, settings)
    assert done.all()


async def _bare(options: argparse.Namespace) -> None:
    import aiohttp
    import orjson

    todo, url = prompts(options.input, orjson.loads), options.url + "/chat/completions"
    headers = {"Content-Type": "application/json", "Authorization": "Bearer none"}
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0), headers=headers, timeout=aiohttp.ClientTimeout(total=None)
    ) as session:
        with open(options.output, "wb", buffering=1 << 20) as rows:

            async def work() -> None:
                for row in todo:
                    async with session.post(url, data=orjson.dumps(body_of(row))) as response:
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
    """The floor: aiohttp and orjson on asyncio's own loop, as many workers as requests in flight, no other duties."""
    asyncio.run(_bare(options))


@client
def bare_uvloop(options: argparse.Namespace) -> None:
    """The same on uvloop."""
    import uvloop

    uvloop.run(_bare(options))


@client
def datatrove(options: argparse.Namespace) -> None:
    """datatrove's inference runner, which posts to a local server over sockets of its own."""
    from datatrove.data import Document
    from datatrove.pipeline.inference.run_inference import InferenceConfig, InferenceRunner
    from datatrove.pipeline.writers import JsonlWriter

    async def ask(document, generate):
        body = body_of({"id": document.id, "problem": document.text})
        return await generate({name: value for name, value in body.items() if name != "model"})

    config = InferenceConfig(
        server_type="endpoint",
        model_name_or_path=MODEL,
        api_key="none",
        endpoint_url=options.url.removesuffix("/v1"),
        metric_interval=100_000,
        max_concurrent_generations=options.concurrency,
    )
    writer = JsonlWriter(options.output + ".d", output_filename="${rank}.jsonl", compression=None)
    documents = (Document(text=row["problem"], id=str(row["id"])) for row in prompts(options.input))
    InferenceRunner(rollout_fn=ask, config=config, output_writer=writer).run(documents)


async def _openai(options: argparse.Namespace, **more: Any) -> None:
    import openai

    free = asyncio.Semaphore(options.concurrency)
    async with openai.AsyncOpenAI(base_url=options.url, api_key="none", timeout=600, **more) as server:
        with open(options.output, "w", buffering=1 << 20) as rows:

            async def ask(row: dict[str, Any]) -> None:
                async with free:
                    reply = await server.chat.completions.create(**body_of(row))
                choice = reply.choices[0]
                row.update(
                    generation=choice.message.content,
                    finish_reason=choice.finish_reason,
                    num_generated_tokens=reply.usage.completion_tokens,
                )
                rows.write(json.dumps(row) + "\n")

            await asyncio.gather(*map(ask, prompts(options.input)))


@client
def openai_httpx(options: argparse.Namespace) -> None:
    """The openai client with its usual HTTP library: one task for each prompt, behind a semaphore."""
    asyncio.run(_openai(options))


@client
def openai_aiohttp(options: argparse.Namespace) -> None:
    """The same with the client's aiohttp transport."""
    import openai

    async def run() -> None:
        await _openai(options, http_client=openai.DefaultAioHttpClient())

    asyncio.run(run())


@client
def curator(options: argparse.Namespace) -> None:
    """curator's LLM with its openai backend, rate limits out of reach, nothing sent or fetched elsewhere."""
    import importlib.util

    litellm = Path(importlib.util.find_spec("litellm").origin).parent
    os.environ |= {
        "TELEMETRY_ENABLED": "false",
        "CURATOR_VIEWER": "0",
        "CURATOR_DISABLE_RICH_DISPLAY": "1",
        "CURATOR_CACHE_DIR": options.output + ".cache",
        "HF_HUB_OFFLINE": "1",
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "TIKTOKEN_CACHE_DIR": str(litellm / "litellm_core_utils/tokenizers"),
        "OPENAI_API_KEY": "none",
    }
    from bespokelabs.curator import LLM
    from datasets import Dataset

    class Solver(LLM):
        return_completions_object = True

        def prompt(self, row):
            return row["problem"]

        def parse(self, row, reply):
            choice, usage = reply["choices"][0], reply["usage"]
            more = {"finish_reason": choice["finish_reason"], "num_generated_tokens": usage["completion_tokens"]}
            return {**row, "generation": choice["message"]["content"], **more}

    solver = Solver(
        model_name=MODEL,
        backend="openai",
        generation_params={**SAMPLING, "max_tokens": MAX_TOKENS},
        backend_params={
            "base_url": options.url,
            "max_concurrent_requests": options.concurrency,
            "max_requests_per_minute": 10**7,
            "max_tokens_per_minute": 10**11,
            "request_timeout": 600,
        },
    )
    solved = solver(Dataset.from_list(list(prompts(options.input))))
    getattr(solved, "dataset", solved).to_json(options.output)


@client
def distilabel(options: argparse.Namespace) -> None:
    """distilabel's text generation task, a batch of as many prompts as requests in flight at a time."""
    os.environ["HF_HUB_OFFLINE"] = "1"
    from distilabel.models.llms import OpenAILLM
    from distilabel.steps.tasks import TextGeneration

    sampling = {**SAMPLING, "max_new_tokens": MAX_TOKENS}
    model = OpenAILLM(model=MODEL, base_url=options.url, api_key="none", generation_kwargs=sampling, timeout=600)
    task = TextGeneration(llm=model, input_batch_size=options.concurrency)
    task.load()
    todo = [{"id": row["id"], "instruction": row["problem"]} for row in prompts(options.input)]
    with open(options.output, "w", buffering=1 << 20) as rows:
        for start in range(0, len(todo), options.concurrency):
            for solved in task.process(todo[start : start + options.concurrency]):
                rows.writelines(json.dumps(row) + "\n" for row in solved)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("client", choices=CLIENTS)
    for name in ("--url", "--input", "--output"):
        parser.add_argument(name, required=True)
    parser.add_argument("--concurrency", type=int, required=True)
    options = parser.parse_args()
    CLIENTS[options.client](options)
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    peak = re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())
    report = {"cpu_s": sum(one.ru_utime + one.ru_stime for one in used), "peak_mb": int(peak[1]) / 1024}
    Path(options.output + ".used").write_text(json.dumps(report))


if __name__ == "__main__":
    main()
