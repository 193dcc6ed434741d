"""Stages 04 and 06: decide whether each solution's answer is right."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
