"""Figures for the notebooks: each function takes a table or a manifest and returns a matplotlib Figure, unshown."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
