"""`gigaslide study`: labels, size, noise, transfer, finetune, curriculum, weak; and show."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from ...batch import BatchSettings
from ...cohort import Cohort
from ...study import (
    CurriculumSettings,
    FinetuneSettings,
    LabelsSettings,
    NoiseSettings,
    SizeSettings,
    TransferSettings,
    WeakSettings,
)
from ..options.arguments import Batch, CohortFile
from ..stages.studies import show_stage, study_stage

__all__ = ["study"]

StudyFolder = Annotated[
    Path, Parameter(help="Folder of the study: tables, study.html; finished cells are skipped.")
]
PlanOnly = Annotated[
    bool,
    Parameter(
        group="Study",
        negative="",
        show_default=False,
        help="Print cells, splits and the estimated time, and run nothing.",
    ),
]


def study_labels(
    cohort: CohortFile,
    out: StudyFolder,
    *,
    settings: Annotated[LabelsSettings, Parameter(name="*")] = LabelsSettings(),
    plan: PlanOnly = False,
    batch: Batch = BatchSettings(),
) -> int:
    """Compare slide labels with outlines: a weak learner from m slide labels against a strong one
    from m window labels, on the same test slides.

    Both get the same frozen features. The figures are drawn over the number of labels and over the
    expert's time.
    """
    return study_stage(Cohort.load(cohort), out, settings, batch, is_plan=plan)


def study_size(
    cohort: CohortFile,
    out: StudyFolder,
    *,
    settings: Annotated[SizeSettings, Parameter(name="*")] = SizeSettings(),
    plan: PlanOnly = False,
    batch: Batch = BatchSettings(),
) -> int:
    """Measure what more training slides bring: both learners on 6, 12, 24 … slides."""
    return study_stage(Cohort.load(cohort), out, settings, batch, is_plan=plan)


def study_noise(
    cohort: CohortFile,
    out: StudyFolder,
    *,
    settings: Annotated[NoiseSettings, Parameter(name="*")] = NoiseSettings(),
    plan: PlanOnly = False,
    batch: Batch = BatchSettings(),
) -> int:
    """Measure what wrong labels cost: both learners with a share of training labels flipped."""
    return study_stage(Cohort.load(cohort), out, settings, batch, is_plan=plan)


def study_transfer(
    cohort: CohortFile,
    out: StudyFolder,
    *,
    settings: Annotated[TransferSettings, Parameter(name="*")] = TransferSettings(),
    plan: PlanOnly = False,
    batch: Batch = BatchSettings(),
) -> int:
    """Compare encoders by their frozen features of the same windows: pretrained or random, of this
    domain or another.

    Only the classifier on the features is trained, never the encoder.
    """
    return study_stage(Cohort.load(cohort), out, settings, batch, is_plan=plan)


def study_finetune(
    cohort: CohortFile,
    out: StudyFolder,
    *,
    settings: Annotated[FinetuneSettings, Parameter(name="*")] = FinetuneSettings(),
    plan: PlanOnly = False,
    batch: Batch = BatchSettings(),
) -> int:
    """Compare the weights that a network begins with when it learns from patches: ImageNet's, those
    of another training, random ones; with several parts frozen and several learning rates.

    Trainings are short. What is compared is the mean over these scenarios, over patients.
    """
    return study_stage(Cohort.load(cohort), out, settings, batch, is_plan=plan)


def study_weak(
    cohort: CohortFile,
    out: StudyFolder,
    *,
    settings: Annotated[WeakSettings, Parameter(name="*")] = WeakSettings(),
    plan: PlanOnly = False,
    batch: Batch = BatchSettings(),
) -> int:
    """Compare weak labels of windows, strong ones, and weak ones followed by strong ones, over the
    number of slides with strong outlines.

    Weak labels are the window scores of a learner of slide labels, or the outlines of slides with
    quality weak in the cohort.
    """
    return study_stage(Cohort.load(cohort), out, settings, batch, is_plan=plan)


def study_curriculum(
    cohort: CohortFile,
    out: StudyFolder,
    *,
    settings: Annotated[CurriculumSettings, Parameter(name="*")] = CurriculumSettings(),
    plan: PlanOnly = False,
    batch: Batch = BatchSettings(),
) -> int:
    """Compare a curriculum, patches of tumour and of normal tissue first and whole slides then,
    with whole slides from the start, in equally many optimiser steps.

    A fully convolutional network learns from slides as pictures of a few hundred px; no features
    are needed. Its class activation maps are scored by FROC where tumour is outlined.
    """
    return study_stage(Cohort.load(cohort), out, settings, batch, is_plan=plan)


def show(out: Annotated[Path, Parameter(help="Folder of a study.")]) -> int:
    """Print the answer of a study, and make its tables and page anew from the finished cells.

    Exit status 2: cells are missing.
    """
    return show_stage(out)


study = {
    "labels": study_labels,
    "size": study_size,
    "noise": study_noise,
    "transfer": study_transfer,
    "finetune": study_finetune,
    "curriculum": study_curriculum,
    "weak": study_weak,
    "show": show,
}
