from .exporting import export_nemo_skills as export_nemo_skills
from .importing import import_nemo_skills as import_nemo_skills
