"""Tile slides into a patch store: one slide, or a cohort."""

import json
import logging
import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..batch import (
    SILENT,
    BatchSettings,
    BatchSummary,
    BlockDriver,
    Listener,
    SlideOutcome,
    open_run_folder,
    run_blocks,
)
from ..cohort import Cohort, CohortSlide
from ..storage import (
    GROUP,
    Location,
    Recipe,
    SettingsError,
    StoreError,
    file_identity,
    format_location,
    location_exists,
    parse_location,
    read_files,
)
from .blocks import SlideToTile, TileBlocks
from .disk_space import refuse_if_full, store_size
from .quota import Quota, compute_quotas
from .settings import TileSettings
from .store import PatchStore

__all__ = ["items_to_tile", "slides_to_tile", "store_row", "tile_cohort", "tile_slide"]

logger = logging.getLogger(__name__)


def tile_cohort(
    cohort: Cohort,
    store: Location,
    settings: TileSettings,
    batch: BatchSettings,
    *,
    listener: Listener = SILENT,
) -> BatchSummary:
    """Tile the labelled slides of the wanted splits into a store, a folder or a URL; skip unchanged
    slides.

    The listener hears how many patches of each class a block wrote.

    Raises:
        SettingsError: no slide to tile.
        StoreError: the disk cannot hold what the slides may give, or is full.
        ClusterError: another run works on the store, or workers or scheduler are gone.
        Stopped: a signal asked to stop.
    """
    items = items_to_tile(cohort, settings)
    slides, share = [item.slide for item in items], {item.id: item.quota for item in items}
    with open_run_folder(store, batch) as folder:
        _describe(cohort, slides, share, store, settings)
        work = TileBlocks(store, settings)
        return run_blocks(work, items, batch, folder=folder, listener=listener)


def _describe(
    cohort: Cohort,
    slides: list[CohortSlide],
    share: dict[str, Quota],
    store: Location,
    settings: TileSettings,
) -> None:
    """Write the store's own metadata, if the disk can hold what the slides may give."""
    rows = _listed_before(store, cohort, {slide.id for slide in slides})
    tiled = _tiled(store, share)
    for slide in slides:
        if slide.id in tiled:
            _refuse_other_file(store, rows, slide)
        rows[slide.id] = {**rows.get(slide.id, {}), **store_row(slide)}
    changed = {slide_id: _changed_settings(group, settings) for slide_id, group in tiled.items()}
    replaced = {slide_id: changes for slide_id, changes in changed.items() if changes}
    if settings.check_space and isinstance(store, Path):
        stay = tiled.keys() - replaced.keys()
        wanted = [quota for slide_id, quota in share.items() if slide_id not in stay]
        refuse_if_full(store, store_size(wanted, settings), replaced=replaced)
    if replaced:
        changes = "; ".join(next(iter(replaced.values())))
        logger.warning(
            "%s: %d slides are tiled again because the settings changed: %s",
            store,
            len(replaced),
            changes,
        )
    PatchStore.describe(store, settings=settings.model_dump(mode="json"), slides=rows)


def _tiled(store: Location, slide_ids: Iterable[str]) -> dict[str, bytes]:
    """Return the zarr.json of the slides that have a group in the store, whoever made it."""
    ids = list(slide_ids)
    found = read_files(store, [f"{slide_id}/{GROUP}" for slide_id in ids])
    return {
        slide_id: content
        for slide_id, content in zip(ids, found, strict=True)
        if content is not None
    }


def _changed_settings(group: bytes, settings: TileSettings) -> list[str]:
    """Return the differences of settings between a group's zarr.json and those asked for."""
    try:
        made = Recipe.from_json(json.loads(group)["attributes"]["recipe"])
    except (ValueError, KeyError, TypeError):  # its slide fails with the reason
        return []
    return made.differences(replace(made, settings=settings.of_recipe()))


