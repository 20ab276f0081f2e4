"""`gigaslide doctor`."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from ..batch import BatchSettings
from ..doctor import DoctorSettings, SampleSettings
from ..eval import EvaluateSettings
from ..inference import PredictSettings
from ..patching import TileSettings
from ..training import TrainSettings
from .options import Batch
from .plan import Plan
from .stages import doctor_stage

__all__ = ["doctor"]


def doctor(
    cohort: Annotated[
        Path, Parameter(help="Cohort CSV, or a folder of slides for which one is proposed.")
    ],
    out: Annotated[Path, Parameter(help="Folder to make: checkup.html, checkup.json.")] = Path(
        "doctor-out"
    ),
    /,
    *,
    sample: SampleSettings = SampleSettings(),
    tile: Annotated[TileSettings, Parameter(name="*")] = TileSettings(),
    train: TrainSettings = TrainSettings(),
    predict: PredictSettings = PredictSettings(),
    evaluate: EvaluateSettings = EvaluateSettings(),
    batch: Batch = BatchSettings(),
) -> int:
    """Look whether a cohort is fit for a long run: every slide in parallel, none read whole.

    Takes the options of gigaslide run, whose stages it counts and estimates.

    Options without a prefix are those of tile.

    Exit status: 0 no error, 1 no slide could be opened, 2 errors on some slides or between them.
    """
    plan = Plan.of(tile=tile, train=train, predict=predict, evaluate=evaluate, batch=batch)
    settings = DoctorSettings(
        sample=sample,
        tile=plan.tile,
        train=plan.train,
        predict=plan.predict,
        evaluate=plan.evaluate,
    )
    return doctor_stage(cohort, out, settings, batch)
