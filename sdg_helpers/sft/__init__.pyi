from .export import export_sft as export_sft
from .filters import Filters as Filters
from .publishing import push_to_hub as push_to_hub
