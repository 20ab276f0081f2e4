"""From slides to a patch store: one slide, then a cohort."""

import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from shapely.geometry import MultiPolygon

from ..batch import BatchSettings, BatchSummary, SlideOutcome, run_slides
from ..wsi import (
    AnnotationError,
    Cohort,
    CohortSlide,
    Recipe,
    SettingsError,
    Slide,
    StoreError,
    exists,
    file_identity,
    open_slide,
    remove_folder,
    tissue_mask,
)
from .quota import Quota, quotas
from .select import Candidates, candidates, choose, slide_rng
from .settings import TileSettings
from .store import PatchStore, find_slide, write_slide

__all__ = ["slides_to_tile", "tile_cohort", "tile_slide"]

logger = logging.getLogger(__name__)

READ_AT_ONCE = 64  # patches asked of the slide in one call: near ones share reads, and memory stays small


def tile_cohort(
    cohort: Cohort,
    store: Path,
    settings: TileSettings,
    batch: BatchSettings,
    *,
    on_outcome: Callable[[SlideOutcome], None] | None = None,
) -> BatchSummary:
    """Tile the labelled slides of the wanted splits into a store; slides whose recipe is unchanged are skipped.

    Raises:
        SettingsError: no slide to tile.
    """
    slides = slides_to_tile(cohort, settings)
    if not slides:
        wanted = ", ".join(settings.splits)
        raise SettingsError(
            f"no slide to tile: none has a label and a split among {wanted}; fill in the cohort's columns"
        )
    rows = {
        **_listed_before(store, cohort, {slide.id for slide in slides}),
        **{slide.id: _row(slide) for slide in slides},
    }
    PatchStore.describe(store, settings=settings.model_dump(mode="json"), slides=rows)
    share = quotas(slides, settings)
    work = [_Work(slide=slide, quota=share[slide.id]) for slide in slides]
    summary = run_slides(partial(_tile, store=store, settings=settings), work, batch, on_outcome=on_outcome)
    summary.save(store)
    return summary


def slides_to_tile(cohort: Cohort, settings: TileSettings) -> list[CohortSlide]:
    """The labelled slides of the wanted splits."""
    return [slide for slide in cohort if slide.split in settings.splits and slide.label]


def _row(slide: CohortSlide) -> dict[str, str]:
    return {"label": slide.label, "patient": slide.patient, "split": slide.split}


def _listed_before(store: Path, cohort: Cohort, wanted: set[str]) -> dict[str, dict[str, str]]:
    """Rows of an earlier run that stay: wanted slides, and tiled ones of which this cohort says nothing else."""
    try:
        rows = PatchStore(store).attributes["slides"]
    except StoreError:
        return {}  # none yet, or of an older format
    known = {slide.id for slide in cohort}
    side = {slide.patient: slide.split for slide in cohort if slide.patient and slide.split}
    kept = {}
    for slide_id, row in rows.items():
        if slide_id in wanted:
            kept[slide_id] = row
        elif slide_id in known or not (store / slide_id / "zarr.json").exists():
            continue
        elif side.get(row["patient"], row["split"]) != row["split"]:
            # Its patches stay; listed, they would let training see a patient that the cohort keeps for another side.
            logger.warning("%s: %s leaves the list: its patient %s moved", store, slide_id, row["patient"])
        else:
            kept[slide_id] = row
    return kept


@dataclass(frozen=True, kw_only=True)
class _Work:
    """What a worker needs to know of one slide."""

    slide: CohortSlide
    quota: Quota

    @property
    def id(self) -> str:
        return self.slide.id


def _tile(work: _Work, *, store: Path, settings: TileSettings) -> SlideOutcome:
    return tile_slide(work.slide, store=store, settings=settings, quota=work.quota)


def tile_slide(slide: CohortSlide, *, store: Path, settings: TileSettings, quota: Quota | None = None) -> SlideOutcome:
    """Tile one slide into its group of the store, or leave the group that was made by the same recipe.

    quota is the slide's share where its patient has others; by default it is reckoned as for a patient of one slide.
    """
    start = time.perf_counter()
    quota = quotas([slide], settings)[slide.id] if quota is None else quota
    recipe = _recipe(slide, settings, quota)
    folder = store / slide.id
    changed = ""
    found = find_slide(folder)
    if found is not None:
        differences = Recipe.from_json(found["recipe"]).differences(recipe)
        if not differences:
            return _unchanged(slide, found)
        changed = f"made again: {'; '.join(differences)}"
        logger.info("%s: %s", slide.id, changed)
        remove_folder(folder)  # should the new one fail, nothing of another recipe stands in for it
    with open_slide(slide.path, mpp=slide.mpp, fallback_mpp=settings.slide_mpp) as opened:
        tumor = _tumor(slide, settings)
        tissue = tissue_mask(opened, settings.tissue)
        windows = candidates(opened, tissue, tumor, quota.applied(settings))
        chosen = choose(windows, slide_rng(settings.seed, slide.id), quota.applied(settings))
        side = settings.patch_px + 2 * settings.margin_px
        patches = {name: (rows, _patches(opened, rows, side, settings)) for name, rows in chosen.items()}
        counts = write_slide(folder, recipe=recipe, classes=patches, patch_px=side)
    reasons = [changed, "no tissue" if tissue.is_empty else "" if len(windows) else "no window fits over its tissue"]
    unreadable = sum(len(rows) for rows in chosen.values()) - sum(counts.values())
    if unreadable:
        reasons.append(_lost(unreadable))
    return SlideOutcome(
        slide=slide.id,
        status="partial" if unreadable else "done",
        reason="; ".join(filter(None, reasons)),
        seconds=time.perf_counter() - start,
        counts=counts,
    )


def _unchanged(slide: CohortSlide, found: dict[str, Any]) -> SlideOutcome:
    unreadable = found.get("unreadable", 0)
    return SlideOutcome(
        slide=slide.id,
        # What is lost is lost the second time too, and the exit status must say so again.
        status="partial" if unreadable else "skipped",
        reason=f"unchanged; {_lost(unreadable)}" if unreadable else "unchanged",
        counts=found["counts"],
    )


def _lost(unreadable: int) -> str:
    return f"{unreadable} patches could not be read"


def _recipe(slide: CohortSlide, settings: TileSettings, quota: Quota) -> Recipe:
    # Patient and split are not part of it: a slide moves to another side of the split without being tiled again.
    return Recipe(
        stage="tile",
        settings=settings.model_dump(mode="json", exclude={"splits"}),
        inputs={
            "slide": file_identity(slide.path) if exists(slide.path) else str(slide.path),
            "annotation": file_identity(slide.annotation) if slide.annotation and slide.annotation.exists() else None,
            "label": slide.label,
            "mpp": slide.mpp,
            "quota": asdict(quota),
        },
    )


def _tumor(slide: CohortSlide, settings: TileSettings) -> MultiPolygon:
    tumor = slide.load_tumor(settings.groups)
    if tumor is None and slide.label == "tumor":
        raise AnnotationError(
            f"{slide.path}: labelled tumor but has no annotation; give one in the cohort, or leave the label empty"
        )
    return tumor or MultiPolygon()


def _patches(slide: Slide, rows: Candidates, side: int, settings: TileSettings) -> Iterator[tuple[int, np.ndarray]]:
    for start in range(0, len(rows), READ_AT_ONCE):
        part = rows.xy[start : start + READ_AT_ONCE]
        windows = dict(
            slide.read_windows(part, size=side, mpp=settings.mpp, allow_upsampling=settings.allow_upsampling)
        )
        for index in range(len(part)):
            window = windows[index]
            if window is not None:
                yield start + index, window
