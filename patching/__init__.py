"""Which patches, and the Zarr store they live in."""

from .augment import Augmentation, centre_crop, draw_augmentation
from .settings import AugmentSettings, TileSettings
from .store import CLASSES, PatchStore, SlidePatches
from .tile import slides_to_tile, tile_cohort, tile_slide

__all__ = [
    "CLASSES",
    "AugmentSettings",
    "Augmentation",
    "PatchStore",
    "SlidePatches",
    "TileSettings",
    "centre_crop",
    "draw_augmentation",
    "slides_to_tile",
    "tile_cohort",
    "tile_slide",
]
