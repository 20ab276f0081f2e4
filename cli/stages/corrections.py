"""Tiling of a store with patches of corrections: what the slides need now, then what people
corrected."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ...batch import BatchSettings, describe_workers
from ...cohort import Cohort
from ...storage import Location, SettingsError, StoreError, format_count
from ..terminal.progress import print_line, print_stage_line, slide_bar
from ..terminal.tables import print_summary
from .run_settings import worst_status
from .tile import tile_stage

if TYPE_CHECKING:
    from ...patching import CorrectedSlide, CorrectionSettings, TileSettings

__all__ = ["tile_corrections"]


def tile_corrections(
    cohort: Cohort,
    store: Location,
    annotations: Path,
    given: TileSettings,
    settings: CorrectionSettings,
    batch: BatchSettings,
) -> int:
    """Tile the slides of a cohort that changed, and add patches of corrections; given are the tile
    settings of the command line, which count for a new store only.

    Raises:
        SettingsError: no training slide was corrected, or the store was tiled otherwise.
    """
    from ...patching import add_corrections

    tiling = _settings_of(store, given)
    corrected = _find_corrected(cohort, annotations, tiling)
    if not corrected:
        raise SettingsError(
            f"{annotations}: no slide of the cohort has an accepted version that corrects a "
            "proposal; correct some and save them with gigaslide annotations save"
        )
    tiled = tile_stage(cohort, store, tiling, batch)
    if tiled == 1:
        return 1
    print_line(f"tile: {describe_workers(batch, at_most=len(corrected))}")
    with slide_bar("tile", len(corrected)) as listener:
        summary = add_corrections(corrected, store, settings, batch, listener=listener)
    print_summary("tile", summary)
    counts = f"{summary.total('tumor')} tumour and {summary.total('normal')} normal patches"
    slides = format_count(len(summary.outcomes), "slide")
    print_stage_line("", f"{counts} of corrections on {slides} in {store}")
    return worst_status([tiled, summary.exit_status])


def _settings_of(store: Location, given: TileSettings) -> TileSettings:
    """Return the settings of a store, or for a new one those given."""
    from ...patching import PatchStore

    try:
        tiled = PatchStore(store).tile_settings
    except StoreError:
        return given
    for name in given.model_fields_set:
        if getattr(given, name) != getattr(tiled, name):
            raise SettingsError(
                f"{store}: was tiled with another --{name.replace('_', '-')}; leave it out with "
                "--from-corrections"
            )
    return tiled


def _find_corrected(
    cohort: Cohort, annotations: Path, tiling: TileSettings
) -> list[CorrectedSlide]:
    from ...annotate import AnnotationFolder, find_corrections
    from ...patching import CorrectedSlide

    folder, found = AnnotationFolder.open(annotations), []
    for slide in cohort:
        areas = find_corrections(folder.versions(slide.id), tiling.groups)
        if areas is not None and not areas.is_empty:
            found.append(
                CorrectedSlide(slide=slide, missed=areas.missed, false_alarms=areas.false_alarms)
            )
    return found
