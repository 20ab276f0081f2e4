"""Figures and a report from predictions of any program and annotations."""

from .cohort_evaluation import evaluate_cohort, find_evaluation, slides_to_evaluate
from .compare_models import compare_cohort
from .notebook import SlideTruth, evaluate
from .pn_stage import STAGES, patient_stage, weighted_kappa
from .predictions.detection_files import DetectionFiles
from .predictions.prediction import Prediction, Predictions, SlideFile, open_predictions
from .report.evaluation import Evaluation
from .scoring.matching import Match, PooledMatches, SlideMatches, match_detections
from .scoring.slide_result import SlideResult, SlideStatus
from .settings import EvaluateSettings
from .statistics.bootstrap import Estimate, Resampling, Statistic
from .statistics.comparison import ModelComparison, compare
from .statistics.figures import Figures
from .statistics.froc import DEFINITIONS, Froc, FrocDefinition, froc_curve
from .statistics.operating import OperatingPoint, find_operating_point
from .statistics.scores import (
    Calibration,
    Pairs,
    Ranking,
    Roc,
    calibration_curve,
    delong_interval,
    roc_curve,
    youden_threshold,
)
from .truth.lesions import Lesions, find_lesions
from .truth.mask_lesions import MaskLesions, Raster, label_mask
from .truth.measures import CLASSES, LesionMeasures, LesionRule
from .truth.truth import Truth

__all__ = [
    "CLASSES",
    "DEFINITIONS",
    "STAGES",
    "Calibration",
    "DetectionFiles",
    "Estimate",
    "EvaluateSettings",
    "Evaluation",
    "Figures",
    "Froc",
    "FrocDefinition",
    "LesionMeasures",
    "LesionRule",
    "Lesions",
    "MaskLesions",
    "Match",
    "ModelComparison",
    "OperatingPoint",
    "Pairs",
    "PooledMatches",
    "Prediction",
    "Predictions",
    "Ranking",
    "Raster",
    "Resampling",
    "Roc",
    "SlideFile",
    "SlideMatches",
    "SlideResult",
    "SlideStatus",
    "SlideTruth",
    "Statistic",
    "Truth",
    "calibration_curve",
    "compare",
    "compare_cohort",
    "delong_interval",
    "evaluate",
    "evaluate_cohort",
    "find_evaluation",
    "find_lesions",
    "find_operating_point",
    "froc_curve",
    "label_mask",
    "match_detections",
    "open_predictions",
    "patient_stage",
    "roc_curve",
    "slides_to_evaluate",
    "weighted_kappa",
    "youden_threshold",
]
