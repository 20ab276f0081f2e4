"""From slides to predictions on disk: PREDICTIONS/<slide>/{heatmap.zarr, heatmap.png,
detections.csv, recipe.json}."""

import logging
import shutil
import time
from collections.abc import Callable
from functools import cached_property, partial
from pathlib import Path

from ..batch import BatchSettings, BatchSummary, SlideOutcome, run_slides
from ..cohort import Cohort, CohortSlide
from ..models import Ensemble, Predictor, load_predictor
from ..storage import (
    ModelError,
    Recipe,
    ScoreError,
    SettingsError,
    StoreError,
    atomic_folder,
    file_identity,
    format_count,
    location_exists,
)
from ..wsi import CellStatus, Detections, Heatmap, open_slide
from .detect import detections_of
from .picture import draw_heatmap
from .score import score_slide
from .settings import PredictSettings

__all__ = ["predict_cohort", "slides_to_predict"]

logger = logging.getLogger(__name__)

STAGE = "predict"
HEATMAP, DETECTIONS, PICTURE, RECIPE = (
    "heatmap.zarr",
    "detections.csv",
    "heatmap.png",
    "recipe.json",
)
COUNTED = {
    "cells": CellStatus.SCORED,
    "unreadable": CellStatus.UNREADABLE,
    "nan": CellStatus.FAILED,
}


def predict_cohort(
    cohort: Cohort,
    model_folder: Path,
    out: Path,
    settings: PredictSettings,
    *,
    on_outcome: Callable[[SlideOutcome], None] | None = None,
    on_slide: Callable[[int], object] | None = None,
    on_windows: Callable[[int], object] | None = None,
) -> BatchSummary:
    """Predict the slides of the wanted splits, one after the other: the network itself uses every
    core.

    Slides whose recipe is unchanged are skipped; the network is loaded only if there is one to
    predict. on_slide hears how many windows a slide has, on_windows how many more were scored.

    Raises:
        SettingsError: no slide to predict.
        ModelError: the model folder is damaged.
    """
    slides = slides_to_predict(cohort, settings)
    if not slides:
        wanted = ", ".join(settings.splits)
        raise SettingsError(f"no slide to predict: none has its split among {wanted}; see --splits")
    ensemble = Ensemble.load(model_folder)
    ensemble.check_weights()
    score = partial(score_slide, settings=settings, on_slide=on_slide, on_windows=on_windows)
    work = _Work(ensemble, out, settings, score)
    summary = run_slides(work, slides, BatchSettings(workers=0), on_outcome=on_outcome)
    summary.save(out)
    made = [
        Detections.load(out / o.slide / DETECTIONS)
        for o in summary.outcomes
        if o.status != "failed"
    ]
    Detections.concatenate(made).save(out / DETECTIONS)
    return summary


def slides_to_predict(cohort: Cohort, settings: PredictSettings) -> list[CohortSlide]:
    """The slides of the wanted splits; in a cohort without splits, every slide."""
    return [slide for slide in cohort if slide.split in settings.splits or not cohort.has_splits]


class _Work:
    """The work on one slide; holds the loaded network between slides."""

    def __init__(
        self,
        ensemble: Ensemble,
        out: Path,
        settings: PredictSettings,
        score: Callable[..., Heatmap],
    ) -> None:
        self.ensemble, self.out, self.settings, self.score = ensemble, out, settings, score

    def __call__(self, slide: CohortSlide) -> SlideOutcome:
        start = time.perf_counter()
        recipe = self._recipe(slide)
        folder = self.out / slide.id
        found = _recipe_in(folder)
        differences = found.differences(recipe) if found else []
        if found and not differences:
            try:
                return _outcome(
                    Heatmap.load(folder / HEATMAP),
                    Detections.load(folder / DETECTIONS),
                    unchanged=True,
                )
            except (StoreError, ScoreError) as error:
                differences = [str(error)]
        if differences and location_exists(slide.path):
            # A failure from here on must not leave what another model or another file gave.
            shutil.rmtree(folder)
        with open_slide(slide.path, mpp=slide.mpp, fallback_mpp=self.settings.slide_mpp) as opened:
            opened.scale(
                self.ensemble.input_spec.mpp, allow_upsampling=self.settings.allow_upsampling
            )  # refuse before loading
            heatmap = self.score(opened, self.predictor, slide_id=slide.id)
            detections = detections_of(heatmap, self.settings)
            with atomic_folder(folder) as beside:
                heatmap.save(beside / HEATMAP)
                detections.save(beside / DETECTIONS)
                draw_heatmap(opened, heatmap, beside / PICTURE)
                recipe.save(beside / RECIPE)
        why = f"made again: {'; '.join(differences)}" if differences else ""
        return _outcome(heatmap, detections, why=why, seconds=time.perf_counter() - start)

    def _recipe(self, slide: CohortSlide) -> Recipe:
        identity = file_identity(slide.path) if location_exists(slide.path) else str(slide.path)
        return Recipe(
            stage=STAGE,
            settings=self.settings.model_dump(
                mode="json", exclude={"splits", "batch_size", "runtime"}
            ),
            inputs={
                "slide": identity,
                "mpp": slide.mpp,
                "model": self.ensemble.identity,
            },
        )

    @property
    def predictor(self) -> Predictor:
        if isinstance(self._loaded, ModelError):
            raise self._loaded
        return self._loaded

    @cached_property
    def _loaded(self) -> Predictor | ModelError:
        try:
            return load_predictor(self.ensemble.folders, runtime=self.settings.runtime)
        except ModelError as error:  # kept, so that it is built once and not for each slide again
            return error


def _recipe_in(folder: Path) -> Recipe | None:
    found = Recipe.load(folder / RECIPE)
    is_free = not folder.exists() or not any(folder.iterdir())
    if is_free or (found is not None and found.stage == STAGE):
        return found
    raise SettingsError(
        f"{folder}: holds something else than a prediction; give another output folder"
    )


def _outcome(
    heatmap: Heatmap,
    detections: Detections,
    *,
    unchanged: bool = False,
    why: str = "",
    seconds: float = 0.0,
) -> SlideOutcome:
    reasons = ["unchanged" if unchanged else why]
    counts = {name: heatmap.count(which) for name, which in COUNTED.items()}
    if heatmap.count(CellStatus.BACKGROUND) == heatmap.status.size:
        reasons.append("no tissue")
    if counts["unreadable"]:
        reasons.append(f"{format_count(counts['unreadable'], 'cell')} could not be read")
    if counts["nan"]:
        reasons.append(f"the model gave NaN for {format_count(counts['nan'], 'cell')}")
    lost = counts["unreadable"] or counts["nan"]
    return SlideOutcome(
        slide=heatmap.slide,
        status="partial" if lost else "skipped" if unchanged else "done",
        reason="; ".join(filter(None, reasons)),
        seconds=seconds,
        counts={**counts, "detections": len(detections)},
    )
