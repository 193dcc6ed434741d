from .plan import plan_shards as plan_shards
from .plan import rank_bytes as rank_bytes
from .plan import read_checkpoint as read_checkpoint
from .shard_jobs import make_shards as make_shards
from .tensors import placement as placement
