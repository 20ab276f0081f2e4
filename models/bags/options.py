"""Options of a network on bags of features."""

from typing import Literal

from pydantic import Field

from ...storage import Settings

__all__ = ["BAG_ARCHITECTURE", "BagOptions", "BagPooling"]

BAG_ARCHITECTURE = "bag"
"""Name in model cards of the network on bags of features."""

BagPooling = Literal["attention", "mean", "max", "log-sum-exp"]


class BagOptions(Settings):
    """Options of a network on bags of features. The card of a model holds them."""

    pooling: BagPooling = "attention"
    """Way from the scores of windows to that of the slide. attention: gated attention, learnt;
    mean: all windows alike; max: the highest; log-sum-exp: a soft maximum."""
    hidden: int = Field(default=128, ge=1)
    """Units of the layer between the features and the classifier."""
    attention: int = Field(default=64, ge=1)
    """Units of each of the two layers of gated attention."""
    dropout: float = Field(default=0.25, ge=0, lt=1)
    """Share of the hidden units left out at random; used in training only."""
