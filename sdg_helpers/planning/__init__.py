"""The cost of a run in requests, tokens, GPU-hours, money and disk: planned before it starts, measured afterwards."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
