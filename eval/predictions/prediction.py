"""What a model says of a slide, wherever it stands: in our folders of heatmaps, or in anybody's
files of detections."""

import logging
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from ...cohort import CohortSlide
from ...storage import (
    GigaslideError,
    ScoreError,
    SlideError,
    file_identity,
    format_count,
    location_exists,
)
from ...wsi import CellStatus, Detections, Heatmap, open_slide
from .detection_files import DetectionFiles, SlideDetections, csv_names, is_outside

__all__ = ["NO_ROW", "GivenDetections", "Prediction", "Predictions", "open_predictions"]

logger = logging.getLogger(__name__)

NO_ROW = "no row in the table: nothing was found on it"
SAME_MPP = 0.03  # heatmap and slide may differ by this much in µm/px


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """Of one slide."""

    detections: Detections
    slide_size: tuple[int, int]
    """(width, height), level-0 px."""
    slide_mpp: float
    heatmap: Heatmap | None = None
    absence: str = ""
    """Why there is no prediction, or none that can be used; empty where there is one."""
    outside: tuple[str, ...] = ()
    """Where each detection stands (file, line, place) that lies outside the slide."""
    notes: tuple[str, ...] = ()
    """What else is to be said of it."""

    @property
    def score(self) -> float | None:
        """The highest probability: of the heatmap, or where there is none of detections on the
        slide; 0.0 of nothing.

        None without a prediction: nothing was found only where something was looked at.
        """
        if self.absence:
            return None
        if self.heatmap is not None:
            return self.heatmap.slide_score
        inside = ~is_outside(self.detections, self.slide_size)
        return float(self.detections.probability[inside].max(initial=0.0))


class Predictions(Protocol):
    """Of a cohort."""

    @property
    def unlisted(self) -> tuple[str, ...]:
        """Names of slides that are predicted and not in the cohort."""
        ...

    def check(self, slides: Sequence[CohortSlide]) -> None:
        """Pass if these slides can be evaluated.

        Raises:
            ScoreError: it speaks of other slides only.
        """
        ...

    def of(self, slide: CohortSlide) -> Prediction | None:
        """None where nothing can be said, see `why_none`; one that cannot be used is absent, and
        says why.

        Raises:
            GigaslideError: the slide cannot be used.
        """
        ...

    def why_none(self, slide: CohortSlide) -> str:
        """Why `of` gives none for a slide for which it does."""
        ...

    def inputs(self, slide: CohortSlide) -> dict[str, Any]:
        """Which files it is read from, for the recipe."""
        ...


def open_predictions(path: Path, slides: Iterable[CohortSlide]) -> Predictions:
    """A folder made by `gigaslide predict`, a folder of CSV files (a slide each), or one table of
    detections.

    Heatmaps of slides that are not listed are passed over, and said.

    Raises:
        ScoreError: nothing of the kind, a line that cannot be used, or detections of slides that
        are not listed.
    """
    if path.is_file():
        return GivenDetections(DetectionFiles.load(path, [slide.id for slide in slides]))
    if not path.is_dir():
        raise ScoreError(f"{path}: no such folder of predictions; predict the slides first")
    of_predict = (path / "summary.csv").is_file() or any(path.glob("*/heatmap.zarr"))
    if csv_names(path) and not of_predict:
        return GivenDetections(DetectionFiles.load(path, [slide.id for slide in slides]))
    if not of_predict:
        found = Counter(place.suffix or "folders" for place in path.iterdir())
        there = (
            ", ".join(f"{count} {suffix}" for suffix, count in found.most_common(3)) or "nothing"
        )
        raise ScoreError(
            f"{path}: holds no CSV files of detections (p,x,y) and no heatmaps of gigaslide "
            f"predict, but {there}; give the folder in which they lie"
        )
    predicted = {folder.parent.name for folder in path.glob("*/heatmap.zarr")}
    unlisted = tuple(sorted(predicted - {slide.id for slide in slides}))
    if unlisted:
        logger.warning(
            "%s: %d slides are predicted that the cohort does not list: %s",
            path,
            len(unlisted),
            unlisted,
        )
    return _OfHeatmaps(path, unlisted=unlisted, has_any=bool(predicted))


def _identity(path: Path) -> dict[str, Any] | None:
    return file_identity(path) if location_exists(path) else None


@dataclass(frozen=True)
class _OfHeatmaps:
    path: Path
    unlisted: tuple[str, ...] = ()
    has_any: bool = True
    """Whether any slide is predicted; where none is, nothing was tried."""

    def check(self, slides: Sequence[CohortSlide]) -> None:
        """A slide without a heatmap is absent, and says so by itself."""

    def of(self, slide: CohortSlide) -> Prediction | None:
        found, absence = self._found(slide)
        if found is not None or not self.has_any:
            return found
        try:
            size, mpp = _frame(slide)
        except SlideError as error:
            logger.warning("%s: no prediction, and cannot be opened: %s", slide.id, error)
            return None
        return Prediction(
            detections=Detections.concatenate([]), slide_size=size, slide_mpp=mpp, absence=absence
        )

    def why_none(self, slide: CohortSlide) -> str:
        _, absence = self._found(slide)
        try:
            _frame(slide)
        except SlideError as error:
            return f"{absence}; and the slide cannot be opened: {error}"
        return absence

    def _found(self, slide: CohortSlide) -> tuple[Prediction | None, str]:
        """The prediction, or why there is none that can be used."""
        if Path(slide.id).name != slide.id:
            raise ScoreError(
                f"{slide.id!r} is no name of a slide's folder in {self.path}; make the cohort from "
                "its CSV"
            )
        folder = self.path / slide.id
        if not (folder / "heatmap.zarr").exists():
            return (
                None,
                f"no prediction at {slide.id}/heatmap.zarr; predict this slide and evaluate again",
            )
        try:
            return _read(slide, folder), ""
        except GigaslideError as error:
            return None, str(error)

    def inputs(self, slide: CohortSlide) -> dict[str, Any]:
        folder = self.path / slide.id
        read = {
            "heatmap": folder / "heatmap.zarr" / "zarr.json",
            "detections": folder / "detections.csv",
        }
        return {name: _identity(path) for name, path in read.items()}


