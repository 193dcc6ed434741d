from .engine import complete_in_batches as complete_in_batches
from .records import refuse_to_abandon as refuse_to_abandon
from .settings import BatchSettings as BatchSettings
