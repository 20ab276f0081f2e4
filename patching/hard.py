"""Hard negatives: normal patches where a model saw tumour, added to the training slides of a store.

They lie in a group of their own beside what the slide's group holds, named by their recipe, so that
nothing is rewritten and the same heatmaps add nothing twice.
"""

import hashlib
import json
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from scipy.spatial import KDTree

from ..batch import BatchSettings, BatchSummary, SlideOutcome, run_slides
from ..cohort import Cohort, CohortSlide
from ..storage import GigaslideError, Location, Recipe, SettingsError, StoreError
from ..wsi import Heatmap, Slide, open_slide, tissue_mask, tumor_fractions
from .bucket import store_run
from .contents import find_slide
from .lesions import NO_LESION, near_border
from .pixels import read_pixels
from .place import below, exists_at
from .plan import slide_inputs, tumor_of
from .select import Candidates
from .settings import HardSettings, TileSettings
from .store import PatchStore
from .write import write_slide

__all__ = ["add_hard_negatives", "hard_negatives"]

logger = logging.getLogger(__name__)

STAGE = "hard"  # of its lines in the journal and its tables


@dataclass(frozen=True, kw_only=True)
class _Work:
    """One slide whose heatmap may show where the model was wrong."""

    slide: CohortSlide
    heatmap: Path
    recipe: Recipe
    damage: str = ""
    """Why nothing can be made of it."""

    @property
    def id(self) -> str:
        return self.slide.id

    @property
    def group(self) -> str:
        """Name of the group below the slide's."""
        plain = {"settings": self.recipe.settings, "inputs": self.recipe.inputs}
        return "hard-" + hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()[:12]


def add_hard_negatives(
    cohort: Cohort,
    store: Location,
    heatmaps: Path,
    settings: HardSettings,
    batch: BatchSettings,
    *,
    on_outcome: Callable[[SlideOutcome], None] | None = None,
) -> BatchSummary:
    """Look at heatmaps/<slide>/heatmap.zarr of the store's training slides; write their patches and
    list them.

    Slides on which not every tumour is drawn are passed over: what is not drawn there may be
    tumour.

    Raises:
        SettingsError: none of the slides has a heatmap.
        StoreError: no store there, or the disk is full.
        ClusterError: another run works on the store, or workers or scheduler are gone.
        Stopped: a signal asked to stop.
    """
    PatchStore(store).attributes  # noqa: B018  (no lock where there is no store)
    with store_run(store, batch, stage=STAGE) as folder:
        opened = PatchStore(store)
        trained = {slide.id for slide in opened.slides if slide.split == "train"}
        work = [
            _work(slide, heatmaps / slide.id / "heatmap.zarr", opened, settings)
            for slide in cohort
            if slide.id in trained
            and slide.exhaustive
            and (heatmaps / slide.id / "heatmap.zarr").exists()
        ]
        if not work:
            raise SettingsError(
                f"{heatmaps}: no heatmap.zarr of a training slide of {store}; predict them with "
                "--splits train"
            )
        rows = opened.attributes["slides"]
        for item in (item for item in work if not item.damage):
            known = rows[item.id].get("further", [])
            rows[item.id]["further"] = known if item.group in known else [*known, item.group]
        PatchStore.describe(store, settings=opened.settings, slides=rows)
        adding = partial(_add, store=store, settings=settings)
        return run_slides(
            adding, work, batch, folder=folder, identity=_identity, on_outcome=on_outcome
        )


def _work(slide: CohortSlide, heatmap: Path, store: PatchStore, settings: HardSettings) -> _Work:
    asked = {**store.tile_settings.of_recipe(), "hard": settings.model_dump(mode="json")}
    recipe = Recipe(stage="hard negatives", settings=asked, inputs={})
    try:
        now = slide_inputs(slide)
        _refuse_if_changed(slide, now, store)
        found = Heatmap.load(heatmap)
    except (GigaslideError, OSError) as error:  # its slide fails; the others are done
        return _Work(slide=slide, heatmap=heatmap, recipe=recipe, damage=str(error))
    probability = hashlib.sha256(found.probability.tobytes()).hexdigest()
    inputs = {"model": found.model_hash, "probability": probability, **now}
    return _Work(slide=slide, heatmap=heatmap, recipe=replace(recipe, inputs=inputs))


def _refuse_if_changed(slide: CohortSlide, now: dict[str, Any], store: PatchStore) -> None:
    """Patches of a slide and its annotation as they are lie beside those of the same ones only."""
    tiled = find_slide(below(store.path, slide.id))
    if tiled is None:
        raise StoreError(f"{store.path}: {slide.id} is not there any more; tile it again first")
    made = Recipe.from_json(tiled["recipe"])
    changes = made.differences(replace(made, inputs={**made.inputs, **now}))
    if changes:
        raise StoreError(
            f"{slide.path}: changed since it was tiled ({'; '.join(changes)}); tile it again first"
        )


def _identity(work: _Work) -> str | None:
    """Of the heatmap, what is asked of it, and the slide and its row; None where that may be mended
    from outside."""
    return None if work.damage else work.group


def _add(work: _Work, *, store: Location, settings: HardSettings) -> SlideOutcome:
    start = time.perf_counter()
    if work.damage:
        raise StoreError(work.damage)
    if exists_at(below(store, work.id, work.group), "zarr.json"):
        return SlideOutcome(slide=work.id, status="skipped", reason="unchanged")
    opened = PatchStore(store)
    tiles = opened.tile_settings
    held = opened.windows(work.id, "normal").xy
    with open_slide(work.slide.path, mpp=work.slide.mpp, fallback_mpp=tiles.slide_mpp) as slide:
        rows = hard_negatives(
            slide, work.slide, Heatmap.load(work.heatmap), tiles, settings, held_xy=held
        )
        counts = {"normal": 0}
        if len(rows):
            pixels = read_pixels(slide, rows, tiles, group=f"{work.id}/{work.group}/normal")
            place = below(store, work.id, work.group)
            counts = write_slide(
                place, recipe=work.recipe, classes={"normal": (rows, pixels)}, arrays=tiles.arrays
            )
    lost = len(rows) - counts["normal"]
    reason = (
        f"{lost} patches could not be read"
        if lost
        else ""
        if len(rows)
        else "nowhere wrong that is not held"
    )
    return SlideOutcome(
        slide=work.id,
        status="partial" if lost else "done",
        reason=reason,
        seconds=time.perf_counter() - start,
        counts=counts,
    )


def hard_negatives(
    slide: Slide,
    row: CohortSlide,
    heatmap: Heatmap,
    tiles: TileSettings,
    settings: HardSettings,
    *,
    held_xy: np.ndarray,
) -> Candidates:
    """Windows around the cells of highest probability whose centre square has no tumour, in the
    order of the cells.

    Those that lie nearer than half a centre square to a patch that is held, (N, 2) level-0 top
    left, are left out.
    """
    scale = slide.scale(tiles.mpp, allow_upsampling=tiles.allow_upsampling)
    cells = np.argwhere(np.nan_to_num(heatmap.probability, nan=-1) >= settings.threshold)
    middles = heatmap.cell_centres(cells)
    xy = np.rint(middles - tiles.stored_px * scale.level0 / 2).astype(np.int64)
    centre = tiles.centre_px * scale.level0
    squares = middles - centre / 2
    is_new = ((xy >= 0) & (xy + tiles.stored_px * scale.level0 <= slide.size)).all(axis=1)
    if len(held_xy) and len(xy):
        is_new &= KDTree(held_xy).query(xy, p=np.inf)[0] >= centre / 2
    tumor = tumor_of(row, tiles)
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
