"""Each stage as the commands share it: where it runs, a bar, one call, its results. A stage imports
its room when it begins."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from ...batch import BatchSettings, BatchSummary, SlideOutcome, describe_workers, run_slides
from ...cohort import Cohort, CohortSlide
from ...storage import (
    Location,
    SettingsError,
    format_count,
    refuse_foreign_folder,
    require_writable,
)
from ..terminal.comparison_table import print_comparison
from ..terminal.progress import (
    hide_warnings,
    print_line,
    print_stage_line,
    progress_bar,
    quiet_tensorflow,
    slide_bar,
)
from ..terminal.tables import (
    print_exclusions,
    print_metrics,
    print_summary,
    print_time,
)
from ..terminal.windows_bar import windows_bar

if TYPE_CHECKING:
    from ...doctor import DoctorSettings
    from ...eval import EvaluateSettings
    from ...inference import ExportSettings, PredictSettings
    from ...patching import HardSettings, PatchStore, TileSettings
    from ...phantom import PhantomSettings, PhantomSlide
    from ...training import Member, TrainSettings
    from .run_settings import RunSettings

__all__ = [
    "compare_stage",
    "doctor_stage",
    "evaluate_stage",
    "export_stage",
    "hard_negatives_stage",
    "phantom_stage",
    "predict_stage",
    "run_stages",
    "threshold_stage",
    "tile_stage",
    "train_stage",
]

SHOWN = {"loss": "loss", "validation_auc": "validation AUC"}  # while a training runs


def run_stages(cohort: Cohort, out: Path, settings: RunSettings, batch: BatchSettings) -> int:
    """Run every stage into out/{store, model, predictions, report}; return the worst exit status,
    1 as soon as no slide is left.

    Raises:
        SettingsError: before any work, if the cohort lacks the slides of a stage, or no slide to
            predict exists.
        ModelError: before any work, if the initial weights do not exist.
    """
    from ...training import check_trackers, identify_initial_weights
    from .run_settings import check_cohort, check_files, with_mpp_of_slides, worst_status

    check_trackers(settings.train.track)
    several = settings.train.members > 1
    identify_initial_weights(settings.train, out / "model" / ("member_1" if several else ""))
    check_cohort(cohort, settings)
    check_files(cohort, settings)
    chosen = with_mpp_of_slides(cohort, settings)
    if chosen.tile.mpp != settings.tile.mpp:
        settings = chosen
        print_line(f"run: {chosen.tile.mpp:g} µm/px, that of the coarsest slide; see --mpp")
    tiled = tile_stage(cohort, out / "store", settings.tile, batch)
    if tiled == 1:
        return 1
    train_stage(out / "store", out / "model", settings.train, slides=cohort)
    # Each local worker would load the network: prediction runs in this process.
    alone = batch.model_copy(update={"workers": None}) if batch.workers else batch
    predicted = predict_stage(cohort, out / "model", out / "predictions", settings.predict, alone)
    if predicted == 1:
        return 1
    threshold_stage(cohort, out / "model", out / "predictions")
    evaluated = evaluate_stage(cohort, out / "predictions", out / "report", settings.evaluate)
    return worst_status([tiled, predicted, evaluated])


def doctor_stage(
    path: Path,
    out: Path,
    settings: DoctorSettings,
    batch: BatchSettings,
    annotations: Path | None = None,
) -> int:
    """annotations: folder whose newest accepted versions replace the cohort's annotations."""
    from ...annotate import use_versions
    from ...doctor import examine_cohort, format_checkup, load_cohort, save_checkup

    refuse_foreign_folder(out, known_by="checkup.json")
    require_writable(out)
    cohort, known = load_cohort(path)
    if annotations is not None:
        cohort = use_versions(cohort, annotations)
    _print_workers("doctor", batch, at_most=len(cohort))
    with hide_warnings(), slide_bar("doctor", len(cohort)) as (end_slide, _):
        checkup = examine_cohort(
            cohort, settings, batch, name=str(path), known=known, on_outcome=end_slide
        )
    for line in format_checkup(checkup, width=shutil.get_terminal_size((100, 24)).columns):
        print_line(line)
    page = save_checkup(checkup, out)
    print_line(f"\nopen in a browser: {page}")
    return checkup.exit_status


