"""Comparison of several models on one cohort, each with the first, into a folder with a page."""

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from ..cohort import Cohort, CohortSlide
from ..storage import Output, Recipe, SettingsError
from .cohort_evaluation import score_file, slides_to_evaluate
from .predictions.open_predictions import Predictions, open_predictions
from .predictions.slide_file import SlideFile
from .predictions.threshold import OperatingThreshold, find_threshold
from .report.drawing import SlidePictures
from .report.page import ModelCurves, comparison_html
from .report.pictures import draw_slide, try_to_draw
from .report.provenance import format_command, identify_slide, list_versions
from .report.tables import FROC, ROC, curves_table
from .scoring.slide_result import SlideResult, refuse_misplaced
from .settings import EvaluateSettings
from .statistics.agreement import HeatmapAgreement, measure_agreement
from .statistics.comparison import (
    ModelComparison,
    adjust_for_models,
    compare,
    list_disagreements,
)
from .statistics.froc import OURS, froc_curve
from .statistics.resampled import pool_matches, pool_scores
from .statistics.scores import roc_curve
from .statistics.seconds import Seconds, compare_seconds

__all__ = ["compare_cohort", "compare_heatmaps"]

logger = logging.getLogger(__name__)

PICTURED = 12  # slides that models disagree on
PICTURE_BYTES = 100_000


@dataclass(frozen=True, kw_only=True)
class _Models:
    """Predictions and results of each model, by name."""

    paths: Mapping[str, Path]
    opened: Mapping[str, Predictions]
    thresholds: Mapping[str, OperatingThreshold]
    scored: Mapping[str, Sequence[SlideResult]]

    def curves(self, shared: Sequence[str], settings: EvaluateSettings) -> dict[str, ModelCurves]:
        """Curves of each model; shared slides have a score of every model."""
        by_all = set.intersection(
            *({r.slide.id for r in results if r.in_figures} for results in self.scored.values())
        )
        curves = {}
        for name, results in self.scored.items():
            matches, _ = pool_matches([r for r in results if r.slide.id in by_all])
            scores = pool_scores([r for r in results if r.slide.id in set(shared)])
            curves[name] = ModelCurves(
                roc=roc_curve(*scores, noun="slides"),
                froc=froc_curve(matches, OURS, rates=settings.false_positives_per_slide),
                has_heatmaps=any(r.cells is not None for r in results),
            )
        return curves

    def compare(self, first: str, other: str, settings: EvaluateSettings) -> ModelComparison:
        """Compare two models: figures, heatmaps, and the time that they took."""
        results = self.scored[first]
        slides = [result.slide.id for result in results if result.in_figures]
        one, two = self.opened[first], self.opened[other]
        pairs = ((one.load_heatmap(slide), two.load_heatmap(slide)) for slide in slides)
        return replace(
            compare(results, self.scored[other], settings, names=(first, other)),
            heatmaps=measure_agreement((a, b) for a, b in pairs if a and b),
            seconds=compare_seconds(self.paths[first], self.paths[other]),
        )

    def draw(self, slide: str, settings: EvaluateSettings) -> dict[str, SlidePictures]:
        """Pictures of one slide, by model; without those that cannot be drawn."""
        found = try_to_draw(slide, lambda: self._draw(slide, settings))
        return {} if isinstance(found, str) else found

    def _draw(self, slide: str, settings: EvaluateSettings) -> dict[str, SlidePictures]:
        by_name = {
            name: next(result for result in results if result.slide.id == slide)
            for name, results in self.scored.items()
        }
        row, drawn = next(iter(by_name.values())).slide, {}
        with SlideFile(row) as file:
            found = {name: one.load(row, file) for name, one in self.opened.items()}
            predicted = {name: one for name, one in found.items() if not isinstance(one, str)}
            scan = file.open()
            overview = scan.overview(scan.info.mpp * max(scan.size) / settings.picture_px)
        for name, result in by_name.items():
            prediction = predicted.get(name)
            drawn[name] = try_to_draw(
                f"{slide}, {name}",
                partial(
                    draw_slide,
                    overview,
                    result,
                    prediction,
                    self.thresholds[name].apply(settings),
                    most_bytes=PICTURE_BYTES,
                ),
            )
        return {name: one for name, one in drawn.items() if not isinstance(one, str)}


def compare_cohort(
    cohort: Cohort,
    predictions: Sequence[Path],
    out: Path,
    settings: EvaluateSettings,
    *,
    on_slide: Callable[[str], object] | None = None,
) -> list[ModelComparison]:
    """Score several sets of predictions of a cohort, compare each with the first, and write the
    folder out.

    The folder holds `compare.html`, `comparison.json`, and CSV tables of the differences, the
    curves and the slides that models disagree on. on_slide receives a slide's id once per set.

    Raises:
        SettingsError: fewer than two sets, no slides of that split, or out holds something else
            than a comparison.
        ScoreError: predictions that cannot be used, or no slide that two models can both be scored
            on.
    """
    slides = _find_slides(cohort, predictions, settings)
    paths = dict(zip(_name_models(predictions), predictions, strict=True))
    opened = {name: open_predictions(path, cohort) for name, path in paths.items()}
    thresholds = {name: find_threshold(path, settings) for name, path in paths.items()}
    recipe = _make_recipe(slides, predictions, opened, thresholds, settings)
    output = Output(location=out, recipe=recipe)
    output.refuse_foreign()
    for one in opened.values():
        one.check(slides)
    models = _Models(
        paths=paths,
        opened=opened,
        thresholds=thresholds,
        scored=_score_slides(slides, opened, thresholds, settings, on_slide),
    )
    first, *others = paths
    further = [word for path in predictions[2:] for word in ("--further", str(path))]
    command = format_command("compare", [cohort.source, *predictions[:2], out], settings, further)
    found = adjust_for_models([models.compare(first, other, settings) for other in others])
    with output.write() as folder:
        _write(found, models, settings, command, Path(folder))
    logger.info("%s: %d models compared", out, len(paths))
    return found


