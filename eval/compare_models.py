"""Several models on one cohort: judged, each compared with the first, and written as a folder with
a page."""

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from ..cohort import Cohort
from ..storage import Recipe, SettingsError, atomic_folder, refuse_foreign_folder
from ..wsi import open_slide
from .evaluation import judge_cohort, slides_to_evaluate
from .predictions.prediction import Predictions, open_predictions
from .provenance import made_with, slide_inputs
from .report.command import command_line
from .report.compare_page import comparison_html
from .report.drawing import Pictures
from .report.pictures import drawn_or_why, slide_pictures
from .scoring.slide_result import Judgement
from .settings import EvaluateSettings
from .statistics.auc import Roc, roc
from .statistics.compare import Comparison, compare
from .statistics.disagreement import disagreements
from .statistics.froc import DEFINITIONS, Froc, froc_curve
from .statistics.resampled import pooled_verdicts, scored

__all__ = ["ModelCurves", "compare_cohort"]

logger = logging.getLogger(__name__)

STAGE = "compare"
PICTURED = 12  # slides that models disagree on
PICTURE_BYTES = 100_000


@dataclass(frozen=True, kw_only=True)
class ModelCurves:
    """Of one model, on the slides that all models have in their figures."""

    roc: Roc
    froc: Froc
    has_heatmaps: bool
    """False of detections alone."""


@dataclass(frozen=True, kw_only=True)
class _Models:
    """What each model predicts, and what was made of it, by its name."""

    opened: Mapping[str, Predictions]
    judged: Mapping[str, Sequence[Judgement]]

    def curves(self, shared: Sequence[str], settings: EvaluateSettings) -> dict[str, ModelCurves]:
        """shared slides have a score of every model; an absent one's lesions are missed all the
        same."""
        by_all = set.intersection(
            *({j.slide.id for j in one if j.in_figures} for one in self.judged.values())
        )
        wanted, curves = set(shared), {}
        for name, judgements in self.judged.items():
            verdicts, _ = pooled_verdicts(
                [j for j in judgements if j.slide.id in by_all], "gigaslide"
            )
            curves[name] = ModelCurves(
                roc=roc(*scored([j for j in judgements if j.slide.id in wanted]), noun="slides"),
                froc=froc_curve(
                    verdicts, DEFINITIONS["gigaslide"], rates=settings.false_positives_per_slide
                ),
                has_heatmaps=any(j.cells is not None for j in judgements),
            )
        return curves

    def pictures(self, slide: str, settings: EvaluateSettings) -> dict[str, Pictures]:
        """Of one slide, by each model; without those that cannot be drawn, empty where it cannot be
        opened."""
        found = drawn_or_why(slide, lambda: self._drawn(slide, settings))
        return {} if isinstance(found, str) else found

    def _drawn(self, slide: str, settings: EvaluateSettings) -> dict[str, Pictures]:
        by_name = {
            name: next(j for j in all_of if j.slide.id == slide)
            for name, all_of in self.judged.items()
        }
        row = next(iter(by_name.values())).slide
        predicted = {name: predictions.of(row) for name, predictions in self.opened.items()}
        fallback_mpp = next((one.slide_mpp for one in predicted.values() if one is not None), None)
        with open_slide(row.path, mpp=row.mpp, fallback_mpp=fallback_mpp) as scan:
            overview = scan.overview(scan.info.mpp * max(scan.size) / settings.picture_px)
        drawn = {
            name: drawn_or_why(
                f"{slide}, {name}",
                lambda name=name: slide_pictures(
                    overview, by_name[name], predicted[name], settings, most_bytes=PICTURE_BYTES
                ),
            )
            for name in by_name
        }
        return {name: one for name, one in drawn.items() if not isinstance(one, str)}