def phantom_stage(
    out: Path, settings: PhantomSettings, batch: BatchSettings
) -> tuple[Path, BatchSummary]:
    """Return the path of the phantoms' cohort.csv, and the outcome of each."""
    from ...phantom import plan_cohort, write_cohort

    plans = plan_cohort(settings)
    _print_workers("phantom", batch, at_most=len(plans))
    with slide_bar("phantom", len(plans)) as (end_slide, _):
        summary = run_slides(partial(_make_phantom, out=out), plans, batch, on_outcome=end_slide)
    print_summary("phantom", summary)
    return write_cohort(plans, out), summary


def _make_phantom(plan: PhantomSlide, *, out: Path) -> SlideOutcome:
    from ...phantom import make_slide

    return SlideOutcome(slide=plan.id, status="done" if make_slide(plan, out) else "skipped")


def tile_stage(
    cohort: Cohort, store: Location, settings: TileSettings, batch: BatchSettings
) -> int:
    from ...patching import (
        advise_for_slides,
        refuse_if_all_coarser,
        slides_to_tile,
        tile_cohort,
    )

    slides = slides_to_tile(cohort, settings)
    if "mpp" not in settings.model_fields_set:
        advice = advise_for_slides(slides, settings)
        if advice is not None and advice.mpp != settings.mpp:
            print_line(f"tile: {settings.mpp:g} µm/px, the default. {advice}")
    refuse_if_all_coarser(slides, settings)
    _print_workers("tile", batch)
    with slide_bar("tile", len(slides), unit="patches") as (end_slide, add_counts):
        summary = tile_cohort(
            cohort, store, settings, batch, on_outcome=end_slide, on_block=add_counts
        )
    print_summary("tile", summary)
    counts = f"{summary.total('tumor')} tumour and {summary.total('normal')} normal patches"
    print_stage_line("", f"{counts} in {store}")
    tiled = {slide.id for slide in slides}
    rest = [slide for slide in cohort if slide.id not in tiled]
    if rest:
        why = _describe_not_tiled(rest, settings)
        print_stage_line("", f"{format_count(len(rest), 'slide')} not tiled: {why}")
    return summary.exit_status


def _describe_not_tiled(rest: Sequence[CohortSlide], settings: TileSettings) -> str:
    wanted = [slide for slide in rest if slide.split in settings.splits]
    reasons = []
    if len(wanted) < len(rest):
        reasons.append(f"not in split {' or '.join(settings.splits)} (--splits)")
    if any(not slide.label for slide in wanted):
        reasons.append("no label")
    if settings.quality and any(slide.label for slide in wanted):
        reasons.append(f"not {settings.quality} (--quality)")
    return ", or ".join(reasons)


def hard_negatives_stage(
    cohort: Cohort,
    store: Location,
    heatmaps: Path,
    given: TileSettings,
    settings: HardSettings,
    batch: BatchSettings,
) -> int:
    """Add hard negatives to a store; given are the tile settings of the command line.

    Raises:
        SettingsError: a given tile setting is not the one that the store was tiled with.
    """
    from ...patching import PatchStore, add_hard_negatives

    tiled = PatchStore(store).tile_settings
    for name in given.model_fields_set:
        if getattr(given, name) != getattr(tiled, name):
            raise SettingsError(
                f"{store}: was tiled with another --{name.replace('_', '-')}; leave it out with "
                "--from-heatmaps"
            )
    _print_workers("tile", batch, at_most=len(cohort))
    with slide_bar("tile", len(cohort)) as (end_slide, _):
        summary = add_hard_negatives(cohort, store, heatmaps, settings, batch, on_outcome=end_slide)
    print_summary("tile", summary)
    print_stage_line("", f"{summary.total('normal')} hard negatives of these heatmaps in {store}")
    return summary.exit_status


