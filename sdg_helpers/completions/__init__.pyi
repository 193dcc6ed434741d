from .engine import complete as complete
from .meter import Progress as Progress
from .types import Completion as Completion
from .types import Failure as Failure
from .types import Limits as Limits
from .types import Request as Request
from .types import Sampling as Sampling
from .types import ServerGone as ServerGone
