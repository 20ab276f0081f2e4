"""Result of one slide: its score, its detections and patches compared with the truth."""

import logging
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from shapely.geometry import MultiPolygon

from ...cohort import CohortSlide
from ...storage import ScoreError, format_count
from ...wsi import CellStatus, Detections, Heatmap, tumor_fractions, warn_of_unlikely_mpp
from ..predictions.detection_files import is_outside
from ..predictions.prediction import Prediction
from ..settings import UNCHOSEN_THRESHOLD, EvaluateSettings
from ..truth.measures import CLASSES, LesionMeasures
from ..truth.truth import Truth
from .matching import SlideMatches, match_detections

__all__ = [
    "Patches",
    "SlideResult",
    "SlideStatus",
    "list_models",
    "refuse_misplaced",
    "score_slide",
]

logger = logging.getLogger(__name__)

CELLS_AT_ONCE = 50_000  # squares compared with the polygons in one call


class SlideStatus(StrEnum):
    """Status of a slide in an evaluation; those in `IN_FIGURES` are in the figures."""

    EVALUATED = "evaluated"
    PARTIAL = "partial"
    """Evaluated, but some cells were unreadable or the model gave NaN: they have no score."""
    NO_TISSUE = "no tissue"
    NOT_EVALUABLE = "not evaluable"
    """No prediction, and the slide cannot be opened or no slide is predicted."""
    NO_PREDICTION = "no prediction"
    """No prediction that can be used: the slide has no score, but its lesions count as missed, for
    leaving them out would flatter the model."""
    FAILED = "failed"
    """Annotation or slide cannot be used."""
    NO_LABEL = "no label"


IN_FIGURES = (
    SlideStatus.EVALUATED,
    SlideStatus.PARTIAL,
    SlideStatus.NO_TISSUE,
    SlideStatus.NO_PREDICTION,
)


@dataclass(frozen=True, kw_only=True)
class Patches:
    """Scored cells of a slide whose tumour is outlined."""

    probability: np.ndarray
    """(N,) float32."""
    is_tumor: np.ndarray
    """(N,) bool, at least one annotated pixel in the centre square."""
    tumor_not_scored: int
    """Annotated cells without a score: background, unreadable or failed."""


@dataclass(frozen=True, kw_only=True)
class SlideResult:
    """Result of one slide. A field is None where it is unknown; `reason` and `notes` say why."""

    slide: CohortSlide
    status: SlideStatus
    reason: str = ""
    """Reason why the slide is excluded or has no prediction."""
    notes: tuple[str, ...] = ()
    score: float | None = None
    """Slide score; 0.0 on a slide without tissue."""
    is_scored_whole: bool = False
    """The score is what a model gave the slide as a whole, not its highest probability."""
    threshold: float = UNCHOSEN_THRESHOLD
    """Operating point of the model: a slide or detection with at least that probability is called
    tumour."""
    cells: dict[CellStatus, int] | None = None
    """Cells of the heatmap by status."""
    patches: Patches | None = None
    detections: Detections | None = None
    outside: tuple[str, ...] = ()
    """File, line and place of each detection outside the slide; they are false positives."""
    matches: SlideMatches | None = None
    truth: Truth | None = None
    slide_size: tuple[int, int] = (0, 0)
    """(width, height), level-0 px; 0 where unknown."""
    slide_mpp: float = np.nan
    model_hash: str = ""

    @property
    def in_figures(self) -> bool:
        return self.status in IN_FIGURES

    @property
    def is_predicted(self) -> bool:
        """False where the slide is in the figures without a prediction."""
        return self.status != SlideStatus.NO_PREDICTION

    @property
    def is_outlined(self) -> bool:
        """True if all tumour is outlined, so that detections can be scored."""
        if self.truth is not None:
            return not self.truth.unjudged
        return not self.is_tumor or (self.slide.annotation is not None and self.slide.exhaustive)

    @property
    def is_tumor(self) -> bool:
        return self.slide.label == "tumor"

    @property
    def lesions(self) -> LesionMeasures | None:
        """Measures of the lesions; None on a normal slide, and where they are unknown."""
        truth = self.truth
        return None if truth is None or truth.lesions is None else truth.lesions.measures

    @property
    def true_class(self) -> str:
        """Class of the largest lesion, one of `CLASSES`; empty where it is unknown.

        The cohort's column "stage", as CAMELYON17 fills it, overrides the outlines.
        """
        given = self.slide.column("stage").lower()
        if given in CLASSES:
            return given
        if self.slide.label == "normal":
            return CLASSES[0]
        if self.lesions is None:
            return ""
        if self.truth is not None and self.truth.unjudged:  # a larger one may not be outlined
            return CLASSES[-1] if CLASSES[-1] in self.lesions.size else ""
        return max(self.lesions.size.tolist(), key=CLASSES.index, default=CLASSES[0])

    @property
    def unscored_cells(self) -> int:
        """Cells of tissue without a score."""
        without = (CellStatus.UNREADABLE, CellStatus.FAILED, CellStatus.NOT_YET)
        return sum((self.cells or {}).get(status, 0) for status in without)