def compare_cohort(
    cohort: Cohort,
    predictions: Sequence[Path],
    out: Path,
    settings: EvaluateSettings,
    *,
    on_slide: Callable[[str], object] | None = None,
) -> list[Comparison]:
    """Judge sets of predictions of a cohort, compare each with the first, and write the folder out.

    It holds `compare.html`, `comparison.json`, and CSV tables of the differences, the curves and
    the slides that models disagree on.

    Raises:
        SettingsError: fewer than two, no slides of that split, or out holds something else than a
        comparison.
        ScoreError: predictions that cannot be used, or no slide that two models can both be scored
        on.
    """
    slides = slides_to_evaluate(cohort, settings)
    if not slides:
        raise SettingsError(
            f"no slide of the cohort has split {settings.split!r}; an empty split takes every slide"
        )
    if len(predictions) < 2:
        raise SettingsError(f"{len(predictions)} set of predictions: give at least two to compare")
    refuse_foreign_folder(out)
    names = _names(predictions)
    opened = {
        name: open_predictions(path, cohort) for name, path in zip(names, predictions, strict=True)
    }
    judged = {
        name: judge_cohort(slides, one, settings, on_slide=on_slide) for name, one in opened.items()
    }
    first, *others = names
    found = [
        compare(judged[first], judged[other], settings, names=(first, other)) for other in others
    ]
    recipe = Recipe(
        stage=STAGE,
        settings=settings.model_dump(mode="json"),
        inputs={
            "predictions": [str(path) for path in predictions],
            "slides": {
                slide.id: {
                    **slide_inputs(slide),
                    "predictions": {name: one.inputs(slide) for name, one in opened.items()},
                }
                for slide in slides
            },
        },
        made_with=made_with(),
    )
    further = [word for path in predictions[2:] for word in ("--further", str(path))]
    command = command_line("compare", [cohort.source, *predictions[:2], out], settings, further)
    with atomic_folder(out) as partial:
        _write(found, _Models(opened=opened, judged=judged), settings, recipe, command, partial)
    logger.info("%s: %d models compared", out, len(names))
    return found


def _names(predictions: Sequence[Path]) -> list[str]:
    """The folders' names; where two are alike, the whole paths."""
    names = [path.name for path in predictions]
    names = names if len(set(names)) == len(names) else [str(path) for path in predictions]
    if len(set(names)) < len(names):
        raise SettingsError(
            f"{', '.join(names)}: the same predictions twice; a model differs from itself in "
            "nothing"
        )
    return names


def _write(
    found: Sequence[Comparison],
    models: _Models,
    settings: EvaluateSettings,
    recipe: Recipe,
    command: str,
    folder: Path,
) -> None:
    rows = disagreements(models.judged, threshold=settings.slide_threshold)
    curves = models.curves([row["slide"] for row in rows], settings)
    metrics = {
        **found[0].metrics,
        "further": [one.metrics for one in found[1:]],
        "shared_slides": len(rows),
        "disagreements": rows,
        "settings": recipe.settings,
    }
    text = json.dumps(metrics, indent=1, ensure_ascii=False, allow_nan=False)
    (folder / "comparison.json").write_text(text, encoding="utf-8")
    tables = {
        "comparison": pd.concat([_differences(one) for one in found], ignore_index=True),
        "disagreements": _disagreements(rows),
        "roc": pd.concat(
            [_roc_table(name, one.roc) for name, one in curves.items()], ignore_index=True
        ),
        "froc": pd.concat(
            [_froc_table(name, one.froc) for name, one in curves.items()], ignore_index=True
        ),
    }
    for name, table in tables.items():
        table.to_csv(folder / f"{name}.csv", index=False, lineterminator="\n")
    pictures = {row["slide"]: models.pictures(row["slide"], settings) for row in rows[:PICTURED]}
    html = comparison_html(metrics, curves, pictures, made_with=recipe.made_with, command=command)
    (folder / "compare.html").write_text(html, encoding="utf-8")
    recipe.save(folder / "recipe.json")


def _differences(comparison: Comparison) -> pd.DataFrame:
    table = comparison.table()
    for place, (column, name) in enumerate(
        zip(("first_model", "second_model"), comparison.names, strict=True)
    ):
        table.insert(place, column, name)
    return table


def _disagreements(rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """A row for each slide and model."""
    return pd.DataFrame(
        [
            {**{k: v for k, v in row.items() if k != "models"}, "model": name, **one}
            for row in rows
            for name, one in row["models"].items()
        ]
    )


def _roc_table(name: str, curve: Roc) -> pd.DataFrame:
    rates = {
        n: getattr(curve, n) for n in ("threshold", "false_positive_rate", "true_positive_rate")
    }
    return pd.DataFrame({"model": name, **rates})


def _froc_table(name: str, curve: Froc) -> pd.DataFrame:
    columns = {"threshold": curve.threshold, "false_positives_per_slide": curve.false_positives}
    return pd.DataFrame({"model": name, **columns, "sensitivity": curve.sensitivity})
