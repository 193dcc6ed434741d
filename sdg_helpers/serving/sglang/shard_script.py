"""Write a model as SGLang's ranks hold it, one shard per rank: `python shard_script.py FOLDER FILE_BYTES OPTIONS…`.

Runs by path in SGLang's environment, once on every node, with the options of a server's command line; imports nothing
of this package. The first node's process exits with 0 once all ranks have written; the others run until killed.
"""

import multiprocessing
import os
import sys
import time

_POLL_S = 0.5


def main(folder: str, file_bytes: int, options: list[str]) -> None:
    """Load the model; on the first node, let every rank write `model-rank-{rank}-part-{part}.safetensors`."""
    # on other nodes, let the constructor return while the ranks keep running
    os.environ["SGLANG_BLOCK_NONZERO_RANK_CHILDREN"] = "0"
    from sglang.srt.entrypoints.engine import Engine
    from sglang.srt.server_args import prepare_server_args

    settings = prepare_server_args(options)
    engine = Engine(server_args=settings)
    if settings.node_rank:
        wait_for_ranks()
    # all three are required; None is SGLang's default pattern
    engine.save_sharded_model(path=folder, pattern=None, max_size=file_bytes)
    print("every rank of this node has written", flush=True)
    engine.shutdown()


def wait_for_ranks() -> None:
    """Wait while all ranks of this node run; exit with an error when one of them exits."""
    ranks = len(multiprocessing.active_children())
    while len(multiprocessing.active_children()) == ranks:
        time.sleep(_POLL_S)
    sys.exit("a rank of this node has exited")


if __name__ == "__main__":
    sys.path.pop(0)  # this folder, whose modules must not shadow others
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3:])
