"""Options of every network."""

import operator
from typing import Annotated

from pydantic import Field

from ...storage import Settings

__all__ = ["NetworkOptions", "Width"]

LEAST_FILTERS = 16  # of a layer, whatever the width; as TF-Slim's min_depth

Width = Annotated[float, Field(gt=0, le=8)]


class NetworkOptions(Settings):
    """Options of every network. The card of a model holds them."""

    batch_norm_momentum: float = Field(default=0.99, ge=0, lt=1)
    """Momentum of the running statistics of batch normalisation; used in training only."""
    dropout: float = Field(default=0, ge=0, lt=1)
    """Share of the features that are left out at random before the classifier; used in training
    only."""
    shrink: int = Field(default=1, ge=1, le=8)
    """Factor by which the network first shrinks its patches: each square of as many px in x and in
    y becomes its mean; what remains at the right and lower edge is dropped."""
    widths: tuple[Width, ...] = Field(default=(), exclude_if=operator.not_)
    """Factor for the filters of every layer: one for all towers, or one for each, the finest scale
    first. Without any, 1. Cards of networks without it do not name it."""

    def of_tower(self, number: int) -> "NetworkOptions":
        """Return the options of one tower, with its width alone."""
        at = number if len(self.widths) > 1 else 0
        return self.model_copy(update={"widths": self.widths[at : at + 1]})

    def scale_filters(self, filters: int, *, multiplier: float = 1.0) -> int:
        """Return the filters of a layer of one tower whose network has so many at a multiplier and
        a width of 1."""
        factor = multiplier * (self.widths[0] if self.widths else 1.0)
        return filters if factor == 1 else max(LEAST_FILTERS, int(filters * factor))
