"""Adaptive sampling: solve and judge in rounds, and ask again only where another solution is worth its tokens."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
