"""`gigaslide run`."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from ..batch import BatchSettings
from ..cohort import Cohort
from ..eval import EvaluateSettings
from ..inference import PredictSettings
from ..patching import TileSettings
from ..storage import SettingsError, parse_location
from ..training import TrainSettings
from .config import print_config
from .options import Batch, CohortFile, DryRun
from .run_settings import RunSettings, SharedSettings
from .stages import run_stages

__all__ = ["run"]


def run(
    cohort: CohortFile,
    out: Annotated[
        str, Parameter(help="Folder for store, model, predictions and report; made or continued.")
    ],
    *,
    shared: Annotated[SharedSettings, Parameter(name="*")] = SharedSettings(),
    tile: TileSettings = TileSettings(),
    train: TrainSettings = TrainSettings(),
    predict: PredictSettings = PredictSettings(),
    evaluate: EvaluateSettings = EvaluateSettings(),
    batch: Batch = BatchSettings(),
    dry_run: DryRun = False,
) -> int:
    """Run every stage: tile, train, predict, evaluate. Run it again to continue where it stopped.

    An option without a prefix holds for every stage that has it (--mpp, --seed); with a stage's
    name it holds for that stage (--train.examples) and wins.
    """
    settings = RunSettings.combine(
        shared, tile=tile, train=train, predict=predict, evaluate=evaluate, batch=batch
    )
    if dry_run:
        return print_config("run", settings.batch, **settings.stages)
    folder = parse_location(out, Path())
    if not isinstance(folder, Path):
        raise SettingsError(
            f"{out}: run writes to a folder; for a store in a bucket use gigaslide tile, then "
            "gigaslide train"
        )
    return run_stages(Cohort.load(cohort), folder, settings)
