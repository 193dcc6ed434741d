"""The package behind the notebooks of the Open Reasoning Cookbook."""

__version__ = "0.1.0"
