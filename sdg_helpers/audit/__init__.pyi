from .session import check_sample as check_sample
from .session import summarize as summarize