def items_to_tile(cohort: Cohort, settings: TileSettings) -> list[SlideToTile]:
    """Return the slides to tile, each with its quota.

    Raises:
        SettingsError: there is none.
    """
    slides = slides_to_tile(cohort, settings)
    if not slides:
        wanted = ", ".join(settings.splits)
        raise SettingsError(
            f"no slide to tile: none has a label and a split among {wanted}"
            f"{f' and the quality {settings.quality}' if settings.quality else ''}; fill in the "
            "cohort's columns"
        )
    share = compute_quotas(slides, settings)
    return [SlideToTile(slide=slide, quota=share[slide.id]) for slide in slides]


def slides_to_tile(cohort: Cohort, settings: TileSettings) -> list[CohortSlide]:
    """Return the slides of the wanted splits that have a label, or regions in which everything is
    outlined."""
    return [
        slide
        for slide in cohort.take_quality(settings.quality)
        if slide.split in settings.splits and (slide.label or slide.has_regions)
    ]


def store_row(slide: CohortSlide) -> dict[str, Any]:
    """Return what a store's own list says of a slide."""
    return {
        "label": slide.label,
        "patient": slide.patient,
        "split": slide.split,
        "path": _path(slide),
    }


def _path(slide: CohortSlide) -> str:
    """Path without the parts of a URL that may be secret."""
    return format_location(slide.path if isinstance(slide.path, str) else slide.path.absolute())


def _refuse_other_file(
    store: Location, rows: dict[str, dict[str, Any]], slide: CohortSlide
) -> None:
    """Pass unless the store has patches of another slide of this name that still exists.

    Raises:
        SettingsError: it has, and they would be replaced.
    """
    before = rows.get(slide.id, {}).get("path", "")
    other = parse_location(before, Path()) if before else slide.path
    if _path(slide) == before or not (location_exists(other) and location_exists(slide.path)):
        return
    if file_identity(other)["bytes"] != file_identity(slide.path)["bytes"]:  # else a copy
        raise SettingsError(
            f"{store}: {slide.id} is there already, made from {before}, and would be replaced by "
            f"{_path(slide)}; list both in one cohort, give another store, or, to have it "
            f"replaced, remove {slide.id} from this one"
        )


def _listed_before(store: Location, cohort: Cohort, wanted: set[str]) -> dict[str, dict[str, Any]]:
    """Return the rows of earlier runs that stay: wanted slides, and tiled slides that this cohort
    does not contradict."""
    try:
        rows = PatchStore(store).attributes["slides"]
    except StoreError:
        return {}  # none yet, or of an older format
    known, paths = {slide.id for slide in cohort}, {_path(slide) for slide in cohort}
    side = {slide.patient: slide.split for slide in cohort if slide.patient and slide.split}
    kept, tiled = {}, _tiled(store, rows)
    for slide_id, row in rows.items():
        if slide_id in wanted:
            kept[slide_id] = row
        elif (
            slide_id in known or slide_id not in tiled or row.get("path") in paths
        ):  # this one, by another name now
            continue
        elif side.get(row["patient"], row["split"]) != row["split"]:
            # Its patches stay; listed, they would let training see a patient that the cohort keeps
            # for another side.
            logger.warning(
                "%s: %s leaves the list: its patient %s moved", store, slide_id, row["patient"]
            )
        else:
            kept[slide_id] = row
    return kept


def tile_slide(
    slide: CohortSlide, *, store: Location, settings: TileSettings, quota: Quota | None = None
) -> SlideOutcome:
    """Tile one slide into its group of the store, in this process; skip it if unchanged.

    Takes no lock: nothing else may work on this slide in the store meanwhile. quota is the slide's
    share of its patient's patches; by default that of a patient with one slide.
    """
    start = time.perf_counter()
    share = compute_quotas([slide], settings)[slide.id] if quota is None else quota
    driver = BlockDriver(TileBlocks(store, settings))
    outcome = driver.complete(SlideToTile(slide=slide, quota=share))
    return replace(outcome, seconds=time.perf_counter() - start)
