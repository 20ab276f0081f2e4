"""Evaluation of a cohort and its predictions, slide by slide, into a folder with a report."""

import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..cohort import Cohort, CohortSlide
from ..storage import GigaslideError, Output, Recipe, SettingsError
from . import pn_stage
from .predictions.open_predictions import Predictions, open_predictions
from .predictions.prediction import Prediction
from .predictions.slide_file import SlideFile
from .predictions.threshold import find_threshold
from .report.evaluation import Evaluation, evaluate_results
from .report.page import evaluation_html
from .report.pictures import Gallery
from .report.provenance import format_command, identify_slide, list_versions
from .scoring.slide_result import SlideResult, SlideStatus, score_slide
from .settings import EvaluateSettings
from .statistics.figures import check_columns
from .statistics.operating import (
    Peaks,
    find_peaks,
    list_false_positives,
    list_missed,
)
from .truth.truth import Truth

__all__ = [
    "check_choice",
    "evaluate_cohort",
    "find_evaluation",
    "read_truth",
    "score_file",
    "slides_to_evaluate",
]

logger = logging.getLogger(__name__)

METRICS = {
    "patch_auc",
    "slide_auc",
    "froc",
    "figures",
    "cohort",
    "operating_point",
    "exclusions",
    "slides",
    "models",
    "settings",
    "exit_status",
}


def evaluate_cohort(
    cohort: Cohort,
    predictions: Path,
    out: Path,
    settings: EvaluateSettings,
    *,
    on_slide: Callable[[str], object] | None = None,
) -> Evaluation:
    """Evaluate predictions and write the folder out.

    predictions holds `<slide id>/heatmap.zarr` and `detections.csv`, or detections of any program
    as CSV: see `open_predictions`. A slide that cannot be scored is excluded and listed with its
    reason. on_slide receives the id of every slide that is done.

    Without a given slide_threshold, the operating point is at the threshold of the model card, see
    `find_threshold`.

    Raises:
        SettingsError: no slides of that split, or out holds something else than an evaluation.
        ScoreError: no predictions, or detections that cannot be used or are of slides the cohort
            does not list.
    """
    check_choice(cohort, settings)
    opened = open_predictions(predictions, cohort)
    slides = slides_to_evaluate(cohort, settings)
    threshold = find_threshold(predictions, settings)
    output = _output(out, slides, opened, threshold.apply(settings))
    output.refuse_foreign()
    evaluation = _evaluate(slides, opened, threshold.apply(settings), on_slide=on_slide)
    evaluation = replace(evaluation, threshold_origin=threshold.origin)
    command = format_command("evaluate", [cohort.source, predictions, out], settings)
    with output.write() as partial:
        _write(evaluation, command, Path(partial))
    counts = evaluation.metrics["cohort"]
    logger.info("%s: %d of %d slides in the figures", out, counts["in_figures"], counts["slides"])
    return evaluation


