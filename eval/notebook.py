"""Evaluation in a notebook: detections and truth in, an `Evaluation` out, without a folder."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import shapely
from shapely.geometry import MultiPolygon, Polygon

from ..cohort import Cohort, CohortSlide
from ..storage import AnnotationError, ScoreError, SettingsError
from ..wsi import Detections
from .cohort_evaluation import check_choice, read_truth, slides_to_evaluate
from .predictions.detection_files import DetectionFiles
from .predictions.given_detections import GivenDetections
from .predictions.slide_file import SlideFile
from .predictions.slide_names import path_of
from .report.evaluation import Evaluation, evaluate_results
from .scoring.slide_result import SlideResult, score_slide
from .settings import EvaluateSettings
from .statistics.figures import check_columns
from .truth.mask_lesions import SAME_SHARE, Raster, label_mask
from .truth.measures import LesionRule
from .truth.truth import Truth, TumorMask

__all__ = ["SlideTruth", "evaluate"]

COLUMNS = ("slide", "x", "y", "probability")
MASK_VALUES = (1, 2, 255)


@dataclass(frozen=True, kw_only=True)
class SlideTruth:
    """Truth of one slide, made by hand."""

    size: tuple[int, int]
    """(width, height), level-0 px."""
    mpp: float
    """µm per level-0 px."""
    tumor: Polygon | MultiPolygon | Sequence[Polygon] | np.ndarray | None = None
    """Outlines in level-0 px, or a mask (rows, columns) of the whole slide at any scale, of 0 and
    one of 1, 2 or 255; in a mask with both 1 and 2, 2 is tumour. None: a normal slide."""
    patient: str = ""
    columns: Mapping[str, str] = field(default_factory=dict)
    """Further columns of a cohort, such as scanner, for `settings.subgroups`, and "stage"."""
    is_exhaustive: bool = True
    """True if `tumor` holds all tumour. If not, only the slide's score is evaluated."""


def evaluate(
    detections: Detections | pd.DataFrame | Path | str,
    truth: Cohort | Mapping[str, SlideTruth],
    settings: EvaluateSettings | None = None,
) -> Evaluation:
    """Evaluate detections (level-0 px) against the truth of every slide; a slide without detections
    counts.

    detections is a table with the columns slide, x, y and probability, or a CSV or folder of CSV
    files; truth is a cohort, whose slides of `settings.split` are opened for their size, or a
    `SlideTruth` by slide id. Without settings every slide is taken.

    Raises:
        SettingsError: no slide of that split, no such column for subgroups, or a slide without
            label.
        ScoreError: detections of slides without truth, most of them outside their slides, or with a
            probability outside [0, 1].
        AnnotationError: a mask of other values or another shape, or tumour outside its slide.
    """
    given_settings = settings or EvaluateSettings(split="")
    chosen = given_settings.model_copy(update={"slide_threshold": given_settings.threshold})
    names = (
        {slide.id: path_of(slide.path) for slide in truth}
        if isinstance(truth, Cohort)
        else {name: name for name in truth}
    )
    given = GivenDetections(_read_detections(detections, names))
    if isinstance(truth, Cohort):
        check_choice(truth, chosen)
        pairs = [(slide, None) for slide in slides_to_evaluate(truth, chosen)]
    else:
        pairs = [(_describe_slide(name, known), known) for name, known in truth.items()]
        check_columns((slide for slide, _ in pairs), chosen)
    return evaluate_results([_score(slide, known, given, chosen) for slide, known in pairs], chosen)


def _read_detections(
    given: Detections | pd.DataFrame | Path | str, names: Mapping[str, str]
) -> DetectionFiles:
    if isinstance(given, str | Path):
        return DetectionFiles.load(Path(given), list(names), paths=names)
    if isinstance(given, pd.DataFrame):
        missing = [name for name in COLUMNS if name not in given]
        if missing:
            raise ScoreError(
                f"detections: no column {', '.join(missing)} among "
                f"{', '.join(map(str, given.columns))}; expected {', '.join(COLUMNS)}"
            )
        numbers = {name: given[name].to_numpy(np.float64) for name in COLUMNS[1:]}
        given = Detections(slide=given["slide"].astype(str).to_numpy(object), **numbers)
    return DetectionFiles.of_table(given, list(names), paths=names)


def _describe_slide(name: str, known: SlideTruth) -> CohortSlide:
    return CohortSlide(
        id=name,
        path=Path(name),
        label="normal" if known.tumor is None else "tumor",
        patient=known.patient,
        further=tuple(known.columns.items()),
    )


def _score(
    slide: CohortSlide, known: SlideTruth | None, given: GivenDetections, settings: EvaluateSettings
) -> SlideResult:
    if known is not None:
        prediction = given.of_size(slide.id, slide_size=known.size, slide_mpp=known.mpp)
        truth = _make_truth(known, slide.id, settings)
        if known.tumor is not None and not known.is_exhaustive:
            truth = truth.in_part()
        return score_slide(slide, prediction, truth, settings)
    if not slide.label:
        raise SettingsError(
            f"{slide.id}: the cohort has no label, tumor or normal; fill in its label column"
        )
    with SlideFile(slide) as file:
        prediction = given.load(slide, file)
        truth = read_truth(slide, prediction, file, settings)
    return score_slide(slide, prediction, truth, settings)


def _make_truth(known: SlideTruth, slide: str, settings: EvaluateSettings) -> Truth:
    if known.tumor is None:
        return Truth()
    if isinstance(known.tumor, np.ndarray):
        return _make_truth_of_mask(known.tumor, known, slide, settings)
    parts = known.tumor if isinstance(known.tumor, Sequence) else [known.tumor]
    return Truth.of_outlines(
        MultiPolygon(list(shapely.get_parts(shapely.union_all(parts)))),
        [(f"outline {number}", part) for number, part in enumerate(parts, 1)],
        where=slide,
        slide_size=known.size,
        slide_mpp=known.mpp,
        settings=settings,
    )


def _make_truth_of_mask(
    values: np.ndarray, known: SlideTruth, slide: str, settings: EvaluateSettings
) -> Truth:
    found = [value for value in np.unique(values).tolist() if value]
    if values.ndim != 2 or not set(found) <= set(MASK_VALUES):
        raise AnnotationError(
            f"{slide}: a mask has two dimensions and values of 0, 1, 2 and 255, not {found[:5]}"
        )
    pixel_level0 = known.size[0] / values.shape[1]
    rows = known.size[1] / pixel_level0
    if abs(values.shape[0] - rows) > max(1.0, SAME_SHARE * rows):  # the last row may be missing
        raise AnnotationError(
            f"{slide}: a mask of {known.size[0]} × {known.size[1]} px should have (rows, columns) "
            f"of about ({rows:.0f}, {values.shape[1]}), but has {values.shape}; check that it is "
            "neither transposed nor cut"
        )
    mask = values == found[-1] if found else np.zeros(values.shape, bool)
    raster = Raster(pixel_level0=pixel_level0, pixel_um=pixel_level0 * known.mpp)
    rule = LesionRule(growth_um=settings.growth_um, itc_um=settings.itc_um)
    lesions = label_mask(mask, raster, rule)
    return Truth(lesions=lesions, mask=TumorMask(tumor=mask, pixel_level0=pixel_level0))
