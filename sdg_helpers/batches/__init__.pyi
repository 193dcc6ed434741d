from .engine import complete_in_batches as complete_in_batches
from .settings import BatchSettings as BatchSettings
