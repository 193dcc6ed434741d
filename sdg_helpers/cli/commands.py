"""What all commands share: how each is added to the parser, and the codes with which `sdg` ends."""

from __future__ import annotations

import argparse
from collections.abc import Callable

BAD_INPUT, FAILED, BUDGET_SPENT, INTERRUPTED = 2, 1, 3, 130
Add = Callable[..., argparse.ArgumentParser]  # (name, function, help text) -> the command's parser
