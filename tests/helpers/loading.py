"""Load an exported folder as its users do: with the card and without, from JSONL and from Parquet."""

import random

import yaml
from datasets import load_dataset

from sdg_helpers import files


def load(cache, *args, **more):
    """Load the split train without what was cached of another folder."""
    return load_dataset(*args, split="train", cache_dir=str(cache / str(random.random())), **more)


def assert_loads_alike(folder, cache):
    """Every config has the same types and the same rows in each of the four ways; return the rows by config."""
    found = {}
    for where in (folder, folder / "parquet"):
        for config in yaml.safe_load((where / "README.md").read_text().split("---")[1])["configs"]:
            paths = [str(where / name) for name in config["data_files"]]
            kind = "json" if paths[0].endswith(".jsonl") else "parquet"
            data, bare = load(cache, str(where), config["config_name"]), load(cache, kind, data_files=paths)
            assert data.features == bare.features and data.to_list() == bare.to_list()
            first = found.setdefault(config["config_name"], data)
            assert data.features == first.features and data.to_list() == first.to_list()
            if kind == "json":
                assert data.to_list() == [row for path in paths for row in files.read_jsonl(path)]
    return {name: data.to_list() for name, data in found.items()}
