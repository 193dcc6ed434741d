"""Stage 03: ask for solutions, write them as they come, read them back."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
