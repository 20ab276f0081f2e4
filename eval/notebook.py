"""The front door for notebooks: detections and truth in, figures and plots out, no folder
needed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import shapely
from shapely.geometry import MultiPolygon, Polygon

from ..cohort import Cohort, CohortSlide
from ..storage import AnnotationError, ScoreError, SettingsError, format_count
from ..wsi import Detections
from .camelyon16 import DOWNSAMPLE, RULE, official_lesions, official_rasters
from .evaluation import check_choice, slides_to_evaluate
from .predictions.detection_files import DetectionFiles
from .predictions.prediction import GivenDetections
from .report import tables
from .report.metrics import metrics_of, subgroup_rows
from .report.plots import draw_froc, draw_roc
from .scoring.exclusions import left_out_table
from .scoring.slide_result import Judgement, judge, refuse_other_frame
from .settings import EvaluateSettings
from .statistics.bootstrap import Estimate
from .statistics.figures import Figures, FrocFigures, figures_of
from .statistics.operating import OperatingPoint, operating_point
from .statistics.subgroups import Subgroup, check_columns, subgroups_of
from .truth.level_mask import SAME_SHARE
from .truth.mask_lesions import Raster, label_lesions
from .truth.measures import LesionRule
from .truth.truth import Truth

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Report", "SlideTruth", "evaluate"]

COLUMNS = ("slide", "x", "y", "probability")
MASK_VALUES = (1, 2, 255)


@dataclass(frozen=True, kw_only=True)
class SlideTruth:
    """What is known of one slide, made by hand."""

    size: tuple[int, int]
    """(width, height), level-0 px."""
    mpp: float
    """µm per level-0 px."""
    tumor: Polygon | MultiPolygon | Sequence[Polygon] | np.ndarray | None = None
    """Outlines in level-0 px, or a mask (rows, columns) of the whole slide at any scale, of 0 and
    one of 1, 2 or 255; in a mask that holds both, 2 is tumour and 1 is not. None: a normal
    slide."""
    patient: str = ""
    columns: Mapping[str, str] = field(default_factory=dict)
    """Further ones of a cohort, such as scanner: for `settings.subgroups`, and "stage"."""
    is_exhaustive: bool = True
    """Whether every tumour is in `tumor`; where not, only the slide's score is judged."""


@dataclass(frozen=True, kw_only=True)
class Report:
    """Figures of detections against truth."""

    figures: Figures
    judgements: tuple[Judgement, ...]
    settings: EvaluateSettings
    subgroups: tuple[Subgroup, ...] = ()

    @property
    def froc(self) -> FrocFigures:
        """The FROC curve, its score and sensitivities by our definition; others in
        `figures.froc`."""
        return self.figures.froc["gigaslide"]

    @property
    def auc(self) -> Estimate:
        """Of the slides, by the highest probability on each."""
        return self.figures.slide_auc

    @cached_property
    def metrics(self) -> dict[str, Any]:
        """Every figure as plain JSON."""
        return {
            **metrics_of(self.figures),
            "subgroups": subgroup_rows(self.subgroups),
            "settings": self.settings.model_dump(mode="json"),
        }

    def table(self) -> pd.DataFrame:
        """Every figure with its intervals, a row each."""
        return tables.figures_table(self.figures).set_index("figure")

    def subgroup_table(self) -> pd.DataFrame:
        """The same for every value of the columns in `settings.subgroups`."""
        return tables.subgroups_table(self.subgroups)

    def lesions(self) -> pd.DataFrame:
        """Every lesion, and whether it was found."""
        return tables.lesions_table(self.judgements)

    def detections(self) -> pd.DataFrame:
        """Every detection with its verdict."""
        return tables.detections_table(self.judgements)

    def left_out(self) -> pd.DataFrame:
        """Slides, patients, outlines and lesions left out of some or all figures, each with its
        reason."""
        return left_out_table(self.judgements)

    def operating_point(self, threshold: float | None = None) -> OperatingPoint:
        """Lesions missed and false positives from a threshold on; by default the one at which
        slides are called."""
        chosen = self.settings.slide_threshold if threshold is None else threshold
        return operating_point(self.judgements, threshold=chosen)

    def plot_froc(self) -> Figure:
        return draw_froc(self.figures, confidence=self.settings.confidence)

    def plot_roc(self) -> Figure:
        return draw_roc(self.figures)

    def _repr_html_(self) -> str:
        figures = self.figures
        rows = [
            ("slide AUC", self.auc),
            *((f"FROC, {name}", one.score) for name, one in figures.froc.items()),
        ]
        cells = "".join(
            f"<tr><th style='text-align:left'>{escape(name)}</th>"
            f"<td>{escape(_words(value))}</td></tr>"
            for name, value in rows
        )
        counts = (
            f"{figures.tumor_slides} tumour and {figures.normal_slides} normal slides, "
            f"{format_count(figures.countable_lesions, 'lesion')} ({figures.itc} more of isolated "
            "tumour cells)"
        )
        return (
            f"<table>{cells}</table><p>{counts}; {self.settings.confidence:.0%} bootstrap "
            "intervals</p>"
        )


