from .candidates import find_candidates as find_candidates
from .decontaminate import compare_candidates as compare_candidates
from .decontaminate import drop_contaminated as drop_contaminated
