"""Rows of users' files in every format, with their places, and their numbers as they are written."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
