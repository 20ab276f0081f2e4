"""`gigaslide tile`."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from ...batch import BatchSettings
from ...patching import CorrectionSettings, HardSettings, TileSettings
from ...storage import SettingsError, parse_location
from ..options.arguments import Annotations, Batch, CohortFile, StoreLocation
from ..stages.annotations import load_cohort
from ..stages.corrections import tile_corrections
from ..stages.tile import hard_negatives_stage, tile_stage

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
    from_corrections: Annotated[
        Path | None,
        Parameter(
            group="Hard negatives",
            help="Folder of annotations: tile, then add patches of what a person corrected in "
            "proposals, tumour that was missed and false alarms. Training draws a share of each "
            "batch from them (--corrected). The folder also replaces the cohort's annotations.",
        ),
    ] = None,
    corrections: CorrectionSettings = CorrectionSettings(),
    batch: Batch = BatchSettings(),
    annotations: Annotations = None,
) -> int:
    """Extract balanced patches from annotated slides into a patch store.

    Slides that the store already holds, made with the same settings, are skipped.
    """
    table = load_cohort(cohort, annotations or from_corrections)
    location = parse_location(store, Path())
    if from_corrections is not None:
        if from_heatmaps is not None:
            raise SettingsError(
                "--from-corrections and --from-heatmaps: add patches one after the other; give one"
            )
        return tile_corrections(table, location, from_corrections, settings, corrections, batch)
    if from_heatmaps is not None:
        return hard_negatives_stage(table, location, from_heatmaps, settings, hard, batch)
    return tile_stage(table, location, settings, batch)
