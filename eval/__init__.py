"""Figures and a report from heatmaps, detections and annotations; anybody's prediction can be
scored."""

from .auc import DeLong, Pairs, Roc, delong, roc
from .bootstrap import Estimate, Resampling, Statistic
from .compare import Comparison, Difference, compare
from .compare_models import compare_cohort
from .detection_files import DetectionFiles
from .evaluation import Evaluation, evaluate_cohort, find_evaluation, slides_to_evaluate
from .figures import Figures
from .froc import DEFINITIONS, Froc, FrocDefinition, froc_curve
from .judgement import Judgement, JudgementStatus
from .left_out import LeftOut, left_out_of
from .lesions import Lesions, lesions_of_annotation
from .mask_lesions import MaskLesions, Raster, label_lesions
from .measures import LesionMeasures, LesionRule
from .notebook import Report, SlideTruth, evaluate
from .operating import FalsePositive, MissedLesion, OperatingPoint, operating_point
from .pixel_rules import official_lesions
from .prediction import Prediction, open_predictions
from .references import REFERENCES, Reference
from .settings import EvaluateSettings
from .slide_level import Calibration, Ranking, calibration
from .stages import CLASSES, STAGES, Stages, patient_stage, predicted_class, weighted_kappa
from .subgroups import Subgroup
from .truth import Truth
from .verdicts import SlideVerdicts, Verdict, Verdicts, judge_detections

__all__ = [
    "CLASSES",
    "DEFINITIONS",
    "REFERENCES",
    "STAGES",
    "Calibration",
    "Comparison",
    "DeLong",
    "DetectionFiles",
    "Difference",
    "Estimate",
    "EvaluateSettings",
    "Evaluation",
    "FalsePositive",
    "Figures",
    "Froc",
    "FrocDefinition",
    "Judgement",
    "JudgementStatus",
    "LeftOut",
    "LesionMeasures",
    "LesionRule",
    "Lesions",
    "MaskLesions",
    "MissedLesion",
    "OperatingPoint",
    "Pairs",
    "Prediction",
    "Ranking",
    "Raster",
    "Reference",
    "Report",
    "Resampling",
    "Roc",
    "SlideTruth",
    "SlideVerdicts",
    "Stages",
    "Statistic",
    "Subgroup",
    "Truth",
    "Verdict",
    "Verdicts",
    "calibration",
    "compare",
    "compare_cohort",
    "delong",
    "evaluate",
    "evaluate_cohort",
    "find_evaluation",
    "froc_curve",
    "judge_detections",
    "label_lesions",
    "left_out_of",
    "lesions_of_annotation",
    "official_lesions",
    "open_predictions",
    "operating_point",
    "patient_stage",
    "predicted_class",
    "roc",
    "slides_to_evaluate",
    "weighted_kappa",
]
