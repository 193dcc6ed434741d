from .ahead import judge_ahead as judge_ahead
from .asking import Judge as Judge
from .judge import judge_solutions as judge_solutions
from .judge import rejudge_solutions as rejudge_solutions
