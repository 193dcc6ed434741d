from .page import write_page as write_page
from .sample import draw_sample as draw_sample
from .sample import preview_profile as preview_profile
