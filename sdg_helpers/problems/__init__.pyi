from .demo_answers import true_answers as true_answers
from .download import download_problems as download_problems
from .problem_file import ProblemIndex as ProblemIndex
from .problem_file import find_problems as find_problems
from .problem_file import read_problems as read_problems
