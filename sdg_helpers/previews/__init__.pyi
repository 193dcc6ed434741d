from .page import write_page as write_page
from .sample import preview_profile as preview_profile
from .tracks import NOTEBOOKS as NOTEBOOKS
from .tracks import SOLVE as SOLVE
from .tracks import prepare_preview as prepare_preview
