"""From a cohort and its predictions to a folder with a report: slide by slide, whole or not
at all."""

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from ..cohort import Cohort, CohortSlide
from ..storage import GigaslideError, Recipe, SettingsError, atomic_folder
from .predictions.prediction import Predictions, open_predictions
from .provenance import made_with, slide_inputs
from .report import tables
from .report.cohort_counts import cohort_counts
from .report.command import command_line
from .report.metrics import metrics_of, subgroup_rows
from .report.pictures import Crops, with_pictures
from .report.report import report_html
from .scoring.exclusions import left_out_rows, left_out_table
from .scoring.slide_result import (
    Judgement,
    JudgementStatus,
    judge_slide,
    models_of,
    refuse_other_frame,
)
from .settings import EvaluateSettings
from .statistics.figures import Figures, figures_of
from .statistics.mistakes import Mistakes, calls_at, mistakes_of
from .statistics.operating import OperatingPoint, operating_point
from .statistics.subgroups import Subgroup, check_columns, subgroups_of

__all__ = [
    "Evaluation",
    "check_choice",
    "evaluate_cohort",
    "find_evaluation",
    "judge_cohort",
    "refuse_other_frame",
    "slides_to_evaluate",
]

logger = logging.getLogger(__name__)

STAGE = "evaluate"
METRICS = {
    "patch_auc",
    "slide_auc",
    "froc",
    "figures",
    "cohort",
    "operating_point",
    "left_out",
    "slides",
    "models",
    "settings",
    "exit_status",
}


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Figures of a cohort, and what became of each of its slides."""

    figures: Figures
    judgements: tuple[Judgement, ...]
    """One a slide, in the cohort's order."""

    settings: EvaluateSettings
    mistakes: Mistakes
    subgroups: tuple[Subgroup, ...] = ()
    unlisted: tuple[str, ...] = ()
    """Slides that are predicted and not in the cohort: passed over."""
    crops: Mapping[tuple[str, int], Crops | str] = field(default_factory=dict)
    """Of mistakes, or why there are none: see `with_pictures`."""

    @property
    def exit_status(self) -> int:
        """0: every slide is in the figures; 1: none is, or none is predicted; 2: some are absent,
        partial or left out.

        Also 2: predictions of different models, detections outside their slides.
        """
        if not any(j.in_figures and not j.is_absent for j in self.judgements):
            return 1
        good = (JudgementStatus.EVALUATED, JudgementStatus.NO_TISSUE)
        of_one_model = len(models_of(self.judgements)) <= 1
        return (
            0
            if of_one_model and all(j.status in good and not j.outside for j in self.judgements)
            else 2
        )

    @cached_property
    def operating_point(self) -> OperatingPoint:
        """What is missed and what is false from the threshold on at which slides are called
        tumour."""
        return self.mistakes.point

    @cached_property
    def metrics(self) -> dict[str, Any]:
        """What metrics.json holds."""
        return {
            **metrics_of(self.figures),
            "subgroups": subgroup_rows(self.subgroups),
            "cohort": cohort_counts(self.judgements),
            "operating_point": {
                **self.operating_point.metrics,
                **calls_at(self.operating_point, self.judgements),
            },
            "slides": tables.slide_rows(self.judgements, threshold=self.settings.slide_threshold),
            "left_out": left_out_rows(self.judgements),
            "unlisted_predictions": list(self.unlisted),
            "models": models_of(self.judgements),
            "settings": self.settings.model_dump(mode="json"),
            "exit_status": self.exit_status,
        }

    @cached_property
    def tables(self) -> dict[str, pd.DataFrame]:
        """What the CSV files hold, by name."""
        judgements, figures = self.judgements, self.figures
        return {
            "slides": tables.slides_table(judgements, threshold=self.settings.slide_threshold),
            "lesions": tables.lesions_table(judgements),
            "detections": tables.detections_table(judgements),
            "missed": self.mistakes.missed,
            "false_positives": self.mistakes.false_positives,
            "left_out": left_out_table(judgements),
            "froc": tables.froc_table(figures),
            "froc_band": tables.froc_band_table(figures),
            "roc": tables.roc_table(figures),
            "precision_recall": tables.precision_recall_table(figures),
            "calibration": tables.calibration_table(figures),
            "figures": tables.figures_table(figures),
            "patients": tables.patients_table(figures),
            "subgroups": tables.subgroups_table(self.subgroups),
        }


