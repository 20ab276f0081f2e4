"""`gigaslide tile`."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from ..batch import BatchSettings
from ..cohort import Cohort
from ..patching import HardSettings, TileSettings
from ..storage import parse_location
from .options import Batch
from .stages import hard_stage, tile_stage

__all__ = ["tile"]


def tile(
    cohort: Annotated[
        Path,
        Parameter(help="Cohort CSV: slide, annotation, label, patient, split, mpp, exhaustive."),
    ],
    store: Annotated[
        str,
        Parameter(help="Patch store, a folder or s3://…, gs://…; unchanged slides in it are kept."),
    ],
    /,
    *,
    settings: Annotated[TileSettings, Parameter(name="*")] = TileSettings(),
    batch: Batch = BatchSettings(),
    from_heatmaps: Annotated[
        Path | None, Parameter(help="Folder of predictions: add hard negatives, no more.")
    ] = None,
    hard: HardSettings = HardSettings(),
) -> int:
    """Extract balanced patches from annotated slides into a patch store.

    With --from-heatmaps, a store that is there gets normal patches where a model was wrong on its
    training slides.
    """
    if from_heatmaps is not None:
        return hard_stage(
            Cohort.load(cohort), parse_location(store, Path()), from_heatmaps, settings, hard, batch
        )
    return tile_stage(Cohort.load(cohort), parse_location(store, Path()), settings, batch)
