"""Is this cohort fit for a long run? Every slide looked at, none read whole."""

from .annotation_checks import AnnotationFacts
from .checkup import CohortCheckup, SideFacts, SlideCheckup
from .cohort_checks import cohort_of
from .estimate import StageEstimate
from .examine_cohort import check_up, save_checkup
from .findings import Finding, Severity
from .pixel_checks import PixelFacts, TileSample
from .settings import DoctorSettings, SampleSettings
from .terminal_table import checkup_lines
from .workload import PredictWork, TileWork

__all__ = [
    "AnnotationFacts",
    "CohortCheckup",
    "DoctorSettings",
    "Finding",
    "PixelFacts",
    "PredictWork",
    "SampleSettings",
    "Severity",
    "SideFacts",
    "SlideCheckup",
    "StageEstimate",
    "TileSample",
    "TileWork",
    "check_up",
    "checkup_lines",
    "cohort_of",
    "save_checkup",
]
