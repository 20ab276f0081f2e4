"""Options of a network that segments regions."""

from typing import Any

from pydantic import Field

from ...storage import Settings

__all__ = ["REGION_ARCHITECTURE", "RegionOptions"]

REGION_ARCHITECTURE = "unet"
"""Name in model cards of the network that segments regions."""


class RegionOptions(Settings):
    """Options of a U-Net. The card of a model holds them."""

    width: int = Field(default=16, ge=1)
    """Filters at full resolution; twice as many at each halving, up to 16 times."""
    stages: int = Field(default=5, ge=2, le=7)
    """Resolutions, from that of the pixels down; an encoder has its own."""
    encoder: str = ""
    """Name in `ARCHITECTURES` of the network that looks at the pixels; empty: convolutions of the
    U-Net's own."""
    encoder_options: dict[str, Any] = Field(default_factory=dict)
    """`NetworkOptions` of the encoder."""
    batch_norm_momentum: float = Field(default=0.95, ge=0, lt=1)
    """Momentum of the running statistics of batch normalisation; used in training only."""
