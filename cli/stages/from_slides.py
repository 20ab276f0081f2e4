"""Training straight from slides: the stage that chooses patches, then the training on them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ...batch import BatchSettings, describe_workers
from ...cohort import Cohort
from ...storage import Settings, SettingsError
from ..terminal.progress import print_line, print_stage_line, slide_bar
from ..terminal.tables import print_summary
from .train import train_stage
from .train_job import JOB_OPTIONS

if TYPE_CHECKING:
    from ...patching import TileSettings
    from ...training import TrainSettings

__all__ = ["check_where", "train_from_slides"]


def train_from_slides(
    cohort: Cohort,
    model: Path,
    settings: TrainSettings,
    tiles: TileSettings,
    batch: BatchSettings,
) -> int:
    """Train on the patches that tile would store; MODEL.index keeps their positions. Return 1 if no
    slide could be read, 2 if some could not."""
    from ...patching import index_cohort, slides_to_tile

    index = model.with_name(f"{model.name}.index")
    print_line(f"index: {describe_workers(batch)}")
    slides = slides_to_tile(cohort, tiles)
    with slide_bar("index", len(slides), unit="patches") as listener:
        patches, summary = index_cohort(cohort, index, tiles, batch, listener=listener)
    print_summary("index", summary)
    counts = f"{summary.total('tumor')} tumour and {summary.total('normal')} normal patches"
    print_stage_line("", f"{counts}; their positions in {index}")
    if summary.exit_status != 1:
        train_stage(patches, model, settings, slides=cohort)
    return summary.exit_status


def check_where(tiles: TileSettings, batch: BatchSettings, *, from_slides: bool) -> None:
    """Pass unless an option is given that has no meaning for a training here, or in one job.

    Raises:
        SettingsError: one is.
    """
    if batch.cluster:
        given = _changed("--", batch, allowed=JOB_OPTIONS)
        if given:
            raise SettingsError(f"{', '.join(given)}: a training is one job, of --cores; omit")
    given = [] if from_slides else _changed("--tile.", tiles)
    if not (from_slides or batch.cluster):
        given += _changed("--", batch)
    if given:
        raise SettingsError(
            f"{', '.join(given)}: a store has its patches already, and one process trains on "
            "them; omit, add --cluster slurm for a job, or give the cohort and --from-slides"
        )


def _changed(prefix: str, settings: Settings, allowed: frozenset[str] = frozenset()) -> list[str]:
    """Return the options that are not at their defaults; a settings file names all of them."""
    default = type(settings)()
    names = [name for name in type(settings).model_fields if name in settings.model_fields_set]
    return [
        f"{prefix}{name.replace('_', '-')}"
        for name in names
        if name not in allowed and getattr(settings, name) != getattr(default, name)
    ]
