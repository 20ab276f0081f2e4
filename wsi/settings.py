"""Settings of the tissue mask."""

from typing import Literal

from pydantic import Field

from ..storage import Settings

__all__ = ["TissueSettings"]


class TissueSettings(Settings):
    """Where there is tissue."""

    method: Literal["stain", "grey"] = "stain"
    """stain: coloured over the slide's own glass, and textured where pale. grey: the paper's ≤ 0.8.
    """
    mpp: float = Field(default=8.0, gt=0)
    """Scale at which tissue is looked for (µm/px)."""
    cut_ink: bool = True
    """stain only: blue, green and red pen is no tissue. False for blue or green stains, which have
    a pen's hue."""
    min_area_um2: float = Field(default=10_000.0, ge=0)
    """Smaller pieces of tissue are dirt (µm²)."""
    min_hole_um2: float = Field(default=10_000.0, ge=0)
    """Smaller holes in tissue are filled (µm²)."""