def _words(value: Estimate) -> str:
    if value.value is None:
        return f"not defined: {value.undefined}"
    interval = value.note if value.low is None else f"{value.low:.3f} to {value.high:.3f}"
    return f"{value.value:.3f}" + (f" ({interval})" if interval else "")


def evaluate(
    detections: Detections | pd.DataFrame | Path | str,
    truth: Cohort | Mapping[str, SlideTruth],
    settings: EvaluateSettings | None = None,
) -> Report:
    """Score detections (level-0 px) against the truth of every slide; a slide without detections
    counts.

    detections is a table with the columns slide, x, y and probability, or a CSV or folder of CSV
    files; truth is a cohort, whose slides of `settings.split` are opened for their size, or a
    `SlideTruth` by the slide's id. Without settings every slide is taken.

    Raises:
        SettingsError: no slide of that split, no such column for subgroups, or a slide without
        label.
        ScoreError: detections of slides without truth, most of them outside their slides, or with a
        probability outside
            [0, 1].
        AnnotationError: a mask of other values or another shape, or tumour outside its slide.
    """
    chosen = settings or EvaluateSettings(split="")
    ids = [slide.id for slide in truth] if isinstance(truth, Cohort) else list(truth)
    given = GivenDetections(_detections(detections, ids))
    if isinstance(truth, Cohort):
        check_choice(truth, chosen)
        pairs = [(slide, None) for slide in slides_to_evaluate(truth, chosen)]
    else:
        pairs = list(_rows(truth))
        check_columns((slide for slide, _ in pairs), chosen)
    judgements = tuple(_judged(slide, known, given, chosen) for slide, known in pairs)
    refuse_other_frame(judgements)
    return Report(
        figures=figures_of(judgements, chosen),
        judgements=judgements,
        settings=chosen,
        subgroups=subgroups_of(judgements, chosen),
    )


def _detections(
    given: Detections | pd.DataFrame | Path | str, ids: Sequence[str]
) -> DetectionFiles:
    if isinstance(given, str | Path):
        return DetectionFiles.load(Path(given), ids)
    if isinstance(given, pd.DataFrame):
        missing = [name for name in COLUMNS if name not in given]
        if missing:
            raise ScoreError(
                f"detections: no column {', '.join(missing)}; expected {', '.join(COLUMNS)}"
            )
        numbers = {name: given[name].to_numpy(np.float64) for name in COLUMNS[1:]}
        given = Detections(slide=given["slide"].astype(str).to_numpy(object), **numbers)
    return DetectionFiles.of_table(given, ids)


