"""Helpers of the Open Reasoning Cookbook: from hard problems to reasoning data for fine-tuning."""

__version__ = "0.1.0"
