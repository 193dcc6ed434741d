"""`sdg try`: a few problems through every stage, and what the whole run would cost."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
