"""Of the stand-in for sglang: what writes a sharded model."""
