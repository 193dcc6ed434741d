"""The front matter of a card: what the Hugging Face Hub and `load_dataset` read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from sdg_helpers.sft.columns import features
from sdg_helpers.sft.tables import Table

_SIZES = (
    (1_000, "n<1K"),
    (10_000, "1K<n<10K"),
    (100_000, "10K<n<100K"),
    (1_000_000, "100K<n<1M"),
    (10_000_000, "1M<n<10M"),
    (100_000_000, "10M<n<100M"),
)


def front_matter(name: str, licence: str, track: str, rows: int, folder: Path, tables: Sequence[Table]) -> str:
    """Return the front matter of a card in `folder`. rows: of one form; the first table is the default."""
    head = {
        "license": licence,
        "task_categories": ["text-generation"],
        "tags": ["synthetic", "reasoning", track],
        "size_categories": [next((size for limit, size in _SIZES if rows < limit), "n>100M")],
        "pretty_name": name,
        "configs": [_config(table, folder, table is tables[0]) for table in tables],
        "dataset_info": [{"config_name": table.config, "features": features(table.schema)} for table in tables],
    }
    return f"---\n{yaml.safe_dump(head, sort_keys=False, allow_unicode=True)}---"


def _config(table: Table, folder: Path, default: bool) -> dict[str, Any]:
    config = {"config_name": table.config, "data_files": table.names(folder)}
    return {**config, "default": True} if default else config
