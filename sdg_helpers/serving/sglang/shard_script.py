"""Writes a model as SGLang's ranks hold it, a file a rank: `python shard_script.py FOLDER PART_BYTES WORDS…`.

Run by path in SGLang's own environment, once on every node, with the words of a server's command line; needs nothing
of ours. The first node's process ends with 0 when its ranks have written; the others hold theirs until they are ended.
"""

import multiprocessing
import os
import sys
import time

_LOOK_S = 0.5


def main(folder, part_bytes, words):
    """Load, and on the first node have every rank write `model-rank-{rank}-part-{part}.safetensors`."""
    # on other nodes, let the constructor return although the ranks go on
    os.environ["SGLANG_BLOCK_NONZERO_RANK_CHILDREN"] = "0"
    from sglang.srt.entrypoints.engine import Engine
    from sglang.srt.server_args import prepare_server_args

    settings = prepare_server_args(words)
    engine = Engine(server_args=settings)
    if settings.node_rank:
        hold()
    # all three are needed; a pattern of None is SGLang's own
    engine.save_sharded_model(path=folder, pattern=None, max_size=part_bytes)
    print("every rank of this node has written", flush=True)
    engine.shutdown()


def hold():
    """Stay while this node's ranks live."""
    ranks = len(multiprocessing.active_children())
    while len(multiprocessing.active_children()) == ranks:
        time.sleep(_LOOK_S)
    sys.exit("a rank of this node has ended")


if __name__ == "__main__":
    sys.path.pop(0)  # this folder, whose modules are not meant here (one is called sglang)
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3:])
