"""`gigaslide tile`."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from ..batch import BatchSettings
from ..cohort import Cohort
from ..patching import HardSettings, TileSettings
from ..storage import parse_location
from .options import Batch, CohortFile, StoreLocation
from .stages import hard_negatives_stage, tile_stage

__all__ = ["tile"]


def tile(
    cohort: CohortFile,
    store: StoreLocation,
    *,
    settings: Annotated[TileSettings, Parameter(name="*")] = TileSettings(),
    from_heatmaps: Annotated[
        Path | None,
        Parameter(
            group="Hard negatives",
            help="Folder of predictions: only add hard negatives to STORE. Hard negatives are "
            "normal patches where a model saw tumour.",
        ),
    ] = None,
    hard: HardSettings = HardSettings(),
    batch: Batch = BatchSettings(),
) -> int:
    """Extract balanced patches from annotated slides into a patch store.

    Slides that the store already holds, made with the same settings, are skipped.
    """
    table, location = Cohort.load(cohort), parse_location(store, Path())
    if from_heatmaps is not None:
        return hard_negatives_stage(table, location, from_heatmaps, settings, hard, batch)
    return tile_stage(table, location, settings, batch)
