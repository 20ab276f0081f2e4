"""Predictions of a cohort: folders of heatmaps made by gigaslide, or detections of any program."""

import logging
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from ...cohort import CohortSlide
from ...storage import ScoreError
from .detection_files import DetectionFiles, list_csv
from .given_detections import GivenDetections
from .heatmap_folder import HeatmapFolder
from .slide_names import path_of

__all__ = ["Predictions", "open_predictions"]

logger = logging.getLogger(__name__)

Predictions = HeatmapFolder | GivenDetections
"""Predictions of a cohort, with heatmaps or without."""


def open_predictions(path: Path, slides: Iterable[CohortSlide]) -> Predictions:
    """Open a folder made by `gigaslide predict`, a folder of CSV files (one a slide), or one table
    of detections.

    Heatmaps of slides that are not listed are ignored with a warning.

    Raises:
        ScoreError: no predictions, a line that cannot be used, or detections of slides that are
            not listed.
    """
    names = {slide.id: path_of(slide.path) for slide in slides}
    ids = list(names)
    if path.is_file():
        return GivenDetections(DetectionFiles.load(path, ids, paths=names))
    if not path.is_dir():
        raise ScoreError(f"{path}: no such folder of predictions; predict the slides first")
    if (path / "zarr.json").exists():
        raise ScoreError(
            f"{path}: is a Zarr group, such as a patch store; give the folder made by gigaslide "
            "predict, or detections as CSV"
        )
    predicted = {folder.parent.name for folder in path.glob("*/heatmap.zarr")}
    if not predicted and not (path / "summary.csv").is_file():
        if list_csv(path):
            return GivenDetections(DetectionFiles.load(path, ids, paths=names))
        found = Counter(entry.suffix or "folders" for entry in path.iterdir())
        there = ", ".join(f"{count} {suffix}" for suffix, count in found.most_common(3))
        raise ScoreError(
            f"{path}: no CSV files of detections (p,x,y) and no heatmaps of gigaslide predict, but "
            f"{there or 'nothing'}; give the folder that holds them"
        )
    unlisted = tuple(sorted(predicted - set(ids)))
    if unlisted:
        logger.warning(
            "%s: %d predicted slides are not in the cohort: %s", path, len(unlisted), unlisted
        )
    return HeatmapFolder(path, unlisted=unlisted, has_any=bool(predicted))
