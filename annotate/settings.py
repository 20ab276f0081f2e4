"""Settings of proposals and of the order in which to look at regions."""

from typing import Literal

from pydantic import Field

from ..storage import Settings

__all__ = ["Order", "OrderSettings", "ProposeSettings"]

Order = Literal["doubt", "contradiction", "random"]
"""doubt: the model is unsure, and nobody has looked. contradiction: model and outlines differ.
random: nobody has looked."""


class ProposeSettings(Settings):
    """Settings of outlines made from heatmaps."""

    threshold: float = Field(default=0.5, ge=0, lt=1)
    """Probability above which cells lie inside an outline."""
    min_area_um2: float = Field(default=10_000, ge=0)
    """Smallest area to outline (µm²)."""
    min_hole_um2: float = Field(default=5_000, ge=0)
    """Smallest hole to keep in an outline (µm²)."""
    tolerance_um: float | None = Field(default=None, ge=0)
    """Maximum distance between an outline and the edges of its cells (µm). Default: half a cell; 0
    follows the edges exactly."""
    group: str = Field(default="Tumor", min_length=1, max_length=100)
    """Class of the outlines."""


class OrderSettings(Settings):
    """Choice of the regions to look at next."""

    order: Order = "doubt"
    """Regions where the model is unsure, where model and outlines differ, or any."""
    count: int = Field(default=20, ge=1, le=10_000)
    """Number of regions."""
    random_share: float = Field(default=0.2, ge=0, le=1)
    """Share of the regions drawn at random, so that tumour which the model misses
    with confidence is also found."""
    side_um: float = Field(default=1000, gt=0)
    """Side of a region, a square (µm)."""
    threshold: float = Field(default=0.5, gt=0, lt=1)
    """Probability above which the model says tumour."""
    seed: int = Field(default=0, ge=0)
    """Seed of the regions drawn at random."""
