"""Each stage as the commands share it: a bar, one call, its table. A stage imports its room when it
begins."""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from ..batch import BatchSettings, BatchSummary, SlideOutcome, run_slides
from ..cohort import Cohort
from ..storage import Location, SettingsError, format_count, refuse_foreign_folder
from .plan import Plan, check_cohort, worst
from .show import (
    bar,
    findings_only,
    hushed,
    say,
    show_comparison,
    show_figures,
    show_left_out,
    show_summary,
    slide_bar,
)

if TYPE_CHECKING:
    from ..doctor import DoctorSettings
    from ..eval import EvaluateSettings
    from ..inference import PredictSettings
    from ..patching import HardSettings, TileSettings
    from ..phantom import PhantomSettings, PhantomSlide
    from ..training import TrainSettings

__all__ = [
    "compare_stage",
    "doctor_stage",
    "evaluate_stage",
    "hard_stage",
    "phantom_stage",
    "predict_stage",
    "run_stages",
    "tile_stage",
    "train_stage",
]


def run_stages(cohort: Cohort, out: Path, plan: Plan) -> int:
    """Every stage into out/{store, model, predictions, report}; the worst exit status, 1 as soon as
    nothing is left.

    Raises:
        SettingsError: before any work, if the cohort lacks the slides of a stage.
    """
    check_cohort(cohort, plan)
    tiled = tile_stage(cohort, out / "store", plan.tile, plan.batch)
    if tiled == 1:
        return 1
    train_stage(out / "store", out / "model", plan.train)
    predicted = predict_stage(cohort, out / "model", out / "predictions", plan.predict)
    if predicted == 1:
        return 1
    return worst(
        [
            tiled,
            predicted,
            evaluate_stage(cohort, out / "predictions", out / "report", plan.evaluate),
        ]
    )


def doctor_stage(path: Path, out: Path, settings: DoctorSettings, batch: BatchSettings) -> int:
    from ..doctor import check_up, checkup_lines, cohort_of, save_checkup

    refuse_foreign_folder(out, known_by="checkup.json")
    cohort, known = cohort_of(path)
    with findings_only(), slide_bar("doctor", len(cohort)) as (ended, _):
        checkup = check_up(cohort, settings, batch, name=str(path), known=known, on_outcome=ended)
    for line in checkup_lines(checkup, width=shutil.get_terminal_size((100, 24)).columns):
        say(line)
    page = save_checkup(checkup, out)
    say(f"\n{page}")
    return checkup.exit_status


def phantom_stage(
    out: Path, settings: PhantomSettings, batch: BatchSettings
) -> tuple[Path, BatchSummary]:
    """The path of the phantoms' cohort.csv, and what became of each."""
    from ..phantom import plan_cohort, write_cohort

    plans = plan_cohort(settings)
    with slide_bar("phantom", len(plans)) as (ended, _):
        summary = run_slides(partial(_draw, out=out), plans, batch, on_outcome=ended)
    show_summary("phantom", summary)
    return write_cohort(plans, out), summary


def _draw(plan: PhantomSlide, *, out: Path) -> SlideOutcome:
    from ..phantom import make_slide

    return SlideOutcome(slide=plan.id, status="done" if make_slide(plan, out) else "skipped")


def tile_stage(
    cohort: Cohort, store: Location, settings: TileSettings, batch: BatchSettings
) -> int:
    from ..patching import slides_to_tile, tile_cohort

    slides = slides_to_tile(cohort, settings)
    with slide_bar("tile", len(slides), made="patches") as (ended, made):
        summary = tile_cohort(cohort, store, settings, batch, on_outcome=ended, on_block=made)
    show_summary("tile", summary)
    say(
        f"{'':<9} {summary.total('tumor')} tumour and {summary.total('normal')} normal patches in "
        f"{store}"
    )
    if len(slides) < len(cohort):
        wanted = " or ".join(settings.splits)
        say(
            f"{'':<9} {format_count(len(cohort) - len(slides), 'slide')} left out: no label, or "
            f"not of {wanted} (--splits)"
        )
    return summary.exit_status


