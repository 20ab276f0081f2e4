"""Choice of patches, and the Zarr store that holds them."""

from .advice import (
    PatchAdvice,
    advise_for_slides,
    advise_patches,
    measure_widths_um,
    refuse_if_all_coarser,
)
from .augment import Augmentation, centre_crop, draw_augmentation, patch_rng
from .corrections import CorrectedSlide, add_corrections
from .hard_negatives import add_hard_negatives
from .index import index_cohort
from .inventory import Damage, StoreCheck, inventory, totals, verify_store
from .live_patches import LivePatches
from .metadata import SlidePatches, is_corrected
from .montage import CLASS_COLOURS, montage, save_montage
from .open_slides import OpenSlides
from .plan import plan_patches
from .sampling import Candidates, candidates, choose
from .settings import AugmentSettings, CorrectionSettings, HardSettings, TileSettings
from .store import PatchStore
from .tile import slides_to_tile, tile_cohort, tile_slide
from .write import stored_bytes

__all__ = [
    "CLASS_COLOURS",
    "AugmentSettings",
    "Augmentation",
    "Candidates",
    "CorrectedSlide",
    "CorrectionSettings",
    "Damage",
    "HardSettings",
    "LivePatches",
    "OpenSlides",
    "PatchAdvice",
    "PatchStore",
    "SlidePatches",
    "StoreCheck",
    "TileSettings",
    "add_corrections",
    "add_hard_negatives",
    "advise_for_slides",
    "advise_patches",
    "candidates",
    "centre_crop",
    "choose",
    "draw_augmentation",
    "index_cohort",
    "inventory",
    "is_corrected",
    "measure_widths_um",
    "montage",
    "patch_rng",
    "plan_patches",
    "refuse_if_all_coarser",
    "save_montage",
    "slides_to_tile",
    "stored_bytes",
    "tile_cohort",
    "tile_slide",
    "totals",
    "verify_store",
]
