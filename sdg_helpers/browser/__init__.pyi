from .folder import write_folder as write_folder
from .notebook import show as show
from .server import serve as serve