def _frame(
    slide: CohortSlide, *, fallback_mpp: float | None = None
) -> tuple[tuple[int, int], float]:
    """(width, height) in level-0 px, and µm per level-0 px."""
    with open_slide(slide.path, mpp=slide.mpp, fallback_mpp=fallback_mpp) as scan:
        return scan.size, scan.info.mpp


def _read(slide: CohortSlide, folder: Path) -> Prediction:
    heatmap = Heatmap.load(folder / "heatmap.zarr")
    detections = Detections.load(folder / "detections.csv")
    names = {heatmap.slide, *detections.slide.tolist()} - {slide.id}
    if names:
        raise ScoreError(
            f"{folder}: holds the prediction of {', '.join(sorted(names))}, not of {slide.id}"
        )
    _check_heatmap(heatmap, folder)
    _check_if_of_this(slide, heatmap)
    of_file = SlideDetections(
        detections=detections, path=folder / "detections.csv", line=np.arange(len(detections)) + 2
    )
    return Prediction(
        detections=detections,
        heatmap=heatmap,
        slide_size=heatmap.slide_size,
        slide_mpp=heatmap.slide_mpp,
        outside=of_file.outside(heatmap.slide_size),
    )


def _check_if_of_this(slide: CohortSlide, heatmap: Heatmap) -> None:
    """Only where the slide is at hand: figures need no pixels."""
    try:
        size, mpp = _frame(slide, fallback_mpp=heatmap.slide_mpp)
    except SlideError:
        return
    if size != heatmap.slide_size or abs(mpp / heatmap.slide_mpp - 1) > SAME_MPP:
        raise ScoreError(
            f"{slide.id}: the heatmap is of a slide of {heatmap.slide_size} px at "
            f"{heatmap.slide_mpp:g} µm/px, but the slide has {size} px at {mpp:g}; predict it again"
        )


def _check_heatmap(heatmap: Heatmap, folder: Path) -> None:
    if unfinished := heatmap.count(CellStatus.NOT_YET):
        raise ScoreError(
            f"{folder}: the prediction is not finished, {format_count(unfinished, 'cell')} to go; "
            "resume it"
        )
    scored = heatmap.probability[heatmap.scored]
    if ((scored < 0) | (scored > 1)).any():
        raise ScoreError(
            f"{folder}: the heatmap holds values outside [0, 1]; predict this slide again"
        )
    if not scored.size and heatmap.count(CellStatus.BACKGROUND) < heatmap.status.size:
        raise ScoreError(
            f"{folder}: no cell could be scored, so the slide has no score; predict it again"
        )


@dataclass(frozen=True)
class GivenDetections:
    """Detections without heatmaps, of slides that are opened only for their size and µm/px."""

    files: DetectionFiles
    unlisted: tuple[str, ...] = ()
    """None ever: files of detections for them are refused."""

    def check(self, slides: Sequence[CohortSlide]) -> None:
        self.files.refuse_if_of_others([slide.id for slide in slides])

    def of(self, slide: CohortSlide) -> Prediction:
        size, mpp = _frame(slide)
        return self.sized(slide.id, slide_size=size, slide_mpp=mpp)

    def why_none(self, slide: CohortSlide) -> str:
        return ""  # there is always one, though it be absent

    def sized(self, slide: str, *, slide_size: tuple[int, int], slide_mpp: float) -> Prediction:
        """Of a slide whose size is known."""
        found = self.files.by_slide.get(slide)
        if found is None:
            absence = (
                f"no prediction at {self.files.path / slide}.csv; add it, empty where nothing was "
                "found"
            )
            return Prediction(
                detections=Detections.concatenate([]),
                slide_size=slide_size,
                slide_mpp=slide_mpp,
                absence="" if self.files.is_table else absence,
                notes=(NO_ROW,) if self.files.is_table else (),
            )
        twice = (
            f"{found.repeated} of {len(found.detections)} detections say what another one says; "
            "all count"
        )
        return Prediction(
            detections=found.detections,
            slide_size=slide_size,
            slide_mpp=slide_mpp,
            outside=found.outside(slide_size),
            notes=(twice,) if found.repeated else (),
        )

    def inputs(self, slide: CohortSlide) -> dict[str, Any]:
        if self.files.is_table:
            return {"detections": _identity(self.files.path)}
        found = self.files.by_slide.get(slide.id)
        return {"detections": None if found is None else _identity(found.path)}
