"""Heatmaps and detections of a folder that `gigaslide predict` made."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...cohort import CohortSlide
from ...storage import GigaslideError, ScoreError, SlideError, format_count
from ...wsi import CellStatus, Detections, Heatmap
from .detection_files import SlideDetections
from .prediction import Prediction, identify_file
from .slide_file import SlideFile

__all__ = ["HeatmapFolder"]

logger = logging.getLogger(__name__)

SAME_MPP = 0.03  # µm/px of a heatmap and its slide may differ by this share


@dataclass(frozen=True)
class HeatmapFolder:
    """Heatmaps and detections made by `gigaslide predict`."""

    path: Path
    unlisted: tuple[str, ...]
    """Predicted slides that are not in the cohort."""
    has_any: bool
    """False where no slide is predicted at all."""

    def check(self, slides: Sequence[CohortSlide]) -> None:
        """Pass: each slide without a heatmap says so itself."""

    def load(self, slide: CohortSlide, file: SlideFile) -> Prediction | str:
        """Return the prediction of a slide, or the reason why the slide cannot be evaluated.

        A slide without a prediction that can be used has one with an `absence`.

        Raises:
            ScoreError: the slide's id cannot name a folder.
        """
        if Path(slide.id).name != slide.id:
            raise ScoreError(
                f"{slide.id!r} cannot name a folder in {self.path}; load the cohort from its CSV"
            )
        try:
            return _read_folder(slide, self.path / slide.id, file)
        except GigaslideError as error:
            absence = str(error)
        try:
            size, mpp = file.find_size()
        except SlideError as error:
            logger.warning("%s: no prediction, and the slide cannot be opened: %s", slide.id, error)
            return f"{absence}; and the slide cannot be opened: {error}"
        if not self.has_any:
            return absence
        return Prediction(
            detections=Detections.concatenate([]),
            slide_size=size,
            slide_mpp=mpp,
            absence=absence,
        )

    def load_heatmap(self, slide: str) -> Heatmap | None:
        """Return the heatmap of a slide; None where there is none that can be used."""
        try:
            return Heatmap.load(self.path / slide / "heatmap.zarr")
        except GigaslideError:
            return None

    def identify_inputs(self, slide: CohortSlide) -> dict[str, Any]:
        """Identities of the files of a slide's prediction, for the recipe."""
        folder = self.path / slide.id
        return {
            "heatmap": identify_file(folder / "heatmap.zarr" / "zarr.json"),
            "detections": identify_file(folder / "detections.csv"),
        }


def _read_folder(slide: CohortSlide, folder: Path, file: SlideFile) -> Prediction:
    if not (folder / "heatmap.zarr").exists():
        raise ScoreError(
            f"no prediction at {slide.id}/heatmap.zarr; predict this slide and evaluate again"
        )
    heatmap = Heatmap.load(folder / "heatmap.zarr")
    detections = Detections.load(folder / "detections.csv")
    names = {heatmap.slide, *detections.slide.tolist()} - {slide.id}
    if names:
        raise ScoreError(
            f"{folder}: holds the prediction of {', '.join(sorted(names))}, not of {slide.id}"
        )
    _check_heatmap(heatmap, folder)
    _check_slide(slide, heatmap, file)
    rows = SlideDetections(
        detections=detections, path=folder / "detections.csv", line=np.arange(len(detections)) + 2
    )
    return Prediction(
        detections=detections,
        heatmap=heatmap,
        slide_size=heatmap.slide_size,
        slide_mpp=heatmap.slide_mpp,
        outside=rows.list_outside(heatmap.slide_size),
    )


def _check_slide(slide: CohortSlide, heatmap: Heatmap, file: SlideFile) -> None:
    """Compare with the slide if it can be opened; scores need no pixels."""
    try:
        scan = file.open(fallback_mpp=heatmap.slide_mpp)
    except SlideError:
        return
    mpp = scan.info.mpp
    if scan.size != heatmap.slide_size or abs(mpp / heatmap.slide_mpp - 1) > SAME_MPP:
        raise ScoreError(
            f"{slide.id}: the heatmap is of a slide of {heatmap.slide_size} px at "
            f"{heatmap.slide_mpp:g} µm/px, but the slide has {scan.size} px at {mpp:g}; predict it "
            "again"
        )


def _check_heatmap(heatmap: Heatmap, folder: Path) -> None:
    if unfinished := heatmap.count(CellStatus.NOT_YET):
        raise ScoreError(
            f"{folder}: the prediction is not finished, {format_count(unfinished, 'cell')} to go; "
            "run predict again"
        )
    probability = heatmap.probability[heatmap.scored]
    if ((probability < 0) | (probability > 1)).any():
        raise ScoreError(
            f"{folder}: the heatmap holds values outside [0, 1]; predict this slide again"
        )
    if not probability.size and heatmap.count(CellStatus.BACKGROUND) < heatmap.status.size:
        raise ScoreError(
            f"{folder}: no cell could be scored, so the slide has no score; predict it again"
        )
