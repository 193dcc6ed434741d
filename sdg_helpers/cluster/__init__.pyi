from .driver import cancel_jobs as cancel_jobs
from .driver import live_jobs as live_jobs
from .driver import run_one as run_one
from .driver import submit_one as submit_one
from .jobs import JobSpec as JobSpec
from .slurm_jobs import SlurmJob as SlurmJob
