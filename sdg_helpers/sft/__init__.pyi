from .chat_templates import ChatTemplate as ChatTemplate
from .dataset_cards import DatasetCard as DatasetCard
from .export import export_sft as export_sft
from .filters import Filters as Filters
from .publishing import push_to_hub as push_to_hub
from .rows import RowFormat as RowFormat
