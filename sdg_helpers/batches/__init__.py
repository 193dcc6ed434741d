"""Requests through the batch API of a provider: cheaper, answered within a day."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
