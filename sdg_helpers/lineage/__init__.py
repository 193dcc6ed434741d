"""`sdg why` and `sdg replay`: from an exported row back to its problem, request, reply, votes and filters."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
