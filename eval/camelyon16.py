"""How the official CAMELYON16 programs turn tumour into lesions: level-5 masks, each with rules of
its own."""

from collections.abc import Mapping
from pathlib import Path

import shapely
from shapely.geometry import MultiPolygon

from ..wsi import GroupMeaning
from .truth.level_mask import LevelMask, level_mask
from .truth.mask_lesions import MaskLesions, Raster, label_lesions, lesions_on_raster
from .truth.measures import LesionRule

__all__ = ["DOWNSAMPLE", "OFFICIAL", "RULE", "official_lesions", "official_rasters"]

DOWNSAMPLE = 32.0  # level 5
E1_MPP = 0.243
RULE = LesionRule(has_phantom=True)
OFFICIAL = ("camelyon16-e1", "camelyon16-e2")


def official_lesions(
    tumor: MultiPolygon,
    *,
    annotation: Path | None,
    groups: Mapping[str, GroupMeaning],
    slide_size: tuple[int, int],
    slide_mpp: float,
) -> dict[str, MaskLesions]:
    """Lesions of a tumour slide as each program finds them, by its name.

    A mask file speaks for itself where it has a level 5; outlines, and masks without, are drawn at
    32 level-0 px: a px is tumour if its centre is. Whatever value means tumour is put as the value
    that the program looks for. E1 takes 0.243 µm per level-0 px whatever the slide, and truncates;
    E2 takes the mask's own µm/px (the slide's where the file does not say it, and for outlines) and
    downsample, and rounds half to even. In an empty mask both find a lesion, of isolated cells, in
    the corner.
    """
    drawn = (
        None
        if annotation is None
        else level_mask(annotation, DOWNSAMPLE, slide_size=slide_size, groups=groups)
    )
    true, mpp = (drawn.downsample, drawn.mpp or slide_mpp) if drawn else (DOWNSAMPLE, slide_mpp)
    rasters = official_rasters(downsample=true, mask_mpp=mpp)
    return {name: _lesions(raster, drawn, tumor, slide_size) for name, raster in rasters.items()}


def official_rasters(*, downsample: float, mask_mpp: float) -> dict[str, Raster]:
    """What each program takes its mask's px for; downsample and µm per level-0 px are the mask's
    own."""
    return {
        "camelyon16-e1": Raster(pixel_level0=DOWNSAMPLE, pixel_um=DOWNSAMPLE * E1_MPP),
        "camelyon16-e2": Raster(
            pixel_level0=downsample, pixel_um=downsample * mask_mpp, lookup="half to even"
        ),
    }


def _lesions(
    raster: Raster, drawn: LevelMask | None, tumor: MultiPolygon, slide_size: tuple[int, int]
) -> MaskLesions:
    if drawn is not None:
        return label_lesions(drawn.tumor, raster, RULE)
    return lesions_on_raster(shapely.get_parts(tumor), raster, RULE, slide_size=slide_size)
