"""`gigaslide predict`."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from ..batch import BatchSettings
from ..cohort import Cohort, CohortSlide, propose_cohort
from ..inference import PredictSettings
from ..models import CARD, ENSEMBLE
from ..storage import SettingsError, name_of, parse_location
from .options import Batch
from .stages import predict_stage

__all__ = ["predict"]

TABLE_SUFFIXES = (".csv", ".tsv", ".txt", ".xlsx", ".xls", ".ods")  # workbooks are refused by name


def predict(
    slides: Annotated[str, Parameter(help="Cohort CSV, one slide, or a folder of slides.")],
    model: Annotated[
        Path, Parameter(help="Model folder made by gigaslide train, or a folder of several.")
    ],
    predictions: Annotated[
        Path, Parameter(help="Folder for heatmaps and detections; finished slides are skipped.")
    ],
    *,
    settings: Annotated[PredictSettings, Parameter(name="*")] = PredictSettings(),
    batch: Batch = BatchSettings(),
) -> int:
    """Predict slides with a model: a heatmap, its picture and detections for each slide.

    By default this process predicts alone, with all cores or the GPU. --workers divides the cores,
    --gpus gives each GPU a process; --cluster and --scheduler are for many machines.
    """
    return predict_stage(_load_slides(slides), model, predictions, settings, batch)


def _load_slides(slides: str) -> Cohort:
    """Load the slides of a cohort CSV, of a folder (all of them, whatever their split), or one.

    Raises:
        SettingsError: the folder is a model, or has no slides.
    """
    path = parse_location(slides, Path())
    if isinstance(path, Path):
        if any((path / name).is_file() for name in (CARD, ENSEMBLE)):
            raise SettingsError(
                f"{slides}: is a model folder, where slides are expected; the order is gigaslide "
                "predict SLIDES MODEL PREDICTIONS"
            )
        if path.suffix.lower() in TABLE_SUFFIXES:
            return Cohort.load(path)
        if path.is_dir() and path.suffix.lower() != ".zarr":
            proposed = propose_cohort(path, with_annotations=False)
            return Cohort(slides=tuple(replace(slide, split="") for slide in proposed))
    return Cohort.of_rows([CohortSlide(id=Path(name_of(path)).stem, path=path)])
