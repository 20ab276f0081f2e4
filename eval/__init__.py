"""Figures and a report from heatmaps, detections and annotations; anybody's prediction can be scored."""

from .auc import Pairs, Roc, roc
from .bootstrap import Estimate, Resampling
from .evaluation import Evaluation, evaluate, find_evaluation, slides_to_evaluate
from .figures import Figures
from .froc import DEFINITIONS, Froc, FrocDefinition, froc_curve
from .judgement import Judgement, JudgementStatus
from .lesions import LesionMeasures, Lesions, label_lesions, lesions_of_annotation
from .settings import EvaluateSettings
from .verdicts import SlideVerdicts, Verdict, Verdicts, judge_detections

__all__ = [
    "DEFINITIONS",
    "Estimate",
    "EvaluateSettings",
    "Evaluation",
    "Figures",
    "Froc",
    "FrocDefinition",
    "Judgement",
    "JudgementStatus",
    "LesionMeasures",
    "Lesions",
    "Pairs",
    "Resampling",
    "Roc",
    "SlideVerdicts",
    "Verdict",
    "Verdicts",
    "evaluate",
    "find_evaluation",
    "froc_curve",
    "judge_detections",
    "label_lesions",
    "lesions_of_annotation",
    "roc",
    "slides_to_evaluate",
]
