"""Stage 08: show a model several solutions and let it pick a right one."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
