"""From slides to predictions on disk: PREDICTIONS/<slide>/{heatmap.zarr, detections.csv, recipe.json}."""

import logging
import time
from collections.abc import Callable
from pathlib import Path

from ..batch import BatchSettings, BatchSummary, SlideOutcome, run_slides
from ..models import ModelCard
from ..wsi import (
    CellStatus,
    Cohort,
    CohortSlide,
    Detections,
    Heatmap,
    Recipe,
    SettingsError,
    file_identity,
    open_slide,
    whole_folder,
)
from .detect import detections_of
from .score import WindowModel, score_slide
from .settings import PredictSettings

__all__ = ["predict_cohort"]

logger = logging.getLogger(__name__)

HEATMAP, DETECTIONS, RECIPE = "heatmap.zarr", "detections.csv", "recipe.json"


def predict_cohort(
    cohort: Cohort,
    model_folder: Path,
    out: Path,
    settings: PredictSettings,
    *,
    on_outcome: Callable[[SlideOutcome], None] | None = None,
    on_windows: Callable[[int, int], None] | None = None,
) -> BatchSummary:
    """Predict the slides of the wanted splits, one after the other: the network itself uses every core.

    Slides whose recipe is unchanged are skipped; the network is loaded only if there is one to predict.

    Raises:
        SettingsError: no slide to predict.
        ModelError: the model folder is damaged.
    """
    has_splits = any(slide.split for slide in cohort)
    slides = [slide for slide in cohort if slide.split in settings.splits or not has_splits]
    if not slides:
        wanted = ", ".join(settings.splits)
        raise SettingsError(f"no slide to predict: none has its split among {wanted}; see --splits")
    card = ModelCard.load(model_folder)
    card.check_weights(model_folder)
    work = _Work(card, model_folder, out, settings, on_windows)
    summary = run_slides(work, slides, BatchSettings(workers=0), on_outcome=on_outcome)
    summary.save(out)
    made = [Detections.load(out / slide.id / DETECTIONS) for slide in slides if (out / slide.id / DETECTIONS).exists()]
    Detections.concatenate(made).save(out / DETECTIONS)
    return summary


class _Work:
    """The work on one slide; holds the loaded network between slides."""

    def __init__(
        self,
        card: ModelCard,
        model_folder: Path,
        out: Path,
        settings: PredictSettings,
        on_windows: Callable[[int, int], None] | None,
    ) -> None:
        self.card, self.model_folder, self.out, self.settings, self.on_windows = (
            card,
            model_folder,
            out,
            settings,
            on_windows,
        )
        self._model: WindowModel | None = None

    def __call__(self, slide: CohortSlide) -> SlideOutcome:
        start = time.perf_counter()
        recipe = self._recipe(slide)
        folder = self.out / slide.id
        found = Recipe.load(folder / RECIPE)
        differences = found.differences(recipe) if found else []
        if found and not differences:
            return _outcome(Heatmap.load(folder / HEATMAP), status="skipped", reason="unchanged")
        if differences:
            logger.info("%s: made again: %s", slide.id, "; ".join(differences))
        with open_slide(slide.path, mpp=slide.mpp, fallback_mpp=self.settings.slide_mpp) as opened:
            opened.scale(self.card.mpp, allow_upsampling=self.settings.allow_upsampling)  # refuse before loading
            heatmap = score_slide(
                opened, self._loaded(), self.settings, slide_id=slide.id, on_windows=self.on_windows
            )
        detections = detections_of(heatmap, self.settings)
        with whole_folder(folder) as partial_folder:
            heatmap.save(partial_folder / HEATMAP)
            detections.save(partial_folder / DETECTIONS)
            recipe.save(partial_folder / RECIPE)
        return _outcome(heatmap, seconds=time.perf_counter() - start, detections=len(detections))

    def _recipe(self, slide: CohortSlide) -> Recipe:
        identity = file_identity(slide.path) if slide.path.exists() else str(slide.path)
        return Recipe(
            stage="predict",
            settings=self.settings.model_dump(mode="json", exclude={"splits", "batch"}),
            inputs={"slide": identity, "mpp": slide.mpp, "model": self.card.weights_sha256},
        )

    def _loaded(self) -> WindowModel:
        if self._model is None:
            # The one place of this room where Keras comes in.
            from ..models import load_classifier

            self._model = WindowModel(
                predict=load_classifier(self.model_folder),
                side_px=self.card.patch_px,
                centre_px=self.card.centre_px,
                mpp=self.card.mpp,
                hash=self.card.weights_sha256,
            )
        return self._model


def _outcome(heatmap: Heatmap, *, status: str = "", reason: str = "", seconds: float = 0.0, **counts: int) -> SlideOutcome:
    scored, unreadable, nan = (
        heatmap.count(which) for which in (CellStatus.SCORED, CellStatus.UNREADABLE, CellStatus.FAILED)
    )
    reasons = [reason, "no tissue" if heatmap.count(CellStatus.BACKGROUND) == heatmap.status.size else ""]
    if unreadable:
        reasons.append(f"{unreadable} cells could not be read")
    if nan:
        reasons.append(f"the model gave NaN for {nan} cells")
    return SlideOutcome(
        slide=heatmap.slide,
        status="skipped" if status == "skipped" else "partial" if unreadable or nan else "done",
        reason="; ".join(filter(None, reasons)),
        seconds=seconds,
        counts={"cells": scored, "unreadable": unreadable, "nan": nan, **counts},
    )
