"""Origin of an annotation's px: the slide's corner, or that of the scanned part.

OpenSlide shows the whole glass of some scanners (MIRAX, Leica, Ventana), with the scanned part at
openslide.bounds-*. QuPath shows, and exports from, the scanned part only. Frames: level-0 px of the
slide, as OpenSlide counts them.
"""

import logging
from contextlib import nullcontext
from pathlib import Path
from typing import Literal

from shapely.affinity import translate
from shapely.geometry import MultiPolygon

from ...storage import AnnotationError, GigaslideError, Location
from ..geometry import Region
from ..settings import TissueSettings
from ..slide import Slide
from ..tissue import tissue_mask

__all__ = ["AnnotationOrigin", "find_offset"]

logger = logging.getLogger(__name__)

AnnotationOrigin = Literal["", "slide", "bounds"]
# An origin is found if the tumour lies on tissue by it, and on glass by the other one.
ON_TISSUE, ON_GLASS = 0.75, 0.25
ANY_MPP = 0.25  # µm/px of a slide that states none: the tissue is compared with itself only


def find_offset(
    tumor: MultiPolygon,
    path: Path,
    *,
    slide: Slide | Location,
    bounds: Region | None,
    origin: AnnotationOrigin,
) -> tuple[int, int]:
    """Find (x, y) of the corner that the px of the annotation at path are counted from.

    Without an origin that the cohort states, the one by which the tumour lies on tissue.

    Raises:
        AnnotationError: it lies on tissue by both origins or by neither.
    """
    corner = (bounds.x, bounds.y) if bounds else (0, 0)
    if corner == (0, 0) or origin == "slide":
        return 0, 0
    if origin == "bounds":
        return corner
    try:
        with (
            nullcontext(slide)
            if isinstance(slide, Slide)
            else Slide(slide, fallback_mpp=ANY_MPP) as opened
        ):
            tissue = tissue_mask(opened, TissueSettings())
    except GigaslideError:
        return 0, 0  # whoever reads the slide tells why it cannot be read
    by_slide = tissue.share_of(tumor)
    by_bounds = tissue.share_of(MultiPolygon([translate(part, *corner) for part in tumor.geoms]))
    if by_bounds >= ON_TISSUE and by_slide <= ON_GLASS:
        logger.warning(
            "%s: px are counted from the corner of the scanned part, (%d, %d), as QuPath does: so "
            "%.0f %% of the tumour lies on tissue, else %.0f %%",
            path,
            *corner,
            100 * by_bounds,
            100 * by_slide,
        )
        return corner
    if by_slide >= ON_TISSUE and by_bounds <= ON_GLASS:
        return 0, 0
    raise AnnotationError(
        f"{path}: px may be counted from the slide's corner ({by_slide:.0%} of the tumour lies on "
        f"tissue) or from the corner of its scanned part, {corner}, as QuPath does "
        f"({by_bounds:.0%}); write slide or bounds into the cohort's column annotation_origin"
    )
