"""An engine whose ranks, a process each, write a file of two small tensors when the first node says so; one of them
under the alias that SGLang saves after a forward pass.

Faults, as files in the folder that STANDIN names: `lazy` (ranks of other nodes write nothing), `cut` (rank 1's file is
torn), `strange` (rank 1 writes a tensor that no loader knows), `die-at-start` (the status to end with).
"""

import json
import multiprocessing
import os
import sys
import time
from pathlib import Path

FOLDER = Path(os.environ["STANDIN"])


def write(path, rank):
    """A safetensors file, with the mode that the real one gets."""
    last = "strange" if rank == 1 and (FOLDER / "strange").exists() else "self_attn.attn_mha.kv_b_proj.weight"
    header = {
        "layers.0.norm.weight": {"dtype": "U8", "shape": [64], "data_offsets": [0, 64]},
        f"layers.0.{last}": {"dtype": "U8", "shape": [4, 2], "data_offsets": [64, 72]},
    }
    header = json.dumps(header).encode()
    data = len(header).to_bytes(8, "little") + header + bytes([rank]) * 72
    file = Path(path) / f"model-rank-{rank}-part-0.safetensors"
    file.write_bytes(data[:-10] if rank == 1 and (FOLDER / "cut").exists() else data)
    file.chmod(0o600)


def other_rank(rank):
    while not (go := FOLDER / "go").exists() or not go.read_text():
        time.sleep(0.05)
    time.sleep(1)  # later than the first node's
    if not (FOLDER / "lazy").exists():
        write(go.read_text(), rank)
    while not (FOLDER / "over").exists():  # it does not outlive the first node's
        time.sleep(0.05)


class Engine:
    def __init__(self, server_args):
        if (status := FOLDER / "die-at-start").exists():
            print("the stand-in dies at the start", flush=True)
            sys.exit(int(status.read_text()))
        with open(FOLDER / "starts", "a") as file:
            file.write(f"{os.getpid()} {server_args.node_rank} {server_args.port} {server_args.dist_init_addr}\n")
        nodes = server_args.nnodes or 1
        self.mine = range(
            server_args.node_rank * server_args.tp_size // nodes,
            (server_args.node_rank + 1) * server_args.tp_size // nodes,
        )
        if server_args.node_rank:
            assert os.environ["SGLANG_BLOCK_NONZERO_RANK_CHILDREN"] == "0"
            self.ranks = [multiprocessing.Process(target=other_rank, args=(rank,), daemon=True) for rank in self.mine]
            for rank in self.ranks:
                rank.start()

    def save_sharded_model(self, path, pattern, max_size):
        for rank in self.mine:
            write(path, rank)
        (FOLDER / "go").write_text(path)

    def shutdown(self):
        (FOLDER / "over").touch()
        time.sleep(3)  # the other node's end is known before this one
