"""`gigaslide phantom`."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from ...batch import BatchSettings
from ...phantom import PhantomSettings
from ..options.arguments import Batch
from ..stages.phantom import phantom_stage

__all__ = ["phantom"]


def phantom(
    out: Annotated[Path, Parameter(help="Folder for slides, annotations and cohort.csv.")],
    *,
    settings: Annotated[PhantomSettings, Parameter(name="*")] = PhantomSettings(),
    batch: Batch = BatchSettings(),
) -> int:
    """Make synthetic slides whose tumour is known: pyramidal JPEG TIFFs, ASAP XML, a cohort CSV."""
    _, summary = phantom_stage(out, settings, batch)
    return summary.exit_status
