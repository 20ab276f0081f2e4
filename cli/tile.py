"""`gigaslide tile`."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from ..batch import BatchSettings
from ..patching import TileSettings
from ..wsi import Cohort
from ..wsi.location import location_of
from .stages import tile_stage

__all__ = ["tile"]


def tile(
    cohort: Annotated[Path, Parameter(help="Cohort CSV: slide, annotation, label, patient, split, mpp, exhaustive.")],
    store: Annotated[str, Parameter(help="Patch store, a folder or s3://…, gs://…; slides already in it are kept.")],
    /,
    *,
    settings: Annotated[TileSettings, Parameter(name="*")] = TileSettings(),
    batch: BatchSettings = BatchSettings(),
) -> int:
    """Extract balanced patches from annotated slides into a patch store."""
    return tile_stage(Cohort.load(cohort), location_of(store, Path()), settings, batch)
