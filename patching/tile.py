"""From slides to a patch store: one slide, then a cohort."""

import logging
import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

from ..batch import BatchSettings, BatchSummary, SlideOutcome, run_blocks, run_slides
from ..wsi import Cohort, CohortSlide, Location, Recipe, SettingsError, StoreError, open_slide
from .blocks import SlideWork, TileBlocks, lost_words, unchanged
from .bucket import store_run
from .contents import find_slide
from .pixels import fitted_stains, read_pixels
from .place import below, read_files, remove_group
from .plan import failure_identity, plan_slide, recipe_of
from .quota import Quota, quotas
from .settings import TileSettings
from .space import refuse_if_full, store_size
from .store import PatchStore
from .write import write_slide

__all__ = ["slides_to_tile", "tile_cohort", "tile_slide"]

logger = logging.getLogger(__name__)


def tile_cohort(
    cohort: Cohort,
    store: Location,
    settings: TileSettings,
    batch: BatchSettings,
    *,
    on_outcome: Callable[[SlideOutcome], None] | None = None,
    on_block: Callable[[dict[str, int]], None] | None = None,
) -> BatchSummary:
    """Tile the labelled slides of the wanted splits into a store, a folder or a URL; unchanged slides are skipped.

    on_outcome hears of each slide as it ends, on_block of the patches of each class as they are written to a folder.

    Raises:
        SettingsError: no slide to tile.
        StoreError: the disk cannot hold what the slides may give, or is full.
        ClusterError: another run works on the store, or workers or scheduler are gone.
        Stopped: a signal asked to stop.
    """
    slides = slides_to_tile(cohort, settings)
    if not slides:
        wanted = ", ".join(settings.splits)
        raise SettingsError(
            f"no slide to tile: none has a label and a split among {wanted}; fill in the cohort's columns"
        )
    share = quotas(slides, settings)
    work = [SlideWork(slide=slide, quota=share[slide.id]) for slide in slides]
    with store_run(store, batch) as folder:
        _describe(cohort, slides, share, store, settings)
        if isinstance(store, Path):
            blocks = TileBlocks(store, settings)
            return run_blocks(blocks, work, batch, folder=folder, on_outcome=on_outcome, on_block=on_block)
        # A bucket knows no renaming: there one worker writes a slide's group from end to end.
        whole = partial(_tile, store=store, settings=settings)
        identity = partial(_identity, settings=settings)
        return run_slides(whole, work, batch, folder=folder, identity=identity, on_outcome=on_outcome)


def _describe(
    cohort: Cohort, slides: list[CohortSlide], share: dict[str, Quota], store: Location, settings: TileSettings
) -> None:
    """Write what the store says of itself, if the disk can hold what the slides may give."""
    rows = _listed_before(store, cohort, {slide.id for slide in slides})
    for slide in slides:
        rows[slide.id] = {**rows.get(slide.id, {}), **_row(slide)}
    if settings.check_space and isinstance(store, Path):
        tiled = _tiled(store, share)
        refuse_if_full(store, store_size([q for slide_id, q in share.items() if slide_id not in tiled], settings))
    PatchStore.describe(store, settings=settings.model_dump(mode="json"), slides=rows)


def _tiled(store: Location, slide_ids: Iterable[str]) -> set[str]:
    """Those that have a group in the store, whoever made it."""
    ids = list(slide_ids)
    found = read_files(store, [f"{slide_id}/zarr.json" for slide_id in ids])
    return {slide_id for slide_id, content in zip(ids, found, strict=True) if content is not None}


def slides_to_tile(cohort: Cohort, settings: TileSettings) -> list[CohortSlide]:
    """The labelled slides of the wanted splits."""
    return [slide for slide in cohort if slide.split in settings.splits and slide.label]


def _row(slide: CohortSlide) -> dict[str, Any]:
    return {"label": slide.label, "patient": slide.patient, "split": slide.split}


def _listed_before(store: Location, cohort: Cohort, wanted: set[str]) -> dict[str, dict[str, Any]]:
    """Rows of an earlier run that stay: wanted slides, and tiled ones of which this cohort says nothing else."""
    try:
        rows = PatchStore(store).attributes["slides"]
    except StoreError:
        return {}  # none yet, or of an older format
    known = {slide.id for slide in cohort}
    side = {slide.patient: slide.split for slide in cohort if slide.patient and slide.split}
    kept, tiled = {}, _tiled(store, rows)
    for slide_id, row in rows.items():
        if slide_id in wanted:
            kept[slide_id] = row
        elif slide_id in known or slide_id not in tiled:
            continue
        elif side.get(row["patient"], row["split"]) != row["split"]:
            # Its patches stay; listed, they would let training see a patient that the cohort keeps for another side.
            logger.warning("%s: %s leaves the list: its patient %s moved", store, slide_id, row["patient"])
        else:
            kept[slide_id] = row
    return kept


def _tile(work: SlideWork, *, store: Location, settings: TileSettings) -> SlideOutcome:
    return tile_slide(work.slide, store=store, settings=settings, quota=work.quota)


def _identity(work: SlideWork, *, settings: TileSettings) -> str | None:
    return failure_identity(work.slide, settings, work.quota)


def tile_slide(
    slide: CohortSlide, *, store: Location, settings: TileSettings, quota: Quota | None = None
) -> SlideOutcome:
    """Tile one slide into its group of the store, or leave the group that was made by the same recipe.

    quota is the slide's share where its patient has others; by default it is reckoned as for a patient of one slide.
    """
    start = time.perf_counter()
    quota = quotas([slide], settings)[slide.id] if quota is None else quota
    recipe = recipe_of(slide, settings, quota)
    place = below(store, slide.id)
    changed = ""
    found = find_slide(place)
    if found is not None:
        differences = Recipe.from_json(found["recipe"]).differences(recipe)
        if not differences:
            return unchanged(slide, found)
        changed = f"made again: {'; '.join(differences)}"
        logger.info("%s: %s", slide.id, changed)
        remove_group(place)  # should the new one fail, nothing of another recipe stands in for it
    with open_slide(slide.path, mpp=slide.mpp, fallback_mpp=settings.slide_mpp) as opened:
        plan = plan_slide(opened, slide, settings, quota)
        classes = {
            name: (rows, read_pixels(opened, rows, settings, group=f"{slide.id}/{name}"))
            for name, rows in plan.chosen.items()
        }
        stains = {fit.method: fit.to_json() for fit in fitted_stains(opened, plan, settings)}
        counts = write_slide(
            place, recipe=recipe, classes=classes, arrays=settings.arrays, attributes={"stain": stains}
        )
    unreadable = len(plan) - sum(counts.values())
    reasons = [changed, plan.reason, lost_words(unreadable) if unreadable else ""]
    return SlideOutcome(
        slide=slide.id,
        status="partial" if unreadable else "done",
        reason="; ".join(filter(None, reasons)),
        seconds=time.perf_counter() - start,
        counts=counts,
    )
