"""One slide's prediction held against its truth: reads the files, asks the modules that know the
rules."""

import logging
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

import numpy as np
from shapely.geometry import MultiPolygon

from ...cohort import CohortSlide
from ...storage import ScoreError, format_count
from ...wsi import CellStatus, Detections, Heatmap, tumor_fractions
from ..camelyon16 import OFFICIAL
from ..pn_stage import CLASSES, predicted_class
from ..predictions.detection_files import is_outside
from ..predictions.prediction import Prediction, Predictions
from ..report.drawing import Pictures
from ..settings import EvaluateSettings
from ..truth.mask_lesions import MaskLesions
from ..truth.measures import LesionMeasures
from ..truth.truth import Truth
from .matching import SlideVerdicts, judge_detections

__all__ = [
    "Judgement",
    "JudgementStatus",
    "Patches",
    "judge",
    "judge_slide",
    "models_of",
    "refuse_other_frame",
]

logger = logging.getLogger(__name__)

CELLS_AT_ONCE = 50_000  # squares asked of the polygons in one call


class JudgementStatus(StrEnum):
    """What an evaluation made of a slide; `IN_FIGURES` are in the figures, the others are
    left out."""

    EVALUATED = "evaluated"
    PARTIAL = "partial"
    """Evaluated, but some cells were unreadable or the model gave NaN: they count as not looked at.
    """
    NO_TISSUE = "no tissue"
    MISSING = "missing"
    """No prediction, and the slide cannot be opened, or no slide is predicted: nothing can be said
    of it."""
    ABSENT = "absent"
    """No prediction, or none that can be used: it has no score, but its lesions count as missed,
    for leaving them out would flatter the model, as would a slide without false positives."""
    FAILED = "failed"
    """Annotation or slide cannot be used."""
    NO_LABEL = "no label"


IN_FIGURES = (
    JudgementStatus.EVALUATED,
    JudgementStatus.PARTIAL,
    JudgementStatus.NO_TISSUE,
    JudgementStatus.ABSENT,
)


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
    """Everything an evaluation knows of one slide. What is None could not be known; `reason` and
    `notes` say why."""

    slide: CohortSlide
    status: JudgementStatus
    reason: str = ""
    """Why the slide is left out, or of an absent one why it has no prediction."""
    notes: tuple[str, ...] = ()
    score: float | None = None
    """Slide score; 0.0 on a slide without tissue, None where it is left out or absent."""
    cells: dict[CellStatus, int] | None = None
    patches: Patches | None = None
    detections: Detections | None = None
    outside: tuple[str, ...] = ()
    """Where each detection stands that lies outside the slide: a false positive, and an error to
    official programs."""
    verdicts: SlideVerdicts | None = None
    """By our lesions."""
    official: Mapping[str, SlideVerdicts] = field(default_factory=dict)
    """By the lesions of each official program."""
    truth: Truth | None = None
    """Without the official masks, which would not fit into memory for a whole cohort."""
    predicted_class: str = ""
    """Of the largest predicted lesion, one of `CLASSES`; empty without a heatmap."""
    pictures: Pictures | None = None
    model_hash: str = ""

    @property
    def in_figures(self) -> bool:
        return self.status in IN_FIGURES

    @property
    def is_absent(self) -> bool:
        return self.status == JudgementStatus.ABSENT

    @property
    def is_unjudged(self) -> bool:
        """Whether what is found on it cannot be judged: tumour that is not outlined, or in part."""
        if self.truth is not None:
            return bool(self.truth.unjudged)
        return self.is_tumor and (self.slide.annotation is None or not self.slide.exhaustive)

    @property
    def is_tumor(self) -> bool:
        return self.slide.label == "tumor"

    @property
    def lesions(self) -> LesionMeasures | None:
        """What our lesions measure; None on a normal slide, and where nothing is known."""
        return (
            self.truth.lesions.measures
            if self.truth is not None and self.truth.lesions is not None
            else None
        )

    @property
    def true_class(self) -> str:
        """Of the largest lesion, one of `CLASSES`; empty where it is not known.

        The cohort's column "stage", as CAMELYON17 fills it, goes before what is outlined.
        """
        said = self.slide.column("stage").lower()
        if said in CLASSES:
            return said
        if self.slide.label == "normal":
            return CLASSES[0]
        if self.lesions is None:
            return ""
        if self.truth is not None and self.truth.unjudged:  # a larger one may not be drawn
            return CLASSES[-1] if CLASSES[-1] in self.lesions.size else ""
        return max(self.lesions.size.tolist(), key=CLASSES.index, default=CLASSES[0])

    @property
    def not_looked_at(self) -> int:
        """Cells that should have a score and have none."""
        return sum(
            (self.cells or {}).get(s, 0)
            for s in (CellStatus.UNREADABLE, CellStatus.FAILED, CellStatus.NOT_YET)
        )


def models_of(judgements: Iterable[Judgement]) -> list[str]:
    """The models whose heatmaps are in the figures, by hash: figures of more than one speak of
    none."""
    return sorted({j.model_hash for j in judgements if j.in_figures and j.model_hash})


