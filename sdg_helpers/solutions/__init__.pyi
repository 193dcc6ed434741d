from .generate import generate_solutions as generate_solutions
from .limits import compare_limits as compare_limits
from .reading import read_solutions as read_solutions
from .reading import solutions_of as solutions_of
from .solving import sampling_seed as sampling_seed
