"""Learners of the study of weak labels, on frozen features: from weak labels only, or from weak
ones and then fine-tuned on strong ones."""

from collections import OrderedDict

import numpy as np

from ...models import BagModel
from ...training import BagSettings
from .labels import WeakSet, label_by_scores

__all__ = ["fit_weak"]

KEPT = 256
"""Weak models that a process keeps: every number of strong slides starts from the same ones."""
_models: OrderedDict[tuple[str, int], BagModel] = OrderedDict()


def fit_weak(weak: WeakSet, seed: int) -> BagModel:
    """Train the classifier of windows on weak labels; the same labels and seed give one model.

    Raises:
        GigaslideError: bags or labels that cannot be trained on.
    """
    key = (weak.key, seed)
    if key not in _models:
        _models[key] = _fit(weak, seed)
        while len(_models) > KEPT:
            _models.popitem(last=False)
    return _models[key]


def _fit(weak: WeakSet, seed: int) -> BagModel:
    from ...training import fit_bags  # imports Keras

    bags, windows = list(weak.bags), weak.windows
    if windows is None:
        slides = BagSettings(labels="slides")
        teacher = fit_bags(bags, weak.is_tumor.astype(np.int8), slides, seed=seed).model
        scores = [teacher.predict(bag).windows for bag in bags]
        windows = label_by_scores(scores, weak.is_tumor, above=weak.settings.score_above)
    return fit_bags(bags, list(windows), BagSettings(labels="windows"), seed=seed).model