def _rows(truth: Mapping[str, SlideTruth]) -> Iterator[tuple[CohortSlide, SlideTruth]]:
    for name, known in truth.items():
        label = "normal" if known.tumor is None else "tumor"
        further = tuple(known.columns.items())
        yield (
            CohortSlide(
                id=name, path=Path(name), label=label, patient=known.patient, further=further
            ),
            known,
        )


def _judged(
    slide: CohortSlide, known: SlideTruth | None, given: GivenDetections, settings: EvaluateSettings
) -> Judgement:
    if known is not None:
        prediction = given.sized(slide.id, slide_size=known.size, slide_mpp=known.mpp)
        truth = _truth(known, slide.id, settings)
        if known.tumor is not None and not known.is_exhaustive:
            truth = truth.in_part()
        return judge(slide, prediction, truth, settings)
    if not slide.label:
        raise SettingsError(
            f"{slide.id}: the cohort does not say tumor or normal; fill in its label column"
        )
    prediction = given.of(slide)
    truth = Truth.of_slide(
        slide, slide_size=prediction.slide_size, slide_mpp=prediction.slide_mpp, settings=settings
    )
    return judge(slide, prediction, truth, settings)


def _truth(known: SlideTruth, slide: str, settings: EvaluateSettings) -> Truth:
    if known.tumor is None:
        return Truth(tumor=MultiPolygon(), lesions=None)
    if isinstance(known.tumor, np.ndarray):
        return _truth_of_mask(known.tumor, known, slide, settings)
    parts = known.tumor if isinstance(known.tumor, Sequence) else [known.tumor]
    tumor = MultiPolygon(list(shapely.get_parts(shapely.union_all(parts))))
    frame = {"slide_size": known.size, "slide_mpp": known.mpp}
    drawn = [(f"outline {number}", part) for number, part in enumerate(parts, 1)]
    truth = Truth.of_outlines(tumor, drawn, where=slide, settings=settings, **frame)
    return replace(truth, official=official_lesions(tumor, annotation=None, groups={}, **frame))


def _truth_of_mask(
    values: np.ndarray, known: SlideTruth, slide: str, settings: EvaluateSettings
) -> Truth:
    found = [value for value in np.unique(values).tolist() if value]
    if values.ndim != 2 or not set(found) <= set(MASK_VALUES):
        raise AnnotationError(
            f"{slide}: a mask has two dimensions and values of 0, 1, 2 and 255, not {found[:5]}"
        )
    mask = values == found[-1] if found else np.zeros(values.shape, bool)
    pixel = _mask_px(values, known, slide)
    rule = LesionRule(growth_um=settings.growth_um, itc_um=settings.itc_um)
    lesions = label_lesions(mask, Raster(pixel_level0=pixel, pixel_um=pixel * known.mpp), rule)
    if abs(pixel / DOWNSAMPLE - 1) > SAME_SHARE:
        reason = (
            f"its mask has px of {pixel:g} level-0 px, and the official programs read those of "
            f"{DOWNSAMPLE:g}"
        )
        return Truth(tumor=MultiPolygon(), lesions=lesions, no_official=reason)
    rasters = official_rasters(downsample=pixel, mask_mpp=known.mpp)
    return Truth(
        tumor=MultiPolygon(),
        lesions=lesions,
        official={name: label_lesions(mask, raster, RULE) for name, raster in rasters.items()},
    )


def _mask_px(values: np.ndarray, known: SlideTruth, slide: str) -> float:
    """Level-0 px per px of a mask of the whole slide."""
    pixel = known.size[0] / values.shape[1]
    rows = known.size[1] / pixel
    if abs(values.shape[0] - rows) > max(1.0, SAME_SHARE * rows):  # a last row may be there or not
        raise AnnotationError(
            f"{slide}: a mask has (rows, columns) of the whole slide, {known.size[0]} × "
            f"{known.size[1]} px: expected about ({rows:.0f}, {values.shape[1]}), got "
            f"{values.shape}; is it turned over, or cut?"
        )
    return pixel
