"""The table of slides: reading and checking it, and proposing one from a folder."""

from .cohort import Cohort, CohortSlide, Quality
from .from_folder import propose_cohort

__all__ = [
    "Cohort",
    "CohortSlide",
    "Quality",
    "propose_cohort",
]
