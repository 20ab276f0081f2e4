"""Studies: many small trainings on the same splits, compared in one table and on one page."""

from .curriculum.settings import CurriculumSettings
from .design import STUDIES, Study
from .feature_work import BagScores, TrainingSet
from .findings import Findings
from .finetune.settings import FinetuneSettings
from .learners import describe_learners, train_bags
from .run import Plan, StudyReport, estimate_seconds, plan_study, run_study, show_study
from .settings import (
    LabelsSettings,
    NoiseSettings,
    SizeSettings,
    StudySettings,
    TransferSettings,
    WeakSettings,
)
from .tables import points_frame

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
    "describe_learners",
    "estimate_seconds",
    "plan_study",
    "points_frame",
    "run_study",
    "show_study",
    "train_bags",
]
