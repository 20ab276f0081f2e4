"""`gigaslide predict`."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from ..cohort import Cohort, CohortSlide
from ..inference import PredictSettings
from .stages import predict_stage

__all__ = ["predict"]


def predict(
    model: Annotated[Path, Parameter(help="Model folder made by gigaslide train.")],
    out: Annotated[
        Path, Parameter(help="Folder for heatmaps and detections; finished slides are kept.")
    ],
    slides: Annotated[list[Path], Parameter(help="A cohort CSV, or one slide or more.")],
    /,
    *,
    settings: Annotated[PredictSettings, Parameter(name="*")] = PredictSettings(),
) -> int:
    """Slide a model over slides: a heatmap, a picture of it and detections for each."""
    return predict_stage(_cohort(slides), model, out, settings)


def _cohort(slides: list[Path]) -> Cohort:
    if len(slides) == 1 and slides[0].suffix.lower() == ".csv":
        return Cohort.load(slides[0])
    return Cohort.of_rows([CohortSlide(id=path.stem, path=path) for path in slides])
