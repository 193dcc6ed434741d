"""Write JSONL rows as Parquet too, in shards of at most 500 MB, a few megabytes of rows at a time."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa
import pyarrow.json
import pyarrow.parquet

from sdg_helpers import files
from sdg_helpers.errors import SdgError
from sdg_helpers.fingerprints import remember_renamed

SHARD_BYTES = 500_000_000
_BATCH_BYTES = 16 << 20  # of JSONL; one batch is one row group
_NUMBER = "[0-9]" * 5


def write_parquet(rows: Iterable[bytes], target: Path, schema: pa.Schema, shard_bytes: int = SHARD_BYTES) -> list[Path]:
    """Write rows of JSONL to `target` without its suffix + "-00000-of-00002.parquet" and so on; return these paths.

    A shard is closed before it could grow beyond shard_bytes. Shards of an earlier attempt are replaced.
    Raises SdgError when a row does not fit the schema or a shard cannot be written.
    """
    for old in target.parent.glob(f"{target.stem}-{_NUMBER}-of-{_NUMBER}.parquet"):
        old.unlink()
    shards: list[Path] = []
    batches = _batches(rows)
    batch = next(batches, b"")
    while batch or not shards:
        shards.append(target.with_name(f"{target.stem}-{len(shards):05d}.parquet"))
        with files.atomic_writer(shards[-1]) as out:
            batch = _write_shard(out, batch, batches, schema, target, shard_bytes)
    return [
        _rename(shard, target.with_name(f"{target.stem}-{number:05d}-of-{len(shards):05d}.parquet"))
        for number, shard in enumerate(shards)
    ]


def _rename(path: Path, target: Path) -> Path:
    with files.disk_errors(target):
        path.replace(target)
    remember_renamed(path, target)
    return target


def _write_shard(
    out: BinaryIO, batch: bytes, batches: Iterator[bytes], schema: pa.Schema, target: Path, shard_bytes: int
) -> bytes:
    """Write batches while they fit; return the first that does not fit, or b""."""
    written = 0
    with pyarrow.parquet.ParquetWriter(out, schema, compression="zstd") as table:
        while batch and (not written or out.tell() + len(batch) <= shard_bytes):
            table.write_table(_parse(batch, schema, target))
            written += 1
            batch = next(batches, b"")
    return batch


def _parse(batch: bytes, schema: pa.Schema, target: Path) -> pa.Table:
    try:
        table = pyarrow.json.read_json(
            io.BytesIO(batch),
            pyarrow.json.ReadOptions(block_size=len(batch) + 1),
            pyarrow.json.ParseOptions(explicit_schema=schema, unexpected_field_behavior="error"),
        )
    except pa.ArrowInvalid as error:
        raise SdgError(
            f"{target}: a row does not fit its schema, so no Parquet file can be written ({error}). This is a bug in "
            "the cookbook: please report it, and export with PARQUET = False."
        ) from None
    return table.select(schema.names).cast(schema)


def _batches(rows: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the rows in groups of about _BATCH_BYTES."""
    group: list[bytes] = []
    size = 0
    for row in rows:
        group.append(row)
        size += len(row)
        if size >= _BATCH_BYTES:
            yield b"".join(group)
            group, size = [], 0
    if group:
        yield b"".join(group)
