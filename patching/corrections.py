"""Patches of what a person corrected, added to the training slides of a store: tumour that a model
missed, and normal tissue that it called tumour.

Training draws a share of each batch from them.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely
from shapely.geometry import MultiPolygon

from ..batch import (
    SILENT,
    BatchSettings,
    BatchSummary,
    Listener,
    SlideOutcome,
    open_run_folder,
    run_blocks,
)
from ..cohort import CohortSlide
from ..storage import GigaslideError, Location, Recipe, SettingsError
from ..wsi import Slide, tissue_mask
from .further import (
    FurtherBlocks,
    FurtherPatches,
    find_training_slides,
    list_groups,
    refuse_if_changed,
)
from .metadata import CORRECTED, SlidePatches
from .plan import tumor_of
from .sampling import Candidates, candidates, slide_rng
from .settings import CorrectionSettings, TileSettings
from .slide_recipe import slide_inputs
from .store import PatchStore

__all__ = ["CorrectedSlide", "add_corrections", "find_corrected"]

STAGE = "corrections"
"""Prefix of the run's tables in the store, and stage of its lines in the journal."""
LEAST = 0.5  # share of a normal window's centre square that was a false alarm


@dataclass(frozen=True, kw_only=True)
class CorrectedSlide:
    """A slide, and the areas that a person corrected on it, level-0 px."""

    slide: CohortSlide
    missed: MultiPolygon
    """Tumour that the model did not propose."""
    false_alarms: MultiPolygon
    """Regions that the model proposed and that are no tumour."""

    @property
    def id(self) -> str:
        return self.slide.id

    @property
    def identity(self) -> str:
        """Hash of the areas, hexadecimal."""
        parts = (shapely.to_wkb(shapely.normalize(one)) for one in (self.missed, self.false_alarms))
        return hashlib.sha256(b" ".join(parts)).hexdigest()


@dataclass(frozen=True, kw_only=True)
class _Item(FurtherPatches):
    """A corrected slide, and the recipe of its patches."""

    prefix = CORRECTED
    corrected: CorrectedSlide


def add_corrections(
    corrected: list[CorrectedSlide],
    store: Location,
    settings: CorrectionSettings,
    batch: BatchSettings,
    *,
    listener: Listener = SILENT,
) -> BatchSummary:
    """Add patches of corrected areas to the store's training slides.

    Raises:
        SettingsError: no training slide of the store was corrected.
        StoreError: no store is there, or the disk is full.
        ClusterError: another run works on the store, or workers or scheduler are gone.
        Stopped: a signal asked to stop.
    """
    PatchStore(store).attributes  # noqa: B018  (no lock where there is no store)
    with open_run_folder(store, batch, stage=STAGE) as folder:
        opened = PatchStore(store)
        tiled = find_training_slides(opened)
        items = [
            _item(one, tiled[one.id], opened.tile_settings, settings)
            for one in corrected
            if one.id in tiled
        ]
        if not items:
            raise SettingsError(
                f"{store}: none of its training slides has an accepted version that corrects a "
                "proposal; see gigaslide annotations list"
            )
        list_groups(opened, items)
        work = CorrectionBlocks(store, opened.tile_settings, settings)
        return run_blocks(work, items, batch, folder=folder, listener=listener)


def _item(
    corrected: CorrectedSlide,
    tiled: SlidePatches,
    tiles: TileSettings,
    settings: CorrectionSettings,
) -> _Item:
    inputs, damage = {}, ""
    try:
        inputs = slide_inputs(corrected.slide)
        refuse_if_changed(corrected.slide, inputs, tiled)
    except (GigaslideError, OSError) as error:  # its slide fails; the others are done
        damage = str(error)
    asked = {**tiles.of_recipe(), "corrections": settings.model_dump(mode="json")}
    recipe = Recipe(stage=STAGE, settings=asked, inputs={"corrected": corrected.identity, **inputs})
    return _Item(slide=corrected.slide, corrected=corrected, recipe=recipe, damage=damage)


@dataclass(frozen=True)
class CorrectionBlocks(FurtherBlocks[_Item]):
    """`BlockWork` that writes patches of corrections beside a slide's patches."""

    corrections: CorrectionSettings

    def choose(
        self, item: _Item, opened: Slide
    ) -> tuple[Mapping[str, Candidates], Mapping[str, Any]] | SlideOutcome:
        found = find_corrected(opened, item.corrected, self.settings, self.corrections)
        kept = {name: rows for name, rows in found.items() if len(rows)}
        if kept:
            return kept, {}
        reason = "no window fits what was corrected"
        return SlideOutcome(slide=item.id, status="done", reason=reason, counts={})


def find_corrected(
    slide: Slide, corrected: CorrectedSlide, tiles: TileSettings, settings: CorrectionSettings
) -> dict[str, Candidates]:
    """Find windows on corrected areas, by class, at most so many of each, drawn at random.

    Tumour: the centre square meets tumour that was missed. Normal: it holds no tumour, and half of
    it was a false alarm. Where a person looked at regions only, normal squares lie inside them;
    where not every tumour is outlined, inside the false alarm. Windows lie half a centre square
    apart; they may be those of patches that the store holds.
    """
    row = corrected.slide
    tumor = tumor_of(row, tiles, slide)
    annotation = row.load_annotation(tiles.groups, slide=slide) if row.has_regions else None
    every = tiles.model_copy(
        update={
            "stride_px": max(1, tiles.centre_px // 2),
            "tumor_per_slide": 0,
            "normal_per_slide": 0,
        }
    )
    windows = candidates(
        slide,
        tissue_mask(slide, tiles.tissue),
        tumor,
        every,
        normal_in=annotation.regions if annotation is not None else None,
    )
    squares = _centre_squares(windows, slide, tiles)
    missed = shapely.area(shapely.intersection(squares, corrected.missed)) > 0
    alarm = shapely.area(shapely.intersection(squares, corrected.false_alarms))
    whole = row.exhaustive or row.has_regions or row.label == "normal"
    is_alarm = alarm >= (LEAST if whole else 1 - 1e-6) * shapely.area(squares)
    rng = slide_rng(tiles.seed, row.id)
    rows = {
        "tumor": np.flatnonzero(windows.is_tumor & missed),
        "normal": np.flatnonzero(~windows.is_tumor & is_alarm),
    }
    return {
        name: windows.take(np.sort(rng.permutation(some)[: settings.per_slide]))
        for name, some in rows.items()
    }


def _centre_squares(windows: Candidates, slide: Slide, tiles: TileSettings) -> np.ndarray:
    """Centre squares of windows, (N,) shapely boxes, level-0 px."""
    scale = slide.scale(tiles.mpp, allow_upsampling=tiles.allow_upsampling)
    start = windows.xy + (tiles.stored_px - tiles.centre_px) / 2 * scale.level0
    end = start + tiles.centre_px * scale.level0
    return np.asarray(shapely.box(*start.T, *end.T), object)
