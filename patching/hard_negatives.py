"""Hard negatives: normal patches where a model saw tumour, added to a store's training slides."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy.spatial import KDTree

from ..batch import (
    SILENT,
    BatchSettings,
    BatchSummary,
    Listener,
    SlideOutcome,
    open_run_folder,
    run_blocks,
)
from ..cohort import Cohort, CohortSlide
from ..storage import GigaslideError, Location, Recipe, SettingsError
from ..wsi import Heatmap, Slide, tissue_mask, tumor_fractions
from .further import (
    FurtherBlocks,
    FurtherPatches,
    find_training_slides,
    list_groups,
    refuse_if_changed,
)
from .metadata import SlidePatches
from .plan import tumor_of
from .sampling import NO_LESION, Candidates, near_border
from .settings import HardSettings, TileSettings
from .slide_recipe import slide_inputs
from .store import PatchStore

__all__ = ["add_hard_negatives", "find_hard_negatives"]

STAGE = "hard"
"""Prefix of the run's tables in the store, and stage of its lines in the journal."""


@dataclass(frozen=True, kw_only=True)
class SlideWithHeatmap(FurtherPatches):
    """A slide and the heatmap that may show where a model was wrong."""

    prefix = "hard-"
    heatmap: Path


def add_hard_negatives(
    cohort: Cohort,
    store: Location,
    heatmaps: Path,
    settings: HardSettings,
    batch: BatchSettings,
    *,
    listener: Listener = SILENT,
) -> BatchSummary:
    """Add hard negatives from heatmaps/<slide>/heatmap.zarr to the store's training slides.

    Slides on which not every tumour is annotated are left out, because what is not annotated there
    may be tumour; so are tumour slides whose outline gave no tumour patch.

    Raises:
        SettingsError: no training slide has a heatmap.
        StoreError: no store is there, or the disk is full.
        ClusterError: another run works on the store, or workers or scheduler are gone.
        Stopped: a signal asked to stop.
    """
    PatchStore(store).attributes  # noqa: B018  (no lock where there is no store)
    with open_run_folder(store, batch, stage=STAGE) as folder:
        opened = PatchStore(store)
        tiled = find_training_slides(opened)
        items = [
            _item(slide, heatmap, tiled[slide.id], opened.tile_settings, settings)
            for slide in cohort
            if slide.id in tiled
            and slide.exhaustive
            and (heatmap := heatmaps / slide.id / "heatmap.zarr").exists()
        ]
        if not items:
            raise SettingsError(
                f"{heatmaps}: no heatmap.zarr of a training slide of {store}; predict them with "
                "--splits train"
            )
        list_groups(opened, items)
        work = HardNegativeBlocks(store, opened.tile_settings, settings)
        return run_blocks(work, items, batch, folder=folder, listener=listener)


def _item(
    slide: CohortSlide,
    heatmap: Path,
    tiled: SlidePatches,
    tiles: TileSettings,
    settings: HardSettings,
) -> SlideWithHeatmap:
    asked = {**tiles.of_recipe(), "hard": settings.model_dump(mode="json")}
    recipe = Recipe(stage="hard negatives", settings=asked, inputs={})
    try:
        now = slide_inputs(slide)
        refuse_if_changed(slide, now, tiled)
        found = Heatmap.load(heatmap)
    except (GigaslideError, OSError) as error:  # its slide fails; the others are done
        return SlideWithHeatmap(slide=slide, heatmap=heatmap, recipe=recipe, damage=str(error))
    probability = hashlib.sha256(found.probability.tobytes()).hexdigest()
    inputs = {"model": found.model_hash, "probability": probability, **now}
    return SlideWithHeatmap(slide=slide, heatmap=heatmap, recipe=replace(recipe, inputs=inputs))


@dataclass(frozen=True)
class HardNegativeBlocks(FurtherBlocks[SlideWithHeatmap]):
    """`BlockWork` that writes hard negatives beside a slide's patches."""

    hard: HardSettings

    def choose(
        self, item: SlideWithHeatmap, opened: Slide
    ) -> tuple[Mapping[str, Candidates], Mapping[str, Any]] | SlideOutcome:
        known_xy = PatchStore(self.store).windows(item.id, "normal").xy
        heatmap = Heatmap.load(item.heatmap)
        rows = find_hard_negatives(
            opened, item.slide, heatmap, self.settings, self.hard, known_xy=known_xy
        )
        if len(rows):
            return {"normal": rows}, {}
        reason = "no new place where the model is wrong"
        return SlideOutcome(slide=item.id, status="done", reason=reason, counts={"normal": 0})


def find_hard_negatives(
    slide: Slide,
    row: CohortSlide,
    heatmap: Heatmap,
    tiles: TileSettings,
    settings: HardSettings,
    *,
    known_xy: np.ndarray,
) -> Candidates:
    """Find windows around the cells of highest probability whose centre square has no tumour.

    In the order of the cells. Windows nearer than half a centre square to a patch of the store,
    known_xy, (N, 2) level-0 (x, y) top left, are left out.
    """
    scale = slide.scale(tiles.mpp, allow_upsampling=tiles.allow_upsampling)
    cells = np.argwhere(np.nan_to_num(heatmap.probability, nan=-1) >= settings.threshold)
    middles = heatmap.cell_centres(cells)
    xy = np.rint(middles - tiles.stored_px * scale.level0 / 2).astype(np.int64)
    centre = tiles.centre_px * scale.level0
    squares = middles - centre / 2
    is_new = ((xy >= 0) & (xy + tiles.stored_px * scale.level0 <= slide.size)).all(axis=1)
    if len(known_xy) and len(xy):
        is_new &= KDTree(known_xy).query(xy, p=np.inf)[0] >= centre / 2
    tumor = tumor_of(row, tiles, slide)
    is_new &= tumor_fractions(tumor, squares, side_level0=centre, side_px=tiles.centre_px) == 0
    if tiles.border_um > 0:
        is_new &= ~near_border(
            tumor, squares, side_level0=centre, within_level0=tiles.border_um / slide.info.mpp
        )
    rows = np.flatnonzero(is_new)
    worst = np.argsort(-heatmap.probability[tuple(cells[rows].T)], kind="stable")[
        : settings.per_slide
    ]
    rows = np.sort(rows[worst])
    tissue = tissue_mask(slide, tiles.tissue)
    return Candidates(
        xy=xy[rows],
        tumor_fraction=np.zeros(len(rows), np.float32),
        tissue_fraction=tissue.fraction(squares[rows], side_level0=centre),
        lesion=np.full(len(rows), NO_LESION, np.int32),
    )
