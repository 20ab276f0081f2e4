"""The table of slides: reading, checking and proposing it."""

from .cohort import Cohort, CohortSlide
from .from_folder import propose_cohort

__all__ = [
    "Cohort",
    "CohortSlide",
    "propose_cohort",
]
