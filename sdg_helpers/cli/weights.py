"""`sdg weights`: the embedded models' weights in the user's cache."""
from __future__ import annotations

import argparse

from . import Add


def add_commands(add: Add) -> None:
    """weights"""
    weights = add("weights", _weights, "fetch the weights of an embedded model into the user's cache")
    weights.add_argument("action", choices=["fetch"])
    weights.add_argument("name", metavar="NAME", help="as in a profile's servers: qwen2.5-coder-1.5b-instruct")


def _weights(arguments: argparse.Namespace) -> None:
    from ..serving import weights

    fetch_weights([arguments.name])
    print(weights.fetch(arguments.name))


def fetch_weights(names: list[str]) -> None:
    """Fetch, with a bar, the weights that are not in the cache yet."""
    from ..serving import weights

    for name in dict.fromkeys(names):
        if not weights.is_cached(name):
            from tqdm import tqdm

            with tqdm(total=weights.find(name).bytes, unit="B", unit_scale=True, desc=f"model {name}") as bar:
                weights.fetch(name, lambda done, total, bar=bar: bar.update(done - bar.n))