def find_evaluation(
    cohort: Cohort, predictions: Path, out: Path, settings: EvaluateSettings
) -> dict[str, Any] | None:
    """Return the metrics in out if `evaluate_cohort` would only repeat them; None where there is no
    whole evaluation of the same inputs."""
    slides, opened = slides_to_evaluate(cohort, settings), open_predictions(predictions, cohort)
    resolved = find_threshold(predictions, settings).apply(settings)
    if not _output(out, slides, opened, resolved).state().is_unchanged:
        return None
    try:
        metrics = json.loads((out / "metrics.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        logger.warning("%s: made again: metrics.json cannot be read: %s", out, error)
        return None
    return metrics if isinstance(metrics, dict) and metrics.keys() >= METRICS else None


def slides_to_evaluate(cohort: Cohort, settings: EvaluateSettings) -> list[CohortSlide]:
    """List the slides of the split; in a cohort without splits, or with an empty split, all."""
    wanted = settings.split if cohort.has_splits else ""
    return [slide for slide in cohort if not wanted or slide.split == wanted]


def check_choice(cohort: Cohort, settings: EvaluateSettings) -> None:
    """Refuse a split that no slide has, and subgroups by columns that the cohort lacks.

    Raises:
        SettingsError: naming those there are.
    """
    if not slides_to_evaluate(cohort, settings):
        found = ", ".join(sorted({slide.split or "(none)" for slide in cohort}))
        raise SettingsError(
            f"no slide of the cohort has split {settings.split!r}; there are {found}; an empty "
            "split takes every slide"
        )
    check_columns(cohort, settings)


def read_truth(
    slide: CohortSlide, prediction: Prediction, file: SlideFile, settings: EvaluateSettings
) -> Truth:
    """Read the annotation of a slide, see `Truth.of_slide`; the slide is opened only for one."""
    return Truth.of_slide(
        slide,
        slide_size=prediction.slide_size,
        slide_mpp=prediction.slide_mpp,
        settings=settings,
        opened=file.open_if_readable() if slide.annotation else None,
    )


def score_file(
    slide: CohortSlide, predictions: Predictions, file: SlideFile, settings: EvaluateSettings
) -> tuple[SlideResult, Prediction | None]:
    """Read and score one slide; one that cannot be scored is excluded with its reason. The
    prediction is None where there is none for the slide's pictures."""
    prediction = None
    try:
        found = predictions.load(slide, file)
        if isinstance(found, str):
            status = SlideStatus.NOT_EVALUABLE
            return SlideResult(slide=slide, status=status, reason=found), None
        prediction = found
        if not slide.label:
            reason = "the cohort has no label, tumor or normal; fill in its label column"
            return SlideResult(slide=slide, status=SlideStatus.NO_LABEL, reason=reason), None
        truth = read_truth(slide, prediction, file, settings)
        return score_slide(slide, prediction, truth, settings), prediction
    except GigaslideError as error:
        logger.warning("%s: excluded: %s", slide.id, error)
        reason = str(error)
    except Exception as error:  # a bug must not cost the other slides
        logger.exception("%s: excluded", slide.id)
        reason = f"{type(error).__name__}: {error}"
    return SlideResult(slide=slide, status=SlideStatus.FAILED, reason=reason), None


def _evaluate(
    slides: Sequence[CohortSlide],
    predictions: Predictions,
    settings: EvaluateSettings,
    *,
    on_slide: Callable[[str], object] | None,
) -> Evaluation:
    """One pass over the slides, in which each file is opened and each heatmap loaded once, and then
    the figures."""
    predictions.check(slides)
    gallery, results = Gallery(settings, slides=len(slides)), []
    peaks: dict[str, Peaks] = {}
    classes: dict[str, str] = {}
    has_stages, threshold = pn_stage.is_asked(slides, settings), settings.threshold
    for slide in slides:
        with SlideFile(slide) as file:
            result, prediction = score_file(slide, predictions, file, settings)
            heatmap = None if prediction is None else prediction.heatmap
            missed = list_missed(result, threshold)
            if missed and heatmap and result.truth and result.truth.lesions:
                peaks[slide.id] = find_peaks(heatmap, result.truth.lesions)
                missed = list_missed(result, threshold, peaks[slide.id])
            if heatmap and has_stages:
                classes[slide.id] = pn_stage.predict_class(heatmap, threshold=threshold)
            false = list_false_positives(result, threshold)
            gallery.add(result, prediction, file, missed=missed, false_positives=false)
        results.append(result)
        if on_slide is not None:
            on_slide(slide.id)
    return replace(
        evaluate_results(results, settings, peaks=peaks, predicted_class=classes),
        unlisted=predictions.unlisted,
        pictures=gallery.slides,
        missed_crops=tuple(gallery.missed),
        false_positive_crops=tuple(gallery.false_positives),
    )


def _output(
    out: Path, slides: Sequence[CohortSlide], predictions: Predictions, settings: EvaluateSettings
) -> Output:
    recipe = Recipe(
        stage="evaluate",
        settings=settings.model_dump(mode="json"),
        inputs={
            slide.id: {**identify_slide(slide), **predictions.identify_inputs(slide)}
            for slide in slides
        },
        made_with=list_versions(),
    )
    return Output(location=out, recipe=recipe, files=("metrics.json", "report.html"))


def _write(evaluation: Evaluation, command: str, folder: Path) -> None:
    for name, table in evaluation.tables.items():
        table.to_csv(folder.absolute() / f"{name}.csv", index=False, lineterminator="\n")
    text = json.dumps(evaluation.metrics, indent=1, ensure_ascii=False, allow_nan=False)
    (folder / "metrics.json").write_text(text, encoding="utf-8")
    html = evaluation_html(evaluation, made_with=list_versions(), command=command)
    (folder / "report.html").write_text(html, encoding="utf-8")
