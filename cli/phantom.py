"""`gigaslide phantom`."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from ..batch import BatchSettings
from ..phantom import PhantomSettings
from .config import print_config
from .options import Batch, DryRun
from .stages import phantom_stage

__all__ = ["phantom"]


def phantom(
    out: Annotated[Path, Parameter(help="Folder for slides, annotations and cohort.csv.")],
    *,
    settings: Annotated[PhantomSettings, Parameter(name="*")] = PhantomSettings(),
    batch: Batch = BatchSettings(),
    dry_run: DryRun = False,
) -> int:
    """Make synthetic slides whose tumour is known: pyramidal JPEG TIFFs, ASAP XML, a cohort CSV."""
    if dry_run:
        return print_config("phantom", settings, batch)
    _, summary = phantom_stage(out, settings, batch)
    return summary.exit_status
