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
from .options import Batch, script_of_this_command
from .plan import Plan
from .show import say
from .stages import run_stages

__all__ = ["run"]


def run(
    cohort: Annotated[
        Path,
        Parameter(help="Cohort CSV: slide, annotation, label, patient, split, mpp, exhaustive."),
    ],
    out: Annotated[
        str, Parameter(help="Folder for the store, the model, the predictions and the report.")
    ],
    /,
    *,
    tile: Annotated[TileSettings, Parameter(name="*")] = TileSettings(),
    train: TrainSettings = TrainSettings(),
    predict: PredictSettings = PredictSettings(),
    evaluate: EvaluateSettings = EvaluateSettings(),
    batch: Batch = BatchSettings(),
    job_script: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Run every stage: tile, train, predict, evaluate. Run it again to go on where it stopped.

    Options without a prefix are those of tile.

    Later stages take --slide-mpp, --allow-upsampling, --tissue, --min-tissue, --groups and --seed
    from tile.

    A stage's own option wins: --predict.min-tissue.

    Parameters
    ----------
    job_script: bool
        Run nothing; print a script for sbatch that does, with --cores, --memory-gb, --walltime,
        --queue, --account.
    """
    folder = parse_location(out, Path())
    if not isinstance(folder, Path):
        raise SettingsError(
            f"{out}: run writes to a folder; for a store in a bucket give it to tile, and then to "
            "train"
        )
    if job_script:
        say(script_of_this_command(batch), end="")
        return 0
    plan = Plan.of(tile=tile, train=train, predict=predict, evaluate=evaluate, batch=batch)
    return run_stages(Cohort.load(cohort), folder, plan)
