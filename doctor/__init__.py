"""Check-up of a cohort before a long run: every slide is sampled, none is read whole."""

from .annotation_checks import AnnotationFacts
from .checkup import CohortCheckup, SlideCheckup, SplitFacts, StageEstimate
from .cohort_checks import load_cohort
from .examine_cohort import examine_cohort
from .findings import Finding, Severity
from .pixel_checks import TileSample
from .save import save_checkup
from .settings import DoctorSettings, SampleSettings
from .terminal_table import format_checkup
from .workload import PredictWorkload, TileWorkload

__all__ = [
    "AnnotationFacts",
    "CohortCheckup",
    "DoctorSettings",
    "Finding",
    "PredictWorkload",
    "SampleSettings",
    "Severity",
    "SlideCheckup",
    "SplitFacts",
    "StageEstimate",
    "TileSample",
    "TileWorkload",
    "examine_cohort",
    "format_checkup",
    "load_cohort",
    "save_checkup",
]
