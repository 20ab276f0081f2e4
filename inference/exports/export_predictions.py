"""Export the predictions of many slides: OUT/<slide>/<slide>.… for each, and files of all slides in
OUT."""

import json
from functools import partial
from pathlib import Path

from ...batch import SILENT, BatchSettings, BatchSummary, Listener, open_run_folder, run_slides
from ...cohort import Cohort
from ...storage import ScoreError, SettingsError
from ...wsi import Detections
from ..prediction_folder import DETECTIONS, HEATMAP, THRESHOLD
from .export_slide import PredictedSlide, export_slide, list_exporters
from .exporters import EXPORTERS, FORMATS
from .qupath import save_script
from .settings import ExportSettings
from .tables import SUMMARY, save_tables

__all__ = ["check_export", "export_predictions", "find_predicted"]

STAGE = "export"


def export_predictions(
    predictions: Path,
    out: Path,
    settings: ExportSettings,
    batch: BatchSettings,
    *,
    slides: Cohort | None = None,
    listener: Listener = SILENT,
) -> BatchSummary:
    """Export every predicted slide, or those of a cohort; skip what is unchanged.

    Afterwards files of all slides are written, where the formats have any.

    Raises:
        SettingsError: no format, or one that needs the slides and no cohort.
        ScoreError: no predictions.
        StoreError: the disk is full.
        ClusterError: another run works on out, or workers are gone.
        Stopped: a signal asked to stop.
    """
    check_export(settings, slides)
    predicted = find_predicted(predictions, slides)
    threshold = _load_threshold(predictions)
    work = partial(export_slide, out=out, settings=settings, slide_threshold=threshold)
    with open_run_folder(out, batch, stage=STAGE) as folder:
        summary = run_slides(work, predicted, batch, folder=folder, listener=listener)
        names = [one.slide for one in summary.outcomes if one.status != "failed"]
        if "csv" in settings.to:
            written = (out / name / f"{name}{SUMMARY}" for name in names)
            save_tables([path for path in written if path.is_file()], out)
            if out.resolve() != predictions.resolve():  # where predict wrote it
                _join_detections(predicted, set(names)).save(out / DETECTIONS)
        if "qupath" in settings.to:
            save_script([one for one in predicted if one.id in names], out)
    return summary


def check_export(settings: ExportSettings, slides: Cohort | None) -> None:
    """Pass if the settings name a format, and the slides are given where they are needed.

    Raises:
        SettingsError: they do not.
    """
    if not settings.to:
        raise SettingsError(f"no format to export to; give --to {' | '.join(FORMATS)}")
    if slides is not None:
        return
    if any(EXPORTERS[name].reads_pixels for name in list_exporters(settings)):
        raise SettingsError(
            "png shows the heatmap over the slide's own pixels; give the cohort with --slides"
        )
    if settings.origin == "bounds":
        raise SettingsError(
            "--origin bounds counts px from the slide's scanned part, which the slide states; give "
            "the cohort with --slides"
        )


def find_predicted(predictions: Path, slides: Cohort | None) -> list[PredictedSlide]:
    """Find the slides that have a heatmap, in the order of the cohort or of their names.

    Raises:
        ScoreError: there are none.
    """
    found = {path.parent.name: path.parent for path in sorted(predictions.glob(f"*/{HEATMAP}"))}
    if not found:
        raise ScoreError(
            f"{predictions}: no heatmaps of gigaslide predict; give the folder that it wrote"
        )
    if slides is None:
        return [PredictedSlide(id=name, folder=folder) for name, folder in found.items()]
    chosen = [
        PredictedSlide(id=slide.id, folder=found[slide.id], slide=slide)
        for slide in slides
        if slide.id in found
    ]
    if not chosen:
        raise ScoreError(
            f"{predictions}: no slide of the cohort has a heatmap here; predicted are "
            f"{', '.join(list(found)[:5])}{' …' if len(found) > 5 else ''}"
        )
    return chosen


def _load_threshold(predictions: Path) -> float | None:
    """Operating threshold of the model, if predict copied one; see `OperatingThreshold`."""
    path = predictions / THRESHOLD
    if not path.is_file():
        return None
    try:
        return float(json.loads(path.read_text(encoding="utf-8"))["value"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ScoreError(f"{path}: not an operating threshold: {error!r}; predict again") from error


def _join_detections(predicted: list[PredictedSlide], names: set[str]) -> Detections:
    return Detections.concatenate([one.load_detections() for one in predicted if one.id in names])
