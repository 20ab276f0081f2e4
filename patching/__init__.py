"""Which patches, and the Zarr store they live in."""

from .augment import Augmentation, centre_crop, draw_augmentation
from .select import Candidates, candidates, choose, slide_rng
from .settings import AugmentSettings, TileSettings
from .store import CLASSES, PatchStore, SlidePatches, stored_bytes
from .tile import slides_to_tile, tile_cohort, tile_slide

__all__ = [
    "CLASSES",
    "AugmentSettings",
    "Augmentation",
    "Candidates",
    "PatchStore",
    "SlidePatches",
    "TileSettings",
    "candidates",
    "centre_crop",
    "choose",
    "draw_augmentation",
    "slide_rng",
    "slides_to_tile",
    "stored_bytes",
    "tile_cohort",
    "tile_slide",
]