def list_models(results: Iterable[SlideResult]) -> list[str]:
    """List the hashes of the models whose heatmaps are in the figures."""
    return sorted({r.model_hash for r in results if r.in_figures and r.model_hash})


def refuse_misplaced(results: Iterable[SlideResult]) -> None:
    """Refuse detections that mostly lie outside their slides: other units, or y before x.

    Raises:
        ScoreError: naming the file and line of the first.
    """
    known = [result for result in results if result.detections is not None]
    outside = [where for result in known for where in result.outside]
    detections = sum(len(result.detections or ()) for result in known)
    if 2 * len(outside) > detections:
        raise ScoreError(
            f"{len(outside)} of {detections} detections lie outside their slides, the first at "
            f"{outside[0]}; give level-0 px, x before y"
        )


def score_slide(
    slide: CohortSlide, prediction: Prediction, truth: Truth, settings: EvaluateSettings
) -> SlideResult:
    """Compare a prediction with the truth; no file is opened."""
    heatmap, detections = prediction.heatmap, prediction.detections
    matches = None
    if not truth.unjudged:
        outside = is_outside(detections, prediction.slide_size)
        matches = match_detections(detections, truth.lesions, is_outside=outside)
    patches = None if heatmap is None or truth.unjudged else _patches(heatmap, truth.tumor)
    warn_of_unlikely_mpp(slide.id, prediction.slide_mpp)
    return SlideResult(
        slide=slide,
        status=SlideStatus.NO_PREDICTION if prediction.absence else _status(heatmap),
        reason=prediction.absence,
        notes=tuple(_list_notes(slide, prediction, truth, patches)),
        score=prediction.score,
        is_scored_whole=heatmap is not None and heatmap.whole_slide_score is not None,
        threshold=settings.threshold,
        cells=None if heatmap is None else {status: heatmap.count(status) for status in CellStatus},
        patches=patches,
        detections=detections,
        outside=prediction.outside,
        matches=matches,
        truth=truth,
        slide_size=prediction.slide_size,
        slide_mpp=prediction.slide_mpp,
        model_hash="" if heatmap is None else heatmap.model_hash,
    )


def _list_notes(
    slide: CohortSlide, prediction: Prediction, truth: Truth, patches: Patches | None
) -> list[str]:
    notes = [*prediction.notes, *_describe_unscored(prediction.heatmap), *truth.notes]
    reasons = Counter(outline.reason for outline in truth.excluded)
    notes += [f"{format_count(count, 'outline')} excluded: {why}" for why, count in reasons.items()]
    if patches is not None and not truth.tumor.is_empty and not patches.is_tumor.any():
        notes.append("no outlined tumour on tissue with a probability: its lesions are missed")
        logger.warning("%s: %s; make sure that the annotation is this slide's", slide.id, notes[-1])
    if truth.unjudged:
        notes.append(f"{truth.unjudged}; in the slide figures only")
    if prediction.outside:
        count = format_count(len(prediction.outside), "detection")
        notes.append(f"{count} outside the slide, the first at {prediction.outside[0]}")
        logger.warning("%s: %s; give level-0 px, x before y", slide.id, notes[-1])
    if prediction.absence:
        notes.append(f"{prediction.absence}: it has no score, and its lesions count as missed")
    return notes


def _describe_unscored(heatmap: Heatmap | None) -> list[str]:
    if heatmap is None:
        return []
    unreadable, failed = heatmap.count(CellStatus.UNREADABLE), heatmap.count(CellStatus.FAILED)
    notes = [f"{format_count(unreadable, 'cell')} unreadable"] if unreadable else []
    return notes + ([f"{format_count(failed, 'cell')} where the model gave NaN"] if failed else [])


def _status(heatmap: Heatmap | None) -> SlideStatus:
    if heatmap is None:
        return SlideStatus.EVALUATED
    if _describe_unscored(heatmap):
        return SlideStatus.PARTIAL
    return SlideStatus.EVALUATED if heatmap.scored.any() else SlideStatus.NO_TISSUE


def _patches(heatmap: Heatmap, tumor: MultiPolygon) -> Patches:
    truth = np.zeros(heatmap.status.shape, bool)
    cells = np.argwhere(np.ones(truth.shape, bool))
    for some in np.array_split(cells, max(1, len(cells) // CELLS_AT_ONCE)):
        corners = heatmap.cell_centres(some) - heatmap.centre_level0 / 2
        fractions = tumor_fractions(
            tumor, corners, side_level0=heatmap.centre_level0, side_px=heatmap.centre_px
        )
        truth[tuple(some.T)] = fractions > 0
    return Patches(
        probability=heatmap.probability[heatmap.scored],
        is_tumor=truth[heatmap.scored],
        tumor_not_scored=int((truth & ~heatmap.scored).sum()),
    )
