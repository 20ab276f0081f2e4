"""An evaluation: figures of a cohort with everything that its report and its files show."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from html import escape
from typing import TYPE_CHECKING, Any

import pandas as pd

from ...storage import format_count
from .. import pn_stage
from ..camelyon16 import OfficialResult, evaluate_official
from ..pn_stage import PatientStages
from ..scoring.exclusions import Exclusion, list_exclusions
from ..scoring.slide_result import SlideResult, SlideStatus, list_models, refuse_misplaced
from ..settings import EvaluateSettings
from ..statistics.bootstrap import Estimate
from ..statistics.figures import Figures, FrocFigures, Subgroup, compute_figures, compute_subgroups
from ..statistics.operating import OperatingPoint, Peaks, find_operating_point
from . import tables
from .drawing import SlidePictures
from .metrics import (
    collect_metrics,
    collect_official,
    count_calls,
    count_cohort,
    list_slides,
    list_subgroups,
)
from .pictures import Crops
from .plots import draw_froc, draw_rocs

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Evaluation", "evaluate_results"]


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Figures of a cohort and the result of each of its slides."""

    figures: Figures
    results: tuple[SlideResult, ...]
    """One a slide, in the cohort's order."""
    settings: EvaluateSettings
    point: OperatingPoint
    """Mistakes from `settings.threshold` on."""
    threshold_origin: str = ""
    """Origin of that threshold."""
    subgroups: tuple[Subgroup, ...] = ()
    official: OfficialResult | None = None
    stages: PatientStages | None = None
    unlisted: tuple[str, ...] = ()
    """Slides with a prediction that are not in the cohort."""
    pictures: Mapping[str, SlidePictures | str] = field(default_factory=dict)
    """By slide id; or the reason why there is no picture."""
    missed_crops: tuple[Crops | str, ...] = ()
    """Crops of the first missed lesions of the operating point; or the reason why there is none."""
    false_positive_crops: tuple[Crops | str, ...] = ()

    @property
    def exit_status(self) -> int:
        """0: every slide is in the figures; 1: none with a prediction is; 2: some are partial,
        excluded or without a prediction, detections lie outside their slides, or the heatmaps are
        of several models."""
        if not any(result.in_figures and result.is_predicted for result in self.results):
            return 1
        good = (SlideStatus.EVALUATED, SlideStatus.NO_TISSUE)
        is_whole = all(result.status in good and not result.outside for result in self.results)
        return 0 if is_whole and len(list_models(self.results)) <= 1 else 2

    @property
    def froc(self) -> FrocFigures:
        """FROC curve, score and sensitivities; other definitions are in `figures.froc`."""
        return self.figures.froc["gigaslide"]

    @property
    def auc(self) -> Estimate:
        """AUC of the slides, by the highest probability on each."""
        return self.figures.slide_auc

    @cached_property
    def exclusions(self) -> list[Exclusion]:
        """Slides, patients, outlines, lesions and detections that figures exclude."""
        stages = () if self.stages is None else self.stages.exclusions
        official = () if self.official is None else self.official.exclusions
        return [*list_exclusions(self.results), *official, *stages]

    @cached_property
    def metrics(self) -> dict[str, Any]:
        """Contents of metrics.json: every figure as plain JSON."""
        results, threshold = self.results, self.settings.threshold
        reasons = {name: one for name, one in self.pictures.items() if isinstance(one, str)}
        excluded = {result.slide.id for result in results if not result.in_figures}
        notes = {n: f"no picture: {why}" for n, why in reasons.items() if n not in excluded}
        return {
            **collect_metrics(self.figures),
            "official": None if self.official is None else collect_official(self.official),
            "pn_stages": None if self.stages is None else self.stages.metrics,
            "subgroups": list_subgroups(self.subgroups),
            "cohort": count_cohort(results, without_picture=len(notes)),
            "operating_point": {
                **self.point.metrics,
                "origin": self.threshold_origin,
                **count_calls(self.point, results),
            },
            "slides": list_slides(results, notes, threshold=threshold),
            "exclusions": [asdict(one) for one in self.exclusions],
            "unlisted_predictions": list(self.unlisted),
            "models": list_models(results),
            "settings": self.settings.model_dump(mode="json"),
            "exit_status": self.exit_status,
        }

    @cached_property
    def tables(self) -> dict[str, pd.DataFrame]:
        """Contents of the CSV files, by name."""
        results, figures, band = self.results, self.figures, self.figures.froc_band
        official = {} if self.official is None else self.official.programs
        curves = {name: one.curve for name, one in {**figures.froc, **official}.items()}
        further: dict[str, Estimate] = {}
        for name, one in official.items():
            rates = zip(one.curve.rates, one.sensitivity, strict=True)
            further[f"froc_{name}"] = one.score
            further |= {f"froc_{name}_at_{rate:g}": value for rate, value in rates}
        columns = list(Exclusion.__annotations__)
        found = {
            "slides": tables.slides_table(self.metrics["slides"]),
            "lesions": tables.lesions_table(results),
            "detections": tables.detections_table(results),
            "missed": self.point.missed_table(),
            "false_positives": self.point.false_positives_table(),
            "exclusions": pd.DataFrame(self.metrics["exclusions"], columns=columns),
            "froc": tables.curves_table(curves, tables.FROC, by="definition"),
            "froc_band": pd.DataFrame(
                {"false_positives_per_slide": band.rates, "low": band.low, "high": band.high}
            ),
            "roc": tables.curves_table(
                {"slide": figures.slide_roc, "patch": figures.patch_roc}, tables.ROC
            ),
            "precision_recall": pd.DataFrame(asdict(figures.slide_precision_recall)),
            "calibration": tables.curves_table(
                {"slide": figures.slide_calibration, "patch": figures.patch_calibration},
                tables.CALIBRATION,
            ),
            "subgroups": tables.subgroups_table(self.subgroups),
        }
        if self.stages is not None:
            found["patients"] = self.stages.table()
            further["stage_kappa"] = self.stages.kappa
        return {**found, "figures": tables.figures_table(figures, further)}

    def operating_point(self, threshold: float) -> OperatingPoint:
        """Find the missed lesions and the false positives at another threshold."""
        return find_operating_point(self.results, threshold=threshold)

    def plot_froc(self) -> "Figure":
        return draw_froc(self.figures, confidence=self.settings.confidence, point=self.point)

    def plot_roc(self) -> "Figure":
        return draw_rocs({"slides": self.figures.slide_roc, "patches": self.figures.patch_roc})

    def _repr_html_(self) -> str:
        figures = self.figures
        shown = {"slide AUC": self.auc}
        shown |= {f"FROC, {name}": one.score for name, one in figures.froc.items()}
        cells = "".join(
            f"<tr><th style='text-align:left'>{escape(name)}</th>"
            f"<td>{escape(_describe(value))}</td></tr>"
            for name, value in shown.items()
        )
        lesions = format_count(figures.countable_lesions, "lesion")
        return (
            f"<table>{cells}</table><p>{figures.tumor_slides} tumour and {figures.normal_slides} "
            f"normal slides, {lesions} (and {figures.itc} of isolated tumour cells); "
            f"{self.settings.confidence:.0%} bootstrap intervals</p>"
        )


def evaluate_results(
    results: Sequence[SlideResult],
    settings: EvaluateSettings,
    *,
    peaks: Mapping[str, Peaks] | None = None,
    predicted_class: Mapping[str, str] | None = None,
) -> Evaluation:
    """Compute everything but the pictures from the results of all slides; peaks in heatmaps and
    predicted classes are by slide id.

    Raises:
        ScoreError: most detections lie outside their slides.
    """
    refuse_misplaced(results)
    stages = None
    if pn_stage.is_asked([result.slide for result in results], settings):
        stages = PatientStages.evaluate(results, predicted_class or {}, settings)
    return Evaluation(
        figures=compute_figures(results, settings),
        results=tuple(results),
        settings=settings,
        point=find_operating_point(results, threshold=settings.threshold, peaks=peaks),
        subgroups=compute_subgroups(results, settings),
        official=evaluate_official(results, settings),
        stages=stages,
    )


def _describe(value: Estimate) -> str:
    if value.value is None:
        return f"not defined: {value.undefined}"
    interval = value.note if value.low is None else f"{value.low:.3f} to {value.high:.3f}"
    return f"{value.value:.3f}" + (f" ({interval})" if interval else "")
