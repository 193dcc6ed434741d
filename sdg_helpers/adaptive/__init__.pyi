from .comparison import compare_with_uniform as compare_with_uniform
from .comparison import right_by_seed as right_by_seed
from .comparison import savings as savings
from .pass_rates import first_round as first_round
from .rounds import rounds_store as rounds_store
from .rounds import solve_in_rounds as solve_in_rounds
from .rounds import solve_problems as solve_problems
from .rule import AdaptiveRule as AdaptiveRule
