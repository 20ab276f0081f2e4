"""The table of slides: reading and checking it, and proposing one from a folder."""

from .cohort import Cohort
from .cohort_slide import CohortSlide, Quality
from .from_folder import propose_cohort
from .table import read_slides

__all__ = [
    "Cohort",
    "CohortSlide",
    "Quality",
    "propose_cohort",
    "read_slides",
]
