from .model import Confidence as Confidence
from .model import LabelModel as LabelModel
from .model import Votes as Votes
from .relabel import relabel_problems as relabel_problems
from .rules import RelabelRule as RelabelRule
