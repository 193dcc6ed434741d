from .generate import generate_solutions as generate_solutions
from .generate import sampling_seed as sampling_seed
from .rows import read_solutions as read_solutions
from .rows import solutions_of as solutions_of
