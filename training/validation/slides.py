"""Validation on whole slides: every tissue window of the validation slides, slide AUC and FROC."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from sklearn.metrics import roc_auc_score

from ...cohort import Cohort, CohortSlide
from ...eval import EvaluateSettings, evaluate
from ...inference import PredictSettings, find_detections, predict_slide
from ...models import Predictor, score_in_batches
from ...patching import TileSettings
from ...storage import GigaslideError, SettingsError
from ...wsi import Detections, Heatmap, InputSpec, open_slide

__all__ = ["SlideValidation"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class SlideValidation:
    """Validation slides of a cohort, and the settings by which they are predicted and scored."""

    cohort: Cohort
    spec: InputSpec
    tiles: TileSettings
    batch_size: int

    @classmethod
    def of(
        cls, cohort: Cohort, spec: InputSpec, tiles: TileSettings, *, batch_size: int
    ) -> "SlideValidation":
        """Take the labelled validation slides of a cohort.

        Raises:
            SettingsError: a class has none.
        """
        slides = [slide for slide in cohort if slide.split == "validation" and slide.label]
        labels = {slide.label for slide in slides}
        if labels != {"tumor", "normal"}:
            raise SettingsError(
                f"slide AUC needs tumour and normal validation slides; the cohort has "
                f"{', '.join(sorted(labels)) or 'no labelled'} ones only"
            )
        return cls(cohort=Cohort.of_rows(slides), spec=spec, tiles=tiles, batch_size=batch_size)

    def measure(
        self, network: keras.Model, *, on_call: Callable[[], None] = lambda: None
    ) -> dict[str, float | None]:
        """Predict every slide with the network as it is, in one orientation, and return the slide
        AUC and the FROC score, as in `gigaslide evaluate`.

        A slide that cannot be read is left out with a warning. A figure that the others do not
        define is None. on_call is called before each call of the network.
        """

        def predict(patches: np.ndarray) -> np.ndarray:
            on_call()
            return network.predict_on_batch(patches)

        predictor = Predictor(
            spec=self.spec,
            forward=lambda patches: score_in_batches(predict, patches, self.batch_size),
            hash="in training",
        )
        predicted: list[CohortSlide] = []
        heatmaps: list[Heatmap] = []
        for slide in self.cohort:
            try:
                with open_slide(
                    slide.path, mpp=slide.mpp, fallback_mpp=self.tiles.slide_mpp
                ) as opened:
                    heatmap = predict_slide(
                        opened, predictor, self._predict_settings, slide_id=slide.id
                    )
            except GigaslideError as error:
                logger.warning("%s: left out of the validation: %s", slide.id, error)
                continue
            predicted.append(slide)
            heatmaps.append(heatmap)
        return {
            "slide_auc": _slide_auc(predicted, heatmaps),
            "froc": self._froc(predicted, heatmaps),
        }

    @property
    def _predict_settings(self) -> PredictSettings:
        return PredictSettings(
            orientations=1,
            batch_size=self.batch_size,
            min_tissue=self.tiles.min_tissue,
            tissue=self.tiles.tissue,
            slide_mpp=self.tiles.slide_mpp,
            allow_upsampling=self.tiles.allow_upsampling,
        )

    def _froc(self, slides: list[CohortSlide], heatmaps: list[Heatmap]) -> float | None:
        if not slides:
            return None
        found = [find_detections(heatmap, self._predict_settings) for heatmap in heatmaps]
        settings = EvaluateSettings(
            split="validation", resamples=0, groups=self.tiles.groups, official=False
        )
        try:
            evaluation = evaluate(Detections.concatenate(found), Cohort.of_rows(slides), settings)
        except GigaslideError as error:  # an annotation that cannot be used
            logger.warning("no FROC in this validation: %s", error)
            return None
        return evaluation.figures.froc["gigaslide"].score.value


def _slide_auc(slides: list[CohortSlide], heatmaps: list[Heatmap]) -> float | None:
    """AUC of the highest probability of each slide; a slide without one scores 0."""
    is_tumor = np.array([slide.label == "tumor" for slide in slides])
    if not is_tumor.any() or is_tumor.all():
        return None
    scores: list[Any] = [np.nanmax(h.probability, initial=0.0) for h in heatmaps]
    return float(roc_auc_score(is_tumor, scores))
