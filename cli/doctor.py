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
from .config import print_config
from .options import Batch, DryRun
from .run_settings import RunSettings, SharedSettings
from .stages import doctor_stage

__all__ = ["doctor"]


def doctor(
    cohort: Annotated[
        Path, Parameter(help="Cohort CSV, or a folder of slides for which one is proposed.")
    ],
    out: Annotated[Path, Parameter(help="Folder to make: checkup.html, checkup.json.")] = Path(
        "doctor-out"
    ),
    *,
    sample: SampleSettings = SampleSettings(),
    shared: Annotated[SharedSettings, Parameter(name="*")] = SharedSettings(),
    tile: TileSettings = TileSettings(),
    train: TrainSettings = TrainSettings(),
    predict: PredictSettings = PredictSettings(),
    evaluate: EvaluateSettings = EvaluateSettings(),
    batch: Batch = BatchSettings(),
    dry_run: DryRun = False,
) -> int:
    """Check a cohort before a long run, and estimate the time and disk space of each stage.

    Slides are read in samples, in parallel. Takes the options of gigaslide run: an option without a
    prefix holds for every stage that has it (--mpp); with a stage's name it holds for that stage
    (--train.examples) and wins.

    Exit status: 0 no error, 1 no slide could be opened, 2 errors.
    """
    settings = RunSettings.combine(
        shared, tile=tile, train=train, predict=predict, evaluate=evaluate, batch=batch
    )
    if dry_run:
        return print_config("doctor", batch, sample=sample, **settings.stages)
    checks = DoctorSettings(
        sample=sample,
        tile=settings.tile,
        train=settings.train,
        predict=settings.predict,
        evaluate=settings.evaluate,
    )
    return doctor_stage(cohort, out, checks, batch)