def hard_stage(
    cohort: Cohort,
    store: Location,
    heatmaps: Path,
    given: TileSettings,
    settings: HardSettings,
    batch: BatchSettings,
) -> int:
    """Raises SettingsError where given, what the command line says of tiling, is not how the store
    was tiled."""
    from ..patching import PatchStore, add_hard_negatives

    tiled = PatchStore(store).tile_settings
    for name in given.model_fields_set:
        if getattr(given, name) != getattr(tiled, name):
            option = name.replace("_", "-")
            raise SettingsError(
                f"{store}: was tiled with another --{option}; leave it out with --from-heatmaps"
            )
    with slide_bar("tile", len(cohort)) as (ended, _):
        summary = add_hard_negatives(cohort, store, heatmaps, settings, batch, on_outcome=ended)
    show_summary("tile", summary)
    say(f"{'':<9} {summary.total('normal')} hard negatives added to {store}")
    return summary.exit_status


def train_stage(store: Location, folder: Path, settings: TrainSettings) -> None:
    from ..patching import PatchStore

    opened = PatchStore(store)
    opened.attributes  # noqa: B018  (a missing store is told before the seconds that Keras takes to load)
    with hushed():
        from ..training import train

    with bar("train", settings.examples, " patches") as progress:

        def stepped(examples: int, figures: dict[str, float]) -> None:
            progress.set_postfix(
                {name: f"{value:.3f}" for name, value in figures.items()}, refresh=False
            )
            progress.update(min(examples, settings.examples) - progress.n)

        outcome = train(opened, folder, settings, on_step=stepped)
        if not outcome.trained:
            progress.update(settings.examples)
    best = outcome.best
    what = "trained" if outcome.trained else "unchanged"
    say(
        f"{'train':<9} {what}; best validation patch AUC {best.validation_auc:.3f} after "
        f"{best.examples} examples"
    )
    say(f"{'':<9} model in {folder}")


def predict_stage(cohort: Cohort, model: Path, out: Path, settings: PredictSettings) -> int:
    with hushed():
        from ..inference import predict_cohort

    with bar("predict", 0, " windows") as progress:

        def found(windows: int) -> None:
            progress.total = (progress.total or 0) + windows
            progress.refresh()

        summary = predict_cohort(
            cohort,
            model,
            out,
            settings,
            on_slide=found,
            on_windows=progress.update,
            on_outcome=lambda outcome: progress.set_postfix_str(outcome.slide),
        )
    show_summary("predict", summary)
    cells, detections = (
        format_count(summary.total("cells"), "cell"),
        format_count(summary.total("detections"), "detection"),
    )
    say(f"{'':<9} {cells}, {detections} in {out}")
    return summary.exit_status


def evaluate_stage(cohort: Cohort, predictions: Path, out: Path, settings: EvaluateSettings) -> int:
    from ..eval import evaluate_cohort, find_evaluation, slides_to_evaluate

    metrics = find_evaluation(cohort, predictions, out, settings)
    what = "evaluated" if metrics is None else "unchanged"
    if metrics is None:
        slides = len(slides_to_evaluate(cohort, settings))
        with bar("evaluate", slides, " slides") as progress:
            metrics = evaluate_cohort(
                cohort, predictions, out, settings, on_slide=lambda _: progress.update()
            ).metrics
    counts = metrics["cohort"]
    say(
        f"{'evaluate':<9} {what}; {counts['in_figures']} of "
        f"{format_count(counts['slides'], 'slide')} in the figures"
    )
    show_left_out(metrics)
    show_figures(metrics)
    say(f"{'':<9} {out / 'report.html'}")
    return metrics["exit_status"]


def compare_stage(
    cohort: Cohort, predictions: tuple[Path, ...], out: Path, settings: EvaluateSettings
) -> int:
    """2 where slides had to be left out."""
    from ..eval import compare_cohort, slides_to_evaluate

    slides = len(slides_to_evaluate(cohort, settings))
    with bar("compare", len(predictions) * slides, " slides") as progress:
        comparisons = compare_cohort(
            cohort, predictions, out, settings, on_slide=lambda _: progress.update()
        )
    for comparison in comparisons:
        show_comparison(comparison.metrics)
    say(f"{'':<9} {out / 'compare.html'}")
    return 2 if any(comparison.exclusions for comparison in comparisons) else 0