def train_stage(
    store: Location | PatchStore,
    folder: Path,
    settings: TrainSettings,
    *,
    slides: Cohort | None = None,
) -> None:
    """slides: the cohort whose validation slides are predicted whole, where the settings ask for
    it."""
    from ...patching import PatchStore
    from ...training import check_trackers
    from ...wsi import warn_of_unlikely_mpp

    check_trackers(settings.track)
    opened = store if isinstance(store, PatchStore) else PatchStore(store)
    for slide in opened.slides:  # a missing store is reported before Keras loads for seconds
        if "slide_mpp" in slide.attributes:
            warn_of_unlikely_mpp(slide.id, slide.attributes["slide_mpp"])
    with quiet_tensorflow():
        from ...models import describe_device
        from ...training import plan_members

        device = describe_device()
    members = plan_members(folder, settings)
    print_line(f"train: this machine, {device}")
    for number, member in enumerate(members, 1):
        stage = "train" if len(members) == 1 else f"train {number}/{len(members)}"
        _train_model(opened, member, slides, stage=stage)
    if len(members) > 1:
        print_stage_line("", f"ensemble of {len(members)} members in {folder}")


def _train_model(store: PatchStore, member: Member, slides: Cohort | None, *, stage: str) -> None:
    from ...training import train

    folder, settings = member.folder, member.settings
    with progress_bar(stage, settings.examples, " patches") as progress:

        def advance(examples: int, figures: dict[str, float]) -> None:
            shown = [
                f"{words} {figures[name]:.3f}" for name, words in SHOWN.items() if name in figures
            ]
            progress.set_postfix_str(", ".join(shown), refresh=False)
            if not progress.n:  # what was seen before this run counts neither as speed nor for ETA
                progress.n = progress.initial = max(0, examples - settings.batch_size)
                progress.last_print_n = progress.n
            progress.update(min(examples, settings.examples) - progress.n)

        outcome = train(store, folder, settings, slides=slides, on_step=advance)
        if not outcome.trained:
            progress.update(settings.examples)
    best = outcome.best
    state = "trained" if outcome.trained else "unchanged"
    auc = f"best validation patch AUC {best.validation_auc:.3f} after {best.examples} examples"
    print_stage_line(stage, f"{state}; {auc}")
    temperature = outcome.card.temperature
    if temperature is not None:
        print_stage_line("", f"temperature {temperature.value:.3g}, {temperature.origin}")
    print_stage_line("", f"model in {folder}")


def predict_stage(
    cohort: Cohort, model: Path, out: Path, settings: PredictSettings, batch: BatchSettings
) -> int:
    from ...inference import predict_cohort, slides_to_predict, with_default_workers
    from ...models import Ensemble

    ensemble = Ensemble.load(model)  # a missing model is reported before Keras loads for seconds
    ensemble.check_architecture(settings.architecture)
    batch = with_default_workers(batch)
    print_line(f"predict: {_describe_prediction(settings, batch)}")
    if len(ensemble.folders) > 1:
        names = ", ".join(folder.name for folder in ensemble.folders)
        print_stage_line("", f"mean of {len(ensemble.folders)} models: {names}")
    with windows_bar("predict", slides=len(slides_to_predict(cohort, settings))) as bar:
        summary = predict_cohort(
            cohort,
            model,
            out,
            settings,
            batch,
            on_plan=bar.add_slide,
            on_block=bar.advance,
            on_outcome=bar.end_slide,
        )
    print_summary("predict", summary)
    if summary.exit_status == 1:
        return 1
    cells = format_count(summary.total("cells"), "cell")
    detections = format_count(summary.total("detections"), "detection")
    print_stage_line("", f"{cells}, {detections} in {out}")
    if settings.mode != "exact":
        exactly = summary.total("cells") - summary.total("first_pass")
        print_stage_line("", f"{format_count(exactly, 'cell')} scored exactly")
    print_time(summary.pace)
    return summary.exit_status


