"""One slide's prediction held against its truth: reads the files, asks the modules that know the rules."""

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import numpy as np
from shapely.geometry import MultiPolygon

from ..wsi import (
    CellStatus,
    CohortSlide,
    Detections,
    Heatmap,
    Overview,
    ScoreError,
    SlideError,
    open_slide,
    tumor_fractions,
)
from .lesions import LesionMeasures
from .pictures import Pictures, slide_pictures
from .settings import EvaluateSettings
from .truth import Truth
from .verdicts import SlideVerdicts, judge_detections

__all__ = ["Judgement", "JudgementStatus", "Patches", "judge_slide", "models_of"]

logger = logging.getLogger(__name__)

CELLS_AT_ONCE = 50_000  # squares asked of the polygons in one call
SAME_MPP = 0.03  # heatmap and slide may differ by this much in µm/px


class JudgementStatus(StrEnum):
    """What an evaluation made of a slide. The first three are in the figures, the others are left out."""

    EVALUATED = "evaluated"
    PARTIAL = "partial"
    """Evaluated, but some cells were unreadable or the model gave NaN: they count as not looked at."""
    NO_TISSUE = "no tissue"
    MISSING = "missing"
    """No prediction."""
    FAILED = "failed"
    """Prediction, annotation or slide cannot be used."""
    NO_LABEL = "no label"


IN_FIGURES = (JudgementStatus.EVALUATED, JudgementStatus.PARTIAL, JudgementStatus.NO_TISSUE)


@dataclass(frozen=True, kw_only=True)
class Patches:
    """The scored cells of a slide whose truth is known."""

    probability: np.ndarray
    """(N,) float32."""
    is_tumor: np.ndarray
    """(N,) bool, at least one annotated pixel in the centre square."""
    tumor_not_scored: int
    """Annotated cells without a score: background, unreadable or failed."""


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """Everything an evaluation knows of one slide. What is None could not be known; `reason` and `notes` say why."""

    slide: CohortSlide
    status: JudgementStatus
    reason: str = ""
    """Why the slide is left out."""
    notes: tuple[str, ...] = ()
    score: float | None = None
    """Slide score; 0.0 on a slide without tissue, None where it is left out."""
    cells: dict[CellStatus, int] | None = None
    patches: Patches | None = None
    detections: Detections | None = None
    verdicts: SlideVerdicts | None = None
    lesions: LesionMeasures | None = None
    pictures: Pictures | None = None
    model_hash: str = ""

    @property
    def in_figures(self) -> bool:
        return self.status in IN_FIGURES

    @property
    def is_tumor(self) -> bool:
        return self.slide.label == "tumor"

    @property
    def not_looked_at(self) -> int:
        """Cells that should have a score and have none."""
        return sum((self.cells or {}).get(s, 0) for s in (CellStatus.UNREADABLE, CellStatus.FAILED, CellStatus.NOT_YET))


def models_of(judgements: Iterable[Judgement]) -> list[str]:
    """The models whose heatmaps are in the figures, by hash: figures of more than one speak of none."""
    return sorted({j.model_hash for j in judgements if j.in_figures})


def judge_slide(slide: CohortSlide, predictions: Path, settings: EvaluateSettings) -> Judgement:
    """Read and judge one slide.

    Raises:
        GigaslideError: prediction or annotation cannot be used, or they contradict each other or the cohort.
    """
    folder = predictions / slide.id
    if not (folder / "heatmap.zarr").exists():
        reason = f"no prediction at {slide.id}/heatmap.zarr; predict this slide and evaluate again"
        return Judgement(slide=slide, status=JudgementStatus.MISSING, reason=reason)
    if not slide.label:
        reason = "the cohort does not say tumor or normal; fill in its label column"
        return Judgement(slide=slide, status=JudgementStatus.NO_LABEL, reason=reason)
    heatmap, detections = _load_prediction(folder, slide)
    truth = Truth.of_slide(slide, slide_size=heatmap.slide_size, slide_mpp=heatmap.slide_mpp, settings=settings)
    verdicts = judge_detections(detections, truth.lesions) if truth.is_outlined else None
    pictures, trouble = _pictures(slide, heatmap, truth, detections, verdicts, picture_px=settings.picture_px)
    unlined = "" if truth.is_outlined else "tumour is not outlined: in the slide figures only"
    return Judgement(
        slide=slide,
        status=_status(heatmap),
        notes=tuple(note for note in (*_not_looked_at(heatmap), unlined, trouble) if note),
        score=heatmap.slide_score,
        cells={status: heatmap.count(status) for status in CellStatus},
        patches=_patches(heatmap, truth.tumor) if truth.is_outlined else None,
        detections=detections,
        verdicts=verdicts,
        lesions=truth.lesions.measures if truth.lesions else None,
        pictures=pictures,
        model_hash=heatmap.model_hash,
    )


