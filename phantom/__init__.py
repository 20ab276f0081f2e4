"""Synthetic slides with known truth, for the demo, the tests and the benchmarks."""

from .anatomy import Anatomy
from .cohort import annotate, make_cohort, make_slide, write_cohort
from .difficulty import GRADES, Difficulty, Grade
from .lesions import Lesion
from .plan import PhantomSlide, plan_cohort
from .settings import PhantomSettings

__all__ = [
    "GRADES",
    "Anatomy",
    "Difficulty",
    "Grade",
    "Lesion",
    "PhantomSettings",
    "PhantomSlide",
    "annotate",
    "make_cohort",
    "make_slide",
    "plan_cohort",
    "write_cohort",
]
