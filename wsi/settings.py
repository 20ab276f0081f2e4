"""Settings of the tissue mask."""

from typing import Literal

from pydantic import Field

from ..storage import Settings

__all__ = ["TissueSettings"]


class TissueSettings(Settings):
    """Detection of tissue."""

    method: Literal["stain", "grey"] = "stain"
    """Rule for tissue: by stain, or grey ≤ 0.8. stain: coloured relative to the slide's own glass,
    and textured where pale. grey: as in Liu et al."""
    mpp: float = Field(default=8.0, gt=0)
    """Scale at which tissue is detected (µm/px)."""
    cut_ink: bool = True
    """Exclude blue, green and red pen marks. For stain only; switch it off for blue or green
    stains, which have the hue of a pen."""
    min_area_um2: float = Field(default=10_000.0, ge=0)
    """Minimum area of a piece of tissue (µm²)."""
    min_hole_um2: float = Field(default=10_000.0, ge=0)
    """Minimum area of a hole in tissue; smaller ones are filled (µm²)."""
