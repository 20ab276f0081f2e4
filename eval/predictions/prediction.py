"""Predictions of a model: folders of heatmaps made by gigaslide, or detections of any program."""

import logging
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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
from ...wsi import CellStatus, Detections, Heatmap, Slide, open_slide
from .detection_files import DetectionFiles, SlideDetections, is_outside, list_csv
from .slide_names import path_of

__all__ = [
    "NO_ROW",
    "GivenDetections",
    "Prediction",
    "Predictions",
    "SlideFile",
    "open_predictions",
]

logger = logging.getLogger(__name__)

NO_ROW = "no row in the table: nothing was found on it"
SAME_MPP = 0.03  # µm/px of a heatmap and its slide may differ by this share


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """Prediction of one slide."""

    detections: Detections
    slide_size: tuple[int, int]
    """(width, height), level-0 px."""
    slide_mpp: float
    heatmap: Heatmap | None = None
    absence: str = ""
    """Reason why there is no prediction that can be used; empty where there is one."""
    outside: tuple[str, ...] = ()
    """File, line and place of each detection outside the slide."""
    notes: tuple[str, ...] = ()

    @property
    def score(self) -> float | None:
        """Highest probability of the heatmap, or without one of the detections on the slide; 0.0
        where nothing was found, None without a prediction."""
        if self.absence:
            return None
        if self.heatmap is not None:
            return self.heatmap.slide_score
        inside = ~is_outside(self.detections, self.slide_size)
        return float(self.detections.probability[inside].max(initial=0.0))


class SlideFile(AbstractContextManager["SlideFile"]):
    """A slide that is opened when it is first needed, at most once, and closed at the end of a
    `with` block."""

    def __init__(self, slide: CohortSlide) -> None:
        self._slide = slide
        self._opened: Slide | SlideError | None = None

    def open(self, *, fallback_mpp: float | None = None) -> Slide:
        """Return the open slide; fallback_mpp is used where neither cohort nor file has µm/px.

        Raises:
            SlideError: it cannot be opened; every call raises the error of the first.
        """
        if self._opened is None:
            slide = self._slide
            try:
                self._opened = open_slide(slide.path, mpp=slide.mpp, fallback_mpp=fallback_mpp)
            except SlideError as error:
                self._opened = error
        if isinstance(self._opened, SlideError):
            raise self._opened
        return self._opened

    def open_if_readable(self) -> Slide | None:
        """Return the open slide, or None where it cannot be opened."""
        try:
            return self.open()
        except SlideError:
            return None

    def find_size(self) -> tuple[tuple[int, int], float]:
        """Return (width, height) in level-0 px and µm/px: of the slide, or of its cohort row where
        it cannot be opened.

        Raises:
            SlideError: it cannot be opened, and the row lacks width, height or mpp; or it has
                another size than its row.
        """
        row = self._slide
        try:
            scan = self.open()
        except SlideError as error:
            if row.size is None or row.mpp is None:
                raise SlideError(
                    f"{error}; or give width, height and mpp in the cohort, which are enough to "
                    "score detections"
                ) from error
            return row.size, row.mpp
        if row.size not in (None, scan.size):
            raise SlideError(
                f"{row.id}: the cohort's width and height are {row.size}, but the slide has "
                f"{scan.size} px; correct them, or leave them empty"
            )
        return scan.size, scan.info.mpp

    def __exit__(self, *_: object) -> None:
        if isinstance(self._opened, Slide):
            self._opened.close()
        self._opened = None


def open_predictions(path: Path, slides: Iterable[CohortSlide]) -> "Predictions":
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
            "heatmap": _identify(folder / "heatmap.zarr" / "zarr.json"),
            "detections": _identify(folder / "detections.csv"),
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


@dataclass(frozen=True)
class GivenDetections:
    """Detections without heatmaps; slides are opened only for their size and µm/px, which the
    cohort may give instead."""

    files: DetectionFiles
    unlisted: tuple[str, ...] = ()
    """Empty: detections of slides that are not listed are refused."""

    def check(self, slides: Sequence[CohortSlide]) -> None:
        """Pass if a table has rows of one of these slides, or no rows at all.

        Raises:
            ScoreError: all rows are of other slides.
        """
        others = self.files.by_slide.keys() - {slide.id for slide in slides}
        if self.files.is_table and others and len(others) == len(self.files.by_slide):
            raise ScoreError(
                f"{self.files.path}: no row of the {len(slides)} slides to evaluate, rows of "
                f"{len(others)} others, the first {next(iter(self.files.by_slide))}; give their "
                "--split, or another table"
            )

    def load(self, slide: CohortSlide, file: SlideFile) -> Prediction:
        size, mpp = file.find_size()
        return self.of_size(slide.id, slide_size=size, slide_mpp=mpp)

    def of_size(self, slide: str, *, slide_size: tuple[int, int], slide_mpp: float) -> Prediction:
        """Return the prediction of a slide whose size is known."""
        found, files = self.files.by_slide.get(slide), self.files
        absence, notes = "", ()
        if found is None and files.is_table:
            notes = (NO_ROW,)
        elif found is None:
            absence = (
                f"no prediction at {files.path / slide}.csv; add it, empty where nothing was found"
            )
        elif found.repeated:
            notes = (f"{found.repeated} of {len(found.detections)} detections repeat another one",)
        return Prediction(
            detections=Detections.concatenate([]) if found is None else found.detections,
            slide_size=slide_size,
            slide_mpp=slide_mpp,
            absence=absence,
            outside=() if found is None else found.list_outside(slide_size),
            notes=notes,
        )

    def load_heatmap(self, slide: str) -> None:
        """Return None: detections have no heatmap."""

    def identify_inputs(self, slide: CohortSlide) -> dict[str, Any]:
        if self.files.is_table:
            return {"detections": _identify(self.files.path)}
        found = self.files.by_slide.get(slide.id)
        return {"detections": None if found is None else _identify(found.path)}


Predictions = HeatmapFolder | GivenDetections
"""Predictions of a cohort, with heatmaps or without."""


def _identify(path: Path) -> dict[str, Any] | None:
    return file_identity(path) if location_exists(path) else None
