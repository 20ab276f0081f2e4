"""Figures and a report from predictions of any program and annotations."""

from .cohort_evaluation import evaluate_cohort, find_evaluation, slides_to_evaluate
from .compare_models import compare_cohort, compare_heatmaps
from .notebook import SlideTruth, evaluate
from .pn_stage import STAGES, patient_stage, weighted_kappa
from .predictions.detection_files import DetectionFiles
from .predictions.open_predictions import Predictions, open_predictions
from .predictions.prediction import Prediction
from .predictions.slide_file import SlideFile
from .report.evaluation import Evaluation
from .report.page import describe_figure, list_main_figures
from .report.plots import LINES, line_style, styled_plot
from .report.provenance import list_versions
from .report.rendering import render_page
from .scoring.matching import Match, PooledMatches, SlideMatches, match_detections, match_labels
from .scoring.slide_result import SlideResult, SlideStatus
from .settings import EvaluateSettings
from .statistics.bootstrap import Draws, Estimate, Resampling, Statistic
from .statistics.comparison import ModelComparison, compare
from .statistics.figures import Figures
from .statistics.froc import DEFINITIONS, Froc, FrocDefinition, froc_curve
from .statistics.learning_curve import estimate_reach, labels_to_reach
from .statistics.operating import OperatingPoint, find_operating_point
from .statistics.paired import (
    CorrectedT,
    Difference,
    adjust_holm,
    bootstrap_p_value,
    corrected_t,
    subtract,
)
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
from .statistics.seeds import SeedMatches, SeedScores
from .truth.lesions import Lesions, find_lesions
from .truth.mask_lesions import MaskLesions, Raster, label_mask
from .truth.measures import CLASSES, LesionMeasures, LesionRule
from .truth.truth import Truth

__all__ = [
    "CLASSES",
    "DEFINITIONS",
    "LINES",
    "STAGES",
    "Calibration",
    "CorrectedT",
    "DetectionFiles",
    "Difference",
    "Draws",
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
    "SeedMatches",
    "SeedScores",
    "SlideFile",
    "SlideMatches",
    "SlideResult",
    "SlideStatus",
    "SlideTruth",
    "Statistic",
    "Truth",
    "adjust_holm",
    "bootstrap_p_value",
    "calibration_curve",
    "compare",
    "compare_cohort",
    "compare_heatmaps",
    "corrected_t",
    "delong_interval",
    "describe_figure",
    "estimate_reach",
    "evaluate",
    "evaluate_cohort",
    "find_evaluation",
    "find_lesions",
    "find_operating_point",
    "froc_curve",
    "label_mask",
    "labels_to_reach",
    "line_style",
    "list_main_figures",
    "list_versions",
    "match_detections",
    "match_labels",
    "open_predictions",
    "patient_stage",
    "render_page",
    "roc_curve",
    "slides_to_evaluate",
    "styled_plot",
    "subtract",
    "weighted_kappa",
    "youden_threshold",
]
