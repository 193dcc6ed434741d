from .measuring import held_hours as held_hours
from .measuring import measure_run as measure_run
from .measuring import scale_from_run as scale_from_run
from .scale import Scale as Scale
from .scale import plan as plan
