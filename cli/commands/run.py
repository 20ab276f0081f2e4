"""`gigaslide run`."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from ...batch import BatchSettings
from ...storage import SettingsError, parse_location
from ..options.arguments import Annotations, Batch, CohortFile
from ..stages.annotations import load_cohort
from ..stages.pipeline import run_stages
from ..stages.run_settings import RunSettings

__all__ = ["run"]


def run(
    cohort: CohortFile,
    out: Annotated[
        str, Parameter(help="Folder for store, model, predictions and report; made or continued.")
    ],
    *,
    settings: Annotated[RunSettings, Parameter(name="*")] = RunSettings(),
    batch: Batch = BatchSettings(),
    annotations: Annotations = None,
) -> int:
    """Run every stage: tile, train, predict, evaluate. Run it again to continue where it stopped.

    An option without a prefix holds for every stage that has it (--mpp, --seed); with a stage's
    name it holds for that stage (--train.examples) and wins.
    """
    folder = parse_location(out, Path())
    if not isinstance(folder, Path):
        raise SettingsError(
            f"{out}: run writes to a folder; for a store in a bucket use gigaslide tile, then "
            "gigaslide train"
        )
    return run_stages(load_cohort(cohort, annotations), folder, settings, batch)
