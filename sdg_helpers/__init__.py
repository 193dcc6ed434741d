"""Helpers of the Open Reasoning Cookbook: from hard problems to reasoning data for fine-tuning."""
from pathlib import Path

__version__ = "0.1.0"
PACKAGE = Path(__file__).resolve().parent  # data/ lies in it; notebooks/, prompts/ and outputs/ lie beside it
