"""Of the stand-in for sglang: the engine without a server."""
