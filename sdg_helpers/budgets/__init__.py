"""Budgets: what a run has spent on its servers, and the limit at which it stops asking them."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
