"""The learners of the studies, as a cell calls them: on frozen features, weak from slide labels or
strong from window labels."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..training import BagSettings
from .curriculum.course import CURRICULUM, WHOLE
from .curriculum.settings import CurriculumSettings
from .design import FINE_TUNED, STRONG_ONLY, WEAK_ONLY
from .feature_work import BagScores, TrainingSet
from .finetune.settings import RANDOM, FinetuneSettings
from .settings import StudySettings, WeakSettings
from .weak.learners import fit_weak

__all__ = ["describe_learners", "train_bags"]


def train_bags(training: TrainingSet, test: Sequence[np.ndarray], seed: int) -> Sequence[BagScores]:
    """Train gated attention on bags (weak) or its classifier on windows (strong); score bags. With
    weak labels the classifier begins with what it learns from them, and stays there without bags.

    Raises:
        GigaslideError: bags or labels that cannot be trained on.
    """
    from ..training import BagStart, fit_bags  # imports Keras

    is_weak = training.learner == "weak"
    settings = BagSettings(labels="slides" if is_weak else "windows")
    labels: Any = training.labels
    if not is_weak:
        ends = np.cumsum([len(bag) for bag in training.bags])[:-1]
        labels = np.split(training.labels, ends)
    start, model = None, None
    if training.weak is not None:
        model = fit_weak(training.weak, seed)
        start = BagStart(
            model=model,
            frozen_share=training.weak.settings.frozen_share,
            unfrozen_rate=training.weak.settings.unfrozen_rate,
        )
    if training.bags or model is None:
        model = fit_bags(list(training.bags), labels, settings, seed=seed, start=start).model
    found = [model.predict(bag) for bag in test]
    return [
        BagScores(
            slide=float(one.slide),
            windows=np.asarray(one.windows),
            attention=np.asarray(one.attention) if is_weak else None,
        )
        for one in found
    ]


def describe_learners(settings: StudySettings) -> dict[str, Any]:
    """Settings of a study's learners, plain JSON, for the recipe of a cell."""
    if isinstance(settings, CurriculumSettings):
        return dict.fromkeys((CURRICULUM, WHOLE), settings.training.model_dump(mode="json"))
    if isinstance(settings, FinetuneSettings):
        return dict.fromkeys((*settings.starts, RANDOM), settings.training.model_dump(mode="json"))
    if isinstance(settings, WeakSettings):
        windows = BagSettings(labels="windows").model_dump(mode="json")
        slides = BagSettings(labels="slides").model_dump(mode="json")
        return {**dict.fromkeys((WEAK_ONLY, STRONG_ONLY, FINE_TUNED), windows), "weak": slides}
    return {
        "weak": BagSettings(labels="slides").model_dump(mode="json"),
        "strong": BagSettings(labels="windows").model_dump(mode="json"),
    }
