"""Let a person check a sample of verdicts and new labels; decisions override what rules, votes and models said."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
