from .replaying import replay as replay
from .tracing import explain_row as explain_row