def _find_slides(
    cohort: Cohort, predictions: Sequence[Path], settings: EvaluateSettings
) -> list[CohortSlide]:
    slides = slides_to_evaluate(cohort, settings)
    if not slides:
        raise SettingsError(
            f"no slide of the cohort has split {settings.split!r}; an empty split takes every slide"
        )
    if len(predictions) < 2:
        raise SettingsError(f"{len(predictions)} set of predictions: give at least two to compare")
    return slides


def _score_slides(
    slides: Sequence[CohortSlide],
    opened: Mapping[str, Predictions],
    thresholds: Mapping[str, OperatingThreshold],
    settings: EvaluateSettings,
    on_slide: Callable[[str], object] | None,
) -> dict[str, list[SlideResult]]:
    """Results of each model, by name; each slide is opened once."""
    scored: dict[str, list[SlideResult]] = {name: [] for name in opened}
    for slide in slides:
        with SlideFile(slide) as file:
            for name, one in opened.items():
                own = thresholds[name].apply(settings)
                scored[name].append(score_file(slide, one, file, own)[0])
                if on_slide is not None:
                    on_slide(slide.id)
    for results in scored.values():
        refuse_misplaced(results)
    return scored


def compare_heatmaps(
    cohort: Cohort, first: Path, second: Path
) -> tuple[HeatmapAgreement | None, Seconds | None]:
    """Compare the heatmaps of two folders of predictions and the time they took; labels and
    annotations are not needed."""
    one, two = (open_predictions(path, cohort) for path in (first, second))
    pairs = ((one.load_heatmap(slide.id), two.load_heatmap(slide.id)) for slide in cohort)
    agreement = measure_agreement((a, b) for a, b in pairs if a and b)
    return agreement, compare_seconds(first, second)


def _make_recipe(
    slides: Sequence[CohortSlide],
    predictions: Sequence[Path],
    opened: Mapping[str, Predictions],
    thresholds: Mapping[str, OperatingThreshold],
    settings: EvaluateSettings,
) -> Recipe:
    """Make the recipe of a comparison: its settings, and the identity of every file it reads."""
    inputs = {
        slide.id: {
            **identify_slide(slide),
            "predictions": {name: one.identify_inputs(slide) for name, one in opened.items()},
        }
        for slide in slides
    }
    return Recipe(
        stage="compare",
        settings=settings.model_dump(mode="json"),
        inputs={
            "predictions": [str(path) for path in predictions],
            "thresholds": [one.value for one in thresholds.values()],
            "slides": inputs,
        },
        made_with=list_versions(),
    )


def _name_models(predictions: Sequence[Path]) -> list[str]:
    """Names of the folders; the whole paths where two are alike."""
    names = [path.name for path in predictions]
    names = names if len(set(names)) == len(names) else [str(path) for path in predictions]
    if len(set(names)) < len(names):
        raise SettingsError(f"{', '.join(names)}: the same predictions twice; give each set once")
    return names


def _write(
    found: Sequence[ModelComparison],
    models: _Models,
    settings: EvaluateSettings,
    command: str,
    folder: Path,
) -> None:
    rows = list_disagreements(models.scored)
    curves = models.curves([row["slide"] for row in rows], settings)
    metrics = {
        **found[0].metrics,
        "further": [one.metrics for one in found[1:]],
        "shared_slides": len(rows),
        "disagreements": rows,
        "operating_points": {name: asdict(one) for name, one in models.thresholds.items()},
        "settings": settings.model_dump(mode="json"),
    }
    text = json.dumps(metrics, indent=1, ensure_ascii=False, allow_nan=False)
    (folder / "comparison.json").write_text(text, encoding="utf-8")
    for name, parts in {
        "comparison": [_differences_table(one) for one in found],
        "disagreements": [_disagreements_table(rows)],
        "roc": [curves_table({n: one.roc for n, one in curves.items()}, ROC, by="model")],
        "froc": [curves_table({n: one.froc for n, one in curves.items()}, FROC, by="model")],
    }.items():
        table = pd.concat(parts, ignore_index=True)
        table.to_csv(folder.absolute() / f"{name}.csv", index=False, lineterminator="\n")
    pictures = {row["slide"]: models.draw(row["slide"], settings) for row in rows[:PICTURED]}
    versions = list_versions()
    html = comparison_html(metrics, curves, pictures, made_with=versions, command=command)
    (folder / "compare.html").write_text(html, encoding="utf-8")


def _differences_table(comparison: ModelComparison) -> pd.DataFrame:
    table = comparison.table()
    for place, name in enumerate(comparison.names):
        table.insert(place, ("first_model", "second_model")[place], name)
    return table


def _disagreements_table(rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """A row for each slide and model."""
    return pd.DataFrame(
        [
            {**{k: v for k, v in row.items() if k != "models"}, "model": name, **one}
            for row in rows
            for name, one in row["models"].items()
        ]
    )
