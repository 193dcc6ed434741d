"""The one error that the cookbook raises on purpose."""


class SdgError(Exception):
    """Something the user can mend: the message says what was expected, what was found and what to do next."""


def did_you_mean(word: str, allowed) -> str:
    """' Did you mean X?' for the closest allowed word, or '' when none is close; case and dashes do not matter."""
    import difflib

    folded = {name.lower().replace("-", "_"): name for name in allowed}
    close = difflib.get_close_matches(word.lower().replace("-", "_"), folded, n=1, cutoff=0.6)
    return f" Did you mean {folded[close[0]]}?" if close else ""
