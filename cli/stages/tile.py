"""Tiling of slides into a store, and hard negatives added to it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ...batch import BatchSettings, describe_workers
from ...cohort import Cohort, CohortSlide
from ...storage import Location, SettingsError, format_count
from ..terminal.progress import print_line, print_stage_line, slide_bar
from ..terminal.tables import print_summary

if TYPE_CHECKING:
    from ...patching import HardSettings, TileSettings

__all__ = ["hard_negatives_stage", "tile_stage"]


def tile_stage(
    cohort: Cohort, store: Location, settings: TileSettings, batch: BatchSettings
) -> int:
    from ...patching import (
        advise_for_slides,
        refuse_if_all_coarser,
        slides_to_tile,
        tile_cohort,
    )

    slides = slides_to_tile(cohort, settings)
    if "mpp" not in settings.model_fields_set:
        advice = advise_for_slides(slides, settings)
        if advice is not None and advice.mpp != settings.mpp:
            print_line(f"tile: {settings.mpp:g} µm/px, the default. {advice}")
    refuse_if_all_coarser(slides, settings)
    print_line(f"tile: {describe_workers(batch)}")
    with slide_bar("tile", len(slides), unit="patches") as listener:
        summary = tile_cohort(cohort, store, settings, batch, listener=listener)
    print_summary("tile", summary)
    counts = f"{summary.total('tumor')} tumour and {summary.total('normal')} normal patches"
    print_stage_line("", f"{counts} in {store}")
    tiled = {slide.id for slide in slides}
    rest = [slide for slide in cohort if slide.id not in tiled]
    if rest:
        why = _describe_not_tiled(rest, settings)
        print_stage_line("", f"{format_count(len(rest), 'slide')} not tiled: {why}")
    return summary.exit_status


def _describe_not_tiled(rest: Sequence[CohortSlide], settings: TileSettings) -> str:
    wanted = [slide for slide in rest if slide.split in settings.splits]
    reasons = []
    if len(wanted) < len(rest):
        reasons.append(f"not in split {' or '.join(settings.splits)} (--splits)")
    if any(not slide.label for slide in wanted):
        reasons.append("no label")
    if settings.quality and any(slide.label for slide in wanted):
        reasons.append(f"not {settings.quality} (--quality)")
    return ", or ".join(reasons)


def hard_negatives_stage(
    cohort: Cohort,
    store: Location,
    heatmaps: Path,
    given: TileSettings,
    settings: HardSettings,
    batch: BatchSettings,
) -> int:
    """Add hard negatives to a store; given are the tile settings of the command line.

    Raises:
        SettingsError: a given tile setting is not the one that the store was tiled with.
    """
    from ...patching import PatchStore, add_hard_negatives

    tiled = PatchStore(store).tile_settings
    for name in given.model_fields_set:
        if getattr(given, name) != getattr(tiled, name):
            raise SettingsError(
                f"{store}: was tiled with another --{name.replace('_', '-')}; leave it out with "
                "--from-heatmaps"
            )
    print_line(f"tile: {describe_workers(batch, at_most=len(cohort))}")
    with slide_bar("tile", len(cohort)) as listener:
        summary = add_hard_negatives(cohort, store, heatmaps, settings, batch, listener=listener)
    print_summary("tile", summary)
    print_stage_line("", f"{summary.total('normal')} hard negatives of these heatmaps in {store}")
    return summary.exit_status
