from .decontaminate import compare_candidates as compare_candidates
from .decontaminate import drop_contaminated as drop_contaminated
from .decontaminate import find_candidates as find_candidates
