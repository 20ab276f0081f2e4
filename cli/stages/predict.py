"""Prediction of slides, and the operating threshold that it gives."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ...batch import BatchSettings, describe_workers
from ...cohort import Cohort
from ...storage import format_count
from ..terminal.progress import print_line, print_stage_line, quiet_tensorflow
from ..terminal.tables import print_summary, print_time
from ..terminal.windows_bar import windows_bar

if TYPE_CHECKING:
    from ...inference import PredictSettings

__all__ = ["predict_stage", "threshold_stage"]


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
            listener=bar.listener,
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
