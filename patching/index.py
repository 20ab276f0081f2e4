"""Index of a cohort's patches: the positions that `tile` would store, without their pixels.

INDEX/<slide>/zarr.json            recipe and counts, as in a store
INDEX/<slide>/{tumor,normal}/…     the store's arrays without its images
INDEX/{summary.csv, run.html, …}   the run's tables
"""

from dataclasses import replace
from pathlib import Path

from ..batch import (
    SILENT,
    BatchSettings,
    BatchSummary,
    Listener,
    SlideContext,
    open_run_folder,
    run_blocks,
)
from ..cohort import Cohort
from ..storage import GROUP, Location, Recipe, SlideError
from .blocks import SlideToTile, TileBlocks
from .live_patches import LivePatches
from .pixels import read_pixels
from .sampling import Candidates
from .settings import TileSettings
from .tile import items_to_tile
from .write import Checksums

__all__ = ["index_cohort"]


def index_cohort(
    cohort: Cohort,
    index: Path,
    settings: TileSettings,
    batch: BatchSettings,
    *,
    listener: Listener = SILENT,
) -> tuple[LivePatches, BatchSummary]:
    """Find the patches that `tile_cohort` would store of these slides; skip unchanged slides.

    Every patch is read once, because unreadable ones do not count. Return the patches of the slides
    that did not fail.

    Raises:
        SettingsError: no slide to tile.
        SlideError: files of a slide that is in the index are gone.
        StoreError: the disk is full.
        ClusterError: another run works on the index, or workers or scheduler are gone.
        Stopped: a signal asked to stop.
    """
    items = items_to_tile(cohort, settings)
    with open_run_folder(index, batch) as folder:
        work = IndexBlocks(index, settings)
        summary = run_blocks(work, items, batch, folder=folder, listener=listener)
    reasons = {outcome.slide: outcome.reason for outcome in summary.of_status("failed")}
    for slide_id, reason in reasons.items():
        # Without this slide, a training that has seen it would start anew.
        if (index / slide_id / GROUP).exists():
            raise SlideError(
                f"{slide_id}: was there when {index} was made ({reason}); bring it back, or remove "
                f"{index / slide_id} to do without this slide"
            )
    slides = tuple(item.slide for item in items if item.id not in reasons)
    return LivePatches(index, settings, slides), summary


class IndexBlocks(TileBlocks):
    """`BlockWork` that tiles slides without keeping their pixels."""

    def recipe(self, item: SlideToTile) -> Recipe:
        return replace(super().recipe(item), stage="index")

    def create(self, place: Location, rows: int) -> None:
        pass

    def write(
        self, context: SlideContext[SlideToTile], name: str, rows: range, windows: Candidates
    ) -> tuple[list[int], Checksums]:
        plain = self.settings.model_copy(update={"copies": 0})
        pixels = read_pixels(context.opened, windows, plain, group=name, first=rows.start)
        return sorted(row for row, _ in pixels), {}
