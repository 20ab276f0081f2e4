"""Figures and a report from heatmaps, detections and annotations; anybody's prediction can be
scored."""

from .camelyon16 import official_lesions
from .compare_models import compare_cohort
from .evaluation import Evaluation, evaluate_cohort, find_evaluation, slides_to_evaluate
from .notebook import Report, SlideTruth, evaluate
from .pn_stage import CLASSES, STAGES, Stages, patient_stage, predicted_class, weighted_kappa
from .predictions.detection_files import DetectionFiles
from .predictions.prediction import Prediction, open_predictions
from .report.references import REFERENCES, Reference
from .scoring.exclusions import LeftOut, left_out_of
from .scoring.matching import SlideVerdicts, Verdict, Verdicts, judge_detections
from .scoring.slide_result import Judgement, JudgementStatus
from .settings import EvaluateSettings
from .statistics.auc import DeLong, Pairs, Roc, delong, roc
from .statistics.bootstrap import Estimate, Resampling, Statistic
from .statistics.compare import Comparison, Difference, compare
from .statistics.figures import Figures
from .statistics.froc import DEFINITIONS, Froc, FrocDefinition, froc_curve
from .statistics.operating import FalsePositive, MissedLesion, OperatingPoint, operating_point
from .statistics.slide_level import Calibration, Ranking, calibration
from .statistics.subgroups import Subgroup
from .truth.lesions import Lesions, lesions_of_annotation
from .truth.mask_lesions import MaskLesions, Raster, label_lesions
from .truth.measures import LesionMeasures, LesionRule
from .truth.truth import Truth

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
