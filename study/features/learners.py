"""Learner of the studies on frozen features, as a cell calls it: weak from slide labels, or strong
from window labels."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...training import BagSettings
from ..weak.labels import fit_weak
from .work import BagScores, TrainingSet

__all__ = ["train_bags"]


def train_bags(training: TrainingSet, test: Sequence[np.ndarray], seed: int) -> Sequence[BagScores]:
    """Train gated attention on bags (weak) or its classifier on windows (strong); score bags. With
    weak labels the classifier begins with what it learns from them, and stays there without bags.

    Raises:
        GigaslideError: bags or labels that cannot be trained on.
    """
    from ...training import BagStart, fit_bags  # imports Keras

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
