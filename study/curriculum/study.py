"""The study of a curriculum: patches first and whole slides then, against whole slides alone."""

from collections.abc import Sequence
from typing import Any

from ..data import FoundSlides, StudyData
from ..design import Design, Point, make_design
from ..kind import Study, WorkPlace
from ..splits import Split
from .course import CURRICULUM, WHOLE
from .pictures import FoundPictures, read_pictures
from .settings import CurriculumSettings
from .words import answer_curriculum, describe_pictures, describe_trainings
from .work import CurriculumWork

__all__ = ["CURRICULUM_STUDY"]

SECONDS_TO_COMPILE = 2.0
SECONDS_A_MEGAPIXEL = {"compact": 0.2, "efficientnet_lite0": 0.7}
"""Time to learn from a megapixel, on two cores, by network."""
COST_OF_SCORING = 1 / 3
"""Time to score a pixel, as a share of the time to learn from it."""


def _design(settings: CurriculumSettings, data: StudyData, splits: Sequence[Split]) -> Design:
    def at(learner: str, augmentation: str) -> Point:
        return ("learner", learner), ("augmentation", augmentation)

    first, *others = settings.augmentation
    learners = ("curriculum", "whole")
    points = [at(learner, one) for one in settings.augmentation for learner in learners]
    pairs = [(at(learners[0], one), at(learners[1], one)) for one in settings.augmentation]
    pairs += [(at(learner, one), at(learner, first)) for learner in learners for one in others]
    return make_design(points, settings, pairs)


def _make_work(settings: CurriculumSettings, place: WorkPlace) -> CurriculumWork:
    source = settings.initial_weights
    return CurriculumWork(
        **place.fields,
        training=settings.training,
        initial_weights="" if source is None else str(source.absolute()),
        radius_um=settings.radius_um,
    )


def _describe_learners(settings: CurriculumSettings) -> dict[str, Any]:
    training = settings.training.model_dump(mode="json")
    if settings.architecture == "compact":
        del training["architecture"]  # cells of the time before there was a choice
    return dict.fromkeys((CURRICULUM, WHOLE), training)


def _guess_seconds(point: Point, settings: CurriculumSettings, found: FoundSlides) -> float:
    """Guess by the pixels that a training learns from and that its checkpoints score."""
    assert isinstance(found, FoundPictures)
    side_px = max(one.picture.side_px for one in found.pictures.values())
    has_patches = dict(point)["learner"] == CURRICULUM
    patch_steps = round(settings.patch_steps * settings.steps) if has_patches else 0
    of_patches = patch_steps * settings.patches_per_step * settings.patch_px**2
    of_slides = (settings.steps - patch_steps) * settings.slides_per_step * side_px**2
    tested = len(found.slides) / max(2, settings.folds) * settings.checkpoints * side_px**2
    learnt = of_patches + of_slides
    megapixels = (learnt + tested * COST_OF_SCORING) / 1e6
    return SECONDS_TO_COMPILE + megapixels * SECONDS_A_MEGAPIXEL[settings.architecture]


CURRICULUM_STUDY = Study(
    name="curriculum",
    settings=CurriculumSettings,
    question="Does a training that begins with patches of tumour learn whole slides sooner or "
    "better?",
    help="Compare a curriculum, patches of tumour and of normal tissue first and whole slides "
    "then, with whole slides from the start, in equally many optimiser steps.\n\n"
    "A fully convolutional network learns from slides as pictures of a few hundred px; no "
    "features are needed. Its class activation maps are scored by FROC where tumour is "
    "outlined.",
    axis_words="optimiser steps",
    material="pictures at",
    find_slides=read_pictures,
    design=_design,
    make_work=_make_work,
    describe_learners=_describe_learners,
    answer=answer_curriculum,
    methods=lambda settings, data: (
        describe_pictures(settings, data),
        f"{describe_trainings(settings)} ",
    ),
    guess_seconds=_guess_seconds,
)
