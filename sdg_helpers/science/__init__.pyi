from .questions import collect_questions as collect_questions
from .questions import inspired_pairs as inspired_pairs
from .questions import near_duplicate_pairs as near_duplicate_pairs
from .questions import plan_variations as plan_variations
from .questions import read_questions as read_questions
