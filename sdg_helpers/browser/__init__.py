"""`sdg browse`: look at a run's problems and solutions in a web browser, and decide on suspect labels."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
