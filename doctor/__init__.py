"""Is this cohort fit for a long run? Every slide looked at, none read whole."""

from .between import cohort_of
from .checkup import CohortCheckup, SideFacts, SlideCheckup
from .cohort import check_up, save_checkup
from .drawn import AnnotationFacts
from .estimate import StageEstimate
from .findings import Finding, Severity
from .pixels import PixelFacts, TileSample
from .settings import DoctorSettings, SampleSettings
from .table import checkup_lines
from .work import PredictWork, TileWork

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
