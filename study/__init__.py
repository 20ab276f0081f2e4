"""Studies: many small trainings on the same splits, compared in one table and on one page."""

from .curriculum.settings import CurriculumSettings
from .features.work import BagScores, TrainingSet, train_bags
from .findings import Findings
from .finetune.settings import FinetuneSettings
from .kind import Study
from .run import Plan, StudyReport, estimate_seconds, plan_study, run_study, show_study
from .settings import (
    LabelsSettings,
    NoiseSettings,
    SizeSettings,
    StudySettings,
    TransferSettings,
    WeakSettings,
)
from .studies import STUDIES, find_study
from .tables import describe_point, points_frame

__all__ = [
    "STUDIES",
    "BagScores",
    "CurriculumSettings",
    "Findings",
    "FinetuneSettings",
    "LabelsSettings",
    "NoiseSettings",
    "Plan",
    "SizeSettings",
    "Study",
    "StudyReport",
    "StudySettings",
    "TrainingSet",
    "TransferSettings",
    "WeakSettings",
    "describe_point",
    "estimate_seconds",
    "find_study",
    "plan_study",
    "points_frame",
    "run_study",
    "show_study",
    "train_bags",
]
