"""Run a stage's work as Slurm jobs: submit, watch, resume, cancel."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