def export_stage(
    predictions: Path,
    out: Path,
    settings: ExportSettings,
    batch: BatchSettings,
    *,
    slides: Cohort | None = None,
) -> int:
    from ...inference import check_export, export_predictions, find_predicted

    check_export(settings, slides)
    found = find_predicted(predictions, slides)
    if batch.workers is None and not (batch.cluster or batch.scheduler):
        batch = batch.model_copy(update={"workers": 0})  # seconds of work do not pay for processes
    _print_workers("export", batch, at_most=len(found))
    with slide_bar("export", len(found)) as (end_slide, _):
        summary = export_predictions(
            predictions, out, settings, batch, slides=slides, on_outcome=end_slide
        )
    print_summary("export", summary)
    made = format_count(summary.total("exports"), "export")
    print_stage_line("", f"{made} made, {summary.total('unchanged')} unchanged in {out}")
    if slides is not None and len(found) < len(slides):
        rest = format_count(len(slides) - len(found), "slide")
        print_stage_line("", f"{rest} of the cohort without a heatmap")
    return summary.exit_status


def _describe_prediction(settings: PredictSettings, batch: BatchSettings) -> str:
    """Describe the workers, and what runs the network if it is this process."""
    workers = describe_workers(batch)
    with quiet_tensorflow():
        if batch.workers != 0:
            threads = format_count(batch.threads_per_worker, "thread")
            return workers if batch.scheduler else f"{workers}, {threads} each"
        if settings.runtime == "onnx":
            return f"{workers}, ONNX Runtime on CPU"
        from ...models import describe_device

        by_openvino = settings.runtime != "keras" and not settings.xla
        return f"{workers}, {describe_device(openvino=by_openvino)}"


def threshold_stage(cohort: Cohort, model: Path, predictions: Path) -> None:
    """Choose the operating threshold of a model on the validation slides."""
    from ...training import choose_threshold

    threshold = choose_threshold(cohort, model, predictions)
    print_stage_line("", f"operating threshold {threshold.value:g}, {threshold.origin}")


def evaluate_stage(cohort: Cohort, predictions: Path, out: Path, settings: EvaluateSettings) -> int:
    from ...eval import evaluate_cohort, find_evaluation, slides_to_evaluate

    require_writable(out)
    print_line("evaluate: this process")
    metrics = find_evaluation(cohort, predictions, out, settings)
    state = "evaluated" if metrics is None else "unchanged"
    if metrics is None:
        slides = len(slides_to_evaluate(cohort, settings))
        with progress_bar("evaluate", slides, " slides") as progress:
            metrics = evaluate_cohort(
                cohort, predictions, out, settings, on_slide=lambda _: progress.update()
            ).metrics
    counts = metrics["cohort"]
    slides = f"{counts['in_figures']} of {format_count(counts['slides'], 'slide')}"
    print_stage_line("evaluate", f"{state}; {slides} in the figures")
    print_exclusions(metrics)
    print_metrics(metrics)
    print_stage_line("", f"open in a browser: {out / 'report.html'}")
    return metrics["exit_status"]


def compare_stage(
    cohort: Cohort, predictions: tuple[Path, ...], out: Path, settings: EvaluateSettings
) -> int:
    """Return 2 where slides had to be left out."""
    from ...eval import compare_cohort, slides_to_evaluate

    slides = len(slides_to_evaluate(cohort, settings))
    require_writable(out)
    print_line("compare: this process")
    with progress_bar("compare", len(predictions) * slides, " slides") as progress:
        comparisons = compare_cohort(
            cohort, predictions, out, settings, on_slide=lambda _: progress.update()
        )
    for comparison in comparisons:
        print_comparison(comparison.metrics, settings)
    print_stage_line("", f"open in a browser: {out / 'compare.html'}")
    return 2 if any(comparison.exclusions for comparison in comparisons) else 0


def _print_workers(stage: str, batch: BatchSettings, *, at_most: int | None = None) -> None:
    print_line(f"{stage}: {describe_workers(batch, at_most=at_most)}")
