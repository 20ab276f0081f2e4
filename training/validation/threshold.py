"""Operating threshold of a model, chosen on the validation slides."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from ...cohort import Cohort, CohortSlide
from ...eval import Predictions, SlideFile, open_predictions, youden_threshold
from ...inference import THRESHOLD
from ...models import Ensemble, OperatingThreshold
from ...storage import GigaslideError, format_count

__all__ = ["choose_among", "choose_threshold"]

FEWEST = 3
"""Slides of each class below which a threshold would be chance."""
UNCHOSEN = 0.5


def choose_threshold(cohort: Cohort, model: Path, predictions: Path) -> OperatingThreshold:
    """Choose the threshold on the slide score by Youden's J on the labelled validation slides, and
    write it to the card of the model, or of the ensemble, and beside the predictions.

    It is 0.5 where the slides of a class are too few or no threshold separates them; its origin
    says so. A slide counts if this model has predicted it.

    Raises:
        ModelError: no model folder.
        ScoreError: no folder of predictions.
    """
    ensemble = Ensemble.load(model)
    slides = [slide for slide in cohort if slide.split == "validation" and slide.label]
    opened = open_predictions(predictions, cohort)
    scores = _read_scores(slides, opened, ensemble.hash)
    used = [slide for slide in slides if slide.id in scores]
    threshold = choose_among(
        np.array([scores[slide.id] for slide in used]),
        np.array([slide.label == "tumor" for slide in used], bool),
    )
    if threshold != ensemble.operating_threshold:
        ensemble.save_operating_threshold(threshold)
    threshold.save(predictions / THRESHOLD)
    return threshold


def _read_scores(
    slides: Iterable[CohortSlide], opened: Predictions, model_hash: str
) -> dict[str, float]:
    """Slide scores by slide id, of the slides that the model of this hash has predicted."""
    scores = {}
    for slide in slides:
        try:
            with SlideFile(slide) as file:
                found = opened.load(slide, file)
        except GigaslideError:
            continue
        if isinstance(found, str) or found.score is None or found.heatmap is None:
            continue
        if found.heatmap.model_hash == model_hash:
            scores[slide.id] = found.score
    return scores


def choose_among(scores: np.ndarray, is_tumor: np.ndarray) -> OperatingThreshold:
    """Choose the threshold on the scores (N,) of validation slides, see `choose_threshold`."""
    tumor, normal = int(is_tumor.sum()), int((~is_tumor).sum())
    chosen_on = f"{tumor} tumour and {format_count(normal, 'normal validation slide')}"
    value = None
    if min(tumor, normal) < FEWEST:
        origin = f"not chosen: {chosen_on} with a score, {FEWEST} of each are needed"
    elif (value := youden_threshold(scores, is_tumor)) is None:
        origin = f"not chosen: no threshold separates {chosen_on}"
    else:
        origin = f"chosen by Youden's J on {chosen_on}"
    return OperatingThreshold(
        value=UNCHOSEN if value is None else value,
        tumor_slides=tumor,
        normal_slides=normal,
        origin=origin,
    )
