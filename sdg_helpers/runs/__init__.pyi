from .run import Run as Run
from .run import Track as Track
from .run import all_runs as all_runs
from .run import existing_run as existing_run
from .run import open_run as open_run
from .run import run_folder as run_folder
from .tracks import STAGES as STAGES
from .tracks import StageInfo as StageInfo
