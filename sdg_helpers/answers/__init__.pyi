from .equality import canonical as canonical
from .equality import decide as decide
from .extraction import CLOSE as CLOSE
from .extraction import OPEN as OPEN
from .extraction import extract_answer as extract_answer
from .extraction import find_boxed as find_boxed
from .extraction import normalise_reasoning as normalise_reasoning
from .extraction import split_thinking as split_thinking
