"""`gigaslide propose`."""

from typing import Annotated

from cyclopts import Parameter

from ...annotate import Deal, ProposeSettings
from ...cohort import Cohort
from ..options.arguments import AnnotationsFolder, CohortFile, Heatmaps
from ..stages.annotations import propose_stage

__all__ = ["propose"]


def propose(
    cohort: CohortFile,
    directory: AnnotationsFolder,
    *,
    predictions: Heatmaps,
    settings: Annotated[ProposeSettings, Parameter(name="*")] = ProposeSettings(),
    deal: Deal = Deal(),
) -> int:
    """Outline what a model found, as versions for people to correct: polygons with holes.

    A slide of which a person saved a version is left alone. Nothing is accepted by itself: stages
    use a proposal only after a person accepted it.
    """
    return propose_stage(Cohort.load(cohort), directory, predictions, settings, deal)
