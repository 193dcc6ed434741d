from .comparisons import Rules as Rules
from .comparisons import draw_comparisons as draw_comparisons
from .picks import judge_picks as judge_picks