def refuse_other_frame(judgements: Iterable[Judgement]) -> None:
    """Refuse detections that mostly lie outside their slides: they are not in level-0 px, or y
    stands before x.

    Raises:
        ScoreError: naming the file and line of the first.
    """
    known = [j for j in judgements if j.detections is not None]
    outside = [where for j in known for where in j.outside]
    detections = sum(len(j.detections or ()) for j in known)
    if 2 * len(outside) > detections:
        raise ScoreError(
            f"{len(outside)} of {detections} detections lie outside their slides, the first at "
            f"{outside[0]}; give level-0 px, x before y"
        )


def judge_slide(
    slide: CohortSlide, predictions: Predictions, settings: EvaluateSettings
) -> Judgement:
    """Read and judge one slide.

    Raises:
        GigaslideError: annotation or slide cannot be used, or they contradict each other or the
        cohort.
    """
    prediction = predictions.of(slide)
    if prediction is None:
        return Judgement(
            slide=slide, status=JudgementStatus.MISSING, reason=predictions.why_none(slide)
        )
    if not slide.label:
        reason = "the cohort does not say tumor or normal; fill in its label column"
        return Judgement(slide=slide, status=JudgementStatus.NO_LABEL, reason=reason)
    truth = Truth.of_slide(
        slide, slide_size=prediction.slide_size, slide_mpp=prediction.slide_mpp, settings=settings
    )
    return judge(slide, prediction, truth, settings)


def judge(
    slide: CohortSlide, prediction: Prediction, truth: Truth, settings: EvaluateSettings
) -> Judgement:
    """Hold a prediction against the truth; no file is opened."""
    heatmap, detections = prediction.heatmap, prediction.detections
    is_judged, beyond = not truth.unjudged, is_outside(detections, prediction.slide_size)
    verdicts = judge_detections(detections, truth.lesions, is_outside=beyond) if is_judged else None
    official = {
        name: judge_detections(detections, truth.official.get(name), is_outside=beyond)
        for name in (OFFICIAL if is_judged and not truth.no_official else ())
    }
    notes = [*prediction.notes, *_not_looked_at(heatmap), *truth.notes, *_no_lesions(truth)]
    notes += _of_programs(truth, detections, beyond)
    if not is_judged:
        notes.append(f"{truth.unjudged}; in the slide figures only")
    if prediction.outside:
        notes.append(
            f"{format_count(len(prediction.outside), 'detection')} outside the slide, the first at "
            f"{prediction.outside[0]}"
        )
        logger.warning("%s: %s; give level-0 px, x before y", slide.id, notes[-1])
    if prediction.absence:
        notes.append(f"{prediction.absence}: it has no score, and its lesions count as missed")
    threshold = settings.slide_threshold
    return Judgement(
        slide=slide,
        status=JudgementStatus.ABSENT if prediction.absence else _status(heatmap),
        reason=prediction.absence,
        notes=tuple(notes),
        score=prediction.score,
        cells=None if heatmap is None else {status: heatmap.count(status) for status in CellStatus},
        patches=None if heatmap is None or not is_judged else _patches(heatmap, truth.tumor),
        detections=detections,
        outside=prediction.outside,
        verdicts=verdicts,
        official=official,
        truth=replace(truth, official={}),
        predicted_class="" if heatmap is None else predicted_class(heatmap, threshold=threshold),
        model_hash="" if heatmap is None else heatmap.model_hash,
    )


def _no_lesions(truth: Truth) -> list[str]:
    reasons = Counter(one.reason for one in truth.left_out)
    return [
        f"{format_count(count, 'outline')} left out: {reason}" for reason, count in reasons.items()
    ]


def _of_programs(truth: Truth, detections: Detections, is_outside: np.ndarray) -> list[str]:
    if truth.no_official:
        return [f"in no official score: {truth.no_official}"]
    points, notes = np.stack([detections.x, detections.y], axis=1)[~is_outside], []
    for name, lesions in truth.official.items():
        if (
            count := int(lesions.past_the_end(points).sum())
            if isinstance(lesions, MaskLesions)
            else 0
        ):
            notes.append(
                f"{format_count(count, 'detection')} in the last px: {name} itself would end with "
                "an error, here it takes the last"
            )
    return notes


def _not_looked_at(heatmap: Heatmap | None) -> list[str]:
    if heatmap is None:
        return []
    unreadable, failed = heatmap.count(CellStatus.UNREADABLE), heatmap.count(CellStatus.FAILED)
    notes = [f"{format_count(unreadable, 'cell')} unreadable"] if unreadable else []
    return notes + ([f"{format_count(failed, 'cell')} where the model gave NaN"] if failed else [])


def _status(heatmap: Heatmap | None) -> JudgementStatus:
    if heatmap is None:
        return JudgementStatus.EVALUATED
    if _not_looked_at(heatmap):
        return JudgementStatus.PARTIAL
    return JudgementStatus.EVALUATED if heatmap.scored.any() else JudgementStatus.NO_TISSUE


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
