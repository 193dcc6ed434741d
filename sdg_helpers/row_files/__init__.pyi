from .reading import FORMATS as FORMATS
from .reading import read_rows as read_rows
from .values import BadRow as BadRow
from .values import BadRows as BadRows
from .values import Number as Number