def _load_prediction(folder: Path, slide: CohortSlide) -> tuple[Heatmap, Detections]:
    heatmap = Heatmap.load(folder / "heatmap.zarr")
    detections = Detections.load(folder / "detections.csv")
    names = {heatmap.slide, *detections.slide.tolist()} - {slide.id}
    if names:
        raise ScoreError(f"{folder}: holds the prediction of {', '.join(sorted(names))}, not of {slide.id}")
    if unfinished := heatmap.count(CellStatus.NOT_YET):
        raise ScoreError(f"{folder}: the prediction is not finished, {unfinished} cells to go; resume it")
    scored = heatmap.probability[heatmap.scored]
    if ((scored < 0) | (scored > 1)).any():
        raise ScoreError(f"{folder}: the heatmap holds values outside [0, 1]; predict this slide again")
    if not scored.size and heatmap.count(CellStatus.BACKGROUND) < heatmap.status.size:
        raise ScoreError(f"{folder}: no cell could be scored, so the slide has no score; predict it again")
    return heatmap, detections


def _pictures(
    slide: CohortSlide,
    heatmap: Heatmap,
    truth: Truth,
    detections: Detections,
    verdicts: SlideVerdicts | None,
    *,
    picture_px: int,
) -> tuple[Pictures | None, str]:
    """The pictures, or why there are none: the figures need no pixels."""
    try:
        overview = _overview(slide, heatmap, picture_px=picture_px)
    except SlideError as error:
        logger.warning("%s: no picture: %s", slide.id, error)
        return None, f"no picture: {error}"
    pictures = slide_pictures(
        overview, heatmap=heatmap, truth=truth, detections=detections, verdicts=verdicts, picture_px=picture_px
    )
    return pictures, ""


def _overview(slide: CohortSlide, heatmap: Heatmap, *, picture_px: int) -> Overview:
    with open_slide(slide.path, mpp=slide.mpp, fallback_mpp=heatmap.slide_mpp) as scan:
        if scan.size != heatmap.slide_size or abs(scan.info.mpp / heatmap.slide_mpp - 1) > SAME_MPP:
            raise ScoreError(
                f"{slide.id}: the heatmap is of a slide of {heatmap.slide_size} px at {heatmap.slide_mpp:g} µm/px, "
                f"but the slide has {scan.size} px at {scan.info.mpp:g}; predict it again"
            )
        return scan.overview(scan.info.mpp * max(scan.size) / picture_px)


def _not_looked_at(heatmap: Heatmap) -> list[str]:
    unreadable, failed = heatmap.count(CellStatus.UNREADABLE), heatmap.count(CellStatus.FAILED)
    notes = [f"{unreadable} cells unreadable"] if unreadable else []
    return notes + ([f"{failed} cells where the model gave NaN"] if failed else [])


def _status(heatmap: Heatmap) -> JudgementStatus:
    if _not_looked_at(heatmap):
        return JudgementStatus.PARTIAL
    return JudgementStatus.EVALUATED if heatmap.scored.any() else JudgementStatus.NO_TISSUE


def _patches(heatmap: Heatmap, tumor: MultiPolygon) -> Patches:
    truth = np.zeros(heatmap.status.shape, bool)
    cells = np.argwhere(np.ones(truth.shape, bool))
    for some in np.array_split(cells, max(1, len(cells) // CELLS_AT_ONCE)):
        corners = heatmap.cell_centres(some) - heatmap.centre_level0 / 2
        fractions = tumor_fractions(tumor, corners, side_level0=heatmap.centre_level0, side_px=heatmap.centre_px)
        truth[tuple(some.T)] = fractions > 0
    return Patches(
        probability=heatmap.probability[heatmap.scored],
        is_tumor=truth[heatmap.scored],
        tumor_not_scored=int((truth & ~heatmap.scored).sum()),
    )
