from .discovery import Notebook as Notebook
from .discovery import discover as discover
from .discovery import find as find