def evaluate_cohort(
    cohort: Cohort,
    predictions: Path,
    out: Path,
    settings: EvaluateSettings,
    *,
    on_slide: Callable[[str], object] | None = None,
) -> Evaluation:
    """Judge predictions, and write the folder out.

    predictions holds `<slide id>/heatmap.zarr` and `detections.csv`, or anybody's detections as
    CSV: see `open_predictions`. A slide that cannot be judged is left out and listed with its
    reason. on_slide is told each id twice: when it is judged, and when its pictures are drawn.

    Raises:
        SettingsError: no slides of that split, or out holds something else than an evaluation.
        ScoreError: no predictions, or detections that cannot be used or are of slides the cohort
        does not list.
    """
    _check(cohort, out, settings)
    opened = open_predictions(predictions, cohort)
    slides = slides_to_evaluate(cohort, settings)
    judged = judge_cohort(slides, opened, settings, on_slide=on_slide)
    mistakes = mistakes_of(
        judged, opened, operating_point(judged, threshold=settings.slide_threshold)
    )
    judgements, crops = with_pictures(judged, opened, mistakes, settings, on_slide=on_slide)
    evaluation = Evaluation(
        figures=figures_of(judgements, settings),
        judgements=tuple(judgements),
        settings=settings,
        mistakes=mistakes,
        subgroups=subgroups_of(judgements, settings),
        unlisted=opened.unlisted,
        crops=crops,
    )
    recipe = _recipe(slides, opened, settings)
    with atomic_folder(out) as partial:
        _write(
            evaluation,
            recipe,
            command_line("evaluate", [cohort.source, predictions, out], settings),
            partial,
        )
    logger.info(
        "%s: %d of %d slides in the figures",
        out,
        sum(j.in_figures for j in judgements),
        len(judgements),
    )
    return evaluation


def judge_cohort(
    slides: Sequence[CohortSlide],
    predictions: Predictions,
    settings: EvaluateSettings,
    *,
    on_slide: Callable[[str], object] | None = None,
) -> list[Judgement]:
    """Each slide judged; one that cannot be is left out, with its reason.

    Raises:
        ScoreError: the predictions are of other slides, or most detections lie outside their
        slides.
    """
    predictions.check(slides)
    judgements = []
    for slide in slides:
        judgements.append(_tried(slide, predictions, settings))
        if on_slide is not None:
            on_slide(slide.id)
    refuse_other_frame(judgements)
    return judgements


def find_evaluation(
    cohort: Cohort, predictions: Path, out: Path, settings: EvaluateSettings
) -> dict[str, Any] | None:
    """The metrics in out that `evaluate_cohort` would only repeat; None where there is no whole
    evaluation."""
    found = Recipe.load(out / "recipe.json")
    if found is None or found.differences(
        _recipe(
            slides_to_evaluate(cohort, settings), open_predictions(predictions, cohort), settings
        )
    ):
        return None
    try:
        metrics = json.loads((out / "metrics.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        logger.warning("%s: made again: metrics.json cannot be read: %s", out, error)
        return None
    report = out / "report.html"
    is_whole = (
        isinstance(metrics, dict)
        and metrics.keys() >= METRICS
        and report.is_file()
        and report.stat().st_size
    )
    return metrics if is_whole else None


def slides_to_evaluate(cohort: Cohort, settings: EvaluateSettings) -> list[CohortSlide]:
    """The slides of the split; in a cohort without splits, or if none is asked for, every slide."""
    return [
        s
        for s in cohort
        if not settings.split or not cohort.has_splits or s.split == settings.split
    ]


def check_choice(cohort: Cohort, settings: EvaluateSettings) -> None:
    """Refuse a split that no slide has, and subgroups by columns that the cohort has not.

    Raises:
        SettingsError: naming those there are.
    """
    if not slides_to_evaluate(cohort, settings):
        found = ", ".join(sorted({s.split or "(none)" for s in cohort}))
        raise SettingsError(
            f"no slide of the cohort has split {settings.split!r}; there are {found}; an empty "
            "split takes every slide"
        )
    check_columns(cohort, settings)


def _check(cohort: Cohort, out: Path, settings: EvaluateSettings) -> None:
    check_choice(cohort, settings)
    # The folder is replaced as a whole, so it must be ours.
    if out.exists() and not (out.is_dir() and (not any(out.iterdir()) or _is_ours(out))):
        raise SettingsError(f"{out}: holds something else than an evaluation; give a new folder")


def _is_ours(out: Path) -> bool:
    recipe = Recipe.load(out / "recipe.json")
    return recipe is not None and recipe.stage == STAGE


def _tried(slide: CohortSlide, predictions: Predictions, settings: EvaluateSettings) -> Judgement:
    try:
        return judge_slide(slide, predictions, settings)
    except GigaslideError as error:
        logger.warning("%s: left out: %s", slide.id, error)
        reason = str(error)
    except Exception as error:  # a fault of ours must not cost the other slides
        logger.exception("%s: left out", slide.id)
        reason = f"{type(error).__name__}: {error}"
    return Judgement(slide=slide, status=JudgementStatus.FAILED, reason=reason)


def _recipe(
    slides: list[CohortSlide], predictions: Predictions, settings: EvaluateSettings
) -> Recipe:
    return Recipe(
        stage=STAGE,
        settings=settings.model_dump(mode="json"),
        inputs={slide.id: {**slide_inputs(slide), **predictions.inputs(slide)} for slide in slides},
        made_with=made_with(),
    )


def _write(evaluation: Evaluation, recipe: Recipe, command: str, folder: Path) -> None:
    for name, table in evaluation.tables.items():
        _save(table, folder / f"{name}.csv")
    text = json.dumps(evaluation.metrics, indent=1, ensure_ascii=False, allow_nan=False)
    (folder / "metrics.json").write_text(text, encoding="utf-8")
    (folder / "report.html").write_text(
        report_html(evaluation, made_with=recipe.made_with, command=command), encoding="utf-8"
    )
    recipe.save(folder / "recipe.json")


def _save(table: pd.DataFrame, path: Path) -> None:
    table.to_csv(path, index=False, lineterminator="\n")
